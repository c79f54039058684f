//! What is over for good and old is forgotten: a job with its tasks, attempts and log all at once, so
//! that the log of what is kept still replays to what stands here.
//!
//! Never forgotten, however old: a job whose backup is not gone from the vault (its nodes are read
//! from its tasks), one that holds a backup, one that is not booked in [`crate::counters`], a restore
//! past its point of no return (whether a backup is tainted is judged by those), and the job of a
//! policy's last fire (the fire is what keeps that instant from being fired again).

use chrono::Duration;
use ringvault_core::JobId;
use sqlx::PgConnection;

use crate::StateResult;

/// What is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Younger than this.
    pub age: Duration,
    /// Of each cluster and kind of job, so many of the newest.
    pub newest: i64,
}

/// Rows deleted by one statement.
const CHUNK: i64 = 20_000;

/// The jobs that may be forgotten, oldest first, at most `limit`.
pub async fn forgettable(conn: &mut PgConnection, keep: Keep, limit: i64) -> StateResult<Vec<JobId>> {
    let rows = sqlx::query_scalar!(
        "select j.id from jobs j
         where j.counted and j.ended_at < now() - make_interval(secs => $1)
           and not j.past_no_return
           and $2 <= (select count(*) from (
                 select from jobs n where n.cluster = j.cluster and n.kind = j.kind
                   and n.created_at > j.created_at limit $2) newer)
           and not exists (select from backups b where b.job = j.id and b.purged_at is null)
           and not exists (select from holds h where h.job = j.id and h.released_at is null)
           and not exists (select from fires f where f.job = j.id and not exists (
                 select from fires later where later.policy = f.policy and later.fire_time > f.fire_time))
         order by j.ended_at limit $3",
        keep.age.as_seconds_f64(),
        keep.newest,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(JobId).collect())
}

/// Forgets one job and everything that is its own, in the caller's transaction.
pub async fn forget(conn: &mut PgConnection, job: JobId) -> StateResult<()> {
    // Chunk by chunk: a job of ten thousand nodes has some hundred thousand lines.
    loop {
        let done = sqlx::query!(
            "delete from transitions where id in (select id from transitions where job = $1 limit $2)",
            job.0,
            CHUNK
        )
        .execute(&mut *conn)
        .await?;
        if done.rows_affected() == 0 {
            break;
        }
    }
    sqlx::query!("delete from attempts where task in (select id from tasks where job = $1)", job.0)
        .execute(&mut *conn)
        .await?;
    sqlx::query!("delete from tasks where job = $1", job.0).execute(&mut *conn).await?;
    sqlx::query!("delete from holds where job = $1", job.0).execute(&mut *conn).await?;
    sqlx::query!("delete from fires where job = $1", job.0).execute(&mut *conn).await?;
    sqlx::query!("delete from inbox where job = $1", job.0).execute(&mut *conn).await?;
    sqlx::query!("delete from jobs where id = $1", job.0).execute(conn).await?;
    Ok(())
}

/// Forgets what belongs to no job and is older than `age`: requests that made none, fires that were
/// skipped, holds that were released, rings that were, workers and schedulers that are gone. At most
/// `limit` rows of each; how many in all.
pub async fn forget_rest(conn: &mut PgConnection, age: Duration, limit: i64) -> StateResult<u64> {
    let age = age.as_seconds_f64();
    let requests = sqlx::query!(
        "delete from inbox where (source, idempotency_key) in (
             select source, idempotency_key from inbox i
             where created_at < now() - make_interval(secs => $1)
               -- Looked up one by one: few requests are so old, and jobs are many.
               and (select j.id from jobs j where j.id = i.job) is null limit $2)",
        age,
        limit
    )
    .execute(&mut *conn)
    .await?;
    let fires = sqlx::query!(
        "delete from fires where (policy, fire_time) in (
             select policy, fire_time from fires f
             where job is null and fire_time < now() - make_interval(secs => $1) and exists (
                 select from fires later where later.policy = f.policy and later.fire_time > f.fire_time)
             limit $2)",
        age,
        limit
    )
    .execute(&mut *conn)
    .await?;
    let holds = sqlx::query!(
        "delete from holds where id in (
             select id from holds
             where job is null and released_at < now() - make_interval(secs => $1) limit $2)",
        age,
        limit
    )
    .execute(&mut *conn)
    .await?;
    let rings = sqlx::query!(
        "delete from topologies where id in (
             select id from topologies where valid_to < now() - make_interval(secs => $1) limit $2)",
        age,
        limit
    )
    .execute(&mut *conn)
    .await?;
    let workers = sqlx::query!(
        "delete from workers where id in (
             select id from workers w where last_seen < now() - make_interval(secs => $1)
               and not exists (select from tasks t
                   where t.worker = w.id and t.state in ('dispatched', 'running')) limit $2)",
        age,
        limit
    )
    .execute(&mut *conn)
    .await?;
    let schedulers =
        sqlx::query!("delete from schedulers where last_seen < now() - make_interval(secs => $1)", age)
            .execute(conn)
            .await?;
    let done = [requests, fires, holds, rings, workers, schedulers];
    Ok(done.iter().map(sqlx::postgres::PgQueryResult::rows_affected).sum())
}
