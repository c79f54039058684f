//! The history of attempts: one row a placement, for `job show` and for people. Decides nothing.

use ringvault_core::{TaskError, TaskId, WorkerId};
use sqlx::PgConnection;

use crate::{StateResult, word};

/// A placement was made.
pub async fn opened(conn: &mut PgConnection, task: TaskId, epoch: u32, worker: WorkerId) -> StateResult<()> {
    sqlx::query!(
        "insert into attempts (task, epoch, worker) values ($1, $2, $3) on conflict do nothing",
        task.0,
        word::int("epoch", epoch)?,
        worker.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// It was granted.
pub async fn granted(conn: &mut PgConnection, task: TaskId, epoch: u32) -> StateResult<()> {
    sqlx::query!(
        "update attempts set granted_at = coalesce(granted_at, now()) where task = $1 and epoch = $2",
        task.0,
        word::int("epoch", epoch)?,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// It ended, with what and why.
pub async fn closed(
    conn: &mut PgConnection,
    task: TaskId,
    epoch: u32,
    outcome: &str,
    error: Option<&TaskError>,
) -> StateResult<()> {
    sqlx::query!(
        "update attempts set ended_at = now(), outcome = $3, error = $4
         where task = $1 and epoch = $2 and ended_at is null",
        task.0,
        word::int("epoch", epoch)?,
        outcome,
        word::maybe_json("an attempt's error", error)?,
    )
    .execute(conn)
    .await?;
    Ok(())
}
