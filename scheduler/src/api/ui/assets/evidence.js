// Evidence: what was tested, held, changed, by whom?

import { get, query } from './api.js';
import { h } from './dom.js';
import { backupLink, badge, choice, clusterLink, jobLink, jobState, none, policyLink, section, tile, tiles, time } from './parts.js';
import { table } from './table.js';
import { count, number, plain, secondsSince } from './words.js';

export const every = 60;
export const title = () => 'Evidence';
export const command = ({ cluster, kind }) => `ringvault evidence list${cluster ? ` -c ${cluster}` : ''}${kind ? ` --kind ${kind}` : ''}`;

const KINDS = [['', 'everything'], ['verified', 'tested'], ['restored', 'restored'], ['drilled', 'drilled'], ['held', 'held'], ['released', 'released'], ['purged', 'purged'], ['ordered', 'told'], ['policy', 'policies']];

export async function load({ cluster, kind }, signal, shown) {
  const limit = shown.kept.limit ?? 50;
  const [page, status, holds] = await Promise.all([
    get(`/v1/evidence${query({ cluster, kind, limit })}`, signal), get('/v1/status', signal), get(`/v1/holds${query({ cluster, limit: 1000 })}`, signal)]);
  return { page, status, holds };
}

export function draw({ page, status, holds }, shown) {
  const { cluster, kind } = shown.params;
  const href = (fields) => `/ui/evidence${query({ cluster, kind, ...fields })}`;
  const clusters = status.clusters.filter((c) => !cluster || c.cluster === cluster);
  const verified = clusters.filter((c) => c.last_verified_at && secondsSince(c.last_verified_at) < 30 * 86400).length;
  const legal = holds.items.filter((hold) => hold.kind === 'legal');
  return [
    cluster && h('p', { class: 'note', 'data-key': 'of' }, 'Of ', clusterLink(cluster), ' alone. ', h('a', { href: href({ cluster: '' }) }, 'Of all clusters')),
    tiles(
      tile(`${number(verified)}/${number(clusters.length)}`, 'clusters verified in 30 days', { tone: verified === clusters.length ? 'ok' : 'warn', href: href({ kind: 'verified' }), current: kind === 'verified' }),
      tile(number(legal.length), 'holds by hand', { href: href({ kind: 'held' }), current: kind === 'held' }),
      tile(number(clusters.filter((c) => c.last_drill_at).length), 'clusters proved by a drill')),
    section('What happened', { id: 'log' },
      h('div', { class: 'filters' }, choice('Kind', KINDS, kind, (value) => href({ kind: value }))),
      table('Evidence, the newest first', [
        { head: 'When', cell: (e) => time(e.at) },
        { head: 'What', cell: what },
        { head: 'Cluster', cell: (e) => h('a', { href: href({ cluster: e.cluster }), title: `Evidence of ${e.cluster}` }, e.cluster) },
        { head: 'Found', soft: true, cell: found },
        { head: 'By', soft: true, cell: who },
        { head: 'About', wide: true, cell: about },
      ], page.items, { key: (e) => `${e.kind}${e.at}${e.job ?? ''}${e.name ?? ''}${e.policy ?? ''}${e.detail ?? ''}`, nothing: 'There is no evidence of that kind.' }),
      page.next_cursor && h('p', {}, h('button', { type: 'button', onclick: () => { shown.kept.limit = Math.min(1000, (shown.kept.limit ?? 50) + 100); shown.read(); } }, 'Show older'))),
  ];
}

const WORDS = { verified: 'verified', drilled: 'drilled', purged: 'purged', held: 'held', released: 'let go', policy: 'policy applied' };

function what(e) {
  if (e.kind === 'restored') return e.plan_only ? 'restore planned' : 'restored';
  if (e.kind === 'ordered') return `${plain(e.job_kind ?? 'job')}: told to ${plain(e.detail ?? '')}`;
  if (e.kind === 'policy' && e.detail) return `policy ${e.detail}`;
  return WORDS[e.kind];
}

function found(e) {
  if (e.kind === 'verified') return [badge(e.count ? `${number(e.count)} damaged` : 'whole', e.count ? 'bad' : 'ok'), ' ', h('span', { class: 'dim' }, e.level)];
  if (e.kind === 'restored' || e.kind === 'drilled') return [jobState(e), e.count !== undefined && !e.plan_only && e.state === 'succeeded' && h('span', { class: 'dim' }, ` ${count(e.count, 'row')} read back`)];
  if (e.kind === 'purged') return [jobState(e), e.count !== undefined && h('span', { class: 'dim' }, ` ${count(e.count, 'object')} deleted`)];
  return none();
}

function who(e) {
  if (e.policy && /^policy /.test(e.by ?? '')) return ['policy ', policyLink(e.cluster, e.policy)];
  return e.by ?? none('not known');
}

function about(e) {
  const parts = [];
  if (e.name) parts.push(h('b', {}, e.name), ' ');
  if (e.backup) parts.push(backupLink(e.backup_cluster ?? e.cluster, e.backup), ' ');
  if (e.policy && e.kind === 'policy') parts.push(policyLink(e.cluster, e.policy), ' ');
  if (e.job && e.job_kind) parts.push(h('span', { class: 'dim' }, 'job '), jobLink(e.job), ' ');
  if (e.detail && !['ordered', 'policy'].includes(e.kind)) parts.push(h('span', { class: 'dim' }, e.detail));
  return parts;
}
