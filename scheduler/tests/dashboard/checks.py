"""What is looked at on every screen, in the page itself."""

# What can be pressed or filled in has a name, ids are unique, headings go down one by one, links lead somewhere.
NAMES = """() => {
  const wrong = [];
  const name = (e) => (e.getAttribute('aria-label') ?? '') + e.textContent + [...(e.labels ?? [])].map((l) => l.textContent).join('');
  for (const e of document.querySelectorAll('a, button, input, select, progress'))
    if (!e.hidden && !name(e).trim()) wrong.push(`nameless ${e.outerHTML.slice(0, 80)}`);
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  ids.filter((id, i) => ids.indexOf(id) !== i).forEach((id) => wrong.push(`twice ${id}`));
  let level = 0;
  for (const e of document.querySelectorAll('h1, h2, h3')) {
    const next = Number(e.nodeName[1]);
    if (next > level + 1) wrong.push(`heading ${e.textContent}`);
    level = next;
  }
  for (const a of document.querySelectorAll('a[href^="/ui/"]'))
    if (a.getAttribute('href').includes('undefined')) wrong.push(a.outerHTML);
  return wrong;
}"""

# Text against what it stands on, as WCAG 2.1 counts it: 4.5 to 1, or 3 to 1 where it is large.
CONTRAST = """() => {
  const parse = (text) => {
    const numbers = text.match(/[\\d.]+/g).map(Number);
    const scale = text.startsWith('color(') ? 255 : 1;
    return [...numbers.slice(0, 3).map((n) => n * scale), numbers[3] ?? 1];
  };
  const over = ([r, g, b, a], back) => [r, g, b].map((c, i) => c * a + back[i] * (1 - a));
  const back = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      layers.unshift(colour);
      if (colour[3] === 1) break;
    }
    return layers.reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const light = (c) => c.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const wrong = new Set();
  for (const e of document.querySelectorAll('body *')) {
    const text = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data).join('').trim();
    const style = getComputedStyle(e);
    if (!text || e.disabled || !e.checkVisibility() || e.closest('.unseen, .skip, option')) continue;
    const on = back(e);
    const [a, b] = [light(over(parse(style.color), on)), light(on)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.6 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least) wrong.add(`${ratio.toFixed(2)} ${e.className} ${text.slice(0, 30)}`);
  }
  return [...wrong];
}"""
