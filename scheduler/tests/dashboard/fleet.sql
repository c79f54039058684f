-- A fleet to look at: 100 clusters of six nodes with 100 backups each, and what goes with them. Every tenth
-- cluster has something wrong with it.

create temporary table cluster_names as
select row_number() over (order by e, s)::int - 1 as n, s || '-' || e as name
from unnest(array['orders', 'billing', 'catalog', 'fraud', 'ledger', 'loyalty', 'mail', 'search', 'sessions', 'telemetry']) s,
     unnest(array['prod', 'eu', 'us', 'ap', 'dr', 'core', 'edge', 'stage', 'lab', 'test']) e;

insert into clusters (name, created_at, bound_at) select name, now() - interval '200 days', now() from cluster_names;

insert into nodes (cluster, host_id, address, dc, rack, tokens, cassandra_version, partitioner, schema_version, last_seen)
select c.name, md5(c.name || h)::uuid, '10.' || c.n / 10 || '.' || c.n % 10 || '.' || 10 + h, 'dc' || 1 + h / 3,
    'r' || 1 + h % 3, 16, '5.0.4', 'org.apache.cassandra.dht.Murmur3Partitioner', 'e3f9a1', now()
from cluster_names c, generate_series(0, 5) h;

-- One node of every seventh cluster is silent, one of every fifteenth never had a worker.
insert into workers (id, cluster, host_id, incarnation, state, capabilities, slots, short_slots, disk_total,
    disk_free, version, last_seen)
select md5('worker' || c.name || h)::uuid, c.name, md5(c.name || h)::uuid, md5('run' || c.name || h)::uuid, 'live',
    '{vault.delete}', 4, 1, 2000000000000, 900000000000 + h * 10000000000, '0.1.0',
    case when c.n % 7 = 3 and h = 4 then now() - interval '27 hours 11 minutes' else now() + interval '1 hour' end
from cluster_names c, generate_series(0, 5) h where not (c.n % 15 = 6 and h = 2);

insert into topologies (cluster, valid_from, topology)
select c.name, now() - interval '200 days', jsonb_build_object('nodes', '[]'::jsonb, 'keyspaces',
    jsonb_build_object('shop', jsonb_build_object('class', 'simple', 'factor', 3)))
from cluster_names c;

insert into policies (name, cluster, document, updated_at)
select 'nightly-' || c.name, c.name, jsonb_build_object('cluster', c.name, 'schedule', '0 2 * * *', 'action', 'backup',
    'rpo', '2days', 'retention', jsonb_build_object('daily', 14, 'weekly', 8)), now() - interval '20 days' - c.n * interval '1 hour'
from cluster_names c where c.n % 20 <> 9
union all
select 'weekly-' || c.name, c.name, jsonb_build_object('cluster', c.name, 'schedule', '0 5 * * 0', 'action', 'verify',
    'level', 'digest'), now() - interval '20 days' - c.n * interval '1 hour'
from cluster_names c where c.n % 2 = 0;

-- The newest backup of every eleventh cluster is four days old; one in nineteen has none at all that is good.
create temporary table points as
select c.n as cluster_number, c.name as cluster, b as nth, md5('backup' || c.name || b)::uuid as job,
    date_trunc('minute', now() - b * interval '1 day' - interval '3 hours' - case when c.n % 11 = 5 then interval '4 days' else interval '0' end) as at,
    case when b >= 62 then 'expired' when c.n % 19 = 12 then 'incomplete' when (b + c.n) % 29 = 7 then 'dead'
         when (b + c.n) % 17 = 4 then 'covering' when (b + c.n) % 41 = 11 then 'incomplete' else 'complete' end as state,
    (20 + c.n % 13) * 1073741824::bigint * (200 - b) / 100 as bytes
from cluster_names c, generate_series(0, 99) b;

insert into jobs (id, kind, cluster, spec, state, stages, stage, source, idempotency_key, requested_by, policy,
    backup_cluster, backup, created_at, started_at, ended_at, outcome, error, counted)
