-- Jobs under way, waiting and failed, over the fleet of fleet.sql. Nobody works on them.
insert into jobs (id, kind, cluster, spec, state, stages, stage, source, idempotency_key, requested_by, policy, backup_cluster,
    backup, created_at, started_at, ended_at, outcome, error, retry_until)
select md5('open' || c.name)::uuid, 'backup', c.name, jsonb_build_object('kind', 'backup', 'cluster', c.name), s.state,
    '{snapshot,upload,seal,release}', case s.state when 'queued' then 0 else 1 end, 'policy', 'open' || c.name,
    'policy nightly-' || c.name, 'nightly-' || c.name, c.name, c.name || '-now', now() - interval '14 minutes', now() - interval '14 minutes',
    case s.state when 'failed' then now() - interval '2 minutes' end, case s.state when 'failed' then 'failed' end,
    case s.state when 'failed' then jsonb_build_object('class', 'permanent', 'code', 'RV-STORE-403', 'message',
        '3 of 6 workers may not write to the vault (PutObject denied). Nothing was uploaded', 'next', 'ringvault doctor -c ' || c.name) end,
    case s.state when 'failed' then now() + interval '1 day' end
from (select name, row_number() over (order by name)::int as n from clusters) c join lateral (select (array['running', 'failed', 'paused', 'running', 'queued'])[1 + c.n / 9 % 5] as state) s on true
where c.n % 9 = 1;
insert into tasks (id, job, cluster, stage, kind, placement, host_id, payload, state, epoch, dispatch_seq, attempts, run_at,
    waiting_since, worker, error, progress, progress_at, created_at, running_since)
select md5('task' || j.id || h)::uuid, j.id, j.cluster, 1, 'upload', 'node', md5(j.cluster || h)::uuid, '{}',
    case when j.state = 'running' and not (h = 2 and w.waits) then 'running' when h < 2 then 'succeeded' when j.state = 'failed' then 'failed' else 'ready' end,
    1, 1, 1, now() + interval '20 days', case when h = 2 and w.waits then now() - interval '9 minutes' end,
    case when j.state = 'running' and not (h = 2 and w.waits) then md5('worker' || j.cluster || h)::uuid end,
    case when h = 2 and w.waits then '{"class": "environment", "code": "RV-DISK-FULL", "message": "no room for the journal: /var/lib/ringvault has 12 MiB left", "next": "free some room on the node"}'::jsonb
         when j.state = 'failed' and h >= 2 then j.error end,
    jsonb_build_object('bytes_total', 6000000000, 'bytes_done', 900000000::bigint * (h + 1), 'items_total', 1080, 'items_done', 160 * (h + 1), 'doing', 'uploads'),
    now(), now() - interval '12 minutes', now() - interval '12 minutes'
from jobs j join lateral (select (hashtext(j.cluster) % 2 = 0) as waits) w on true, generate_series(0, 5) h
where j.idempotency_key like 'open%' and j.state <> 'queued';

analyze;
