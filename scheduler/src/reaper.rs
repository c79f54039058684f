//! The reaper: what time has run out for.
//!
//! Silence is judged fairly. Leases run on the database's clock; this scheduler takes none for lost
//! before it has itself listened for one whole lease without a break, and before the worker was
//! asked over its own queue and did not answer. A break is a lost connection, a process that stood
//! still, a database that took no heartbeats in, or a backlog of them.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use ringvault_core::{
    JobId, TaskError, TaskId,
    job::{JobEvent, JobState},
    lasting::lasting,
    task::{TaskEvent, TaskState},
};
use ringvault_fault::around;
use ringvault_queue::{
    SessionState,
    message::{Control, TaskControl},
};
use ringvault_state::{
    StateError,
    jobs::{self, Overdue},
    tasks::{self, due},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Context,
    config::delta,
    heartbeats::send_control,
    isolate::Isolated,
    workflow::{DriveError, Step},
};

/// Tasks looked at in one pass.
const BATCH: i64 = 500;

/// Since when this scheduler has heard every heartbeat there was to hear.
#[derive(Debug, Default)]
pub struct Listening {
    /// The session's present connection, and since when it is listened to.
    since: Option<(DateTime<Utc>, Instant)>,
    last_look: Option<Instant>,
}

impl Listening {
    /// Looks whether it listens, at `now`. A break is another connection, none, being `behind` with
    /// heartbeats by more than one may be, or a look that comes much later than it should (`gap`): the
    /// process stood still meanwhile.
    pub fn look(&mut self, state: &SessionState, behind: bool, now: Instant, gap: Duration) {
        let stood_still = self.last_look.is_some_and(|last| now.duration_since(last) > gap);
        self.last_look = Some(now);
        self.since = match (state, self.since) {
            _ if behind => None,
            (SessionState::Connected { since }, Some((known, start))) if *since == known && !stood_still => {
                Some((known, start))
            }
            (SessionState::Connected { since }, _) => Some((*since, now)),
            _ => None,
        };
    }

    /// How long it has listened without a break.
    pub fn listened(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |(_, start)| now.saturating_duration_since(start))
    }

    /// Begins anew: heartbeats could not be taken in.
    pub fn interrupt(&mut self) {
        self.since = None;
    }
}

/// A look at whether it listens, between two of which a slow pass does not count.
const LOOK: Duration = Duration::from_millis(500);
/// Looks that come later than this: the process stood still.
const GAP: Duration = Duration::from_secs(5);
/// Heartbeats may be heard late by this part of a lease.
const BEHIND_AT_MOST: u32 = 6;

/// Runs until told to stop.
pub async fn run(ctx: &Context, stop: &CancellationToken) {
    let listening = Mutex::new(Listening::default());
    tokio::join!(listen(ctx, stop, &listening), judge(ctx, stop, &listening));
}

