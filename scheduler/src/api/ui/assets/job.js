// One job: how far it is, what it waits for, what came of it; and what it can be told.

import { get, path, post, watch } from './api.js';
import { ask, field } from './dialog.js';
import { h, say } from './dom.js';
import { why } from './jobs.js';
import { backupLink, badge, bar, by, bytesOf, clusterLink, empty, facts, jobState, none, section, state, time, trouble } from './parts.js';
import * as plan from './plan.js';
import { few, table } from './table.js';
import { count, number, plain, short, size, span } from './words.js';

export const every = 30;
export const command = (params) => `ringvault job watch ${short(params.job)}`;

export function title(params, data) {
  const job = data?.job;
  if (!job) return `Job ${short(params.job)}`;
  const what = job.spec.kind === 'restore' && job.spec.plan_only ? 'Restore plan' : job.kind[0].toUpperCase() + job.kind.slice(1);
  if (job.kind === 'drill') return job.spec.cluster === job.cluster ? `Drill of ${job.cluster}` : `Drill of ${job.spec.cluster} in ${job.cluster}`;
  return job.kind === 'restore' ? `${what}: ${job.spec.source} to ${job.cluster}` : `${what} of ${job.cluster}`;
}

const isSettled = (word) => ['succeeded', 'cancelled', 'abandoned', 'failed'].includes(word);

export async function load(params, signal, shown) {
  const of = path`/v1/jobs/${params.job}`;
  const [job, progress] = await Promise.all([get(of, signal), get(`${of}/progress`, signal)]);
  if (isSettled(progress.state)) stop(shown);
  else if (!shown.unwatch) {
    shown.live = true;
    shown.unwatch = watch(job.id, {
      news: (news) => {
        const isOtherStage = news.stage !== shown.data?.progress.stage || news.state !== shown.data?.progress.state;
        shown.lost = false;
        shown.readAt = Date.parse(news.as_of);
        if (shown.data) shown.data.progress = news;
        // What a stage has found is in the job's story.
        if (isOtherStage && shown.data) shown.read();
        else shown.draw();
      },
      ended: (news) => {
        stop(shown);
        say(`The job is over: ${news.state}`);
        shown.read();
      },
      lost: () => { shown.lost = true; shown.tick(); },
    });
  }
  return { job, progress };
}

function stop(shown) {
  shown.unwatch?.();
  shown.unwatch = undefined;
  shown.live = false;
  shown.lost = false;
}

const ORDERS = {
  cancel: ['Cancel', 'It stops for good, and what it left behind is cleared away.', true, (j) => ['queued', 'running', 'paused'].includes(j.state) && !j.past_no_return],
  pause: ['Pause', 'It holds still until somebody resumes it, but not for ever.', false, (j) => j.state === 'running' && !j.past_no_return],
  resume: ['Resume', 'It goes on where it was.', false, (j) => j.state === 'paused'],
  retry: ['Retry', 'Only what failed is done again; what is done stays done.', false, (j) => j.state === 'failed'],
  abandon: ['Give up', 'It is over for good, and what it left behind is cleared away.', true, (j) => j.state === 'failed'],
};

export function actions({ job, progress }, shown) {
  if (!shown.may('operator')) return undefined;
  const now = { ...job, state: progress.state };
  const fit = Object.entries(ORDERS).filter(([, order]) => order[3](now));
  const moves = ['backup', 'restore', 'drill'].includes(job.kind) && ['queued', 'running', 'paused', 'failed'].includes(now.state);
  if (!fit.length && !moves) return undefined;
  return h('div', { class: 'buttons' }, fit.map(([word, [label, text, danger]]) => h('button', {
    type: 'button', class: danger ? 'danger' : word === 'pause' ? undefined : 'primary', 'data-key': word,
    onclick: () => ask({
      title: `${label} this ${job.kind}?`, text, button: `${label}`, danger, same: `ringvault job ${word} ${short(job.id)}`,
      act: async () => post(path`/v1/jobs/${job.id}/` + word),
      done: () => { say(`${label}: the job was told`); shown.read(); },
    }) }, `${label}…`)), moves && limit(job, shown));
}

