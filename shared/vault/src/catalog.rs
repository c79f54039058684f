//! What the vault holds, from the vault alone: for `catalog list`, and for filling an empty database.

use futures::{StreamExt, TryStreamExt};
use ringvault_core::{BackupName, ClusterName, backup::BackupState};

use crate::{
    backup::{BackupEntry, Intents, SealPlace, SealRecord},
    error::{VaultError, VaultResult},
    holds::HoldRecord,
    identity::Vault,
    layout,
    purge::PurgeRecord,
    record,
    verify::VerificationRecord,
};

/// Records read at the same time.
const PARALLEL: usize = 16;

/// One backup as its records say, or why they cannot be read.
#[derive(Debug)]
pub struct CatalogEntry {
    /// The cluster.
    pub cluster: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// What is known of it.
    pub known: VaultResult<BackupEntry>,
}

impl CatalogEntry {
    /// Where it is in its life; `None` when its records are damaged.
    pub fn state(&self) -> Option<BackupState> {
        self.known.as_ref().ok().map(BackupEntry::state)
    }

    /// Its seal, where there is one.
    pub fn seal(&self) -> Option<&SealRecord> {
        match &self.known.as_ref().ok()?.place {
            SealPlace::Sealed(seal) => Some(seal),
            _ => None,
        }
    }
}

/// Everything that the vault's records say of one backup.
#[derive(Debug)]
pub struct CatalogRecords {
    /// The backup.
    pub backup: BackupName,
    /// Its start and what stands in its seal's place; `Ok(None)`: a folder without a record.
    pub entry: VaultResult<Option<BackupEntry>>,
    /// The reports of its verifies.
    pub verifications: Vec<VerificationRecord>,
    /// Its holds, those that were released too.
    pub holds: Vec<HoldRecord>,
    /// Reports and holds that cannot be read.
    pub damaged: Vec<VaultError>,
}

impl Vault {
    /// Every backup of the cluster, the newest first; those whose records are damaged come last.
    pub async fn catalog(&self, cluster: &ClusterName) -> VaultResult<Vec<CatalogEntry>> {
        let mut entries = Vec::new();
        for (backup, read) in self.backups_leniently(cluster).await? {
            if let Some(known) = read.transpose() {
                entries.push(CatalogEntry { cluster: cluster.clone(), backup, known });
            }
        }
        entries.sort_by_key(|entry| {
            let started = entry.known.as_ref().ok().map(|known| known.start.started_at);
            (std::cmp::Reverse(started), entry.backup.clone())
        });
        Ok(entries)
    }

    /// The names of the cluster's backups, ascending: those that have a folder. One listing.
    pub async fn backup_names(&self, cluster: &ClusterName) -> VaultResult<Vec<BackupName>> {
        let folders = self.store().list_folders(&layout::backups_folder(cluster)).await?;
        let names = folders.iter().filter_map(|f| BackupName::new(layout::last_segment(f)).ok());
        let mut names: Vec<_> = names.collect();
        names.sort();
        Ok(names)
    }

    /// What is recorded of these backups, in their order. `intents` were read before, so that what
    /// expires meanwhile counts as living and never the other way round.
    ///
    /// # Errors
    /// Only what the store could not answer; a damaged record is told with its backup.
    pub async fn catalog_records(
        &self,
        cluster: &ClusterName,
        backups: &[BackupName],
        intents: &Intents,
    ) -> VaultResult<Vec<CatalogRecords>> {
        // By value: of a closure that is given references the compiler does not see that its futures can be
        // sent to another thread.
        let read = futures::stream::iter(backups.to_vec())
            .map(|backup| async move { self.records_of(cluster, backup, intents).await });
        read.buffered(PARALLEL).try_collect().await
    }

    async fn records_of(
        &self,
        cluster: &ClusterName,
        backup: BackupName,
        intents: &Intents,
    ) -> VaultResult<CatalogRecords> {
        let entry = match self.read_backup(cluster, &backup, intents).await {
            Err(VaultError::Store(error)) => return Err(error.into()),
            other => other,
        };
        let (mut verifications, mut holds, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
        for report in self.verification_records(cluster, &backup).await? {
            match report {
                Ok(report) => verifications.push(report),
                Err(error) => damaged.push(error),
            }
        }
        for (_, hold) in self.hold_records(cluster, &backup).await? {
            match hold {
                Ok(hold) => holds.push(hold),
                Err(error) => damaged.push(error),
            }
        }
        Ok(CatalogRecords { backup, entry, verifications, holds, damaged })
    }

    /// What the last purge that ended says of itself; it names every dead backup that was cleared by
    /// then.
    pub async fn last_purge(
        &self,
        cluster: &ClusterName,
        intents: &Intents,
    ) -> VaultResult<Option<PurgeRecord>> {
        let numbers: Vec<u64> = intents.iter().map(|intent| intent.purge).collect();
        for n in numbers.into_iter().rev() {
            let key = layout::purge_result(cluster, n);
            if let Some(result) = record::read(self.store(), &key).await? {
                return Ok(Some(result));
            }
        }
        Ok(None)
    }
}
