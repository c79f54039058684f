//! Stages: planned when they open, judged when their last task is over.

use ringvault_core::{
    TaskError, TaskId,
    job::{
        Ended, JobContext, JobEvent, JobSpec, JobState, StageKind, StageTask, StageVerdict, plan_stage,
        stage_verdict,
    },
    task::Task,
};
use ringvault_state::{
    backups,
    log::{self, Line},
    registry::{forgotten, topologies, workers},
    tasks::{self, TaskRow},
};

use super::{DriveError, Step, failure, purge::Expiring};
use crate::config::delta;

impl Step<'_> {
    /// Plans a stage and inserts its tasks. The event that follows: the stage failed because it
    /// cannot be planned, or passed because there is nothing to do.
    pub(super) async fn open_stage(&mut self, stage: StageKind) -> Result<Option<JobEvent>, DriveError> {
        let expiring = match (&self.job.spec, stage) {
            (JobSpec::Purge(spec), StageKind::Mark) => {
                let spec = spec.clone();
                match self.choose_expiring(&spec).await? {
                    Ok(expiring) => expiring,
                    Err(error) => return Ok(Some(self.stage_failed(error))),
                }
            }
            _ => Expiring::default(),
        };
        let planned = match self.plan(stage, &expiring).await? {
            Ok(planned) => planned,
            Err(error) => return Ok(Some(self.stage_failed(error))),
        };
        self.insert_tasks(stage, planned, false).await?;
        self.stage_event().await
    }

    async fn plan(
        &mut self,
        stage: StageKind,
        expiring: &Expiring,
    ) -> Result<Result<Vec<StageTask>, TaskError>, DriveError> {
        let cluster = self.job.cluster();
        let silence = delta(self.ctx.config.timing.worker_silence);
        let mut topology = topologies::present(self.conn, cluster).await?;
        // No job waits for a node that is gone for good; what a backup holds without it is judged by
        // what the other nodes see of the ring.
        let forgotten = forgotten::list(self.conn, cluster).await?;
        topology.nodes.retain(|node| !forgotten.contains(&node.host_id));
        let live_workers = workers::count_live(self.conn, cluster, silence).await?;
        let outcomes = tasks::outcomes(self.conn, self.job.id).await?;
        let tainted = match (self.job.spec.backup(), stage) {
            (Some((cluster, name)), StageKind::Seal) => backups::is_tainted(self.conn, cluster, name).await?,
            _ => false,
        };
        let planned = plan_stage(
            &JobContext {
                job: self.job.id,
                spec: &self.job.spec,
                created_at: self.job.created_at,
                topology: &topology,
                live_workers,
                outcomes: &outcomes,
                expire: &expiring.expire,
                dead: &expiring.dead,
                tainted,
            },
            stage,
        );
        Ok(planned.map_err(|error| {
            TaskError::permanent("RV-PLAN", error.to_string())
                .with_next(format!("ringvault node list -c {cluster}"))
        }))
    }

    async fn insert_tasks(
        &mut self,
        kind: StageKind,
        planned: Vec<StageTask>,
        cleanup: bool,
    ) -> Result<(), DriveError> {
        let mut rows = Vec::new();
        let mut lines = Vec::new();
        for StageTask { placement, payload, parallel_group } in planned {
            let task = TaskRow {
                id: TaskId::generate(),
                job: self.job.id,
                cluster: self.job.cluster().clone(),
                stage: self.job.machine.stage,
                kind,
                cleanup,
                placement,
                parallel_group,
                payload,
                machine: Task::new(self.now),
                result: None,
                started_at: None,
                ended_at: None,
            };
            lines.push(Line::task_created(self.job.id, task.id, &task.machine, self.now, &self.actor)?);
            rows.push(task);
        }
        tasks::insert(self.conn, &rows).await?;
        log::write(self.conn, &lines).await?;
        Ok(())
    }

    /// The event that the open stage's tasks call for, if they are all over.
    pub(super) async fn stage_event(&mut self) -> Result<Option<JobEvent>, DriveError> {
        let Some(stage) = self.job.machine.current_stage() else { return Ok(None) };
        if self.job.machine.state != JobState::Running {
            return Ok(None);
        }
        let (job, index) = (self.job.id, self.job.machine.stage);
        if tasks::is_any_open(self.conn, job, index, false).await? {
            return Ok(None);
        }
        let tally = tasks::tally(self.conn, job, index, false).await?;
        // Of a job that runs, only what was given up is taken back for good.
        let ended = Ended { succeeded: tally.succeeded, failed: tally.failed, given_up: tally.cancelled };
        match stage_verdict(&self.job.spec, stage, ended) {
            StageVerdict::Pass => Ok(Some(JobEvent::StagePassed)),
            StageVerdict::Fail => {
                let failures = tasks::failures(self.conn, self.job.id, self.job.machine.stage).await?;
                let total = tally.succeeded + tally.failed + tally.cancelled;
                Ok(Some(self.stage_failed(failure::of_stage(stage, &failures, total))))
            }
        }
    }

    fn stage_failed(&mut self, error: TaskError) -> JobEvent {
        self.job.error = Some(error);
        let window = self.ctx.config.timing.retry_window(self.job.machine.kind);
        JobEvent::StageFailed { retry_until: self.now + window }
    }

    /// The event that a cancelled or abandoned job is ready for: once none of its tasks runs any
    /// more, the tasks that clear up are inserted; once those are over, it is cleaned up.
    pub(super) async fn cleanup_event(&mut self) -> Result<Option<JobEvent>, DriveError> {
        if !matches!(self.job.machine.state, JobState::Cancelling | JobState::Abandoning) {
            return Ok(None);
        }
        let stage = self.job.machine.stage;
        if !self.job.cleanup_opened {
            if tasks::is_any_open(self.conn, self.job.id, stage, false).await? {
                return Ok(None);
            }
            self.open_cleanup().await?;
        }
        let open = tasks::is_any_open(self.conn, self.job.id, stage, true).await?;
        Ok((!open).then_some(JobEvent::CleanedUp))
    }

    async fn open_cleanup(&mut self) -> Result<(), DriveError> {
        self.job.cleanup_opened = true;
        ringvault_state::jobs::save(self.conn, &self.job).await?;
        let leaves_something =
            matches!(self.job.spec, JobSpec::Backup(_) | JobSpec::Restore(_) | JobSpec::Drill(_));
        if !leaves_something || self.job.started_at.is_none() {
            return Ok(());
        }
        match self.plan(StageKind::Release, &Expiring::default()).await? {
            Ok(planned) => self.insert_tasks(StageKind::Release, planned, true).await,
            Err(error) => {
                tracing::warn!(job = %self.job.id, %error, "nothing is cleared up after the job");
                Ok(())
            }
        }
    }
}