fn lock(listening: &Mutex<Listening>) -> MutexGuard<'_, Listening> {
    listening.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(ctx: &Context, stop: &CancellationToken, listening: &Mutex<Listening>) {
    let state = ctx.queue.state();
    let bound = ctx.config.retry.lease / BEHIND_AT_MOST;
    while !stop.is_cancelled() {
        let now = Instant::now();
        let behind = ctx.hearing.behind(now) > bound;
        if behind {
            tracing::warn!(seconds = ctx.hearing.behind(now).as_secs(), "behind with heartbeats");
        }
        lock(listening).look(&state.borrow(), behind, now, GAP);
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn judge(ctx: &Context, stop: &CancellationToken, listening: &Mutex<Listening>) {
    let pause = ctx.config.timing.poll.max(Duration::from_millis(50));
    while !stop.is_cancelled() {
        let listened = lock(listening).listened(Instant::now());
        if let Err(error) = pass(ctx, listened).await {
            tracing::error!(%error, "the reaper failed");
            if error.is_passing() {
                lock(listening).interrupt();
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// One look at everything that time can run out for, by a scheduler that has listened to heartbeats
/// for `listened`.
pub async fn pass(ctx: &Context, listened: Duration) -> Result<(), DriveError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let unanswered = due::unanswered(&mut conn, BATCH).await?;
    drop(conn);
    let mut isolated = Isolated::default();
    for task in unanswered {
        if let Err(error) = time_out(ctx, task, &TaskEvent::DispatchTimedOut).await {
            isolated.note("an unanswered task", task, error)?;
        }
    }
    if listened >= ctx.config.retry.lease {
        expire_leases(ctx).await?;
    }
    overdue_jobs(ctx).await
}

async fn expire_leases(ctx: &Context) -> Result<(), DriveError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let patience = delta(ctx.config.timing.ask_patience);
    let silent = due::silent(&mut conn, patience, BATCH).await?;
    drop(conn);
    let mut isolated = Isolated::default();
    for task in silent {
        let done = if task.asked_in_vain {
            time_out(ctx, task.id, &TaskEvent::LeaseExpired).await
        } else {
            ask(ctx, task.id).await
        };
        if let Err(error) = done {
            isolated.note("a silent task", task.id, error)?;
        }
    }
    Ok(())
}

/// Asks the worker over its own queue whether it is still on the task; a heartbeat is the answer.
async fn ask(ctx: &Context, id: TaskId) -> Result<(), DriveError> {
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let Some(task) = tasks::lock(&mut tx, id).await? else { return Ok(()) };
    let epoch = task.machine.epoch;
    if !due::mark_asked(&mut tx, id, epoch).await? {
        return Ok(());
    }
    ringvault_state::commit(tx, around!("reaper.ask")).await?;
    if let Some(worker) = task.machine.worker {
        tracing::info!(task = %id, %worker, "a silent worker is asked whether it is still on the task");
        send_control(ctx, worker, TaskControl { task: id, epoch, action: Control::Ask }).await;
    }
    Ok(())
}

/// Gives a task the event, if its deadline is still over under the lock.
async fn time_out(ctx: &Context, id: TaskId, event: &TaskEvent) -> Result<(), DriveError> {
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let Some(job) = tasks::job_of(&mut tx, id).await? else { return Ok(()) };
    let actor = format!("scheduler {}", ctx.config.id);
    let Some(mut step) = Step::lock(ctx, &mut tx, job, actor).await? else { return Ok(()) };
    let Some(mut task) = step.task(id).await? else { return Ok(()) };
    let expected = match event {
        TaskEvent::LeaseExpired => TaskState::Running,
        _ => TaskState::Dispatched,
    };
    let is_over = task.machine.deadline.is_some_and(|deadline| deadline < step.now);
    if task.machine.state != expected || !is_over {
        return Ok(());
    }
    tracing::warn!(%job, task = %id, event = event.as_str(), epoch = task.machine.epoch, "a task's time is over");
    step.task_event(&mut task, event).await?;
    ringvault_state::commit(tx, around!("reaper.time-out")).await?;
    ctx.wake.all();
    Ok(())
}

async fn overdue_jobs(ctx: &Context) -> Result<(), DriveError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let timing = &ctx.config.timing;
    let longest = (delta(timing.paused_at_most), delta(timing.backup_at_most));
    let overdue = jobs::overdue(&mut conn, longest.0, longest.1).await?;
    drop(conn);
    let mut isolated = Isolated::default();
    for job in overdue {
        let (job, states, event) = match job {
            Overdue::RetryWindow(job) => (job, &[JobState::Failed][..], JobEvent::RetryWindowOver),
            Overdue::Pause(job) => (job, &[JobState::Paused][..], JobEvent::Resume),
            Overdue::Cleanup(job) => {
                (job, &[JobState::Cancelling, JobState::Abandoning][..], JobEvent::CleanedUp)
            }
            Overdue::Backup(job) => (job, &[JobState::Running, JobState::Paused][..], JobEvent::TimeOver),
        };
        if let Err(error) = job_time_out(ctx, job, states, event).await {
            isolated.note("an overdue job", job, error)?;
        }
    }
    Ok(())
}

/// Gives a job the event, if it is still in one of `states` under its lock.
async fn job_time_out(
    ctx: &Context,
    job: JobId,
    states: &[JobState],
    event: JobEvent,
) -> Result<(), DriveError> {
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let actor = format!("scheduler {}", ctx.config.id);
    let Some(mut step) = Step::lock(ctx, &mut tx, job, actor).await? else { return Ok(()) };
    if !states.contains(&step.job.machine.state) {
        return Ok(());
    }
    tracing::warn!(%job, event = event.as_str(), "a job's time is over");
    if event == JobEvent::CleanedUp {
        step.take_back_all().await?;
    }
    if event == JobEvent::TimeOver {
        let most = lasting(ctx.config.timing.backup_at_most);
        let message = format!("the backup was not sealed within {most}: purges cannot wait any longer");
        step.job.error = Some(
            TaskError::permanent("RV-BACKUP-TOO-LONG", message)
                .with_next("raise timing.backup_at_most and retry.purge_patience, or the rate limit"),
        );
    }
    step.job_event(event).await?;
    ringvault_state::commit(tx, around!("reaper.overdue-job")).await?;
    ctx.wake.all();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_in_listening_begins_the_count_anew() {
        let connected = |second| SessionState::Connected {
            since: DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(second),
        };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let gap = Duration::from_secs(5);
        let mut listening = Listening::default();
        let mut look = |state: &SessionState, second| {
            listening.look(state, false, at(second), gap);
            listening.listened(at(second)).as_secs()
        };
        assert_eq!(look(&connected(0), 0), 0);
        assert_eq!(look(&connected(0), 4), 4);
        assert_eq!(look(&connected(0), 8), 8);
        assert_eq!(look(&connected(8), 9), 0, "another connection");
        assert_eq!(look(&connected(8), 12), 3);
        assert_eq!(look(&SessionState::Closed, 13), 0);
        assert_eq!(look(&connected(8), 14), 0);
        assert_eq!(look(&connected(8), 18), 4);
        assert_eq!(look(&connected(8), 60), 0, "the process stood still");
        assert_eq!(look(&connected(8), 64), 4);
        listening.look(&connected(8), true, at(65), gap);
        assert_eq!(listening.listened(at(65)), Duration::ZERO, "heartbeats are heard late");
        listening.look(&connected(8), false, at(66), gap);
        assert_eq!(listening.listened(at(69)).as_secs(), 3, "a pass may be slow between two looks");
    }
}
