// Pieces that the screens are made of.

import { path } from './api.js';
import { h, say } from './dom.js';
import { ago, instant, plain, short, size, span } from './words.js';

// Each tone has a form of its own beside its colour.
const MARKS = { ok: '●', warn: '▲', bad: '■', busy: '◐', calm: '○' };

/** A state: a mark and a word. */
export function badge(word, tone = 'calm') {
  return h('span', { class: `badge ${tone}` }, h('span', { 'aria-hidden': 'true', class: 'mark' }, MARKS[tone]), plain(word));
}

const TONES = {
  ok: 'ok', degraded: 'warn', down: 'bad', late: 'bad',
  complete: 'ok', covering: 'warn', incomplete: 'bad', dead: 'bad', expired: 'calm',
  succeeded: 'ok', failed: 'bad', running: 'busy', queued: 'calm', paused: 'warn', cancelling: 'busy',
  cancelled: 'calm', abandoning: 'busy', abandoned: 'bad',
  done: 'ok', open: 'busy', waiting: 'calm', stopped: 'calm', ready: 'calm', dispatched: 'busy',
  live: 'ok', silent: 'bad', refused: 'bad', no_worker: 'bad', partial: 'warn', problems: 'bad',
};

export const state = (word) => badge(word, TONES[word] ?? 'calm');

/** A job's state, and how it ended where that is not the same. */
export function jobState(job) {
  if (job.state === 'succeeded' && job.result && job.result !== 'ok') {
    return badge(job.result === 'partial' ? 'done, nodes missing' : 'done, found problems', TONES[job.result]);
  }
  return state(job.state);
}

/** An instant and how long ago it was. */
export function time(at, { only } = {}) {
  if (!at) return none();
  const full = `${instant(at, true)} UTC`;
  if (only === 'age') return h('time', { datetime: at, title: full }, ago(at));
  return h('time', { datetime: at, title: full }, instant(at), ' ', h('span', { class: 'dim' }, ago(at)));
}

export function none(text) {
  return h('span', { class: text ? 'dim' : 'dim nil' }, text ?? '–');
}

export function link(href, ...text) {
  return h('a', { href }, ...text);
}

export const clusterLink = (name) => link(path`/ui/clusters/${name}`, name);
export const backupLink = (cluster, name) => link(path`/ui/clusters/${cluster}/backups/${name}`, name);
export const jobLink = (id, text = short(id)) => h('a', { href: path`/ui/jobs/${id}`, class: 'mono', title: id }, text);
export const policyLink = (cluster, name) => link(`${path`/ui/clusters/${cluster}`}#policies`, name);

/** What a token, a policy or a person is called who asked for a job. */
export function by(job) {
  if (job.policy && job.cluster) return ['policy ', policyLink(job.cluster, job.policy)];
  return job.requested_by;
}

/** A command with a button that copies it. */
export function command(text) {
  const copy = async (event) => {
    try {
      await navigator.clipboard.writeText(text);
      say('Copied');
    } catch {
      // Allowed over HTTPS alone: then it is marked, to be copied by hand.
      getSelection().selectAllChildren(event.target.previousSibling);
      say('The command is marked');
    }
  };
  return h('span', { class: 'command' }, h('code', {}, text), h('button', { type: 'button', class: 'quiet', onclick: copy, 'aria-label': `Copy ${text}` }, 'Copy'));
}

/** A section with its heading. */
export function section(title, { id, note, tools } = {}, ...content) {
  return h('section', { id, 'data-key': id ?? title, 'aria-labelledby': `${id ?? slug(title)}-title` },
    h('div', { class: 'section-head' }, h('h2', { id: `${id ?? slug(title)}-title` }, title), tools),
    note && h('p', { class: 'note' }, note), ...content);
}

const slug = (title) => title.toLowerCase().replace(/[^a-z0-9]+/g, '-');

/** Names and values, side by side. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== null && value !== false);
  return h('dl', { class: 'facts' }, shown.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}

/** A figure with what it counts; a link where it leads somewhere. */
export function tile(figure, label, { tone, href, current, note } = {}) {
  const inner = [
    h('span', { class: 'figure' }, tone && h('span', { 'aria-hidden': 'true', class: `mark ${tone}` }, MARKS[tone], ' '), figure),
    h('span', { class: 'label' }, label), note && h('span', { class: 'note' }, note)];
  if (!href) return h('div', { class: 'tile' }, inner);
  return h('a', { class: 'tile', href, 'aria-current': current ? 'true' : undefined }, inner);
}

export const tiles = (...content) => h('div', { class: 'tiles' }, content);

/** A failure with what was done and what to do. */
export function trouble(error, tone = 'bad') {
  return h('div', { class: `trouble ${tone}` },
    h('p', {}, h('span', { class: 'mark', 'aria-hidden': 'true' }, MARKS[tone], ' '), error.code && h('code', {}, error.code), error.code && ' ', error.message),
    error.next && h('p', { class: 'next' }, 'Next: ', /^ringvault /.test(error.next) ? command(error.next) : error.next));
}

/** Something in words where there is nothing to show. */
export const empty = (...text) => h('p', { class: 'empty' }, ...text);

/** How far something is. */
export function bar(done, total, label) {
  const known = total > 0;
  const percent = known ? Math.min(100, Math.floor((done / total) * 100)) : undefined;
  return h('span', { class: 'bar' },
    h('progress', { max: '100', value: percent, 'aria-label': label }), h('span', { class: 'num' }, known ? `${percent}%` : '…'));
}

/** `23.4 of 38.1 GiB`. */
export const bytesOf = (done, total) => (total ? `${size(done)} of ${size(total)}` : done ? size(done) : '');

/** `RPO` words: within, or how late. */
export function rpo(cluster) {
  if (cluster.rpo === 'none') return none('no target');
  const target = span(cluster.rpo_target_seconds).replace(' 00m', '');
  return cluster.rpo === 'ok' ? badge(`within ${target}`, 'ok') : badge(`late, target ${target}`, 'bad');
}

/** A choice of filters as links: `choices` are pairs of value and word. */
export function choice(label, choices, chosen, href) {
  return h('nav', { class: 'choice', 'aria-label': label }, choices.map(([value, word]) =>
    h('a', { href: href(value), 'aria-current': (value ?? '') === (chosen ?? '') ? 'true' : undefined }, word)));
}