select p.job, 'backup', p.cluster, jsonb_build_object('kind', 'backup', 'cluster', p.cluster),
    case p.state when 'dead' then 'abandoned' else 'succeeded' end, '{snapshot,upload,seal,release}', 3, 'policy', p.job::text,
    'policy nightly-' || p.cluster, 'nightly-' || p.cluster, p.cluster,
    p.cluster || '-' || to_char(p.at at time zone 'UTC', 'YYYYMMDD"T"HH24MISS"Z"'), p.at, p.at, p.at + interval '19 minutes',
    case p.state when 'complete' then 'ok' when 'expired' then 'ok' when 'dead' then 'failed' else 'partial' end,
    case p.state when 'dead' then '{"class": "permanent", "code": "RV-STORE-403", "message": "the store refuses PutObject"}'::jsonb end,
    p.nth > 1
from points p;

insert into backups (cluster, name, job, policy, state, mode, tags, started_at, sealed_at, figures, coverage, remarks,
    verified_level, verified_at, damaged, tainted, expired_at, purged_at)
select p.cluster, p.cluster || '-' || to_char(p.at at time zone 'UTC', 'YYYYMMDD"T"HH24MISS"Z"'), p.job,
    'nightly-' || p.cluster, p.state, 'incremental', '{}', p.at, case when p.state <> 'dead' then p.at + interval '18 minutes' end,
    case when p.state <> 'dead' then jsonb_build_object('nodes_total', 6,
        'nodes_held', case p.state when 'covering' then 5 when 'incomplete' then 3 else 6 end, 'sstables', 812, 'files', 6496,
        'bytes', p.bytes, 'bytes_new', p.bytes / 40, 'objects_new', 91) end,
    null, case p.state when 'covering' then '["one node was down"]' when 'incomplete' then '["three nodes were down"]' else '[]' end::jsonb,
    case when p.nth % 7 = 2 and p.cluster_number % 6 <> 4 and p.state <> 'dead' then 'digest' end,
    case when p.nth % 7 = 2 and p.cluster_number % 6 <> 4 and p.state <> 'dead' then p.at + interval '5 hours' end,
    case when p.nth = 9 and p.cluster_number = 42 then 2 else 0 end, false,
    case when p.state = 'expired' then p.at + interval '62 days' end, case when p.state = 'expired' then p.at + interval '62 days' end
from points p;

insert into verifications (cluster, backup, job, level, at, damaged)
select cluster, name, md5('verify' || name)::uuid, verified_level, verified_at, damaged from backups where verified_at is not null;

insert into jobs (id, kind, cluster, spec, state, stages, stage, source, idempotency_key, requested_by, policy, backup_cluster,
    backup, created_at, started_at, ended_at, outcome, counted)
select md5('verify' || name)::uuid, 'verify', cluster, jsonb_build_object('kind', 'verify', 'cluster', cluster, 'backup', name,
    'level', 'digest'), 'succeeded', '{check,report}', 1, 'policy', 'v' || name, 'policy weekly-' || cluster, 'weekly-' || cluster,
    cluster, name, verified_at - interval '9 minutes', verified_at - interval '9 minutes', verified_at, 'ok', true
from backups where verified_at is not null;

-- What each node brought, of the twenty newest.
insert into tasks (id, job, cluster, stage, kind, placement, host_id, payload, state, epoch, attempts, run_at, created_at,
    started_at, ended_at, result)
