//! What the vault holds, from the vault alone: for `catalog list`, and for filling an empty database.

use ringvault_core::{BackupName, ClusterName, backup::BackupState};

use crate::{
    backup::{BackupEntry, SealPlace, SealRecord},
    error::VaultResult,
    identity::Vault,
};

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
}
