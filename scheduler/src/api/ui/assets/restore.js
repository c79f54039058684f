// Restore: plan, warnings, progress, did it match?

import { get, newKey, path, post, query } from './api.js';
import { check, field, select } from './dialog.js';
import { h } from './dom.js';
import { badge, clusterLink, command as shownCommand, empty, jobLink, jobState, section, time, trouble } from './parts.js';
import { words } from './plan.js';
import { table } from './table.js';
import { bytesOf, dayOf, instant, size } from './words.js';

export const every = 30;
export const title = () => 'Restore';
export const command = () => 'ringvault restore plan --from BACKUP --to CLUSTER';

export async function load(params, signal) {
  const [recent, clusters] = await Promise.all([
    get('/v1/jobs?kind=restore&limit=25', signal), get('/v1/clusters?limit=1000', signal)]);
  const names = clusters.items.map((item) => item.cluster);
  const cluster = params.cluster ?? (names.length === 1 ? names[0] : undefined);
  const [calendar, target] = await Promise.all([
    cluster ? get(path`/v1/clusters/${cluster}/calendar`, signal) : undefined,
    cluster ? get(path`/v1/clusters/${cluster}`, signal) : undefined]);
  return { recent, names, cluster, calendar, keyspaces: target?.keyspaces ?? [] };
}

const isRestorable = (p) => ['complete', 'covering', 'incomplete'].includes(p.state);

function points(calendar) {
  return calendar.days.flatMap((day) => day.points).filter(isRestorable).reverse();
}

/** The form's words as a specification. */
function specification(form, cluster) {
  const list = (name) => form.elements[name].value.split(/[\s,]+/).filter(Boolean);
  const selection = {};
  for (const [field_, name] of [['keyspaces', 'keyspaces'], ['tables', 'tables'], ['exclude', 'exclude']]) if (list(name).length) selection[field_] = list(name);
  const rename = Object.fromEntries(list('rename').map((pair) => [pair.split('=')[0], pair.split('=').slice(1).join('=')]));
  const renamed = Object.keys(rename);
  // As in a terminal: where nothing is named, what is renamed and nothing else.
  if (renamed.length && !selection.keyspaces && !selection.tables) {
    selection.keyspaces = renamed.filter((name) => !name.includes('.'));
    selection.tables = renamed.filter((name) => name.includes('.'));
  }
  const dcs = {};
  for (const pair of list('dc_map')) (dcs[pair.split('=')[0]] ??= []).push(pair.split('=').slice(1).join('='));
  const rate = form.elements.rate_limit.value.trim();
  return {
    source: cluster, backup: form.elements.backup.value, target: form.elements.target.value, selection,
    method: form.elements.method.value, truncate: form.elements.truncate.checked, skip_schema: form.elements.skip_schema.checked,
    with_auth: form.elements.with_auth.checked, rename: renamed.length ? rename : undefined, dc_map: Object.keys(dcs).length ? dcs : undefined, plan_only: true, rate_limit: rate ? bytesOf(rate) ?? rate : undefined,
  };
}

export function draw(data, shown) {
  return [
    shown.may('operator') ? section('Plan a restore', { id: 'form', note: 'A plan changes nothing. It says what would be done, what is in the way, and how long it takes; then it can be run.' }, form(data, shown))
      : empty('Your token may look, not restore. Ask an operator.'),
    section('Restores lately', { id: 'recent' }, table('Restores', [
      { head: 'Job', cell: (j) => h('a', { href: path`/ui/restore/${j.id}`, class: 'mono', title: j.id }, jobLink(j.id).textContent) },
      { head: 'Into', cell: (j) => clusterLink(j.cluster) },
      { head: 'State', cell: jobState },
      { head: 'Asked for', cell: (j) => time(j.created_at) },
      { head: 'By', cell: (j) => j.requested_by },
      { head: 'From', wide: true, cell: (j) => j.backup ?? '–' },
    ], data.recent.items, { key: (j) => j.id, nothing: 'Nothing was ever restored. Try one before you need it.' })),
  ];
}

