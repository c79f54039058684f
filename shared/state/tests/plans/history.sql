-- A year of a fleet of 200 clusters: 50,000 jobs with 200,000 tasks, of which a few hundred are under way.

insert into clusters (name) select 'c' || n from generate_series(0, 199) n;

insert into nodes (cluster, host_id, address, dc, rack, tokens)
select 'c' || n / 6, md5('host' || n)::uuid, '10.0.' || n / 250 || '.' || n % 250, 'dc1', 'r' || n % 3, 16
from generate_series(0, 1199) n;

insert into workers (id, cluster, host_id, incarnation, state, capabilities, slots, short_slots, disk_total,
    disk_free, version)
select md5('worker' || n)::uuid, 'c' || n / 6, md5('host' || n)::uuid, md5('run' || n)::uuid, 'live', '{}', 4, 1,
    100, 50, '0.1.0'
from generate_series(0, 1199) n;

insert into policies (name, cluster, document)
select 'p' || n, 'c' || n, jsonb_build_object('cluster', 'c' || n) ||
    case when n % 10 = 0 then '{"window": "22:00-06:00"}'::jsonb else '{}' end
from generate_series(0, 199) n;

-- Every hundredth of the newest five thousand is under way or failed.
insert into jobs (id, kind, cluster, spec, state, state_since, stages, stage, source, idempotency_key, requested_by,
    policy, backup_cluster, backup, created_at, started_at, ended_at, outcome, counted, retry_until)
select md5('job' || n)::uuid, kind, 'c' || cluster, jsonb_build_object('kind', kind, 'cluster', 'c' || cluster),
    state, at, '{a,b,c,d}', 3, case when n % 5 = 0 then 'api/admin' else 'policy' end, 'k' || n, 'policy p' || cluster,
    case when n % 5 = 0 then null else 'p' || cluster end, 'c' || cluster, 'b' || n, at, at,
    case when state in ('succeeded', 'cancelled', 'abandoned', 'failed') then at + interval '1 hour' end,
    case when state = 'succeeded' then 'ok' when state in ('failed', 'abandoned') then 'failed' end,
    state in ('succeeded', 'cancelled', 'abandoned') and n < 49900, case when state = 'failed' then at + interval '1 day' end
from (
    select n, n % 200 as cluster, now() - interval '1 year' * (50000 - n) / 50000 as at,
        (array['backup', 'backup', 'purge', 'verify', 'restore'])[1 + n / 200 % 5] as kind,
        case when n >= 45000 and n % 100 = 0
            then (array['running', 'queued', 'paused', 'failed', 'cancelling', 'abandoning'])[1 + n / 100 % 6]
            when n % 50 = 1 then 'cancelled' when n % 50 = 2 then 'abandoned' else 'succeeded' end as state
    from generate_series(0, 49999) n) j;

insert into tasks (id, job, cluster, stage, kind, cleanup, placement, host_id, payload, state, epoch, dispatch_seq,
    attempts, run_at, deadline, worker, created_at, started_at, ended_at)
select md5('task' || n || '.' || t)::uuid, j.id, j.cluster, t % 4, (array['snapshot', 'upload', 'seal', 'release'])[1 + t % 4],
    false, 'node', md5('host' || (substr(j.cluster, 2)::int * 6 + t % 6))::uuid, '{}',
    case when j.state in ('succeeded', 'failed', 'paused') or t < 3 then 'succeeded'
         when j.state = 'running' then (array['ready', 'dispatched', 'running'])[1 + n / 600 % 3]
         when j.state = 'queued' then 'ready' when j.state in ('cancelling', 'abandoning') then 'running'
         else 'cancelled' end,
    1, 1, 1, j.created_at, case when j.state in ('running', 'cancelling', 'abandoning') and t = 3 then now() end,
    case when j.state in ('running', 'cancelling', 'abandoning') and t = 3
         then md5('worker' || (substr(j.cluster, 2)::int * 6 + t % 6))::uuid end,
    j.created_at, j.created_at, case when t < 3 then j.created_at + interval '10 minutes' end
from generate_series(0, 49999) n join jobs j on j.id = md5('job' || n)::uuid, generate_series(0, 3) t;

insert into attempts (task, epoch, worker, dispatched_at, granted_at, ended_at, outcome)
select t.id, e, md5('worker' || 1)::uuid, t.created_at, t.created_at,
    case when t.state = 'succeeded' then t.ended_at end, case when t.state = 'succeeded' then 'succeeded' end
from tasks t, generate_series(1, 2) e where e = 1 or t.stage = 1;

insert into transitions (job, task, event, from_state, to_state, at, actor)
select t.job, t.id, jsonb_build_object('event', e.event), e.was, e.becomes, t.created_at, 'scheduler s1'
from (select * from tasks order by created_at) t,
    (values ('place', 'ready', 'dispatched'), ('started', 'dispatched', 'running'),
            ('succeeded', 'running', 'succeeded')) e (event, was, becomes);
insert into transitions (job, event, from_state, to_state, at, actor)
select j.id, jsonb_build_object('event', e.event), e.was, e.becomes, j.created_at, 'scheduler s1'
from (select * from jobs order by created_at) j,
    (values ('start', 'queued', 'running'), ('pause', 'running', 'paused'), ('resume', 'paused', 'running'),
            ('stage_passed', 'running', 'succeeded')) e (event, was, becomes);

insert into outbox (exchange, routing_key, message_id, message_type, headers, body, mandatory, persistent, task, epoch,
    created_at, sent_at)
select 'ringvault.tasks', 'w' || n % 1000, md5('message' || n)::uuid, 'task.offer', '{}', '{}', true, true,
    md5('task' || n % 50000 || '.1')::uuid, 1, now() - interval '1 day' * (100000 - n) / 100000,
    case when n < 99950 then now() - interval '1 day' * (100000 - n) / 100000 end
from generate_series(0, 99999) n;

insert into inbox (source, idempotency_key, body_hash, job, created_at)
select source, idempotency_key, '\x00', id, created_at from jobs;

insert into fires (policy, fire_time, job, scheduler, created_at)
select policy, created_at, id, 's1', created_at from jobs where policy is not null;

insert into backups (cluster, name, job, policy, state, mode, started_at, sealed_at, purged_at)
select backup_cluster, backup, id, policy,
    case when state <> 'succeeded' then 'running' when created_at < now() - interval '30 days' then 'expired'
         else 'complete' end,
    'incremental', created_at, ended_at, case when created_at < now() - interval '30 days' then ended_at end
from jobs where kind = 'backup';

insert into holds (id, cluster, backup, job, created_by, created_at, released_at)
select md5('hold' || j.id)::uuid, b.cluster, b.name, j.id, 's1', j.created_at, case when j.state = 'succeeded' then j.ended_at end
from jobs j join lateral (select * from backups b where b.cluster = j.cluster order by b.started_at limit 1) b on true
where j.kind in ('verify', 'restore');

insert into counters (name, cluster, policy, kind, result, value)
select 'runs', 'c' || n, 'p' || n, 'backup', 'ok', 1 from generate_series(0, 199) n;

analyze;
