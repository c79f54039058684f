// Jobs: what is stuck, where, why?

import { get, query } from './api.js';
import { ofJob } from './cluster.js';
import { h } from './dom.js';
import { badge, bar, by, bytesOf, choice, clusterLink, command, jobLink, jobState, none, section, time } from './parts.js';
import { table } from './table.js';
import { count, number, plain, span } from './words.js';

export const every = 5;
export const title = () => 'Jobs';
export { same as command };
const same = (params) => `ringvault job list${params.cluster ? ` -c ${params.cluster}` : ''}`;

const KINDS = [['', 'every kind'], ['backup', 'backup'], ['verify', 'verify'], ['restore', 'restore'], ['purge', 'purge'], ['drill', 'drill'], ['digest', 'digest']];
const STATES = [['', 'any state'], ['succeeded', 'succeeded'], ['failed', 'failed'], ['cancelled', 'cancelled'], ['abandoned', 'abandoned']];

export async function load(params, signal, shown) {
  const { cluster, kind, state } = params;
  const limit = shown.kept.limit ?? 50;
  const [open, past] = await Promise.all([
    get(`/v1/jobs/open${query({ cluster, limit: 200 })}`, signal),
    get(`/v1/jobs${query({ cluster, kind, state, limit })}`, signal)]);
  return { open, past };
}

/** Why it does not go on; undefined where it does. */
export function stuck(job) {
  if (job.state === 'failed') return job.error ?? { message: 'it failed' };
  if (job.waiting_for) return job.waiting_for;
  if (job.state === 'paused') return { message: 'it is paused, by somebody or outside its window' };
  return undefined;
}

function where(job) {
  if (job.state === 'failed' || !job.waiting_for) return none();
  return [job.waiting_node && h('span', { class: 'mono' }, job.waiting_node), job.tasks_retrying > 1 && ` and ${number(job.tasks_retrying - 1)} more`];
}

const common = [
  { head: 'Job', cell: (j) => jobLink(j.id) },
  { head: 'Cluster', cell: (j) => clusterLink(j.cluster) },
  { head: 'Does', cell: (j) => (j.plan_only ? 'restore plan' : j.kind) },
];

const stage = (j) => (j.stage && j.stage_number ? `${plain(j.stage)} (${j.stage_number} of ${j.stages})` : none('not begun'));

function progress(j) {
  const bytes = bytesOf(j.bytes_done, j.bytes_total);
  return [bar(j.bytes_total ? j.bytes_done : j.tasks_done, j.bytes_total || j.tasks, `${j.kind} of ${j.cluster}`), ' ', h('span', { class: 'dim' }, bytes || `${j.tasks_done} of ${count(j.tasks, 'task')}`)];
}

export function draw({ open, past }, shown) {
  const { cluster, kind, state } = shown.params;
  const href = (fields) => `/ui/jobs${query({ cluster, kind, state, ...fields })}`;
  const held = open.items.filter(stuck);
  const going = open.items.filter((job) => !stuck(job));
  return [
    cluster && h('p', { class: 'note', 'data-key': 'of' }, 'Of ', clusterLink(cluster), ' alone. ', h('a', { href: href({ cluster: '' }) }, 'Of all clusters')),
    section('Need a look', { id: 'stuck', note: 'Failed, paused, or waiting for something to be mended.' }, table('Jobs that need a look', [
      ...common,
      { head: 'State', cell: (j) => (j.waiting_for && j.state === 'running' ? badge('waits', 'warn') : jobState(j)) },
      { head: 'Stage', cell: stage },
      { head: 'Where', cell: where },
      { head: 'Since', cell: (j) => time(j.ended_at ?? j.waiting_since ?? j.created_at, { only: 'age' }) },
      { head: 'Why', wide: true, cell: (j) => why(stuck(j)) },
    ], held, { key: (j) => j.id, nothing: 'Nothing is stuck.' })),
    section('Under way', { id: 'open' }, table('Jobs under way', [
      ...common,
      { head: 'State', cell: jobState },
      { head: 'Stage', cell: stage },
      { head: 'Progress', cell: (j) => (j.state === 'queued' ? none('waits for its turn') : progress(j)) },
      { head: 'Heard', cell: (j) => time(j.heard_at, { only: 'age' }) },
      { head: 'Since', cell: (j) => time(j.started_at ?? j.created_at, { only: 'age' }) },
      { head: 'By', soft: true, cell: by },
    ], going, { key: (j) => j.id, nothing: 'Nothing is under way.' }),
    open.next_cursor && h('p', { class: 'note' }, 'There are more than 200: choose a cluster.')),
    section('Lately', { id: 'past' },
      h('div', { class: 'filters' }, choice('Kind', KINDS, kind, (value) => href({ kind: value })), choice('State', STATES, state, (value) => href({ state: value }))),
      table('Jobs, the newest first', [
        ...common,
        { head: 'State', cell: jobState },
        { head: 'Asked for', cell: (j) => time(j.created_at) },
        { head: 'Took', num: true, cell: (j) => (j.started_at && j.ended_at ? span((Date.parse(j.ended_at) - Date.parse(j.started_at)) / 1000) : none()) },
        { head: 'By', soft: true, cell: by },
        { head: 'Backup', wide: true, cell: (j) => (j.backup ? ofJob(j) : none()) },
      ], past.items, { key: (j) => j.id, nothing: 'No job is like that.' }),
      past.next_cursor && h('p', {}, h('button', { type: 'button', onclick: () => { shown.kept.limit = Math.min(1000, (shown.kept.limit ?? 50) + 100); shown.read(); } }, 'Show older'))),
  ];
}

/** An error in a few words, with what to do. */
export function why(error) {
  return [error.code && h('code', {}, error.code), error.code && ' ', error.message, error.next && [h('br', {}), h('span', { class: 'dim' }, 'Next: '), /^ringvault /.test(error.next) ? command(error.next) : error.next]];
}
