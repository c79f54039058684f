//! The first step of a backup: `start.json`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use ringvault_core::{
    BackupName, ClusterName, JobId, PolicyName, cluster::RequiredCoverage, job::BackupMode,
    selection::Selection, task::SnapshotTask,
};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};

use super::SealPlace;
use crate::{
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
    record::{self, FORMAT_VERSION},
};

/// `start.json`: what the backup was asked to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRecord {
    /// Version of the vault's format.
    pub version: u32,
    /// The cluster.
    pub cluster: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// The job that makes it.
    pub job: JobId,
    /// When the job was created.
    pub started_at: DateTime<Utc>,
    /// Whether it reuses and may be reused.
    #[serde(default)]
    pub mode: BackupMode,
    /// The policy that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Which tables.
    #[serde(default)]
    pub selection: Selection,
    /// How much of the ring it must hold.
    #[serde(default)]
    pub coverage: RequiredCoverage,
    /// Seconds from its start for which it is locked, where that is longer than the vault's own period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_seconds: Option<u64>,
}

impl StartRecord {
    /// As a snapshot task says it.
    pub fn of(task: &SnapshotTask) -> Self {
        Self {
            version: FORMAT_VERSION,
            cluster: task.cluster.clone(),
            backup: task.backup.clone(),
            job: task.job,
            started_at: task.started_at,
            mode: task.mode,
            policy: task.policy.clone(),
            tags: task.tags.clone(),
            selection: task.selection.clone(),
            coverage: task.coverage,
            lock_seconds: task.lock_seconds,
        }
    }
}

impl Vault {
    /// Makes the backup exist. Every node of the job calls this; the first one does it.
    ///
    /// # Errors
    /// [`VaultError::NameTaken`] when the name belongs to another job, [`VaultError::Aborted`] when
    /// this backup is dead already.
    pub async fn begin_backup(&self, start: &StartRecord) -> VaultResult<()> {
        self.check_owner().await?;
        let (cluster, backup) = (&start.cluster, &start.backup);
        let store = &self.store().locking_for(start.lock_seconds);
        let taken = |job| VaultError::NameTaken { cluster: cluster.clone(), backup: backup.clone(), job };
        if !around!("vault.start").run(record::create(store, &layout::start(cluster, backup), start)).await? {
            let there = self.start_record(cluster, backup).await?;
            if there.job != start.job {
                return Err(taken(there.job));
            }
        }
        match self.seal_place(cluster, backup).await? {
            SealPlace::Aborted(abort) => Err(VaultError::Aborted {
                cluster: cluster.clone(),
                backup: backup.clone(),
                reason: abort.reason,
            }),
            place => match place.job() {
                Some(job) if job != start.job => Err(taken(job)),
                _ => Ok(()),
            },
        }
    }

    /// What `start.json` says.
    pub async fn start_record(&self, cluster: &ClusterName, backup: &BackupName) -> VaultResult<StartRecord> {
        let key = layout::start(cluster, backup);
        let start: StartRecord = record::read(self.store(), &key)
            .await?
            .ok_or_else(|| VaultError::NoSuchBackup { cluster: cluster.clone(), backup: backup.clone() })?;
        if start.cluster != *cluster || start.backup != *backup {
            let why = format!("it says it is {} of {}", start.backup, start.cluster);
            return Err(VaultError::malformed(&key, why));
        }
        Ok(start)
    }
}
