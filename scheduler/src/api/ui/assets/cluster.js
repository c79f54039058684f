// Cluster: what can I restore, to when?

import { get, path, post, query } from './api.js';
import { grid, legend } from './calendar.js';
import { ask, field, select } from './dialog.js';
import { h } from './dom.js';
import { backupLink, badge, clusterLink, empty, facts, jobLink, jobState, link, none, section, state, time } from './parts.js';
import { few, table } from './table.js';
import { count, dayOf, number, plain, retention, size, span } from './words.js';

export const every = 20;
// Another day of the same calendar.
export const asksTheSame = true;
export const title = (params) => params.cluster ?? 'Clusters';
export const command = (params) => (params.cluster ? `ringvault cluster show ${params.cluster}` : 'ringvault cluster list');

let last;

export async function load(params, signal) {
  const name = params.cluster;
  if (!name) {
    const list = await get('/v1/clusters?limit=1000', signal);
    const names = list.items.map((item) => item.cluster);
    const to = names.includes(last) ? last : names.length === 1 ? names[0] : undefined;
    return to && !('all' in params) ? { redirect: path`/ui/clusters/${to}` } : { list };
  }
  const of = path`/v1/clusters/${name}`;
  const [cluster, calendar, coverage, policies, open, status] = await Promise.all([
    get(of, signal), get(`${of}/calendar`, signal), get(`${of}/coverage`, signal), get('/v1/policies?limit=1000', signal),
    get(`/v1/jobs/open${query({ cluster: name, limit: 20 })}`, signal), get(`/v1/jobs${query({ cluster: name, limit: 8 })}`, signal)]);
  last = name;
  return { cluster, calendar, coverage, policies: policies.items.filter((item) => item.policy.cluster === name), open: open.items, jobs: status.items };
}

export function actions(data, shown) {
  if (!data.cluster || !shown.may('operator')) return undefined;
  const name = data.cluster.cluster;
  return h('div', { class: 'buttons' },
    h('button', { type: 'button', class: 'primary', onclick: () => backUp(name, shown) }, 'Back up now…'),
    link(`/ui/restore${query({ cluster: name })}`, 'Restore…'));
}

export function backUp(cluster, shown) {
  ask({
    title: `Back up ${cluster}`,
    text: 'Every node takes a snapshot and uploads what the vault does not have yet. Nothing on the nodes changes.',
    fields: [
      field('Coverage', select('coverage', [['all', 'every node'], ['quorum', 'a majority of each range'], ['one', 'one replica of each range']], 'all'), 'What it must hold of the ring to succeed.'),
      field('Mode', select('mode', [['incremental', 'incremental: upload what is new'], ['full', 'full: upload everything']], 'incremental'))],
    button: 'Back up', same: `ringvault backup create -c ${cluster}`,
    act: async (form, key) => {
      const { job } = await post('/v1/backups', { cluster, coverage: form.elements.coverage.value, mode: form.elements.mode.value }, key);
      return path`/ui/jobs/${job}`;
    },
    done: (where) => shown.go(where),
  });
}

export function draw(data, shown) {
  if (data.list) return list(data.list);
  const { cluster, calendar, coverage } = data;
  const name = cluster.cluster;
  const days = new Map(calendar.days.map((day) => [day.day, day]));
  const chosen = shown.params.day ?? calendar.days.at(-1)?.day;
  return [
    facts([
      ['Can be restored to', cluster.last_good ? lastGood(data) : badge('nothing', 'bad')],
      ['Backups kept', number(cluster.backups)],
      ['Nodes', [`${number(cluster.nodes)}, `, h('span', { class: cluster.workers_live < cluster.nodes ? 'stale' : undefined }, `${cluster.workers_live} with a live worker`)]],
      ['Data centers', cluster.dcs.join(', ') || '–'],
      ['Cassandra', cluster.cassandra_versions.join(', ') || '–'],
      ['Keyspaces', cluster.keyspaces.length ? keyspaces(cluster.keyspaces) : '–'],
      ['All clusters', link('/ui/clusters?all', 'list')],
    ]),
    data.open.length > 0 && section('Under way', { tools: link(`/ui/jobs${query({ cluster: name })}`, 'All jobs of it') }, jobs(data.open)),
    h('div', { class: 'pair', 'data-key': 'pair' }, section('Recovery points', { id: 'calendar', note: 'The last 13 weeks. Days are UTC; arrow keys move.' },
      grid(calendar, chosen, path`/ui/clusters/${name}`), legend(),
      calendar.cut && h('p', { class: 'note' }, 'There are more than can be shown; the oldest are left out.')),
    section('Coverage by node', { id: 'coverage', note: 'Which node is in which of the newest backups, by day of the month, the newest first.' }, matrix(name, coverage, shown))),
    chosen && section(`Backups of ${chosen}`, { id: 'day' }, points(name, days.get(chosen), shown)),
    section('Policies', { id: 'policies' }, policies(data.policies, shown)),
    section('Lately', { tools: link(`/ui/jobs${query({ cluster: name })}`, 'All jobs of it') }, jobs(data.jobs)),
  ];
}

