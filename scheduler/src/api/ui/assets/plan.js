// What a restore will do, and what it has done.

import { path, post } from './api.js';
import { ask } from './dialog.js';
import { h } from './dom.js';
import { badge, command, facts, none, section } from './parts.js';
import { few, table } from './table.js';
import { count, number, size } from './words.js';

/** Whether what is there is taken away, which is confirmed by the target's name. */
const takesAway = (spec) => Boolean(spec.truncate || spec.offline);

/** What is lost, in words. */
function loss(spec) {
  if (spec.offline) return `Nodes of ${spec.target} are stopped, and what the backup holds is put in place of all that they hold. From then on the restore can only go on, not back.`;
  if (spec.truncate) return `Every selected table of ${spec.target} is emptied, once everything is downloaded and checked. From then on the restore can only go on, not back.`;
  return `The backup’s rows are added to those that are in ${spec.target}; nothing is emptied.`;
}

/** The command that asks for the same restore. */
export function words(spec, verb) {
  const s = spec.selection ?? {};
  const parts = [`ringvault restore ${verb} --from ${spec.backup} --to ${spec.target}`];
  if (spec.source !== spec.target) parts.push(`-c ${spec.source}`);
  for (const k of s.keyspaces ?? []) parts.push(`--keyspace ${k}`);
  for (const t of s.tables ?? []) parts.push(`--table ${t}`);
  for (const t of s.exclude ?? []) parts.push(`--exclude ${t}`);
  for (const [old, name] of Object.entries(spec.rename ?? {})) parts.push(`--rename ${old}=${name}`);
  for (const [old, names] of Object.entries(spec.dc_map ?? {})) for (const name of names) parts.push(`--dc-map ${old}=${name}`);
  if (spec.method && spec.method !== 'auto') parts.push(`--method ${spec.method}`);
  if (spec.skip_schema) parts.push('--skip-schema');
  if (spec.with_auth) parts.push('--with-auth');
  if (spec.truncate) parts.push('--truncate');
  if (spec.offline) parts.push('--offline');
  for (const node of spec.nodes ?? []) parts.push(`--node ${node}`);
  if (spec.keep_old) parts.push('--keep-old');
  if (takesAway(spec) && verb === 'run') parts.push(`--confirm=${spec.target}`);
  return parts.join(' ');
}

/** Asks, and runs the restore of this specification. */
export function run(spec, shown) {
  const { kind: _kind, plan_only: _plan, ...wanted } = spec;
  ask({
    title: `Restore into ${spec.target}?`,
    text: [loss(spec)],
    confirm: takesAway(spec) ? spec.target : undefined,
    button: 'Restore', danger: takesAway(spec), same: words(spec, 'run'),
    act: async (_form, key) => path`/ui/restore/${(await post('/v1/restores', { ...wanted, confirm: takesAway(spec) ? spec.target : undefined }, key)).job}`,
    done: (where) => shown.go(where),
  });
}

const lines = (texts, tone, word) => texts.map((text) => h('li', {}, badge(word, tone), ' ', text));

