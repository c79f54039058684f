//! Counts of messages that could not be read; the messages are in the dead queue.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::StateResult;

/// Counts one.
pub async fn count(conn: &mut PgConnection, queue: &str, code: &str, reason: &str) -> StateResult<()> {
    sqlx::query!(
        "insert into dead_messages (queue, code, count, last_reason) values ($1, $2, 1, $3)
         on conflict (queue, code) do update
             set count = dead_messages.count + 1, last_at = now(), last_reason = $3",
        queue,
        code,
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Messages of one queue that could not be read for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// The queue.
    pub queue: String,
    /// The reason's code.
    pub code: String,
    /// How many.
    pub count: i64,
    /// When the last came.
    pub last_at: DateTime<Utc>,
    /// The last one's reason in full.
    pub last_reason: String,
}

/// All counts.
pub async fn list(conn: &mut PgConnection) -> StateResult<Vec<Dead>> {
    let rows = sqlx::query_as!(
        Dead,
        "select queue, code, count, last_at, last_reason from dead_messages order by queue, code"
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