function keyspaces(names) {
  const few = names.slice(0, 6).join(', ');
  return names.length > 6 ? h('details', {}, h('summary', {}, count(names.length, 'keyspace')), names.join(', ')) : few;
}

function lastGood({ cluster, calendar }) {
  const point = calendar.days.flatMap((day) => day.points).find((one) => one.backup === cluster.last_good);
  return [point && [time(point.at), ' '], backupLink(cluster.cluster, cluster.last_good)];
}

function points(name, day, shown) {
  if (!day) return empty('No backup was begun on this day.');
  return table(`Backups of ${day.day}`, [
    { head: 'Backup', cell: (p) => backupLink(name, p.backup) },
    { head: 'State', cell: (p) => [state(p.state), p.tainted && [' ', badge('tainted', 'warn')], p.held && [' ', badge('held', 'calm')], p.narrowed && [' ', badge('of a part', 'calm')]] },
    { head: 'Holds', cell: (p) => time(p.at) },
    { head: 'Verified', cell: (p) => verified(p.verified) },
    { head: 'Size', num: true, cell: (p) => (p.bytes ? size(p.bytes) : none()) },
    { head: 'New', num: true, cell: (p) => (p.bytes ? size(p.bytes_new) : none()) },
    shown.may('operator') && { head: 'Do', cell: (p) => (['complete', 'covering', 'incomplete'].includes(p.state) ? link(`/ui/restore${query({ cluster: name, backup: p.backup })}`, 'Restore…') : none()) },
  ], day.points, { key: (p) => p.backup });
}

export function verified(v) {
  if (!v) return none('not yet');
  return [badge(v.damaged ? `${v.damaged} damaged` : { presence: 'all there', digest: 'every byte', sstable: 'deep' }[v.level] ?? v.level, v.damaged ? 'bad' : 'ok'), ' ', time(v.at, { only: 'age' })];
}

function matrix(name, coverage, shown) {
  if (!coverage.nodes.length) return empty('No node of this cluster is known.');
  const columns = coverage.backups;
  const [nodes, more] = few('nodes', coverage.nodes, (node) => (node.state === 'live' && node.held[0] !== false ? 1 : 0), shown, 100);
  return [h('div', { class: 'table matrix', tabindex: '0', role: 'region', 'aria-label': 'Coverage by node' }, h('table', {},
    h('caption', { class: 'unseen' }, 'Coverage by node'),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Node'), h('th', { scope: 'col' }, 'Worker'), h('th', { scope: 'col', class: 'num' }, 'Size'),
      columns.map((column) => h('th', { scope: 'col', class: 'slim' }, h('a', { href: path`/ui/clusters/${name}/backups/${column.backup}`, title: `${column.backup}: ${column.state}`, 'aria-label': column.backup }, h('span', { 'aria-hidden': 'true' }, dayOf(new Date(column.at)).slice(8))))))),
    h('tbody', {}, nodes.map((node) => h('tr', { 'data-key': node.host_id },
      h('th', { scope: 'row' }, h('span', { class: 'mono', title: node.host_id }, node.address || node.host_id.slice(0, 8)), ' ', h('span', { class: 'dim' }, `${node.dc} ${node.rack}`)),
      h('td', { class: 'why' }, state(node.state), ['live', 'refused'].includes(node.state) && node.problem && h('span', { class: 'dim' }, ' ', node.problem)),
      h('td', { class: 'num' }, node.bytes ? size(node.bytes) : none()),
      columns.map((column, index) => {
        const [mark, tone, word] = !column.known ? ['?', 'calm', 'not known'] : node.held[index] ? ['●', 'ok', 'in it'] : ['✕', 'bad', 'not in it'];
        return h('td', { class: 'slim' }, h('span', { class: `mark ${tone}`, title: `${column.backup}: ${word}` }, h('span', { 'aria-hidden': 'true' }, mark), h('span', { class: 'unseen' }, word)));
      })))))), more];
}

