//! The backups of a cluster, as their records say.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use ringvault_core::{
    BackupName, ClusterName, backup::BackupState, cluster::RequiredCoverage, job::BackupMode,
    selection::Selection,
};

use super::{Intents, SealPlace, StartRecord};
use crate::{
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
};

/// A backup with what stands in its seal's place.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupEntry {
    /// What it was asked to be.
    pub start: StartRecord,
    /// What became of it.
    pub place: SealPlace,
    /// The purge that has expired it.
    pub expired_by: Option<u64>,
}

impl BackupEntry {
    /// Where it is in its life.
    pub fn state(&self) -> BackupState {
        match &self.place {
            SealPlace::Empty => BackupState::Running,
            SealPlace::Aborted(_) => BackupState::Dead,
            SealPlace::Tombstone(_) => BackupState::Expired,
            SealPlace::Sealed(_) if self.expired_by.is_some() => BackupState::Expired,
            SealPlace::Sealed(seal) => seal.coverage.into(),
        }
    }

    /// Whether it is neither sealed nor dead: it may still be running.
    pub const fn is_unsealed(&self) -> bool {
        matches!(self.place, SealPlace::Empty)
    }
}

impl Vault {
    /// Every backup of the cluster, in the order of their start. One record that cannot be read
    /// fails it: what decides about deletion must not guess.
    pub async fn backups(&self, cluster: &ClusterName) -> VaultResult<Vec<BackupEntry>> {
        let mut entries = Vec::new();
        for (_, entry) in self.backups_leniently(cluster).await? {
            entries.extend(entry?);
        }
        entries.sort_by(|a, b| {
            (a.start.started_at, &a.start.backup).cmp(&(b.start.started_at, &b.start.backup))
        });
        Ok(entries)
    }

    /// Every backup of the cluster in the order of their start, and the names of those whose records are
    /// damaged. What decides about deletion takes these for living and for naming whatever may be theirs.
    pub(crate) async fn backups_and_damaged(
        &self,
        cluster: &ClusterName,
    ) -> VaultResult<(Vec<BackupEntry>, Vec<BackupName>)> {
        let (mut entries, mut damaged) = (Vec::new(), Vec::new());
        for (name, entry) in self.backups_leniently(cluster).await? {
            match entry {
                Ok(entry) => entries.extend(entry),
                Err(error @ VaultError::Malformed { .. }) => {
                    tracing::warn!(%cluster, backup = %name, %error, "a damaged record");
                    damaged.push(name);
                }
                Err(error) => return Err(error),
            }
        }
        entries.sort_by(|a, b| {
            (a.start.started_at, &a.start.backup).cmp(&(b.start.started_at, &b.start.backup))
        });
        Ok((entries, damaged))
    }

    /// Every backup of the cluster by name, each with its own failure. `Ok(None)`: a folder without
    /// any record, which a worker left that came back after all was swept.
    pub async fn backups_leniently(
        &self,
        cluster: &ClusterName,
    ) -> VaultResult<Vec<(BackupName, VaultResult<Option<BackupEntry>>)>> {
        // Intents first: a backup that expires between the two reads then counts as living, never
        // the other way round.
        let intents = &self.read_intents(cluster).await?;
        let folders = self.store().list_folders(&layout::backups_folder(cluster)).await?;
        let names = folders.into_iter().filter_map(|f| BackupName::new(layout::last_segment(&f)).ok());
        let read = futures::stream::iter(names).map(|name| async move {
            let entry = self.read_backup(cluster, &name, intents).await;
            match entry {
                // The store's failure is nobody's own.
                Err(VaultError::Store(error)) => Err(VaultError::Store(error)),
                other => Ok((name, other)),
            }
        });
        read.buffered(super::PARALLEL).try_collect().await
    }

    /// One backup.
    ///
    /// # Errors
    /// [`VaultError::NoSuchBackup`] when there is none.
    pub async fn backup(&self, cluster: &ClusterName, backup: &BackupName) -> VaultResult<BackupEntry> {
        let intents = self.read_intents(cluster).await?;
        self.read_backup(cluster, backup, &intents)
            .await?
            .ok_or_else(|| VaultError::NoSuchBackup { cluster: cluster.clone(), backup: backup.clone() })
    }

    /// One backup, with its expiry as `intents` say; `None`: there is no record of it.
    pub(crate) async fn read_backup(
        &self,
        cluster: &ClusterName,
        backup: &BackupName,
        intents: &Intents,
    ) -> VaultResult<Option<BackupEntry>> {
        let place = self.seal_place(cluster, backup).await?;
        let start = match &place {
            SealPlace::Sealed(seal) => Some(seal.start.clone()),
            SealPlace::Tombstone(tombstone) => Some(tombstone.start.clone()),
            SealPlace::Empty | SealPlace::Aborted(_) => match self.start_record(cluster, backup).await {
                Ok(start) => Some(start),
                Err(VaultError::NoSuchBackup { .. }) => None,
                Err(error) => return Err(error),
            },
        };
        // An abort marker without a start: the backup was cancelled before it began.
        let start = start.or_else(|| match &place {
            SealPlace::Aborted(abort) => Some(StartRecord {
                version: abort.version,
                cluster: cluster.clone(),
                backup: backup.clone(),
                job: abort.job,
                started_at: abort.aborted_at,
                mode: BackupMode::default(),
                policy: None,
                tags: BTreeMap::new(),
                selection: Selection::default(),
                coverage: RequiredCoverage::default(),
                lock_seconds: None,
            }),
            _ => None,
        });
        let expired_by = intents.expired_by(backup);
        Ok(start.map(|start| BackupEntry { start, place, expired_by }))
    }
}
