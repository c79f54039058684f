//! What a task's result means beyond its job: the cache of backups follows the vault.

use ringvault_core::{
    BackupName, ClusterName,
    api::Verification,
    backup::BackupState,
    job::{JobSpec, StageKind},
    task::{MarkResult, SealResult, TaskPayload, TaskResult},
};
use ringvault_state::{
    backups, catalog,
    tasks::{self, TaskRow},
};

use super::{DriveError, Step, announce};

/// Whether a result is an answer to this kind of task.
pub(crate) const fn answers(kind: StageKind, result: &TaskResult) -> bool {
    matches!(
        (kind, result),
        (StageKind::Snapshot, TaskResult::Snapshot(_))
            | (StageKind::Upload, TaskResult::Upload(_))
            | (StageKind::Seal, TaskResult::Seal(_))
            | (StageKind::Release, TaskResult::Release { .. })
            | (StageKind::Check, TaskResult::Check(_))
            | (StageKind::Report, TaskResult::Report(_))
            | (StageKind::Plan, TaskResult::Plan(_))
            | (StageKind::Preflight, TaskResult::Preflight(_))
            | (StageKind::Download, TaskResult::Download(_))
            | (StageKind::Schema, TaskResult::Schema(_))
            | (StageKind::Truncate, TaskResult::Truncate(_))
            | (StageKind::Apply, TaskResult::Apply(_))
            | (StageKind::Settle, TaskResult::Settle(_))
            | (StageKind::Validate, TaskResult::Validate(_))
            | (StageKind::Mark, TaskResult::Mark(_))
            | (StageKind::Sweep, TaskResult::Sweep(_))
            | (StageKind::Digest, TaskResult::Digest(_))
    )
}

impl Step<'_> {
    /// Keeps what a finished task's result says of a backup.
    pub(super) async fn keep_result(
        &mut self,
        task: &TaskRow,
        result: &TaskResult,
    ) -> Result<(), DriveError> {
        let says_something = matches!(
            result,
            TaskResult::Seal(_)
                | TaskResult::Release { sealed: Some(_), .. }
                | TaskResult::Mark(_)
                | TaskResult::Report(_)
        );
        if !says_something {
            return Ok(());
        }
        self.flush().await?;
        match (&task.payload, result) {
            (TaskPayload::Seal(sealed), TaskResult::Seal(seal)) => {
                self.sealed((&sealed.cluster, &sealed.backup), seal).await
            }
            // The seal's own report was lost, or came after the cancel.
            (TaskPayload::Release(release), TaskResult::Release { sealed: Some(seal), .. }) => {
                match &release.abort {
                    Some((cluster, backup)) => self.sealed((cluster, backup), seal).await,
                    None => Ok(()),
                }
            }
            (TaskPayload::Mark(mark), TaskResult::Mark(found)) => {
                for found in &found.sealed {
                    self.sealed((&mark.cluster, &found.backup), &found.seal).await?;
                }
                Ok(())
            }
            (TaskPayload::VerifyReport(report), TaskResult::Report(written)) => {
                let (cluster, backup, damaged) = (&report.cluster, &report.backup, report.damaged);
                let at = written.at.unwrap_or(self.now);
                let verified = Verification { job: None, level: report.level, at, damaged };
                catalog::verified(self.conn, (cluster, backup), report.job, &verified).await?;
                if damaged > 0 {
                    announce::backup_damaged(self, (cluster, backup), damaged).await?;
                }
                Ok(())
            }
            (TaskPayload::PurgeReport(_), TaskResult::Report(_)) => self.purged().await,
            _ => Ok(()),
        }
    }

    /// A backup is sealed, whoever found out: told to others once.
    async fn sealed(
        &mut self,
        (cluster, backup): (&ClusterName, &BackupName),
        seal: &SealResult,
    ) -> Result<(), DriveError> {
        if backups::sealed(self.conn, cluster, backup, seal).await? {
            announce::backup_sealed(self, (cluster, backup), seal).await?;
        }
        Ok(())
    }

    /// A purge has reported: what it expired is gone.
    async fn purged(&mut self) -> Result<(), DriveError> {
        let JobSpec::Purge(spec) = self.job.spec.clone() else { return Ok(()) };
        for outcome in tasks::outcomes(self.conn, self.job.id).await? {
            if let Some(TaskResult::Mark(mark)) = outcome.result {
                self.marked_are_gone(&spec.cluster, &mark).await?;
            }
        }
        Ok(())
    }

    async fn marked_are_gone(&mut self, cluster: &ClusterName, mark: &MarkResult) -> Result<(), DriveError> {
        let gone: [(&[BackupName], BackupState); 2] =
            [(&mark.expired, BackupState::Expired), (&mark.aborted, BackupState::Dead)];
        for (names, state) in gone {
            backups::gone(self.conn, cluster, names, state).await?;
        }
        for name in &mark.expired {
            announce::backup_expired(self, (cluster, name)).await?;
        }
        Ok(())
    }
}
