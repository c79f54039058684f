//! Events of a task, and what follows from each in the same transaction.

use rand::Rng;
use ringvault_core::{
    TaskError, TaskId,
    job::JobState,
    task::{TaskEffect, TaskEvent, TaskResult, TaskState, transition},
};
use ringvault_state::{
    log::{self, TaskInputs},
    tasks::{self, TaskRow, attempts},
};

use super::{DriveError, Step};

impl Step<'_> {
    /// Locks one of the job's tasks. `None`: there is no such task.
    pub async fn task(&mut self, id: TaskId) -> Result<Option<TaskRow>, DriveError> {
        let task = tasks::lock(self.conn, id).await?;
        Ok(task.filter(|task| task.job == self.job.id))
    }

    /// Takes an event of a task, and what follows from it for the job. Whether anything changed: an
    /// event that is late, repeated or forged changes nothing.
    pub async fn task_event(&mut self, task: &mut TaskRow, event: &TaskEvent) -> Result<bool, DriveError> {
        let changed = self.apply_to_task(task, event).await?;
        if changed && task.machine.state.is_over() {
            self.judge().await?;
        }
        Ok(changed)
    }

    /// Gives up a task whose node is gone for good, with the reason: the job goes on without what it
    /// would have brought.
    pub async fn give_up(&mut self, task: &mut TaskRow, error: TaskError) -> Result<(), DriveError> {
        self.apply_to_task(task, &TaskEvent::NoWorker { error }).await?;
        self.apply_to_task(task, &TaskEvent::TakeBack { keep: false }).await?;
        self.judge().await
    }

    /// As [`Self::task_event`] of a task that is done, with what it brought.
    pub async fn task_succeeded(
        &mut self,
        task: &mut TaskRow,
        epoch: u32,
        result: TaskResult,
    ) -> Result<bool, DriveError> {
        task.result = Some(result.clone());
        if !self.apply_to_task(task, &TaskEvent::Succeeded { epoch }).await? {
            return Ok(false);
        }
        self.keep_result(task, &result).await?;
        self.judge().await?;
        Ok(true)
    }

    /// Judges the barrier, or the clearing up, after a task is over.
    pub(super) async fn judge(&mut self) -> Result<(), DriveError> {
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
    /// job is being cancelled or abandoned is taken back at once.
    pub(super) async fn apply_to_task(
        &mut self,
        task: &mut TaskRow,
        event: &TaskEvent,
    ) -> Result<bool, DriveError> {
        let changed = self.transit(task, event).await?;
        let ending = matches!(self.job.machine.state, JobState::Cancelling | JobState::Abandoning);
        if ending && !task.cleanup && task.machine.state == TaskState::Ready {
            self.transit(task, &TaskEvent::TakeBack { keep: false }).await?;
        }
        Ok(changed)
    }

    async fn transit(&mut self, task: &mut TaskRow, event: &TaskEvent) -> Result<bool, DriveError> {
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
        tasks::save(self.conn, task).await?;
        let ids = (self.job.id, task.id);
        log::task_event(self.conn, ids, event, (from, to), &inputs, self.now, &self.actor).await?;
        for effect in effects {
            match effect {
                TaskEffect::SendOffer => {
                    self.send_offer(task).await?;
                    if let Some(worker) = task.machine.worker {
                        attempts::opened(self.conn, task.id, task.machine.epoch, worker).await?;
                    }
                }
                TaskEffect::SendGrant => {
                    self.send_grant(task).await?;
                    attempts::granted(self.conn, task.id, task.machine.epoch).await?;
                }
                TaskEffect::CloseAttempt => {
                    let (outcome, error) = end_of_attempt(event, task);
                    attempts::closed(self.conn, task.id, before.epoch, outcome, error).await?;
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
