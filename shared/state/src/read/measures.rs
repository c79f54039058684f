//! Sums for the metrics page. A counter is what is booked in [`crate::counters`] and what jobs that
//! are not booked yet add, or a sum over rows that are kept; so it only grows, every scheduler says
//! the same, and no scrape looks at the tasks of jobs that are over.

use sqlx::PgConnection;

use crate::StateResult;

/// One value with the labels it is under; labels that do not apply are empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measure {
    /// The metric's name, without the prefix.
    pub name: String,
    /// Cluster.
    pub cluster: String,
    /// Policy.
    pub policy: String,
    /// Node: its address, or its worker's id.
    pub node: String,
    /// How it ended.
    pub result: String,
    /// State.
    pub state: String,
    /// Kind.
    pub kind: String,
    /// The value; times in seconds since 1970.
    pub value: f64,
}

/// Everything that the database knows, metric by metric.
pub async fn all(conn: &mut PgConnection) -> StateResult<Vec<Measure>> {
    let mut measures = backups(conn).await?;
    measures.extend(jobs(conn).await?);
    measures.extend(messages(conn).await?);
    measures.extend(workers(conn).await?);
    Ok(measures)
}

async fn backups(conn: &mut PgConnection) -> StateResult<Vec<Measure>> {
    let rows = sqlx::query_as!(
        Measure,
        r#"with newest as (
             select distinct on (cluster) cluster, figures from backups
             where state in ('complete', 'covering', 'incomplete')
             order by cluster, started_at desc),
           freed as (
             select cluster, sum(bytes) as bytes from (
                 select cluster, value::numeric as bytes from counters where name = 'purged_bytes_total'
                 union all
                 select t.cluster, (t.result ->> 'bytes')::numeric from jobs j join tasks t on t.job = j.id
                 where not j.counted and t.kind = 'sweep' and t.state = 'succeeded') f
             group by cluster),
           brought as (
             select cluster, sum((figures ->> 'bytes_new')::numeric) as bytes,
                 sum((figures ->> 'bytes')::numeric - (figures ->> 'bytes_new')::numeric) as reused
             from backups where figures is not null group by cluster)
         select m.name as "name!", m.cluster as "cluster!", m.policy as "policy!", '' as "node!",
             '' as "result!", m.state as "state!", '' as "kind!", m.value::float8 as "value!"
         from (
             select 'last_backup_success_timestamp_seconds' as name, cluster,
                 coalesce(policy, '') as policy, '' as state,
                 extract(epoch from max(started_at)) as value
             from backups where state in ('complete', 'covering') and not tainted group by 2, 3
             union all
             select 'last_verify_success_timestamp_seconds', cluster, '', '',
                 extract(epoch from max(verified_at))
             from backups where verified_at is not null and damaged = 0 group by 2
             union all
             select 'corrupt_objects', cluster, '', '', sum(damaged)
             from backups where state in ('complete', 'covering', 'incomplete') group by 2
             union all
             select 'backup_nodes', cluster, '', 'held', (figures ->> 'nodes_held')::numeric
             from newest where figures is not null
             union all
             select 'backup_nodes', cluster, '', 'total', (figures ->> 'nodes_total')::numeric
             from newest where figures is not null
             union all
             select 'uploaded_bytes_total', cluster, '', '', bytes from brought
             union all
             select 'reused_bytes_total', cluster, '', '', reused from brought
             union all
             select 'purged_bytes_total', cluster, '', '', bytes from freed
             union all
             select 'repository_bytes', b.cluster, '', '',
                 greatest(b.bytes - coalesce(f.bytes, 0), 0)
             from brought b left join freed f using (cluster)
             union all
             select 'legal_holds', cluster, '', '', count(*)
             from holds where name is not null and released_at is null group by 2
         ) m where m.value is not null"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

async fn jobs(conn: &mut PgConnection) -> StateResult<Vec<Measure>> {
    let rows = sqlx::query_as!(
        Measure,
        r#"select m.name as "name!", m.cluster as "cluster!", m.policy as "policy!", '' as "node!",
             m.result as "result!", m.state as "state!", m.kind as "kind!", m.value::float8 as "value!"
         from (
             select name, cluster, policy, result, '' as state, kind, sum(value) as value from (
                 select name, cluster, policy, result, kind, value from counters
                 where name in ('backup_runs_total', 'restore_runs_total', 'task_retries_total',
                     'restored_bytes_total')
                 union all
                 -- A failed job is not over: it may be retried, and would be counted twice.
                 select kind || '_runs_total', cluster, coalesce(policy, ''), coalesce(outcome, state), '', 1
                 from jobs
                 where not counted and kind in ('backup', 'restore')
                   and state in ('succeeded', 'abandoned', 'cancelled')
                 union all
                 select 'task_retries_total', t.cluster, '', '', t.kind, greatest(t.epoch - 1, 0)
                 from jobs j join tasks t on t.job = j.id where not j.counted
                 union all
                 select 'restored_bytes_total', t.cluster, '', '', '', (t.result ->> 'bytes')::float8
                 from jobs j join tasks t on t.job = j.id
                 where not j.counted and t.kind = 'apply' and t.state = 'succeeded') c
             group by 1, 2, 3, 4, 6
             union all
             select 'jobs', cluster, '', '', state, kind, count(*) from jobs group by 2, 5, 6
             union all
             select 'tasks', t.cluster, '', '', t.state, t.kind, count(*)
             from jobs j join tasks t on t.job = j.id where not j.counted group by 2, 5, 6
             union all
             select 'oldest_queued_task_seconds', '', '', '', '', '', coalesce(extract(epoch from
                 clock_timestamp() - min(t.run_at)), 0)
             from tasks t join jobs j on j.id = t.job
             where t.state = 'ready' and t.run_at <= clock_timestamp() and j.state = 'running'
         ) m where m.value is not null"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

async fn messages(conn: &mut PgConnection) -> StateResult<Vec<Measure>> {
    let rows = sqlx::query_as!(
        Measure,
        r#"select m.name as "name!", '' as "cluster!", '' as "policy!", '' as "node!", m.result as "result!",
             '' as "state!", m.kind as "kind!", m.value::float8 as "value!"
         from (
             select 'outbox_pending' as name, '' as result, '' as kind, count(*)::float8 as value
             from outbox where sent_at is null
             union all
             select 'outbox_oldest_seconds', '', '',
                 coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)
             from outbox where sent_at is null
             union all
             select 'dead_messages_total', '', code, sum(count) from dead_messages group by 3
             union all
             select 'notices_total', result, kind, value from counters where name = 'notices_total'
             union all
             select 'notices_pending', '', '', count(*) from notices where state = 'pending'
             union all
             select 'notices_oldest_seconds', '', '',
                 coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)
             from notices where state = 'pending'
         ) m"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

async fn workers(conn: &mut PgConnection) -> StateResult<Vec<Measure>> {
    let rows = sqlx::query_as!(
        Measure,
        r#"select 'worker_last_heartbeat_timestamp_seconds' as "name!", w.cluster as "cluster!",
             '' as "policy!", coalesce(nullif(n.address, ''), w.id::text) as "node!", '' as "result!",
             '' as "state!", '' as "kind!", extract(epoch from max(w.last_seen))::float8 as "value!"
         from workers w left join nodes n on n.cluster = w.cluster and n.host_id = w.host_id
         where w.state = 'live' group by 2, 4"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Seconds that backups took, by cluster and policy: how many in all, their sum, and how
/// many took at most each of `bounds`.
#[derive(Debug, Clone, PartialEq)]
pub struct Durations {
    /// Cluster.
    pub cluster: String,
    /// Policy, or empty.
    pub policy: String,
    /// How many.
    pub count: i64,
    /// Their seconds.
    pub sum: f64,
    /// How many took at most the bound of the same index.
    pub within: Vec<i64>,
}

/// Durations of the backups that succeeded.
pub async fn backup_durations(conn: &mut PgConnection, bounds: &[f64]) -> StateResult<Vec<Durations>> {
    let rows = sqlx::query_as!(
        Durations,
        r#"with took as (
             select cluster, coalesce(policy, '') as policy,
                 extract(epoch from ended_at - started_at)::float8 as seconds
             from jobs where not counted and kind = 'backup' and state = 'succeeded'
               and started_at is not null and ended_at is not null),
           added as (
             select name, cluster, policy, result as bound, value from counters
             where name in ('backup_seconds_sum', 'backup_seconds_count', 'backup_seconds_within')
             union all select 'backup_seconds_sum', cluster, policy, '', seconds from took
             union all select 'backup_seconds_count', cluster, policy, '', 1 from took
             union all select 'backup_seconds_within', cluster, policy, b::text, 1
                 from took join unnest($1::float8[]) b on seconds <= b)
         select cluster as "cluster!", policy as "policy!",
             coalesce(sum(value) filter (where name = 'backup_seconds_count'), 0)::bigint as "count!",
             coalesce(sum(value) filter (where name = 'backup_seconds_sum'), 0)::float8 as "sum!",
             array(select coalesce((select sum(w.value)::bigint from added w
                       where w.cluster = added.cluster and w.policy = added.policy
                         and w.name = 'backup_seconds_within' and w.bound = b.bound::text), 0)
                   from unnest($1::float8[]) with ordinality as b(bound, place)
                   order by b.place) as "within!"
         from added group by cluster, policy order by 1, 2"#,
        bounds
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
