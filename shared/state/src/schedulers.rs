//! Schedulers that run, and which of them does the housekeeping. Leadership only saves work: nothing
//! is wrong with two leaders, or none.

use chrono::{DateTime, Duration, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StateResult;

/// A scheduler says it is there.
pub async fn announce(
    conn: &mut PgConnection,
    id: &str,
    incarnation: Uuid,
    version: &str,
) -> StateResult<()> {
    sqlx::query!(
        "insert into schedulers (id, incarnation, version) values ($1, $2, $3)
         on conflict (id) do update set last_seen = now(), version = $3, incarnation = $2,
             started_at = case when schedulers.incarnation = $2 then schedulers.started_at else now() end",
        id,
        incarnation,
        version
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A scheduler says it is leaving.
pub async fn leave(conn: &mut PgConnection, id: &str, incarnation: Uuid) -> StateResult<()> {
    sqlx::query!("delete from leader where scheduler = $1", id).execute(&mut *conn).await?;
    sqlx::query!("delete from schedulers where id = $1 and incarnation = $2", id, incarnation)
        .execute(conn)
        .await?;
    Ok(())
}

/// Becomes or stays leader for `lease`, unless another one is.
pub async fn lead(conn: &mut PgConnection, id: &str, lease: Duration) -> StateResult<bool> {
    let done = sqlx::query!(
        "insert into leader (scheduler, until) values ($1, now() + make_interval(secs => $2))
         on conflict (singleton) do update
             set scheduler = $1, until = now() + make_interval(secs => $2)
             where leader.scheduler = $1 or leader.until < now()",
        id,
        lease.as_seconds_f64(),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// A scheduler that was heard of lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduler {
    /// Its id.
    pub id: String,
    /// Its program's version.
    pub version: String,
    /// Since when it runs.
    pub started_at: DateTime<Utc>,
    /// When it was last heard of.
    pub last_seen: DateTime<Utc>,
    /// Whether it does the housekeeping.
    pub leader: bool,
}

/// Every scheduler known, by id.
pub async fn list(conn: &mut PgConnection) -> StateResult<Vec<Scheduler>> {
    let rows = sqlx::query_as!(
        Scheduler,
        r#"select s.id, s.version, s.started_at, s.last_seen,
             exists (select 1 from leader l where l.scheduler = s.id and l.until > now()) as "leader!"
         from schedulers s order by s.id"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