function form({ names, cluster, calendar, keyspaces }, shown) {
  const choose = field('Cluster that was backed up', select('cluster', [['', 'choose…'], ...names.map((name) => [name, name])], cluster ?? '', {
    'data-key': 'cluster', onchange: (event) => shown.go(`/ui/restore${query({ cluster: event.target.value })}`) }));
  if (!cluster) return h('form', { method: 'post', class: 'fields', onsubmit: (event) => event.preventDefault() }, choose);
  const there = points(calendar);
  if (!there.length) return h('form', { method: 'post', class: 'fields', onsubmit: (event) => event.preventDefault() }, choose, empty(badge('nothing to restore', 'bad'), ' No backup of the last 13 weeks can be restored.'));
  const key = shown.kept.key ??= newKey();
  const refused = h('div', { role: 'alert', 'data-key': 'refused' }, shown.kept.refused && trouble(shown.kept.refused));
  const submit = async (event) => {
    event.preventDefault();
    const spec = specification(event.currentTarget, cluster);
    try {
      const { job } = await post('/v1/restores', spec, key);
      shown.go(path`/ui/restore/${job}`);
    } catch (error) {
      shown.kept.refused = error;
      shown.kept.key = newKey();
      shown.draw();
    }
  };
  const changed = (event) => {
    shown.kept.same = words(specification(event.currentTarget, cluster), 'plan');
    event.currentTarget.querySelector('.same-plan code').textContent = shown.kept.same;
  };
  const p = shown.params;
  const first = there.find((point) => point.backup === p.backup) ?? there.find((point) => point.state !== 'incomplete') ?? there[0];
  const label = (point) => `${instant(point.at)} · ${point.state}${point.verified && !point.verified.damaged ? ', verified' : ''}${point.verified?.damaged ? ', DAMAGED' : ''}${point.tainted ? ', tainted' : ''} · ${size(point.bytes)} · ${point.backup}`;
  const of = (at) => dayOf(new Date(at));
  return h('form', { method: 'post', class: 'fields', 'data-key': cluster, onsubmit: submit, oninput: changed },
    choose,
    field('Backup', select('backup', there.map((point) => [point.backup, label(point)]), first.backup), `From ${of(there.at(-1).at)} to ${of(there[0].at)}, the newest first, in UTC.`),
    field('Into cluster', select('target', names.map((name) => [name, name]), p.target || cluster)),
    field('Keyspaces', h('input', { name: 'keyspaces', value: p.keyspaces ?? '', placeholder: 'all', autocomplete: 'off', spellcheck: 'false', list: 'keyspaces' }), 'Separated by spaces. Empty: everything but the system’s own.'),
    h('datalist', { id: 'keyspaces' }, keyspaces.map((name) => h('option', { value: name }))),
    field('Tables', h('input', { name: 'tables', value: p.tables ?? '', placeholder: 'all', autocomplete: 'off', spellcheck: 'false' }), 'As keyspace.table, separated by spaces.'),
    field('Under other names', h('input', { name: 'rename', value: p.rename ?? '', placeholder: 'shop.orders=shop.orders_old', autocomplete: 'off', spellcheck: 'false' }), 'Beside the live data: keyspace.table=keyspace.table or keyspace=keyspace, separated by spaces.'),
    h('details', { 'data-key': 'more' }, h('summary', {}, 'More'),
      field('Leave out', h('input', { name: 'exclude', autocomplete: 'off', spellcheck: 'false' }), 'As keyspace.table, separated by spaces.'),
      field('Method', select('method', [['auto', 'auto: the planner chooses'], ['copy', 'copy: each node takes its own files'], ['slice', 'slice: each node takes the partitions that it owns'], ['import', 'import: whole SSTables, then cleanup'], ['stream', 'stream: each SSTable once, sent on by Cassandra']], 'auto')),
      field('Data centers', h('input', { name: 'dc_map', value: p.dc_map ?? '', placeholder: 'dc1=dc2', autocomplete: 'off', spellcheck: 'false' }), 'For keyspaces that the restore makes: old=new, separated by spaces.'),
      field('Rate limit', h('input', { name: 'rate_limit', placeholder: 'none', autocomplete: 'off' }), 'A second and node, such as 100MiB.'),
      check('skip_schema', 'Create nothing: the schema must be there'),
      check('with_auth', 'Also roles and permissions, last')),
    check('truncate', 'Empty the target’s tables first', { note: 'Once everything is downloaded and checked. What was in them is gone then.' }),
    refused,
    h('div', { class: 'buttons' }, h('button', { type: 'submit', class: 'primary' }, 'Plan')),
    h('p', { class: 'note same-plan' }, 'In a terminal: ', shownCommand(shown.kept.same ?? words({ source: cluster, backup: first.backup, target: p.target || cluster }, 'plan'))));
}

