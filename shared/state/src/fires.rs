//! Fires of policies: one row per policy and instant, so that any number of schedulers make one job
//! of it.

use chrono::{DateTime, Utc};
use ringvault_core::{JobId, PolicyName};
use sqlx::PgConnection;

use crate::StateResult;

/// Claims a fire. `false`: it was claimed before. Waits for a transaction that is claiming it.
pub async fn claim(
    conn: &mut PgConnection,
    policy: &PolicyName,
    at: DateTime<Utc>,
    scheduler: &str,
) -> StateResult<bool> {
    let done = sqlx::query!(
        "insert into fires (policy, fire_time, scheduler) values ($1, $2, $3) on conflict do nothing",
        policy.as_str(),
        at,
        scheduler
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// What the claimed fire came to: a job, or why there is none.
pub async fn settle(
    conn: &mut PgConnection,
    policy: &PolicyName,
    at: DateTime<Utc>,
    result: Result<JobId, &str>,
) -> StateResult<()> {
    sqlx::query!(
        "update fires set job = $3, skipped = $4 where policy = $1 and fire_time = $2",
        policy.as_str(),
        at,
        result.ok().map(|job| job.0),
        result.err()
    )
    .execute(conn)
    .await?;
    Ok(())
}
