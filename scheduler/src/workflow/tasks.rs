//! Events of a task, and what follows from each in the same transaction.

use rand::Rng;
use ringvault_core::{
    TaskError, TaskId,
    job::JobState,
    task::{TaskEffect, TaskEvent, TaskResult, TaskState, transition},
};
use ringvault_state::{
    log::{Line, TaskInputs},
    tasks::{self, TaskRow, attempts::Attempt},
};

use super::{DriveError, Step};

impl Step<'_> {
    /// Locks one of the job's tasks. `None`: there is no such task.
    pub async fn task(&mut self, id: TaskId) -> Result<Option<TaskRow>, DriveError> {
        let task = tasks::lock(self.conn, id).await?;
        Ok(task.filter(|task| task.job == self.job.id))
    }

    /// Writes what was left to be written.
    pub async fn flush(&mut self) -> Result<(), DriveError> {
        Ok(self.writes.flush(self.conn).await?)
    }

    /// Takes an event of a task, and what follows from it for the job. Whether anything changed: an
    /// event that is late, repeated or forged changes nothing.
    pub async fn task_event(&mut self, task: &mut TaskRow, event: &TaskEvent) -> Result<bool, DriveError> {
        let changed = self.apply_to_task(task, event)?;
        if changed && task.machine.state.is_over() {
            self.judge().await?;
        }
        self.flush().await?;
        Ok(changed)
    }

    /// Gives up a task whose node is gone for good, with the reason: the job goes on without what it
    /// would have brought.
    pub async fn give_up(&mut self, task: &mut TaskRow, error: TaskError) -> Result<(), DriveError> {
        self.apply_to_task(task, &TaskEvent::NoWorker { error })?;
        self.apply_to_task(task, &TaskEvent::TakeBack { keep: false })?;
        self.judge().await
    }

    /// An event of a task that is done, with what it brought. Whether anything changed. Judging and
    /// writing are left to the caller.
    pub async fn task_succeeded(
        &mut self,
        task: &mut TaskRow,
        epoch: u32,
        result: &TaskResult,
    ) -> Result<bool, DriveError> {
        let before = task.result.replace(result.clone());
        if !self.apply_to_task(task, &TaskEvent::Succeeded { epoch })? {
            task.result = before;
            return Ok(false);
        }
        self.keep_result(task, result).await?;
        Ok(true)
    }

    /// Judges the barrier, or the clearing up, after tasks are over.
    pub async fn judge(&mut self) -> Result<(), DriveError> {
        self.flush().await?;
        let event = match self.stage_event().await? {
            Some(event) => Some(event),
            None => self.cleanup_event().await?,
        };
        match event {
            Some(event) => self.job_event(event).await,
            None => Ok(()),
        }
    }

    /// One event of one task, without what follows for the job. What falls back to ready while the
    /// job is being cancelled or abandoned is taken back at once. Writing is left to [`Self::flush`].
    pub fn apply_to_task(&mut self, task: &mut TaskRow, event: &TaskEvent) -> Result<bool, DriveError> {
        let changed = self.transit(task, event)?;
        let ending = matches!(self.job.machine.state, JobState::Cancelling | JobState::Abandoning);
        if ending && !task.cleanup && task.machine.state == TaskState::Ready {
            self.transit(task, &TaskEvent::TakeBack { keep: false })?;
        }
        Ok(changed)
    }

    fn transit(&mut self, task: &mut TaskRow, event: &TaskEvent) -> Result<bool, DriveError> {
        let inputs = TaskInputs {
            rules: self.ctx.config.retry.rules(self.job.max_attempts),
            jitter: rand::rng().random_range(0.0..1.0),
        };
        let (next, effects) = transition(&task.machine, event, &inputs.rules, self.now, inputs.jitter)?;
        if next == task.machine && effects.is_empty() {
            return Ok(false);
        }
        let before = std::mem::replace(&mut task.machine, next);
        let (from, to) = (before.state, task.machine.state);
        if to == TaskState::Running {
            task.started_at.get_or_insert(self.now);
        }
        task.ended_at = to.is_over().then_some(self.now);
        let ids = (self.job.id, task.id);
        let line = Line::task_event(ids, event, (from, to), &inputs, self.now, &self.actor)?;
        self.writes.task(task, line);
        for effect in effects {
            match effect {
                TaskEffect::SendOffer => {
                    self.send_offer(task)?;
                    if let Some(worker) = task.machine.worker {
                        self.writes.opened(task, worker);
                    }
                }
                TaskEffect::SendGrant => {
                    self.send_grant(task)?;
                    self.writes.granted(task);
                }
                TaskEffect::CloseAttempt => {
                    let (outcome, error) = end_of_attempt(event, task);
                    let attempt = Attempt { task: task.id, epoch: before.epoch };
                    self.writes.closed(attempt, outcome, error.cloned());
                }
                // By who calls, once all of one transaction's events are applied.
                TaskEffect::JudgeBarrier => {}
            }
        }
        tracing::debug!(
            job = %self.job.id, task = %task.id, kind = task.kind.as_str(), epoch = task.machine.epoch,
            event = event.as_str(), from = from.as_str(), to = to.as_str(), "task"
        );
        Ok(true)
    }
}

fn end_of_attempt<'a>(
    event: &TaskEvent,
    task: &'a TaskRow,
) -> (&'static str, Option<&'a ringvault_core::TaskError>) {
    let error = task.machine.error.as_ref();
    match event {
        TaskEvent::Succeeded { .. } => ("succeeded", None),
        TaskEvent::Failed { .. } => ("failed", error),
        TaskEvent::LeaseExpired | TaskEvent::WorkerStartedAnew => ("lost", error),
        TaskEvent::DispatchTimedOut => ("unanswered", error),
        TaskEvent::Unroutable { .. } => ("unreachable", error),
        TaskEvent::TakeBack { .. } => ("taken_back", None),
        TaskEvent::Stopped { lost: true, .. } => ("lost", error),
        TaskEvent::Stopped { .. }
        | TaskEvent::Place { .. }
        | TaskEvent::NoWorker { .. }
        | TaskEvent::Started { .. }
        | TaskEvent::Heartbeat { .. }
        | TaskEvent::Reopen => ("stopped", None),
    }
}
