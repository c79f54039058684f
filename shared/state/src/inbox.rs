//! Requests that came in: each happens once for its `(source, idempotency_key)`.

use ringvault_core::JobId;
use sqlx::PgConnection;

use crate::StateResult;

/// A request that came before under the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// SHA-256 of its type and body.
    pub body_hash: Vec<u8>,
    /// The job it created or was about.
    pub job: Option<JobId>,
}

/// Looks for an earlier request under the key.
pub async fn find(conn: &mut PgConnection, source: &str, key: &str) -> StateResult<Option<Earlier>> {
    let row = sqlx::query!(
        "select body_hash, job from inbox where source = $1 and idempotency_key = $2",
        source,
        key
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Earlier { body_hash: row.body_hash, job: row.job.map(JobId) }))
}

/// Takes the key for a new request. `false`: it is taken; [`find`] says by what. Waits for a
/// transaction that is taking the same key.
pub async fn take(
    conn: &mut PgConnection,
    source: &str,
    key: &str,
    body_hash: &[u8],
    job: Option<JobId>,
) -> StateResult<bool> {
    let done = sqlx::query!(
        "insert into inbox (source, idempotency_key, body_hash, job) values ($1, $2, $3, $4)
         on conflict do nothing",
        source,
        key,
        body_hash,
        job.map(|job| job.0)
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}
