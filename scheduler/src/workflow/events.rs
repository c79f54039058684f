//! Events of a job, and what follows from each in the same transaction.

use ringvault_core::{
    api::JobResult,
    job::{JobEffect, JobEvent, JobSpec, JobState, transition},
    task::{TaskEvent, TaskState},
};
use ringvault_queue::message::StopReason;
use ringvault_state::{
    backups, holds, jobs,
    log::{self, Line},
    tasks,
};

use tracing::field::display;

use super::{DriveError, Step, announce};
use crate::config::delta;

impl Step<'_> {
    /// Takes an event, and those that follow from it (a stage without tasks passes at once).
    pub async fn job_event(&mut self, event: JobEvent) -> Result<(), DriveError> {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            for effect in self.apply(&event).await? {
                if let Some(follows) = self.carry_out(effect, &event).await? {
                    next = Some(follows);
                }
            }
        }
        Ok(())
    }

    async fn apply(&mut self, event: &JobEvent) -> Result<Vec<JobEffect>, DriveError> {
        self.flush().await?;
        let from = self.job.machine.state;
        let (machine, effects) = transition(&self.job.machine, event)?;
        let to = machine.state;
        self.job.machine = machine;
        if to != from {
            self.job.state_since = self.now;
            self.note_change(to).await?;
        }
        jobs::save(self.conn, &self.job).await?;
        let line = Line::job_event(self.job.id, event, (from, to), self.now, &self.actor)?;
        log::write(self.conn, &[line]).await?;
        let job = &self.job;
        let backup = job.backup().map(|(_, name)| display(name));
        tracing::info!(
            job = %job.id, kind = job.machine.kind.as_str(), cluster = %job.cluster(), backup,
            event = event.as_str(), from = from.as_str(), to = to.as_str(),
            stage = job.machine.current_stage().map(ringvault_core::job::StageKind::as_str),
            trace_id = job.trace.map(|trace| display(trace.own.trace)), "job"
        );
        if to != from && to.is_settled() {
            self.ctx.settled.note(job);
        }
        Ok(effects)
    }

    /// What a new state means for the job's row beyond the machine.
    async fn note_change(&mut self, to: JobState) -> Result<(), DriveError> {
        match to {
            JobState::Queued | JobState::Paused => {}
            JobState::Running => {
                self.job.started_at.get_or_insert(self.now);
                self.job.ended_at = None;
                self.job.outcome = None;
                self.job.error = None;
            }
            JobState::Cancelling | JobState::Abandoning => {
                self.job.cleanup_until = Some(self.now + delta(self.ctx.config.timing.cleanup));
            }
            JobState::Failed => {
                self.job.ended_at = Some(self.now);
                self.job.outcome = Some(JobResult::Failed);
            }
            JobState::Succeeded => {
                self.job.ended_at = Some(self.now);
                self.job.outcome = Some(self.outcome().await?);
            }
            JobState::Cancelled => self.job.ended_at = Some(self.now),
            JobState::Abandoned => {
                self.job.ended_at = Some(self.now);
                self.job.outcome.get_or_insert(JobResult::Failed);
            }
        }
        Ok(())
    }

    /// Does what an effect asks for; the event that follows from it, if one does.
    async fn carry_out(
        &mut self,
        effect: JobEffect,
        event: &JobEvent,
    ) -> Result<Option<JobEvent>, DriveError> {
        match effect {
            JobEffect::OpenStage(stage) => self.open_stage(stage).await,
            JobEffect::StopTasks => self.stop_tasks().await.map(|()| None),
            JobEffect::ResumeTasks => self.stage_event().await,
            JobEffect::ReopenFailedTasks => self.reopen_failed_tasks().await,
            JobEffect::OpenCleanup => self.cleanup_event().await,
            JobEffect::ReleaseHolds => self.let_go().await.map(|()| None),
            JobEffect::Announce => announce::job_changed(self, event).await.map(|()| None),
        }
    }

    /// Takes back what is not running and tells what is running to stop.
    async fn stop_tasks(&mut self) -> Result<(), DriveError> {
        let pause = self.job.machine.state == JobState::Paused;
        let why = if pause { StopReason::Pause } else { StopReason::Cancel };
        let stage = self.job.machine.stage;
        for mut task in tasks::lock_open(self.conn, self.job.id, stage, false).await? {
            match task.machine.state {
                TaskState::Running => self.send_stop(&task, why)?,
                TaskState::Ready | TaskState::Dispatched => {
                    self.apply_to_task(&mut task, &TaskEvent::TakeBack { keep: pause })?;
                }
                TaskState::Succeeded | TaskState::Failed | TaskState::Cancelled => {}
            }
        }
        self.flush().await
    }

    /// Nobody waits any longer for what still runs, or for the clearing up: all of it is taken back.
    pub async fn take_back_all(&mut self) -> Result<(), DriveError> {
        let stage = self.job.machine.stage;
        for cleanup in [false, true] {
            for mut task in tasks::lock_open(self.conn, self.job.id, stage, cleanup).await? {
                self.apply_to_task(&mut task, &TaskEvent::TakeBack { keep: false })?;
            }
        }
        self.flush().await
    }

    /// Sets the failed tasks of the open stage back to ready. With none (the stage could not even
    /// be planned), the stage is planned anew.
    async fn reopen_failed_tasks(&mut self) -> Result<Option<JobEvent>, DriveError> {
        let stage = self.job.machine.stage;
        let all = tasks::lock_open(self.conn, self.job.id, stage, false).await?;
        if let (true, Some(kind)) = (all.is_empty(), self.job.machine.current_stage()) {
            return self.open_stage(kind).await;
        }
        for mut task in all {
            if task.machine.state == TaskState::Failed {
                self.apply_to_task(&mut task, &TaskEvent::Reopen)?;
            }
        }
        self.flush().await?;
        self.stage_event().await
    }

    /// The job is over for good: its holds go, and a backup that was not sealed is dead.
    async fn let_go(&mut self) -> Result<(), DriveError> {
        holds::release_of_job(self.conn, self.job.id).await?;
        if let JobSpec::Backup(spec) = &self.job.spec {
            match (self.job.machine.state, &spec.name) {
                (JobState::Succeeded, _) => self.purge_after_backup().await?,
                (_, Some(name)) => {
                    // Never begun: the vault knows nothing of it, so no purge need look.
                    let trace = self.job.started_at.is_some();
                    backups::died(self.conn, &spec.cluster, name, trace).await?;
                }
                (_, None) => {}
            }
        }
        Ok(())
    }
}