select md5('upload' || p.job || h)::uuid, p.job, p.cluster, 1, 'upload', 'node', md5(p.cluster || h)::uuid, '{}', 'succeeded', 1, 1,
    p.at, p.at, p.at, p.at + interval '12 minutes', jsonb_build_object('kind', 'upload', 'manifest', jsonb_build_object(
        'host_id', md5(p.cluster || h)::uuid, 'key', 'clusters/' || p.cluster || '/manifest', 'blake3', repeat('0', 64),
        'snapshot_at', to_char(p.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'schema_version', 'e3f9a1'),
        'sstables', 135, 'files', 1080, 'bytes', p.bytes / 6, 'bytes_new', p.bytes / 240, 'objects_new', 15, 'bytes_read', 0,
        'snapshot_cleared', true)
from points p, generate_series(0, 5) h
where p.nth < 20 and (p.state in ('complete') or p.state = 'covering' and h <> 4 or p.state = 'incomplete' and h < 3);

-- Purges and restores of the last weeks.
insert into jobs (id, kind, cluster, spec, state, stages, stage, source, idempotency_key, requested_by, policy, backup_cluster,
    backup, created_at, started_at, ended_at, outcome, error, counted, past_no_return)
select md5('purge' || c.name || d)::uuid, 'purge', c.name, jsonb_build_object('kind', 'purge', 'cluster', c.name), 'succeeded',
    '{mark,sweep,report}'::text[], 2, 'policy', 'purge' || c.name || d, 'policy nightly-' || c.name, 'nightly-' || c.name, null, null,
    now() - d * interval '1 day', now() - d * interval '1 day', now() - d * interval '1 day' + interval '2 minutes', 'ok', null, d > 3, false
from cluster_names c, generate_series(1, 30) d
union all
select md5('restore' || c.name)::uuid, 'restore', c.name, jsonb_build_object('kind', 'restore', 'source', c.name, 'target', c.name,
    'backup', b.name, 'plan_only', c.n % 3 = 0),
    case when c.n % 10 = 5 then 'abandoned' else 'succeeded' end, '{plan,preflight,download,schema,apply,settle,validate}'::text[], 6, 'api/sre',
    'restore' || c.name, 'token sre-on-call', null, c.name, b.name, now() - interval '1 hour' - c.n * interval '9 hours', now() - interval '1 hour' - c.n * interval '9 hours',
    now() - interval '1 hour' - c.n * interval '9 hours' + interval '41 minutes', case when c.n % 10 = 5 then 'failed' when c.n = 8 then 'problems' else 'ok' end,
    case when c.n % 10 = 5 then '{"class": "permanent", "code": "RV-DIGEST", "message": "an object is not what its manifest says"}'::jsonb end,
    true, false
from cluster_names c join lateral (select name from backups b where b.cluster = c.name and b.state = 'complete'
    order by started_at desc limit 1) b on true where c.n % 4 < 2;

insert into tasks (id, job, cluster, stage, kind, placement, payload, state, epoch, attempts, run_at, ended_at, result)
select md5('validate' || j.id)::uuid, j.id, j.cluster, 6, 'validate', 'any', '{}', 'succeeded', 1, 1, j.created_at, j.ended_at,
    '{"kind": "validate", "tables": 12, "rows_read": 48000, "problems": []}'
from jobs j where j.kind = 'restore' and j.state = 'succeeded' and not (j.spec ->> 'plan_only')::boolean;
insert into tasks (id, job, cluster, stage, kind, placement, payload, state, epoch, attempts, run_at, ended_at, result)
select md5('sweep' || j.id)::uuid, j.id, j.cluster, 1, 'sweep', 'any_with_delete', '{}', 'succeeded', 1, 1, j.created_at, j.ended_at,
    '{"kind": "sweep", "objects": 912, "bytes": 1073741824}'
from jobs j where j.kind = 'purge';

insert into holds (id, cluster, backup, name, reason, created_by, created_at, released_at, released_by, release_reason)
select md5('hold' || b.name)::uuid, b.cluster, b.name, 'LIT-' || 1 + c.n, 'court order ' || 4000 + c.n, 'token legal', now() - c.n * interval '7 hours',
    case when c.n % 3 = 0 then now() - c.n * interval '3 hours' end, case when c.n % 3 = 0 then 'token legal' end,
    case when c.n % 3 = 0 then 'the case is closed' end
from cluster_names c join lateral (select cluster, name from backups b where b.cluster = c.name and b.state = 'complete'
    order by started_at offset 5 limit 1) b on true where c.n % 8 = 0;

insert into transitions (job, event, from_state, to_state, at, actor)
select id, '{"event": "start"}'::jsonb, 'queued', 'running', created_at, 'scheduler sched-1' from jobs
union all
select id, '{"event": "pause"}'::jsonb, 'running', 'paused', created_at + interval '1 minute', 'token sre-on-call' from jobs where state = 'paused'
union all
select id, '{"event": "abandon"}'::jsonb, 'failed', 'abandoning', ended_at, 'token sre-on-call' from jobs where state = 'abandoned' and kind = 'restore';

analyze;
