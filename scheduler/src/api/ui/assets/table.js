// Tables that become cards where there is no room.

import { h } from './dom.js';
import { empty } from './parts.js';
import { number } from './words.js';

/**
 * Of very many items those that matter most, by `rank` (the lowest first), and a button that shows all. `shown` is the
 * screen, which remembers that they were asked for.
 */
export function few(what, items, rank, shown, most = 200) {
  const key = `all ${what}`;
  if (items.length <= most || shown.kept[key]) return [items, undefined];
  const first = [...items].sort((a, b) => rank(a) - rank(b)).slice(0, most);
  const all = () => { shown.kept[key] = true; shown.draw(); };
  return [first, h('p', { class: 'note' }, `${number(most)} of ${number(items.length)} ${what} are shown, those that need a look first. `,
    h('button', { type: 'button', class: 'quiet', onclick: all }, 'Show all'))];
}

/**
 * A table. `columns`: `{ head, cell(item), num, wide, soft }`; the first one names its row. `key(item)` tells a row from
 * others when the table is drawn again; `tone(item)` marks it.
 */
export function table(caption, columns, items, { key, tone, nothing = 'There is nothing here.' } = {}) {
  if (!items.length) return empty(nothing);
  const shown = columns.filter(Boolean);
  const kind = (column) => [column.num && 'num', column.wide && 'wide', column.soft && 'soft'].filter(Boolean).join(' ') || undefined;
  // Where rows are laid out as cards, only the roles still say that it is a table.
  return h('div', { class: 'table' }, h('table', { role: 'table' },
    h('caption', { class: 'unseen' }, caption),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, shown.map((column) =>
      h('th', { scope: 'col', role: 'columnheader', class: kind(column) }, column.head)))),
    h('tbody', { role: 'rowgroup' }, items.map((item) =>
      h('tr', { role: 'row', class: tone?.(item), 'data-key': key?.(item) }, shown.map((column, index) =>
        h(index ? 'td' : 'th', { role: index ? 'cell' : 'rowheader', scope: index ? undefined : 'row', class: kind(column), 'data-label': column.head },
          h('span', { class: 'value' }, column.cell(item)))))))));
}
