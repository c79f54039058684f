//! `seal` and `release`: the end of a backup, one way or the other.

use ringvault_core::{
    BackupName, ClusterName, JobId, TaskError,
    job::snapshot_tag,
    task::{ReleaseTask, SealResult, SealTask, TaskResult},
};
use ringvault_fault::point;
use ringvault_vault::{StoreErrorKind, backup::AbortOutcome};
use tracing::{info, warn};

use super::{Executor, upload::open_journal};
use crate::agent::TaskHandle;

impl Executor {
    /// Seals, then heals: what a verify found damaged and this backup brought again is copied back
    /// for the older backups that name it. The seal stands whatever comes of that.
    pub(super) async fn seal(&self, task: &SealTask, handle: &TaskHandle) -> Result<SealResult, TaskError> {
        let seal = self.vault.seal(task).await.map_err(|error| error.to_task_error())?;
        match self.vault.heal(&task.cluster, handle.stop.token()).await {
            Ok(healed) if healed.healed.is_empty() && healed.left.is_empty() => {}
            Ok(healed) => {
                info!(healed = healed.healed.len(), left = healed.left.len(), "damaged objects looked at");
            }
            Err(error) => warn!(%error, "damaged objects could not be healed; the next seal tries again"),
        }
        Ok(seal.to_result())
    }

    /// Drops the uploads of this backup that this node left open, by its journal.
    async fn drop_open_uploads(
        &self,
        job: JobId,
        cluster: &ClusterName,
        backup: &BackupName,
    ) -> Result<(), TaskError> {
        let path = self.journal_path(job);
        if !path.exists() {
            return Ok(());
        }
        let journal = open_journal(path, cluster, backup).await?;
        match journal.abort_open_uploads(self.vault.store()).await {
            Ok(_) => Ok(()),
            // Whoever may not, or cannot here, must not keep the job from ending.
            Err(error)
                if matches!(error.kind, StoreErrorKind::AccessDenied | StoreErrorKind::Unsupported) =>
            {
                warn!(%error, "uploads that were never ended are left");
                Ok(())
            }
            Err(error) => Err(error.to_task_error()),
        }
    }

    /// Clears what a job left on this node. A backup that was not sealed is declared dead first, so
    /// that no worker that comes back late can seal it; one that was sealed first stays, and the
    /// scheduler is told of its seal.
    pub(super) async fn release(&self, task: &ReleaseTask) -> Result<TaskResult, TaskError> {
        let mut sealed = None;
        if let Some((cluster, backup)) = &task.abort {
            let abort = self
                .vault
                .abort(cluster, backup, task.job, "the job was cancelled or abandoned")
                .await
                .map_err(|error| error.to_task_error())?;
            if let AbortOutcome::Sealed(seal) = abort {
                sealed = Some(Box::new(seal.to_result()));
            }
        }
        if let Some((cluster, backup)) = &task.abort {
            self.drop_open_uploads(task.job, cluster, backup).await?;
        }
        // A node that stands still half way through a swap gets its old data back first.
        self.end_swap(task.job).await?;
        let tag = snapshot_tag(task.job);
        let mut cleared = 0;
        if self.has_snapshot(&tag).await? {
            point!("release.clear.before").hit().await?;
            self.node.control().clear_snapshot(&tag).await?;
            point!("release.clear.after").hit().await?;
            cleared += 1;
        }
        cleared += self.remove_job_files(task.job).await?;
        if task.auth_copies {
            self.drop_auth_copies(task.job).await?;
        }
        if task.drill {
            cleared += self.drop_drill_keyspaces(task.job).await?;
        }
        Ok(TaskResult::Release { cleared, sealed })
    }
}
