// A calendar of recovery points: a square a day, a column a week. One stop of the tab key; arrows move in it.

import { query } from './api.js';
import { h } from './dom.js';
import { count, dayOf, now } from './words.js';

const DAY = 86400000;
const NAMES = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** What a day is worth: its tone, its mark, and in words. */
export function worth(day) {
  if (!day) return ['empty', '', 'no backup'];
  const points = day.points;
  const has = (state) => points.some((point) => point.state === state);
  const damaged = points.some((point) => point.verified?.damaged);
  if (day.restorable) {
    const whole = points.some((point) => point.state === 'complete' && !point.tainted && !point.verified?.damaged);
    const verified = points.some((point) => point.verified && !point.verified.damaged);
    const words = `${count(day.restorable, 'recovery point')}${verified ? ', verified' : ''}${damaged ? ', one damaged' : ''}`;
    if (damaged) return ['bad', '!', words];
    return whole ? ['ok', verified ? '✓' : '●', words] : ['warn', '◐', `${words}, nodes missing`];
  }
  if (has('running')) return ['busy', '…', 'a backup is under way'];
  if (has('incomplete')) return ['bad', '◔', 'incomplete: cannot be restored whole'];
  if (points.some((point) => point.tainted)) return ['warn', '~', 'taken during a restore: does not count'];
  if (has('dead')) return ['bad', '×', 'the backup failed'];
  return ['gone', '·', 'expired'];
}

/** The calendar; `href(day)` is where a day leads, `chosen` the day that is open. */
export function grid(calendar, chosen, base) {
  const byDay = new Map(calendar.days.map((day) => [day.day, day]));
  const last = new Date(Math.min(now(), Date.parse(calendar.to)));
  const end = Date.UTC(last.getUTCFullYear(), last.getUTCMonth(), last.getUTCDate());
  const from = new Date(calendar.from);
  const first = Date.UTC(from.getUTCFullYear(), from.getUTCMonth(), from.getUTCDate());
  const monday = (t) => t - ((new Date(t).getUTCDay() + 6) % 7) * DAY;
  const weeks = [];
  for (let week = monday(first); week <= end; week += 7 * DAY) weeks.push(week);
  const open = chosen ?? dayOf(new Date(end));
  const cell = (t) => {
    if (t < first || t > end) return h('td', { role: 'gridcell' });
    const day = dayOf(new Date(t));
    const [tone, mark, words] = worth(byDay.get(day));
    return h('td', { role: 'gridcell', 'data-key': day }, h('a', {
      href: `${base}${query({ day })}#day`, class: `day ${tone}`, 'data-day': day, tabindex: day === open ? '0' : '-1',
      title: `${day}: ${words}`, 'aria-label': `${day}: ${words}`, 'aria-current': day === chosen ? 'date' : undefined }, mark));
  };
  let month;
  const heads = weeks.map((week) => {
    const name = MONTHS[new Date(week + 6 * DAY).getUTCMonth()];
    const fresh = name !== month;
    month = name;
    return h('th', { scope: 'col', role: 'columnheader' }, h('span', { class: 'unseen' }, `week of ${dayOf(new Date(week))}`), h('span', { 'aria-hidden': 'true' }, fresh ? name : ''));
  });
  return h('div', { class: 'calendar', 'data-key': 'calendar' }, h('table', { role: 'grid', 'aria-label': 'Recovery points by day, in UTC', onkeydown: move },
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, h('td', {}), heads)),
    h('tbody', { role: 'rowgroup' }, NAMES.map((name, index) => h('tr', { role: 'row' },
      h('th', { scope: 'row', role: 'rowheader' }, h('span', { class: 'unseen' }, name), h('span', { 'aria-hidden': 'true' }, index % 2 ? '' : name.slice(0, 3))),
      weeks.map((week) => cell(week + index * DAY)))))));
}

function move(event) {
  const at = event.target.dataset.day;
  const step = { ArrowLeft: -7, ArrowRight: 7, ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!at || !step) return;
  const to = event.currentTarget.querySelector(`[data-day="${dayOf(new Date(Date.parse(at) + step * DAY))}"]`);
  event.preventDefault();
  if (!to) return;
  event.target.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
}

/** What the marks mean. */
export function legend() {
  const marks = [['ok', '✓', 'verified'], ['ok', '●', 'restorable'], ['warn', '◐', 'nodes missing, still whole'], ['bad', '◔', 'incomplete'], ['bad', '×', 'failed'], ['gone', '·', 'expired'], ['empty', '', 'none']];
  return h('ul', { class: 'legend', 'aria-label': 'What the marks mean' }, marks.map(([tone, mark, word]) =>
    h('li', {}, h('span', { class: `day ${tone}`, 'aria-hidden': 'true' }, mark), word)));
}
