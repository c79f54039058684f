//! Whether a backup is whole: its records, that every object it names is there, at level `digest`
//! every byte of it, and at level `sstable` also each SSTable's own structure.
//!
//! Below level `sstable` the work is cut into shards by object, never by manifest, so that each object, pack or not, is
//! read once. A shard reads the manifests twice: first for the objects that are its own, and, only if
//! some are damaged, again for the names of the files that the damage concerns. Memory: one entry for
//! each file of the shard.
//!
//! What the store cannot answer is an error of the task, never a finding: a network that is down
//! must not mark a backup as damaged. Each damaged object gets a marker in `bad/`, so that no backup
//! reuses it.

mod damage;
mod digest;
mod heal;
mod presence;
mod records;
mod report;
mod sstables;
mod target;

use std::collections::HashMap;

use ringvault_core::{
    job::VerifyLevel,
    task::{CheckResult, CheckTask},
};
use tokio_util::sync::CancellationToken;

pub use heal::HealOutcome;
pub use report::{VerificationRecord, parse_findings};
pub use sstables::{SstableInspection, StructureCheck};

use crate::{
    bad::BadRecord,
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
    progress::TransferProgress,
};

impl Vault {
    /// Checks one shard of a backup's objects; shard 0 checks its records too. Level `sstable` needs
    /// somebody who knows SSTables: [`Self::verify_shard_with`].
    pub async fn verify_shard(
        &self,
        task: &CheckTask,
        progress: &TransferProgress,
        stop: &CancellationToken,
    ) -> VaultResult<CheckResult> {
        if task.level >= VerifyLevel::Sstable {
            return Err(VaultError::Internal("nobody here knows what an SSTable consists of".to_owned()));
        }
        let opened = self.open_records(task).await?;
        let mut findings = opened.findings;
        let mut targets = target::of_shard(&opened.manifests, task).await?;
        let expected = targets.values().fold(0_u64, |sum, target| sum.saturating_add(target.size));
        progress.expect(targets.len() as u64, expected);
        let mut damaged = self.check_presence(&opened.folders, &mut targets, stop).await?;
        let mut result = CheckResult { objects: targets.len() as u64, ..CheckResult::default() };
        if task.level >= VerifyLevel::Digest {
            targets.retain(|key, _| !damaged.contains_key(key));
            let read = self.check_digests(&targets, progress, stop).await?;
            result.bytes = read.bytes;
            damaged.extend(read.damaged);
        }
        // Of another's object nothing is reused, and nothing healed.
        for (key, damage) in damaged.iter().filter(|(key, _)| !key.starts_with(layout::MEDUSA)) {
            let bad = BadRecord::new(key, damage.kind, &task.backup, task.job);
            self.mark_bad(&task.cluster, &bad).await?;
        }
        let named =
            damage::name_files(&opened.manifests, damaged, &task.backup, self.scratch(), &mut findings);
        result.damaged = self.store_findings(task, named.await?).await?;
        findings.truncate(CheckResult::MAX_FINDINGS);
        result.findings = findings;
        Ok(result)
    }

    /// The same for every level; `structure` knows SSTables.
    pub async fn verify_shard_with(
        &self,
        task: &CheckTask,
        structure: &dyn StructureCheck,
        progress: &TransferProgress,
        stop: &CancellationToken,
    ) -> VaultResult<CheckResult> {
        if task.level < VerifyLevel::Sstable {
            return self.verify_shard(task, progress, stop).await;
        }
        let opened = self.open_records(task).await?;
        let inspected = self.check_sstables(task, &opened, structure, progress, stop).await?;
        for (key, kind) in inspected.damaged.iter().filter(|(key, _)| !key.starts_with(layout::MEDUSA)) {
            let bad = BadRecord::new(key, *kind, &task.backup, task.job);
            self.mark_bad(&task.cluster, &bad).await?;
        }
        let mut findings = opened.findings;
        findings.extend(inspected.findings);
        let nothing_more = HashMap::new();
        let named =
            damage::name_files(&opened.manifests, nothing_more, &task.backup, self.scratch(), &mut findings);
        let damaged = self.store_findings(task, named.await?).await?;
        findings.truncate(CheckResult::MAX_FINDINGS);
        let (objects, bytes) = (inspected.objects, inspected.bytes);
        Ok(CheckResult { objects, bytes, damaged, findings })
    }
}

/// Ends work that was told to stop.
fn unless_stopped(stop: &CancellationToken) -> VaultResult<()> {
    if stop.is_cancelled() { Err(VaultError::Cancelled) } else { Ok(()) }
}