function policies(items, shown) {
  const order = (item, word) => ask({
    title: `${word === 'pause' ? 'Pause' : 'Resume'} ${item.name}?`,
    text: word === 'pause' ? 'It fires nothing until somebody resumes it. Its target counts on.' : 'It fires again from now on; what it missed is gone.',
    button: word === 'pause' ? 'Pause' : 'Resume', same: `ringvault policy ${word} ${item.name}`,
    act: async () => post(path`/v1/policies/${item.name}/` + word), done: () => shown.read(),
  });
  return table('Policies', [
    { head: 'Policy', cell: (p) => p.name },
    { head: 'Does', cell: (p) => [plain(p.policy.action), p.policy.action === 'verify' && ` (${p.policy.level})`] },
    { head: 'When', cell: (p) => [h('code', {}, p.policy.schedule), ' ', h('span', { class: 'dim' }, p.policy.timezone)] },
    { head: 'Next', cell: (p) => (p.paused ? badge('paused', 'warn') : time(p.next_fire)) },
    { head: 'Last', cell: (p) => (p.last_fire ? [p.last_fire.job ? jobLink(p.last_fire.job) : badge('skipped', 'warn'), ' ', time(p.last_fire.at, { only: 'age' }), p.last_fire.reason && h('span', { class: 'dim' }, ' ', p.last_fire.reason)] : none('not yet')) },
    { head: 'Keeps', wide: true, cell: (p) => [p.policy.rpo && `target ${p.policy.rpo}`, p.policy.rpo && p.policy.retention && '; ', p.policy.retention ? retention(p.policy.retention) : none('no retention')] },
    shown.may('operator') && { head: 'Do', cell: (p) => h('button', { type: 'button', class: 'quiet', 'aria-label': `${p.paused ? 'Resume' : 'Pause'} ${p.name}`, onclick: () => order(p, p.paused ? 'resume' : 'pause') }, p.paused ? 'Resume…' : 'Pause…') },
  ], items, { key: (p) => p.name, nothing: 'No policy is about this cluster: nothing backs it up by itself. Write one and say ringvault policy apply FILE.' });
}

/** The backup of a job in a list; which cluster a restore's is of, only the job itself says. */
export const ofJob = (j) => (j.kind === 'restore' ? j.backup : backupLink(j.cluster, j.backup));

function jobs(items) {
  return table('Jobs', [
    { head: 'Job', cell: (j) => jobLink(j.id) },
    { head: 'Does', cell: (j) => j.kind },
    { head: 'State', cell: jobState },
    { head: 'Asked for', cell: (j) => time(j.created_at, { only: 'age' }) },
    { head: 'Took', cell: (j) => (j.started_at && j.ended_at ? span((Date.parse(j.ended_at) - Date.parse(j.started_at)) / 1000) : none()) },
    { head: 'Backup', wide: true, cell: (j) => (j.backup ? ofJob(j) : none()) },
  ], items, { key: (j) => j.id, nothing: 'Nothing has been done here yet.' });
}

function list(page) {
  return table('Clusters', [
    { head: 'Cluster', cell: (c) => clusterLink(c.cluster) },
    { head: 'Nodes', num: true, cell: (c) => number(c.nodes) },
    { head: 'Live workers', num: true, cell: (c) => h('span', { class: c.workers_live < c.nodes ? 'stale' : undefined }, number(c.workers_live)) },
    { head: 'Data centers', cell: (c) => c.dcs.join(', ') },
    { head: 'Cassandra', cell: (c) => c.cassandra_versions.join(', ') },
    { head: 'Last heard', cell: (c) => time(c.last_seen, { only: 'age' }) },
  ], page.items, { key: (c) => c.cluster, nothing: 'No worker has announced a cluster yet. Start ringvault-worker beside a Cassandra node.' });
}