const MIB = 2 ** 20;

/** How fast each of its nodes may go. What is left as it stands is not said anew. */
function limit(job, shown) {
  const rated = job.rate_limit ?? job.spec.rate_limit;
  const asked = job.request_limit ?? job.spec.request_limit;
  const amount = (name, value) => h('input', { name, type: 'number', min: '1', step: '1', placeholder: 'no limit', value: value ? String(value) : '' });
  const rate = amount('rate', rated && Math.max(1, Math.round(rated / MIB)));
  const requests = amount('requests', asked);
  const center = h('input', { name: 'dc', placeholder: 'all', autocomplete: 'off' });
  const changed = (input, unit) => (input.value === input.defaultValue ? undefined : Number(input.value || 0) * unit);
  return h('button', { type: 'button', 'data-key': 'limit', onclick: () => ask({
    title: 'How fast may each of its nodes go?', text: 'From now on, whatever it was asked for with. What begins later and what is retried keeps to it too.',
    fields: [field('MiB a second', rate, 'Empty: no limit.'), field('Requests a second', requests, 'Those to the store. Empty: no limit.'),
      field('Data center', center, 'Empty: all nodes, and nothing said of a single one counts any more.')],
    button: 'Set', same: `ringvault job limit ${short(job.id)} 50MiB --requests 200`,
    act: async () => post(path`/v1/jobs/${job.id}/rate-limit`, { bytes_per_second: changed(rate, MIB), requests_per_second: changed(requests, 1), data_center: center.value.trim() || undefined }),
    done: () => { say('The limit was set'); shown.read(); },
  }) }, 'Limit…');
}

/** A limit that was said, in words. */
function limits(said) {
  const most = (value, words) => value !== undefined && (value ? `at most ${words(value)} a second` : undefined);
  const lifted = [said.rate_limit === 0 && 'bytes', said.request_limit === 0 && 'requests'].filter(Boolean);
  return [most(said.rate_limit, size), most(said.request_limit, (n) => count(n, 'request')), lifted.length > 0 && `no limit of ${lifted.join(' and ')}`].filter(Boolean).join(', ');
}

/** All that was said of how fast nodes may go. */
function limited(job) {
  const said = [['', job], ...Object.entries(job.data_center_limits ?? {}).map(([dc, one]) => [`in ${dc} `, one])].map(([of, one]) => [of, limits(one)]).filter(([, words]) => words);
  return said.length > 0 && `${said.map((one) => one.join('')).join('; ')}, as was said meanwhile`;
}

export function draw({ job, progress }, shown) {
  const open = !isSettled(progress.state);
  const ofCluster = job.spec.source ?? job.cluster;
  return [
    facts([
      ['State', [jobState({ ...job, state: progress.state, result: progress.result }), job.past_no_return && open && [' ', badge('past the point of no return', 'warn')]]],
      ['Cluster', clusterLink(job.cluster)],
      ['Backup', job.backup && backupLink(ofCluster, job.backup)],
      ['Asked for', [time(job.created_at), ' by ', ...[by(job)].flat()]],
      ['Took', job.started_at && job.ended_at && !open && span((Date.parse(job.ended_at) - Date.parse(job.started_at)) / 1000)],
      ['Each node', limited(job)],
      ['Can be retried until', progress.state === 'failed' && job.retry_until && time(job.retry_until)],
      ['Id', h('span', { class: 'mono' }, job.id)],
    ]),
    job.error && progress.state !== 'succeeded' && trouble(job.error),
    stages(progress),
    open && now(progress, shown),
    outcome(job, shown),
    section('Tasks', { id: 'tasks' }, tasks(job, shown)),
    h('details', { 'data-key': 'log' }, h('summary', {}, `What happened, line by line (${number(job.transitions.length)})`), log(job)),
    h('details', { 'data-key': 'spec' }, h('summary', {}, 'What was asked for'), h('pre', {}, JSON.stringify(job.spec, null, 2))),
  ];
}

