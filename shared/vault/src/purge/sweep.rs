//! Step four of a purge: deletes exactly what is condemned, in batches.

use std::collections::{BTreeSet, HashSet};

use ringvault_core::{
    BackupName, ClusterName,
    task::{SweepResult, SweepTask},
};
use ringvault_fault::around;
use tokio_util::sync::CancellationToken;

use super::{Standing, list::ListFile, standing};
use crate::{
    error::{VaultError, VaultResult},
    identity::Vault,
    progress::TransferProgress,
    store::{DELETE_BATCH, DeleteFailure, StoreErrorKind},
};

impl Vault {
    /// Deletes one shard of what purge `task.purge` has condemned: every `shards`-th line of its
    /// list. Objects that are gone already count as deleted, so it can be run again.
    ///
    /// A list is data, and might be forged: every key must lie in the folder of a backup that has
    /// expired or is dead as the records say now.
    pub async fn sweep(
        &self,
        task: &SweepTask,
        progress: &TransferProgress,
        stop: &CancellationToken,
    ) -> VaultResult<SweepResult> {
        let (cluster, n) = (&task.cluster, task.purge);
        let list = self.condemned_list(cluster, n).await?;
        let may_go = self.may_go(cluster, n).await?;
        let mut mine = Vec::new();
        let mut result = SweepResult { objects: 0, bytes: 0, locked: 0 };
        let mut line = 0;
        let shards = u64::from(task.shards.max(1));
        list.read(|object, backup| {
            if !may_go.contains(&backup) {
                let why = format!("its list names {}, but {backup} is neither expired nor dead", object.key);
                return Err(VaultError::PurgeState { cluster: cluster.clone(), purge: n, why });
            }
            if line % shards == u64::from(task.shard) {
                result.objects += 1;
                result.bytes = result.bytes.saturating_add(object.size);
                mine.push((object.key, object.size));
            }
            line += 1;
            Ok(())
        })?;
        progress.expect(result.objects, result.bytes);
        for batch in mine.chunks(DELETE_BATCH) {
            if stop.is_cancelled() {
                return Err(VaultError::Cancelled);
            }
            let keys: Vec<String> = batch.iter().map(|(key, _)| key.clone()).collect();
            let locked: HashSet<String> = self.delete_unlocked(&keys).await?.into_iter().collect();
            for (key, size) in batch {
                if locked.contains(key) {
                    result.locked += 1;
                    result.objects -= 1;
                    result.bytes = result.bytes.saturating_sub(*size);
                }
                progress.advance(*size);
                progress.file_done();
            }
        }
        Ok(result)
    }

    pub(super) async fn condemned_list(&self, cluster: &ClusterName, n: u64) -> VaultResult<ListFile> {
        ListFile::fetch(self, cluster, n).await?.ok_or_else(|| VaultError::PurgeState {
            cluster: cluster.clone(),
            purge: n,
            why: "nothing is condemned yet: its mark has not ended".to_owned(),
        })
    }

    async fn may_go(&self, cluster: &ClusterName, n: u64) -> VaultResult<BTreeSet<BackupName>> {
        let (backups, _) = self.backups_and_damaged(cluster).await?;
        // A later purge may have ended first, and have buried what this one condemned too.
        let gone = backups.iter().filter(|backup| {
            let standing = standing(backup, n);
            standing.may_go() || standing == Standing::GoneLater
        });
        Ok(gone.map(|backup| backup.start.backup.clone()).collect())
    }

    /// Deletes keys; any that stays is an error.
    pub(crate) async fn delete_all(&self, keys: &[String]) -> VaultResult<()> {
        let failures = around!("vault.delete").run(self.store().delete_many(keys)).await?;
        not_deleted(failures)
    }

    /// Deletes keys, but those that the store locks: these are returned. Where no locks are asked for, one that is met
    /// is an error like any other.
    pub(super) async fn delete_unlocked(&self, keys: &[String]) -> VaultResult<Vec<String>> {
        if self.store().lock().is_none() {
            self.delete_all(keys).await?;
            return Ok(Vec::new());
        }
        let failures = around!("vault.delete-unlocked").run(self.store().delete_many(keys)).await?;
        let is_locked = |failure: &DeleteFailure| failure.error.kind == StoreErrorKind::Locked;
        let (locked, failed) = failures.into_iter().partition::<Vec<_>, _>(is_locked);
        not_deleted(failed)?;
        Ok(locked.into_iter().map(|failure| failure.key).collect())
    }
}

fn not_deleted(failures: Vec<DeleteFailure>) -> VaultResult<()> {
    let count = failures.len();
    match failures.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(VaultError::NotDeleted { count, first: first.error }),
    }
}
