//! Jobs that time has run out for.

use ringvault_core::JobId;
use sqlx::PgConnection;

use crate::StateResult;

/// A job that time alone has something to say about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    /// Failed, and nobody retried it in time.
    RetryWindow(JobId),
    /// Paused for longer than `paused_at_most`.
    Pause(JobId),
    /// Cancelled or abandoned, and its clearing up takes too long.
    Cleanup(JobId),
    /// A backup that is not sealed so long after its start that purges can wait for it no longer.
    Backup(JobId),
}

/// Jobs that time has run out for.
pub async fn overdue(
    conn: &mut PgConnection,
    paused_at_most: chrono::Duration,
    backup_at_most: chrono::Duration,
) -> StateResult<Vec<Overdue>> {
    let rows = sqlx::query!(
        r#"select id, state, coalesce(kind = 'backup' and state in ('running', 'paused')
                and started_at < now() - make_interval(secs => $2), false) as "too_long!"
         from jobs
         where (state = 'failed' and retry_until < now())
            or (state = 'paused' and state_since < now() - make_interval(secs => $1))
            or (state in ('cancelling', 'abandoning') and cleanup_until < now())
            or (kind = 'backup' and state in ('running', 'paused')
                and started_at < now() - make_interval(secs => $2))
         order by created_at limit 100"#,
        paused_at_most.as_seconds_f64(),
        backup_at_most.as_seconds_f64(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|raw| match raw.state.as_str() {
            _ if raw.too_long => Overdue::Backup(JobId(raw.id)),
            "failed" => Overdue::RetryWindow(JobId(raw.id)),
            "paused" => Overdue::Pause(JobId(raw.id)),
            _ => Overdue::Cleanup(JobId(raw.id)),
        })
        .collect())
}