function stages(progress) {
  return h('ol', { class: 'stages', 'data-key': 'stages', 'aria-label': 'Stages' }, progress.stages.map((one) =>
    h('li', { class: one.state, 'aria-current': one.state === 'open' ? 'step' : undefined },
      h('span', { class: 'name' }, plain(one.stage)), state(one.state),
      h('span', { class: 'dim' }, one.tasks ? `${one.succeeded}/${one.tasks}${one.failed ? `, ${one.failed} failed` : ''}` : '–'))));
}

const RANK = { failed: 0, running: 2, dispatched: 2, ready: 3, succeeded: 4 };
/** What needs a look first, then what is under way. */
const rank = (one) => (one.error && one.state !== 'succeeded' ? 0 : RANK[one.state] ?? 3);

function now(progress, shown) {
  const rate = progress.bytes_per_second ? `${size(progress.bytes_per_second)}/s` : undefined;
  const eta = progress.eta_seconds !== undefined ? `about ${span(progress.eta_seconds)} to go in this stage` : undefined;
  const done = progress.bytes_total ? progress.bytes_done : progress.nodes.filter((node) => node.state === 'succeeded').length;
  const waits = grouped(progress.nodes);
  const [nodes, more] = few('tasks of this stage', progress.nodes, rank, shown);
  return section(progress.stage ? `Now: ${plain(progress.stage)}` : 'Now', { id: 'now' },
    h('p', { class: 'overall' }, bar(done, progress.bytes_total || progress.nodes.length, 'this stage'), ' ',
      [bytesOf(progress.bytes_done, progress.bytes_total), rate, eta].filter(Boolean).join(' · ')),
    waits.map(([error, names]) => h('div', { class: 'trouble warn' }, h('p', {}, why(error)), h('p', { class: 'dim' }, `${count(names.length, 'task')}: ${names.slice(0, 8).join(', ')}${names.length > 8 ? ' …' : ''}`))),
    progress.state === 'queued' ? empty('It waits for its turn: for another job of the cluster, for its window, or for a free worker.')
      : table('Nodes', [
        { head: 'Node', cell: (node) => h('span', { class: 'mono', title: node.host_id }, node.label) },
        { head: 'State', cell: (node) => (node.error && node.state !== 'succeeded' ? badge('waits', 'warn') : state(node.state)) },
        { head: 'Progress', cell: (node) => bar(node.percent ?? (node.state === 'succeeded' ? 100 : 0), node.percent !== undefined || node.state === 'succeeded' ? 100 : 0, node.label) },
        { head: 'Bytes', cell: (node) => bytesOf(node.progress.bytes_done, node.progress.bytes_total) || none() },
        { head: 'Doing', wide: true, cell: (node) => [node.progress.throttled && [badge('throttled', 'warn'), ' '], node.progress.doing ?? none()] },
      ], nodes, { key: (node) => node.host_id ?? node.label, nothing: 'Its tasks are being placed.' }), more);
}

/** The same error of many tasks is one. */
function grouped(nodes) {
  const groups = new Map();
  for (const node of nodes.filter((one) => one.error && one.state !== 'succeeded')) {
    const key = `${node.error.code} ${node.error.message}`;
    if (!groups.has(key)) groups.set(key, [node.error, []]);
    groups.get(key)[1].push(node.label);
  }
  return [...groups.values()];
}

