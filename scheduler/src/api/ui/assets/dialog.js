// Questions that are asked before something is done.

import { newKey } from './api.js';
import { h, say } from './dom.js';
import { command, trouble } from './parts.js';

/**
 * Asks, and does it. `fields`: elements of a form; `confirm`: text that must be typed; `act(form, key)`: does it and
 * returns where to go, if anywhere. `same`: the command that does the same.
 */
export function ask({ title, text, fields = [], confirm, button, danger, same, act, done }) {
  const key = newKey();
  const refused = h('div', { role: 'alert' });
  const go = h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, button);
  const typed = confirm && h('input', { name: 'confirm', autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', required: true, 'aria-describedby': 'confirm-why', oninput: () => { go.disabled = typed.value !== confirm; } });
  if (typed) go.disabled = true;
  const close = () => box.close();
  const submit = async (event) => {
    event.preventDefault();
    if (typed && typed.value !== confirm) return;
    go.disabled = true;
    refused.replaceChildren();
    try {
      const where = await act(form, key);
      close();
      done?.(where);
    } catch (error) {
      go.disabled = false;
      refused.replaceChildren(trouble(error));
    }
  };
  const form = h('form', { method: 'post', onsubmit: submit },
    h('h2', { id: 'dialog-title' }, title),
    [text].flat().filter(Boolean).map((line) => (line instanceof Node ? line : h('p', {}, line))), fields,
    confirm && h('p', { class: 'field' }, h('label', {}, h('span', {}, 'Type ', h('b', { class: 'mono' }, confirm), ' to confirm'), typed)),
    confirm && h('p', { id: 'confirm-why', class: 'note' }, 'What is done cannot be taken back.'),
    refused,
    h('div', { class: 'buttons' }, go, h('button', { type: 'button', onclick: close }, 'Back')),
    same && h('p', { class: 'note' }, 'Same in a terminal: ', typeof same === 'string' ? command(same) : same));
  const box = h('dialog', { 'aria-labelledby': 'dialog-title', onclose: () => box.remove(), onclick: (event) => { if (event.target === box) close(); } }, form);
  document.body.append(box);
  box.showModal();
  say(title);
}

/** A labelled field of a form. */
export function field(label, input, note) {
  return h('p', { class: 'field' }, h('label', {}, h('span', {}, label), input), note && h('span', { class: 'note' }, note));
}

export function check(name, label, { note, checked, onchange } = {}) {
  return h('p', { class: 'field check' }, h('label', {}, h('input', { type: 'checkbox', name, checked, onchange }), h('span', {}, label)), note && h('span', { class: 'note' }, note));
}

/** A choice: pairs of value and words. */
export function select(name, options, chosen, properties = {}) {
  return h('select', { name, ...properties }, options.map(([value, word]) => h('option', { value, selected: value === chosen }, word)));
}
