// Fleet: who is unprotected, late, unverified?

import { get, query } from './api.js';
import { h } from './dom.js';
import { backupLink, badge, clusterLink, command, link, none, rpo, state, tile, tiles, time } from './parts.js';
import { table } from './table.js';
import { number, secondsSince } from './words.js';

export const every = 15;
// Filters are applied to what was read.
export const asksTheSame = true;
export const title = () => 'Fleet';
export { same as command };
const same = () => 'ringvault status';

/** Days after which what was verified counts as not verified. */
const STALE = 30;

export async function load(_params, signal) {
  return get('/v1/status', signal);
}

const isUnprotected = (c) => !c.last_good;
const isLate = (c) => c.rpo === 'late';
const isUnverified = (c) => !c.last_verified_at || secondsSince(c.last_verified_at) > STALE * 86400;
const lacksWorkers = (c) => c.workers_live < c.workers_total;

const VIEWS = {
  unprotected: ['cannot be restored', isUnprotected, 'bad'],
  late: ['later than their target', isLate, 'bad'],
  unverified: [`not verified in ${STALE} days`, isUnverified, 'warn'],
  workers: ['lack a worker', lacksWorkers, 'warn'],
  problem: ['with a problem', (c) => c.problem, 'warn'],
};

function severity(c) {
  return (isUnprotected(c) ? 8 : 0) + (isLate(c) ? 4 : 0) + (c.problem ? 2 : 0) + (lacksWorkers(c) ? 1 : 0);
}

function health(c) {
  if (isUnprotected(c)) return badge('unprotected', 'bad');
  if (isLate(c)) return badge('late', 'bad');
  if (c.problem) return badge('look', 'warn');
  return badge('protected', 'ok');
}

export function draw(fleet, shown) {
  const { show = '', find = '' } = shown.params;
  const view = VIEWS[show];
  const named = fleet.clusters.filter((c) => c.cluster.includes(find));
  const clusters = named.filter((c) => !view || view[1](c));
  clusters.sort((a, b) => severity(b) - severity(a) || a.cluster.localeCompare(b.cluster));
  const figure = ([key, [label, is, tone]]) => {
    const count = fleet.clusters.filter(is).length;
    return tile(number(count), label, { tone: count ? tone : 'ok', href: `/ui/fleet${query({ show: key === show ? '' : key, find })}`, current: key === show });
  };
  const servers = [['scheduler', fleet.servers.scheduler], ['PostgreSQL', fleet.servers.postgres], ['RabbitMQ', fleet.servers.rabbitmq], ['store', fleet.servers.store]];
  const next = clusters.find((c) => c.next)?.next ?? fleet.next;
  const down = fleet.servers.postgres.state === 'down';
  return [
    h('ul', { class: 'servers', 'data-key': 'servers' }, servers.map(([name, server]) =>
      h('li', {}, name, ' ', state(server.state), server.detail && h('span', { class: 'dim' }, ' ', server.detail))),
      fleet.servers.leader && h('li', { class: 'dim' }, `leader ${fleet.servers.leader}`), h('li', { class: 'dim' }, `version ${fleet.servers.version}`)),
    !down && tiles(tile(number(fleet.clusters.length), 'clusters', { href: `/ui/fleet${query({ find })}`, current: !view }), Object.entries(VIEWS).map(figure)),
    next && h('p', { class: 'note', 'data-key': 'next' }, 'Worst first. Next: ', command(next)),
    down ? h('p', { class: 'empty' }, 'The clusters are not known while PostgreSQL is down.') : [
      h('form', { class: 'filter', role: 'search', 'data-key': 'filter', method: 'post', onsubmit: (event) => event.preventDefault() },
        h('label', {}, h('span', {}, 'Cluster'), h('input', { type: 'search', name: 'find', value: find, placeholder: 'part of its name', oninput: (event) => {
          shown.params.find = event.target.value;
          history.replaceState(null, '', `/ui/fleet${query({ show, find: event.target.value })}`);
          shown.draw();
        } })), h('span', { class: 'dim' }, view || find ? `${number(clusters.length)} of ${number(fleet.clusters.length)} shown` : '')),
      table('Clusters, the worst first', [
        { head: 'Cluster', cell: (c) => clusterLink(c.cluster) },
        { head: 'State', cell: health },
        { head: 'Last good', cell: (c) => (c.last_good ? h('a', { href: backupHref(c), title: c.last_good.backup }, time(c.last_good.at, { only: 'age' })) : none('never')) },
        { head: 'Target', cell: rpo },
        { head: 'Verified', cell: (c) => (c.last_verified_at ? h('span', { class: isUnverified(c) ? 'stale' : undefined }, time(c.last_verified_at, { only: 'age' })) : none('never')) },
        { head: 'Workers', num: true, cell: (c) => h('span', { class: lacksWorkers(c) ? 'stale' : undefined }, `${c.workers_live}/${c.workers_total}`) },
        { head: 'Open jobs', num: true, cell: (c) => (c.jobs_open ? link(`/ui/jobs${query({ cluster: c.cluster })}`, number(c.jobs_open)) : none('0')) },
        { head: 'Problem', wide: true, cell: (c) => (c.problem ? h('span', {}, problem(c)) : none()) },
      ], clusters, { key: (c) => c.cluster, nothing: fleet.clusters.length ? 'No cluster is like that.' : 'No worker has announced a cluster yet. Start ringvault-worker beside a Cassandra node.' }),
    ],
  ];
}

const backupHref = (c) => backupLink(c.cluster, c.last_good.backup).getAttribute('href');

/** The problem, and where it leads. */
function problem(c) {
  const job = /job show (\S+)$/.exec(c.next ?? '');
  if (job) return link(`/ui/jobs/${job[1]}`, c.problem);
  const backup = /backup show -c \S+ (\S+)$/.exec(c.next ?? '');
  if (backup) return h('a', { href: backupLink(c.cluster, backup[1]).getAttribute('href') }, c.problem);
  if (/node list/.test(c.next ?? '')) return h('a', { href: `${clusterLink(c.cluster).getAttribute('href')}#coverage` }, c.problem);
  return c.problem;
}