/** The plan of a restore. */
export function draw(job, shown) {
  const { plan, preflight } = job.outcome;
  const rooms = new Map((preflight ?? []).map((one) => [one.host_id, one]));
  const blockers = [...plan.blockers, ...(preflight ?? []).flatMap((one) => one.blockers)];
  const bytes = plan.nodes.reduce((sum, node) => sum + node.bytes, 0);
  const files = plan.nodes.reduce((sum, node) => sum + node.files, 0);
  const received = plan.nodes.reduce((sum, node) => sum + (node.receives ?? 0), 0);
  const needed = [...rooms.values()].reduce((sum, one) => sum + one.disk_needed, 0);
  const free = [...rooms.values()].reduce((sum, one) => sum + one.disk_free, 0);
  const [nodes, more] = few('nodes of the plan', plan.nodes, (node) => -node.bytes, shown);
  const isPlan = job.spec.plan_only;
  const ready = isPlan && job.state === 'succeeded' && !blockers.length;
  return section('The plan', { id: 'plan' },
    facts([
      ['Method', [`${plan.method}: `, plan.reason]],
      ['Nodes', `${number(plan.source_nodes)} in the backup, ${number(plan.nodes.length)} to restore to`],
      ['Tables', number(plan.tables)],
      ['Under other names', Object.entries(job.spec.rename ?? {}).map(([old, name]) => `${old} as ${name}`).join(', ') || false],
      ['Data centers', Object.entries(job.spec.dc_map ?? {}).map(([old, names]) => `${old} as ${names.join(' and ')}`).join(', ') || false],
      ['Download', `${size(bytes)} in ${count(files, 'file')}`],
      ['Stream', received > 0 && `about ${size(received)} from node to node`],
      ['Disk', rooms.size > 0 && [badge(needed <= free ? 'fits' : 'too little', needed <= free ? 'ok' : 'bad'), ` needs ${size(needed)}, free ${size(free)}`]],
    ]),
    h('ul', { class: 'remarks', 'aria-label': 'What the plan found' }, lines([...new Set(blockers)], 'bad', 'blocker'), lines(plan.warnings, 'warn', 'warning'), lines(plan.checks, 'ok', 'checked')),
    ready && h('p', { class: 'ready' }, shown.may('operator')
      ? h('button', { type: 'button', class: job.spec.truncate ? 'danger' : 'primary', onclick: () => run(job.spec, shown) }, 'Run this restore…')
      : 'An operator can run it: ', !shown.may('operator') && command(words(job.spec, 'run'))),
    isPlan && blockers.length > 0 && h('p', { class: 'note' }, 'It cannot run like this. Remove what blocks it, or ask for another plan: ', h('a', { href: again(job.spec) }, 'change it')),
    table('By node', [
      { head: 'Node', cell: (node) => h('span', { class: 'mono', title: node.host_id }, node.address || node.host_id.slice(0, 8)) },
      { head: 'SSTables', num: true, cell: (node) => number(node.sstables) },
      { head: 'Files', num: true, cell: (node) => number(node.files) },
      { head: 'Download', num: true, cell: (node) => size(node.bytes) },
      { head: 'Needs', num: true, cell: (node) => (rooms.has(node.host_id) ? size(rooms.get(node.host_id).disk_needed) : none()) },
      { head: 'Free', num: true, cell: (node) => (rooms.has(node.host_id) ? size(rooms.get(node.host_id).disk_free) : none()) },
    ], nodes, { key: (node) => node.host_id, nothing: 'No node takes part.' }), more);
}

/** Where the form is that asks for another plan. */
export function again(spec) {
  const s = spec.selection ?? {};
  return `/ui/restore?${new URLSearchParams({ cluster: spec.source, backup: spec.backup, target: spec.target, keyspaces: (s.keyspaces ?? []).join(' '), tables: (s.tables ?? []).join(' '), rename: Object.entries(spec.rename ?? {}).map((pair) => pair.join('=')).join(' '), dc_map: Object.entries(spec.dc_map ?? {}).flatMap(([old, names]) => names.map((name) => `${old}=${name}`)).join(' ') })}`;
}

/** What a restore brought back, and whether it matched. */
export function restored(job) {
  const r = job.outcome.restored;
  const over = job.state === 'succeeded';
  return section('Did it match?', { id: 'outcome' },
    facts([
      ['Verdict', !over ? badge('not over yet', 'busy') : r.problems.length ? badge(count(r.problems.length, 'problem'), 'bad') : badge('yes', 'ok')],
      ['Handed to Cassandra', `${count(r.sstables, 'SSTable')}, ${size(r.bytes)}`],
      ['Downloaded and checked by hash', size(r.bytes_downloaded)],
      ['Rows read back', number(r.rows_read)],
      ['Created', r.created.length ? r.created.join(', ') : 'nothing: the schema was there'],
    ]),
    r.problems.length > 0 && h('ul', { class: 'remarks' }, lines(r.problems, 'bad', 'problem')));
}
