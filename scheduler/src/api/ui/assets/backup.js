// One backup: what it holds, whether that was looked at, and what keeps it.

import { get, path, post, query, remove } from './api.js';
import { verified } from './cluster.js';
import { ask, field, select } from './dialog.js';
import { h } from './dom.js';
import { badge, by, clusterLink, empty, facts, jobLink, link, none, section, state, time } from './parts.js';
import { few, table } from './table.js';
import { count, number, size } from './words.js';

export const every = 20;
export const title = (params) => params.backup;
export const command = (params) => `ringvault backup show -c ${params.cluster} ${params.backup}`;

export async function load({ cluster, backup }, signal) {
  return get(path`/v1/clusters/${cluster}/backups/${backup}`, signal);
}

const isSealed = (b) => ['complete', 'covering', 'incomplete'].includes(b.state);

export function actions(b, shown) {
  const buttons = [];
  if (shown.may('operator') && isSealed(b)) {
    buttons.push(link(`/ui/restore${query({ cluster: b.cluster, backup: b.name })}`, 'Restore…'));
    buttons.push(h('button', { type: 'button', onclick: () => verify(b, shown) }, 'Verify…'));
    buttons.push(h('button', { type: 'button', onclick: () => hold(b, shown) }, 'Hold…'));
  }
  if (shown.may('admin') && isSealed(b)) buttons.push(h('button', { type: 'button', class: 'danger', onclick: () => purge(b, shown) }, 'Delete…'));
  return buttons.length ? h('div', { class: 'buttons' }, buttons) : undefined;
}

function verify(b, shown) {
  ask({
    title: `Verify ${b.name}`,
    text: 'Workers of the cluster look at the vault. Nothing in it changes, but that damage is marked.',
    fields: [field('How deep', select('level', [['presence', 'presence: every object is there, with its size'], ['digest', 'digest: every byte against its hash'], ['sstable', 'sstable: also each SSTable’s own structure']], 'digest'))],
    button: 'Verify', same: `ringvault verify run ${b.name} -c ${b.cluster} --level digest`,
    act: async (form, key) => path`/ui/jobs/${(await post('/v1/verifications', { cluster: b.cluster, backup: b.name, level: form.elements.level.value }, key)).job}`,
    done: (where) => shown.go(where),
  });
}

function hold(b, shown) {
  ask({
    title: `Hold ${b.name}`,
    text: 'While it is held nothing takes it away, whatever a retention says.',
    fields: [field('Name', h('input', { name: 'hold', required: true, maxlength: '128', autocomplete: 'off' }), 'Such as the number of a case.'), field('Why', h('input', { name: 'reason', required: true, maxlength: '1000', autocomplete: 'off' }))],
    button: 'Hold', same: `ringvault hold set ${b.name} -c ${b.cluster} --name NAME --reason WHY`,
    act: async (form) => post('/v1/holds', { cluster: b.cluster, backup: b.name, name: form.elements.hold.value, reason: form.elements.reason.value }),
    done: () => shown.read(),
  });
}

function release(b, held, shown) {
  ask({
    title: `Release the hold ${held.name}`,
    text: `Set by ${held.set_by}: ${held.reason ?? ''}`,
    fields: [field('Why it may go', h('input', { name: 'reason', required: true, maxlength: '1000', autocomplete: 'off' }))],
    button: 'Release', same: `ringvault hold release ${b.name} -c ${b.cluster} --name ${held.name} --reason WHY`,
    act: async (form) => remove('/v1/holds', { cluster: b.cluster, backup: b.name, name: held.name, reason: form.elements.reason.value }),
    done: () => shown.read(),
  });
}

function purge(b, shown) {
  ask({
    title: `Delete ${b.name}`,
    text: 'A purge takes it from the vault: it can never be restored again. Objects that other backups name stay.',
    confirm: b.name, button: 'Delete', danger: true, same: `ringvault backup delete ${b.name} -c ${b.cluster} --confirm ${b.name}`,
    act: async (_form, key) => path`/ui/jobs/${(await remove(path`/v1/clusters/${b.cluster}/backups/${b.name}`, undefined, key)).job}`,
    done: (where) => shown.go(where),
  });
}

