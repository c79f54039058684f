//! One transaction's work on one job: the driver of the state machines.
//!
//! A [`Step`] holds the job's row lock. Every event goes through ringvault-core's `transition`; the
//! new state, its line in the log and the messages of its effects are written on the same
//! connection, so they are there together or not at all. Events of tasks are collected and written
//! together, before the job's own state is looked at or changed and before a step's method returns,
//! unless it says that it leaves them to [`Step::flush`]. As everything that happens to a job takes
//! its lock first, a barrier is judged by one at a time and opens once. [`Together`] is the same for
//! several jobs in one transaction.

pub mod announce;
mod error;
mod events;
mod failure;
mod outcome;
mod places;
mod purge;
mod results;
mod send;
mod stage;
mod tasks;
mod together;
mod writes;

pub use error::DriveError;
pub(crate) use results::answers;
pub use together::Together;

use chrono::{DateTime, Utc};
use ringvault_core::JobId;
use ringvault_state::{
    PgConnection,
    jobs::{self, JobRow},
};
use uuid::Uuid;
use writes::Writes;

use crate::Context;

/// Work on one job under its lock.
pub struct Step<'a> {
    /// What is shared.
    pub ctx: &'a Context,
    /// The transaction; the caller commits it.
    pub conn: &'a mut PgConnection,
    /// The job, locked.
    pub job: JobRow,
    /// Now, on the database's clock, after the lock was got.
    pub now: DateTime<Utc>,
    /// The nonce of the worker's question that a grant answers.
    pub asked_with: Option<Uuid>,
    /// Who or what caused it, for the log.
    pub actor: String,
    /// Where workers are, for what holds by data center.
    places: places::Places,
    /// What is decided and not written yet.
    writes: Writes,
}

impl<'a> Step<'a> {
    /// Locks a job. `None`: there is no such job.
    pub async fn lock(
        ctx: &'a Context,
        conn: &'a mut PgConnection,
        job: JobId,
        actor: impl Into<String>,
    ) -> Result<Option<Self>, DriveError> {
        let Some(job) = jobs::lock(conn, job).await? else { return Ok(None) };
        let now = ringvault_state::now(conn).await?;
        let places = places::Places::of(conn, [&job]).await?;
        Ok(Some(Self {
            ctx,
            conn,
            job,
            now,
            asked_with: None,
            actor: actor.into(),
            places,
            writes: Writes::default(),
        }))
    }
}
