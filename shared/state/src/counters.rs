//! What the metrics count, kept when its rows are not.
//!
//! A job that is over for good is booked once: what it and its tasks add to each counter is added to
//! `counters` and the job marked as counted, in one transaction. A counter is then what is booked and
//! what the jobs not booked yet add ([`crate::read::measures`]); so it never falls, pruning takes
//! nothing from it, and a scrape looks at open jobs only. Jobs that are over for good never change.

use sqlx::PgConnection;

use crate::StateResult;

/// Books up to `limit` jobs, with the durations of backups under these upper `bounds` in seconds. How
/// many were. The caller's transaction.
pub async fn book(conn: &mut PgConnection, bounds: &[f64], limit: i64) -> StateResult<u64> {
    let jobs = sqlx::query_scalar!(
        "select id from jobs where not counted and state in ('succeeded', 'cancelled', 'abandoned')
         limit $1 for no key update skip locked",
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    if jobs.is_empty() {
        return Ok(0);
    }
    sqlx::query!(
        "insert into counters as c (name, cluster, policy, kind, result, value)
         select name, cluster, policy, kind, result, sum(value) from (
             select kind || '_runs_total' as name, cluster, coalesce(policy, '') as policy, '' as kind,
                 coalesce(outcome, state) as result, 1::float8 as value
             from jobs where id = any($1) and kind in ('backup', 'restore')
             union all
             select 'task_retries_total', cluster, '', kind, '', greatest(epoch - 1, 0)
             from tasks where job = any($1)
             union all
             select case kind when 'apply' then 'restored_bytes_total' else 'purged_bytes_total' end,
                 cluster, '', '', '', (result ->> 'bytes')::float8
             from tasks where job = any($1) and kind in ('apply', 'sweep') and state = 'succeeded'
             union all
             select took.name, took.cluster, took.policy, '', took.bound, took.value from (
                 select cluster, coalesce(policy, '') as policy,
                     extract(epoch from ended_at - started_at)::float8 as seconds
                 from jobs where id = any($1) and kind = 'backup' and state = 'succeeded'
                   and started_at is not null and ended_at is not null) j
             cross join lateral (
                 select 'backup_seconds_sum' as name, j.cluster, j.policy, '' as bound, seconds as value
                 union all select 'backup_seconds_count', j.cluster, j.policy, '', 1
                 union all select 'backup_seconds_within', j.cluster, j.policy, b::text, 1
                 from unnest($2::float8[]) b where seconds <= b) took
         ) added where value is not null group by 1, 2, 3, 4, 5
         on conflict (name, cluster, policy, kind, result) do update set value = c.value + excluded.value",
        &jobs,
        bounds,
    )
    .execute(&mut *conn)
    .await?;
    let done = sqlx::query!("update jobs set counted = true where id = any($1)", &jobs).execute(conn).await?;
    Ok(done.rows_affected())
}
