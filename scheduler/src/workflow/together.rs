//! One transaction's work on several jobs: what is decided of their tasks is written together, in as
//! many statements as for one job.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use ringvault_core::{JobId, TaskId};
use ringvault_state::{
    PgConnection,
    jobs::{self, JobRow},
    tasks::{self, TaskRow},
};

use super::{DriveError, Step, places::Places, writes::Writes};
use crate::Context;

/// Work on jobs under their locks.
pub struct Together<'a> {
    /// What is shared.
    ctx: &'a Context,
    /// The transaction; the caller commits it.
    pub conn: &'a mut PgConnection,
    jobs: BTreeMap<JobId, JobRow>,
    now: DateTime<Utc>,
    places: Places,
    writes: Writes,
}

impl<'a> Together<'a> {
    /// Locks one job, and waits for it where another has it. Without the job it is empty.
    pub async fn wait_for(
        ctx: &'a Context,
        conn: &'a mut PgConnection,
        job: JobId,
    ) -> Result<Self, DriveError> {
        let job = jobs::lock(conn, job).await?;
        Self::of(ctx, conn, job).await
    }

    /// Locks those of these jobs that nobody else has locked.
    pub async fn lock_free(
        ctx: &'a Context,
        conn: &'a mut PgConnection,
        jobs: &[JobId],
    ) -> Result<Self, DriveError> {
        let jobs = jobs::lock_free(conn, jobs).await?;
        Self::of(ctx, conn, jobs).await
    }

    async fn of(
        ctx: &'a Context,
        conn: &'a mut PgConnection,
        jobs: impl IntoIterator<Item = JobRow>,
    ) -> Result<Self, DriveError> {
        let now = ringvault_state::now(conn).await?;
        let jobs: BTreeMap<_, _> = jobs.into_iter().map(|job| (job.id, job)).collect();
        let places = Places::of(conn, jobs.values()).await?;
        Ok(Self { ctx, conn, jobs, now, places, writes: Writes::default() })
    }

    /// The jobs that are locked.
    pub fn ids(&self) -> Vec<JobId> {
        self.jobs.keys().copied().collect()
    }

    /// Locks tasks of these jobs.
    pub async fn tasks(&mut self, ids: &[TaskId]) -> Result<Vec<TaskRow>, DriveError> {
        Ok(tasks::lock_some(self.conn, &self.ids(), ids).await?)
    }

    /// One of the jobs, to be given back to [`Self::keep`] (until then it is not among them). `None`:
    /// it is not locked.
    pub fn step(&mut self, job: JobId, actor: impl Into<String>) -> Option<Step<'_>> {
        Some(Step {
            ctx: self.ctx,
            conn: self.conn,
            job: self.jobs.remove(&job)?,
            now: self.now,
            asked_with: None,
            actor: actor.into(),
            places: self.places.clone(),
            writes: std::mem::take(&mut self.writes),
        })
    }

    /// Takes a job back, with what was decided of it and not written yet.
    pub fn keep(&mut self, done: Done) {
        self.jobs.insert(done.job.id, done.job);
        self.writes = done.writes;
    }

    /// Judges the barriers, or the clearing up, of jobs of which tasks are over; `actor` is who the last
    /// of them was over by.
    pub async fn judge(&mut self, over: &BTreeMap<JobId, String>) -> Result<(), DriveError> {
        if over.is_empty() {
            return Ok(());
        }
        self.flush().await?;
        let jobs: Vec<JobId> = over.keys().copied().collect();
        let open: HashSet<JobId> = tasks::still_open(self.conn, &jobs).await?;
        for (job, actor) in over {
            if open.contains(job) {
                continue;
            }
            let Some(mut step) = self.step(*job, actor.as_str()) else { continue };
            step.judge().await?;
            let done = step.done();
            self.keep(done);
        }
        Ok(())
    }

    /// Writes what was left to be written.
    pub async fn flush(&mut self) -> Result<(), DriveError> {
        Ok(self.writes.flush(self.conn).await?)
    }
}

/// A job that goes back to [`Together`].
pub struct Done {
    job: JobRow,
    writes: Writes,
}

impl Step<'_> {
    /// Ends the work on this job, with what is not written yet.
    pub fn done(self) -> Done {
        Done { job: self.job, writes: self.writes }
    }
}
