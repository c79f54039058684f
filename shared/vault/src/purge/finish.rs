//! Step five of a purge: tombstones, and the records that nobody needs any more.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use ringvault_core::{
    BackupName, ClusterName, JobId,
    task::{PurgeReportTask, ReportResult},
};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};

use super::{NOTHING, Standing, standing};
use crate::{
    backup::{BackupEntry, SealPlace, TombstoneRecord, Was},
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
    record::{self, FORMAT_VERSION},
    store::StoreErrorKind,
};

/// `purges/<n>.result.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeRecord {
    /// Version of the vault's format.
    pub version: u32,
    /// The cluster.
    pub cluster: ClusterName,
    /// The purge's number.
    pub purge: u64,
    /// Its job.
    pub job: JobId,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// Backups that became tombstones.
    pub expired: Vec<BackupName>,
    /// Dead backups whose folders were emptied.
    pub dead: Vec<BackupName>,
    /// Objects deleted.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Vault {
    /// Ends a purge whose every shard was swept. May be run again.
    pub async fn finish_purge(&self, task: &PurgeReportTask) -> VaultResult<ReportResult> {
        let (cluster, n) = (&task.cluster, task.purge);
        if n == NOTHING {
            return Ok(ReportResult { key: layout::purges_folder(cluster), objects: 0, bytes: 0, at: None });
        }
        let intents = self.read_intents(cluster).await?;
        let intent = intents.get(n).ok_or_else(|| VaultError::PurgeState {
            cluster: cluster.clone(),
            purge: n,
            why: "it has no intent".to_owned(),
        })?;
        let list = self.condemned_list(cluster, n).await?;
        let (mut expired, mut dead) = (Vec::new(), Vec::new());
        for backup in self.backups_and_damaged(cluster).await?.0 {
            let name = backup.start.backup.clone();
            match standing(&backup, n) {
                Standing::Expired => {
                    let own = intent.expire.contains(&name);
                    if self.bury(&backup, n).await? || own {
                        self.remove_records(cluster, &name).await?;
                        expired.push(name);
                    }
                }
                Standing::Dead => {
                    self.remove_records(cluster, &name).await?;
                    dead.push(name);
                }
                Standing::Living | Standing::Unsealed | Standing::GoneLater => {}
            }
        }
        let markers = self.bad_records(cluster).await?;
        let (healed, standing): (Vec<_>, Vec<_>) =
            markers.into_iter().partition(|marker| marker.healed_at.is_some());
        let standing: HashSet<_> = standing.into_iter().map(|marker| marker.key).collect();
        let mut over: Vec<_> = healed.into_iter().map(|marker| marker.key).collect();
        let totals = list.read(|object, _| {
            if standing.contains(&object.key) {
                over.push(object.key);
            }
            Ok(())
        })?;
        self.clear_bad(cluster, &over).await?;
        let key = layout::purge_result(cluster, n);
        let result = PurgeRecord {
            version: FORMAT_VERSION,
            cluster: cluster.clone(),
            purge: n,
            job: intent.job,
            finished_at: Utc::now(),
            expired,
            dead,
            objects: totals.objects,
            bytes: totals.bytes,
        };
        around!("vault.purge-result").run(record::overwrite(self.store(), &key, &result)).await?;
        Ok(ReportResult { key, objects: totals.objects, bytes: totals.bytes, at: Some(result.finished_at) })
    }

    /// Writes a tombstone over the seal of an expired backup. `false`: there is one.
    async fn bury(&self, backup: &BackupEntry, purge: u64) -> VaultResult<bool> {
        let SealPlace::Sealed(seal) = &backup.place else { return Ok(false) };
        let tombstone = TombstoneRecord {
            version: FORMAT_VERSION,
            start: seal.start.clone(),
            sealed_at: seal.sealed_at,
            purge,
            removed_at: Utc::now(),
            was: Some(Was::from(&**seal)),
        };
        self.put_tombstone(tombstone).await?;
        Ok(true)
    }

    /// Removes what only a seal makes sense of: manifests, index, schema; and uploads never ended.
    async fn remove_records(&self, cluster: &ClusterName, backup: &BackupName) -> VaultResult<()> {
        let folder = layout::backup_folder(cluster, backup);
        for part in ["nodes/", "index/", "schema/"] {
            let keys: Vec<String> = self
                .store()
                .list(&format!("{folder}{part}"))
                .map_ok(|object| object.key)
                .try_collect()
                .await?;
            self.delete_all(&keys).await?;
        }
        match self.store().abort_uploads(&folder).await {
            // Not every store can list them, and not everybody may.
            Err(error)
                if matches!(
                    error.kind,
                    StoreErrorKind::Unsupported | StoreErrorKind::Other | StoreErrorKind::AccessDenied
                ) =>
            {
                tracing::warn!(%cluster, %backup, %error, "uploads that were never ended may be left");
                Ok(())
            }
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }
}