export function draw(b, shown) {
  const f = b.figures;
  const [nodes, more] = few('nodes', b.nodes, (n) => (n.held ? 1 : 0), shown);
  const selection = [...(b.selection.keyspaces ?? []), ...(b.selection.tables ?? [])];
  return [
    b.remarks?.length > 0 && h('ul', { class: 'remarks', 'data-key': 'remarks' }, b.remarks.map((text) => h('li', {}, badge(b.state, 'warn'), ' ', text))),
    facts([
      ['Cluster', clusterLink(b.cluster)],
      ['State', [state(b.state), b.tainted && [' ', badge('tainted: taken during a restore', 'warn')]]],
      ['Holds the instant', time(b.started_at)],
      ['Sealed', b.sealed_at ? time(b.sealed_at) : 'not yet'],
      ['Verified', verified(b.verified)],
      ['Nodes', `${f.nodes_held} of ${f.nodes_total}`],
      ['Size', f.bytes ? [size(f.bytes), h('span', { class: 'dim' }, ` in ${count(f.sstables, 'SSTable')}, ${count(f.files, 'file')}`)] : none()],
      ['New in the vault', f.bytes_new ? [size(f.bytes_new), h('span', { class: 'dim' }, ` in ${count(f.objects_new, 'object')}`)] : none()],
      ['Of', selection.length ? selection.join(', ') : 'everything'],
      ['Mode', b.mode],
      ['Made by', [jobLink(b.job), b.policy && [', ', ...[by({ policy: b.policy, cluster: b.cluster })].flat()]]],
      ['Locked until', b.locked_until && time(b.locked_until)],
      ['Labels', b.tags && Object.entries(b.tags).map(([k, v]) => `${k}=${v}`).join(', ')],
    ]),
    section('Holds', {}, table('Holds', [
      { head: 'Hold', cell: (x) => (x.kind === 'job' ? jobLink(x.name) : x.name) },
      { head: 'By', cell: (x) => x.set_by },
      { head: 'Since', cell: (x) => time(x.set_at) },
      { head: 'Why', wide: true, cell: (x) => x.reason ?? (x.kind === 'job' ? 'the job is not over' : none()) },
      shown.may('admin') && { head: 'Do', cell: (x) => (x.kind === 'legal' ? h('button', { type: 'button', class: 'quiet', onclick: () => release(b, x, shown) }, 'Release…') : none()) },
    ], b.held_by, { key: (x) => x.name, nothing: 'Nothing holds it: a retention may take it away.' })),
    section('Nodes', {}, table('Nodes', [
      { head: 'Node', cell: (n) => h('span', { class: 'mono', title: n.host_id }, n.address || n.host_id.slice(0, 8)) },
      { head: 'In it', cell: (n) => badge(n.held ? 'yes' : 'no', n.held ? 'ok' : 'bad') },
      { head: 'Snapshot', cell: (n) => time(n.snapshot_at) },
      { head: 'SSTables', num: true, cell: (n) => number(n.sstables) },
      { head: 'Size', num: true, cell: (n) => size(n.bytes) },
      { head: 'New', num: true, cell: (n) => size(n.bytes_new) },
    ], nodes, { key: (n) => n.host_id, nothing: 'Which nodes it holds is not known here.' }), more),
    b.coverage && section('Coverage by keyspace', {}, table('Coverage', [
      { head: 'Keyspace', cell: ([name]) => name },
      { head: 'Ranges held', cell: ([, k]) => [badge(k.held === k.ranges ? 'all' : 'some', k.held === k.ranges ? 'ok' : 'bad'), ` ${number(k.held)} of ${number(k.ranges)}`] },
      { head: 'Fewest replicas', num: true, cell: ([, k]) => number(k.fewest_replicas) },
    ], Object.entries(b.coverage.keyspaces), { key: ([name]) => name, nothing: 'It has no keyspace that is spread over the ring.' })),
    section('Verifies', {}, b.verifications.length ? table('Verifies', [
      { head: 'When', cell: (v) => time(v.at) },
      { head: 'Level', cell: (v) => v.level },
      { head: 'Found', cell: (v) => badge(v.damaged ? `${number(v.damaged)} damaged` : 'whole', v.damaged ? 'bad' : 'ok') },
      { head: 'Job', cell: (v) => (v.job ? jobLink(v.job) : none()) },
    ], b.verifications, { key: (v) => v.job ?? v.at }) : empty('It has not been verified.')),
  ];
}
