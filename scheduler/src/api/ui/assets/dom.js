// Elements from data. Text is only ever text: nothing here reads markup.

/** An element: `properties` are attributes, `on…` handlers and `data`; children are elements, text or nothing. */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  element.handlers = {};
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) listen(element, name.slice(2), value);
    else if (name === 'value') { element.setAttribute('value', value); element.value = value; }
    else element.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

// One listener an element and kind: what it does is looked up when it happens, so that an element can be kept.
function listen(element, kind, handler) {
  if (!(kind in element.handlers)) element.addEventListener(kind, dispatch);
  element.handlers[kind] = handler;
}

function dispatch(event) {
  return event.currentTarget.handlers[event.type]?.(event);
}

// What the reader has done to an element is the reader's: it stays as it is when the screen is drawn again.
const OWN = { DETAILS: ['open'], INPUT: ['value', 'checked'], SELECT: ['value'], OPTION: ['selected'], TEXTAREA: [] };

/** Makes the children of `old` what those of `fresh` are, keeping elements (and so focus and scrolling). */
export function renew(old, fresh) {
  const kept = new Map();
  for (const child of old.children) if (child.dataset.key) kept.set(child.dataset.key, child);
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = wanted.nodeType === 1 ? wanted.dataset.key : undefined;
    let same = key ? kept.get(key) : at;
    if (!key && same?.nodeType === 1 && same.dataset.key) same = undefined;
    if (same && same.nodeName === wanted.nodeName && same.nodeType === wanted.nodeType) {
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      renewOne(same, wanted);
    } else {
      old.insertBefore(wanted, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function renewOne(old, fresh) {
  if (old.nodeType !== 1) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  const own = OWN[old.nodeName] ?? [];
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !own.includes(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (!own.includes(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const [kind, handler] of Object.entries(fresh.handlers ?? {})) listen(old, kind, handler);
  for (const kind of Object.keys(old.handlers ?? {})) {
    if (!(kind in (fresh.handlers ?? {}))) old.handlers[kind] = undefined;
  }
  if (old.nodeName === 'PROGRESS') old.value = fresh.value;
  renew(old, fresh);
}

/** Says something to who cannot see it happen. */
export function say(text) {
  document.getElementById('said').textContent = text;
}
