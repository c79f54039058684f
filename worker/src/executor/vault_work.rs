//! Tasks that concern the vault alone: verify and purge.

use ringvault_core::{
    TaskError,
    task::{
        CheckResult, CheckTask, MarkResult, MarkTask, PURGE_WAITS, PurgeReportTask, ReportResult,
        SweepResult, SweepTask, VerifyReportTask,
    },
};
use ringvault_vault::purge::MarkOutcome;

use super::{Executor, structure::Structure};
use crate::agent::TaskHandle;

impl Executor {
    pub(super) async fn check(
        &self,
        task: &CheckTask,
        handle: &TaskHandle,
    ) -> Result<CheckResult, TaskError> {
        self.vault
            .verify_shard_with(task, &Structure, handle.transfer(), handle.stop.token())
            .await
            .map_err(|error| error.to_task_error())
    }

    pub(super) async fn verify_report(&self, task: &VerifyReportTask) -> Result<ReportResult, TaskError> {
        self.vault.report_verify(task).await.map_err(|error| error.to_task_error())
    }

    /// Waits, as an error of its surroundings, until no running backup could still reuse what goes.
    pub(super) async fn mark(&self, task: &MarkTask) -> Result<MarkResult, TaskError> {
        match self.vault.mark(task).await.map_err(|error| error.to_task_error())? {
            MarkOutcome::Condemned(result) => Ok(result),
            MarkOutcome::Waiting { purge, on } => {
                let names: Vec<String> = on.iter().map(ToString::to_string).collect();
                Err(TaskError::environment(
                    PURGE_WAITS,
                    format!(
                        "purge {purge} waits until these backups are sealed or dead: {}",
                        names.join(", ")
                    ),
                )
                .with_next(format!("ringvault job list -c {} --kind backup", task.cluster)))
            }
        }
    }

    pub(super) async fn sweep(
        &self,
        task: &SweepTask,
        handle: &TaskHandle,
    ) -> Result<SweepResult, TaskError> {
        self.vault
            .sweep(task, handle.transfer(), handle.stop.token())
            .await
            .map_err(|error| error.to_task_error())
    }

    pub(super) async fn purge_report(&self, task: &PurgeReportTask) -> Result<ReportResult, TaskError> {
        self.vault.finish_purge(task).await.map_err(|error| error.to_task_error())
    }
}