function outcome(job, shown) {
  const o = job.outcome;
  const parts = [];
  if (o.plan) parts.push(plan.draw(job, shown));
  if (o.seal) {
    parts.push(section('What came of it', { id: 'outcome' }, facts([
      ['Coverage', state(o.seal.coverage)], ['Nodes', `${o.seal.figures.nodes_held} of ${o.seal.figures.nodes_total}`],
      ['Size', size(o.seal.figures.bytes)], ['New in the vault', size(o.seal.figures.bytes_new)], ['SSTables', number(o.seal.figures.sstables)],
      ['Sealed', time(o.seal.sealed_at)]]), o.seal.remarks?.map((text) => h('p', {}, badge('remark', 'warn'), ' ', text))));
  }
  if (job.kind === 'verify' && job.state === 'succeeded') {
    parts.push(section('What it found', { id: 'outcome' }, facts([
      ['Verdict', badge(o.damaged ? `${number(o.damaged)} damaged or missing` : 'whole', o.damaged ? 'bad' : 'ok')],
      ['Level', job.spec.level ?? 'presence'], ['Objects looked at', number(o.objects)], ['Read', size(o.bytes)]]),
    o.findings?.length > 0 && table('Findings', [
      { head: 'File', cell: (f) => f.file ?? f.key }, { head: 'What', cell: (f) => badge(f.kind, 'bad') },
      { head: 'Table', cell: (f) => f.table ?? none() }, { head: 'Expected and found', wide: true, cell: (f) => f.detail }], o.findings, { key: (f) => f.key + f.file })));
  }
  if (o.restored && !job.spec.plan_only && job.outcome.restored.sstables + job.outcome.restored.rows_read > 0) parts.push(plan.restored(job));
  if (o.rows && job.state === 'succeeded') {
    parts.push(section('What it read', { id: 'outcome' }, facts([
      ['Tables', number(o.rows.tables)], ['Rows', number(o.rows.rows)],
      ['Compare', h('span', { class: 'mono' }, `ringvault rows compare ${short(job.id)} OTHER`)]])));
  }
  if (o.purge) {
    parts.push(section('What it took away', { id: 'outcome' }, facts([
      ['Expired', o.purge.expired.length ? o.purge.expired.map((name) => [backupLink(job.cluster, name), ' ']) : 'nothing'],
      ['Leftovers of', o.purge.aborted.length ? o.purge.aborted.join(', ') : undefined],
      ['Objects deleted', `${number(o.objects)} of ${number(o.purge.objects)}`], ['Freed', `${size(o.bytes)} of ${size(o.purge.bytes)}`]])));
  }
  return parts;
}

function tasks(job, shown) {
  const [some, more] = few('tasks', job.tasks, rank, shown);
  return [table('Tasks', [
    { head: 'Stage', cell: (t) => [plain(t.stage), t.cleanup && ' (clears up)'] },
    { head: 'Node', cell: (t) => h('span', { class: 'mono', title: t.host_id }, t.address || (t.host_id ? t.host_id.slice(0, 8) : 'any worker')) },
    { head: 'State', cell: (t) => (t.state === 'ready' && t.error ? badge('waits', 'warn') : state(t.state)) },
    { head: 'Tries', num: true, cell: (t) => number(t.attempts.length) },
    { head: 'Next try', cell: (t) => (t.state === 'ready' && t.error ? time(t.run_at, { only: 'age' }) : none()) },
    { head: 'Heard', cell: (t) => time(t.heard_at, { only: 'age' }) },
    { head: 'Why', wide: true, cell: (t) => (t.error ? why(t.error) : none()) },
  ], some, { key: (t) => t.id, nothing: 'It has no tasks yet.' }), more];
}

function log(job) {
  const names = new Map(job.tasks.map((t) => [t.id, `${plain(t.stage)} ${t.address || ''}`]));
  return table('What happened', [
    { head: 'When', cell: (t) => time(t.at) },
    { head: 'What to', cell: (t) => (t.task ? names.get(t.task) ?? short(t.task) : 'the job') },
    { head: 'What', cell: (t) => plain(t.event) },
    { head: 'State', cell: (t) => [t.from && `${t.from} → `, t.to] },
    { head: 'By', cell: (t) => t.by },
    { head: 'More', wide: true, cell: (t) => t.detail ?? none() },
  ], job.transitions.slice(-300), { nothing: 'Nothing has happened yet.' });
}

