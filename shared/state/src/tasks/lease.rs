//! Heartbeats. They alone change a task without its job's lock: the SQL form of the state machine's
//! `Heartbeat` event, which moves the lease's end of the current epoch and nothing else.

use chrono::Duration;
use ringvault_core::{
    TaskId, WorkerId,
    job::JobState,
    task::{Progress, TaskState},
};
use sqlx::PgConnection;

use crate::{
    StateResult,
    word::{self, Row},
};

/// What the scheduler makes of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// The lease is extended; the job wants the task done.
    Wanted,
    /// The lease is extended; the job wants the task to hold still.
    Paused,
    /// The lease is extended; the job wants the task no more.
    Unwanted,
    /// The task is no longer this worker's under this epoch.
    Stale {
        /// Where the task is now.
        task: TaskState,
        /// The worker it is placed on now.
        worker: Option<WorkerId>,
        /// Its epoch now.
        epoch: u32,
    },
    /// There is no such task.
    Unknown,
}

/// Extends the lease of `(task, epoch, worker)` to `lease` from now, and keeps its progress.
pub async fn extend(
    conn: &mut PgConnection,
    (task, epoch, worker): (TaskId, u32, WorkerId),
    lease: Duration,
    progress: &Progress,
) -> StateResult<Beat> {
    let extended = sqlx::query!(
        "update tasks t set deadline = clock_timestamp() + make_interval(secs => $4), asked_at = null,
             progress = $5, progress_at = clock_timestamp()
         from jobs j
         where j.id = t.job and t.id = $1 and t.epoch = $2 and t.worker = $3 and t.state = 'running'
         returning j.id, j.state, t.cleanup",
        task.0,
        word::int("epoch", epoch)?,
        worker.0,
        lease.as_seconds_f64(),
        word::json("progress", progress)?,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(job) = extended {
        let state: JobState = Row::new("job", &job.id).word("state", &job.state)?;
        return Ok(match state {
            JobState::Cancelling | JobState::Abandoning if !job.cleanup => Beat::Unwanted,
            JobState::Paused => Beat::Paused,
            _ => Beat::Wanted,
        });
    }
    let current = sqlx::query!("select state, worker, epoch from tasks where id = $1", task.0)
        .fetch_optional(conn)
        .await?;
    let Some(current) = current else { return Ok(Beat::Unknown) };
    let row = Row::new("task", &task);
    Ok(Beat::Stale {
        task: row.word("state", &current.state)?,
        worker: current.worker.map(WorkerId),
        epoch: row.count("epoch", current.epoch)?,
    })
}
