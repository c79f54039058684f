// Storage: what do we keep, what does it cost, what goes next?

import { get, path, post, query } from './api.js';
import { ask } from './dialog.js';
import { h } from './dom.js';
import { backupLink, badge, clusterLink, empty, facts, link, section, tile, tiles, time, trouble } from './parts.js';
import { table } from './table.js';
import { count, number, retention, size } from './words.js';

export const every = 60;
export const title = (params) => (params.cluster ? `Storage of ${params.cluster}` : 'Storage');
export const command = (params) => (params.cluster ? `ringvault storage show -c ${params.cluster}` : 'ringvault storage show');

export async function load({ cluster }, signal) {
  const [report, expiring] = await Promise.all([
    get('/v1/storage', signal), cluster ? get(path`/v1/clusters/${cluster}/expiring`, signal) : undefined]);
  return { report, expiring };
}

function money(value, price) {
  return `${value.toFixed(value < 10 ? 2 : 0)} ${price.currency}`;
}

export function draw({ report, expiring }, shown) {
  const { cluster } = shown.params;
  const of = cluster ? report.clusters.filter((one) => one.cluster === cluster) : report.clusters;
  const sum = (key) => of.reduce((total, one) => total + (one[key] ?? 0), 0);
  const stored = sum('stored_bytes');
  const named = sum('named_bytes');
  return [
    cluster && h('p', { class: 'note', 'data-key': 'of' }, 'Of ', clusterLink(cluster), ' alone. ', link('/ui/storage', 'Of all clusters')),
    tiles(
      tile(size(stored), 'in the store'),
      tile(size(named), 'if each backup were kept whole', { note: stored > 0 && named > stored ? `${(named / stored).toFixed(1)} times as much` : undefined }),
      tile(number(sum('kept')), 'backups kept', { note: sum('held') ? `${number(sum('held'))} held` : undefined }),
      tile(number(sum('leftover')), 'not cleared away yet', { tone: sum('leftover') ? 'warn' : undefined }),
      report.price ? tile(money(sum('cost_per_month'), report.price), 'a month', { note: `${report.price.per_gib_month} ${report.price.currency} a GiB` })
        : tile('–', 'a month', { note: 'set [store_price] in scheduler.toml' })),
    expiring && section('What goes next', { id: 'next', note: 'What each retention would take away if it were applied now.' }, next(expiring, shown)),
    section('By cluster', { id: 'clusters' }, table('Storage by cluster, the largest first', [
      { head: 'Cluster', cell: (c) => link(`/ui/storage${query({ cluster: c.cluster })}`, c.cluster) },
      { head: 'In the store', num: true, cell: (c) => size(c.stored_bytes) },
      { head: 'Share', cell: (c) => share(c.stored_bytes, stored, c.cluster) },
      report.price && { head: 'A month', num: true, cell: (c) => money(c.cost_per_month, report.price) },
      { head: 'Newest, whole', num: true, cell: (c) => size(c.newest_bytes) },
      { head: 'Kept', num: true, cell: (c) => [number(c.kept), c.held > 0 && h('span', { class: 'dim' }, `, ${c.held} held`)] },
      { head: 'Oldest', cell: (c) => time(c.oldest, { only: 'age' }) },
      { head: 'Newest', cell: (c) => time(c.newest, { only: 'age' }) },
      { head: 'Goes by', wide: true, cell: (c) => (c.retentions.length ? c.retentions.map((rule) => h('div', {}, rule.policy)) : h('span', { class: 'stale' }, 'nothing: it only grows')) },
    ], [...of].sort((a, b) => b.stored_bytes - a.stored_bytes), { key: (c) => c.cluster, nothing: 'No backup was ever taken.' })),
  ];
}

function share(bytes, total, name) {
  return h('progress', { max: '100', value: String(total ? Math.round((bytes / total) * 100) : 0), 'aria-label': `share of ${name}` });
}

function next(expiring, shown) {
  const { cluster } = expiring;
  if (!expiring.rules.length && !expiring.dead.length) return empty('No policy of this cluster has a retention: nothing goes by itself.');
  return [
    expiring.rules.map((rule) => h('div', { class: 'rule', 'data-key': rule.policy },
      h('h3', {}, rule.policy),
      facts([
        ['Keeps', retention(rule.retention)],
        ['Takes away', rule.action === 'backup' ? 'of its own backups, after each of them' : 'of all backups, when it fires'],
        ['Next', rule.next_fire ? time(rule.next_fire) : badge('paused', 'warn')],
        ['Would go now', rule.expire.length ? [count(rule.expire.length, 'backup'), `, that brought ${size(rule.expire.reduce((sum, one) => sum + one.bytes_new, 0))}`] : 'nothing'],
      ]),
      rule.expire.length > 0 && h('details', {}, h('summary', {}, 'Which'), table('Would go', [
        { head: 'Backup', cell: (b) => backupLink(cluster, b.backup) },
        { head: 'Holds', cell: (b) => time(b.started_at) },
        { head: 'Size', num: true, cell: (b) => size(b.bytes) },
        { head: 'Brought', num: true, cell: (b) => size(b.bytes_new) },
        { head: 'Why', cell: (b) => b.reason },
      ], rule.expire, { key: (b) => b.backup })),
      shown.may('admin') && rule.expire.length > 0 && h('p', {}, h('button', { type: 'button', class: 'danger', onclick: () => purge(cluster, rule, shown) }, 'Purge now…')))),
    expiring.dead.length > 0 && h('p', {}, badge(count(expiring.dead.length, 'leftover'), 'warn'), ' of backups that were given up: the next purge clears them away. ', h('span', { class: 'dim' }, expiring.dead.slice(0, 5).join(', '), expiring.dead.length > 5 ? ' …' : '')),
  ];
}

async function purge(cluster, rule, shown) {
  const body = { cluster, retention: rule.retention, policy: rule.policy };
  const counted = h('p', { role: 'status' }, 'Counting what no other backup names…');
  ask({
    title: `Purge ${cluster} by ${rule.policy}`,
    text: [`${count(rule.expire.length, 'backup')} would expire, from ${rule.expire[0].backup} on. They can never be restored again.`, counted],
    confirm: cluster, button: 'Purge', danger: true, same: `ringvault purge run -c ${cluster} --policy ${rule.policy} --confirm=${cluster}`,
    act: async (_form, key) => path`/ui/jobs/${(await post('/v1/purges', body, key)).job}`,
    done: (where) => shown.go(where),
  });
  try {
    const preview = await post('/v1/purges/preview', body);
    counted.textContent = preview.objects === undefined ? 'How much that frees could not be counted.' : `That frees ${size(preview.bytes)} in ${count(preview.objects, 'object')}.`;
  } catch (error) {
    counted.replaceChildren(trouble(error, 'warn'));
  }
}

