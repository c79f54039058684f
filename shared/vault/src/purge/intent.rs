//! Steps one and two: the intent, and whom it waits for.

use std::collections::BTreeSet;

use chrono::Utc;
use ringvault_core::{BackupName, ClusterName, JobId};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};

use crate::{
    backup::{BackupEntry, PurgeIntent, SealPlace},
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
    record::{self, FORMAT_VERSION},
};

/// `purges/<n>.waits.json`: the backups that were neither sealed nor dead when the starts were read
/// for the first time after the intent. Kept, so that a task that starts again does not wait for
/// backups that began later; with a backup always running it would wait for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WaitsRecord {
    version: u32,
    purge: u64,
    /// The backups.
    pub(super) on: Vec<BackupName>,
}

impl Vault {
    /// The intent of `job`, created if it is not there: of purges at the same time each gets a
    /// number of its own.
    pub(super) async fn ensure_intent(
        &self,
        cluster: &ClusterName,
        job: JobId,
        expire: &[BackupName],
    ) -> VaultResult<PurgeIntent> {
        loop {
            let intents = self.read_intents(cluster).await?;
            if let Some(own) = intents.of_job(job) {
                return Ok(own.clone());
            }
            let intent = PurgeIntent {
                version: FORMAT_VERSION,
                cluster: cluster.clone(),
                purge: intents.next_number(),
                job,
                at: Utc::now(),
                expire: self.to_expire(cluster, expire).await?,
            };
            if around!("vault.intent")
                .run(record::create(self.store(), &layout::purge_intent(cluster, intent.purge), &intent))
                .await?
            {
                return Ok(intent);
            }
        }
    }

    /// The names that can expire, once each: a dead backup goes without. A tombstone is named again,
    /// as the purge that put it may have ended before it had removed the backup's records.
    ///
    /// # Errors
    /// [`VaultError::BackupLocked`] when one of them is: expired it could not be restored, and not be deleted.
    pub(super) async fn to_expire(
        &self,
        cluster: &ClusterName,
        names: &[BackupName],
    ) -> VaultResult<Vec<BackupName>> {
        let mut expire = BTreeSet::new();
        for name in names {
            match self.backup(cluster, name).await?.place {
                SealPlace::Sealed(seal) if seal.lock.as_ref().is_some_and(|lock| lock.until > Utc::now()) => {
                    let until = seal.lock.map(|lock| lock.until).unwrap_or_default();
                    let (cluster, backup) = (cluster.clone(), name.clone());
                    return Err(VaultError::BackupLocked { cluster, backup, until });
                }
                SealPlace::Empty | SealPlace::Sealed(_) | SealPlace::Tombstone(_) => {
                    expire.insert(name.clone());
                }
                SealPlace::Aborted(_) => {}
            }
        }
        Ok(expire.into_iter().collect())
    }

    /// Whom purge `n` still waits for.
    pub(super) async fn waits_of(&self, cluster: &ClusterName, n: u64) -> VaultResult<Vec<BackupName>> {
        let key = layout::purge_waits(cluster, n);
        let mut waits = record::read::<WaitsRecord>(self.store(), &key).await?;
        if waits.is_none() {
            let on = self.unsealed_backups(cluster).await?;
            let first = WaitsRecord { version: FORMAT_VERSION, purge: n, on };
            around!("vault.waits").run(record::create(self.store(), &key, &first)).await?;
            waits = record::read(self.store(), &key).await?;
        }
        let waits = waits.ok_or_else(|| VaultError::malformed(&key, "it is there and is not"))?;
        let mut left = Vec::new();
        for backup in waits.on {
            if self.is_place_empty(cluster, &backup).await? {
                left.push(backup);
            }
        }
        Ok(left)
    }

    /// Whether nothing stands in the seal's place; a damaged record does.
    async fn is_place_empty(&self, cluster: &ClusterName, backup: &BackupName) -> VaultResult<bool> {
        match self.seal_place(cluster, backup).await {
            Ok(place) => Ok(place == SealPlace::Empty),
            Err(VaultError::Malformed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The backups that are neither sealed nor dead now.
    pub(super) async fn unsealed_backups(&self, cluster: &ClusterName) -> VaultResult<Vec<BackupName>> {
        let (all, damaged) = self.backups_and_damaged(cluster).await?;
        let unsealed = all.into_iter().filter(BackupEntry::is_unsealed);
        let mut unsealed: Vec<_> = unsealed.map(|backup| backup.start.backup).collect();
        for backup in damaged {
            if self.is_place_empty(cluster, &backup).await? {
                unsealed.push(backup);
            }
        }
        Ok(unsealed)
    }
}
