//! Step five of a purge: tombstones, and the records that nobody needs any more.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt};
use ringvault_core::{
    BackupName, ClusterName, JobId,
    task::{PurgeReportTask, ReportResult, StillLocked},
};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};

use super::{NOTHING, Standing, list::ListFile, standing};
use crate::{
    backup::{BackupEntry, SealPlace, TombstoneRecord, Was},
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
    record::{self, FORMAT_VERSION},
    store::StoreErrorKind,
};

/// Locked objects whose locks are asked for, of objects and of records: all are told of, these say until when.
const ASKED: usize = 1_000;
/// Of these at the same time.
const ASKED_AT_ONCE: usize = 16;

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
    /// What it would have deleted too and the store still locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<StillLocked>,
}

impl Vault {
    /// Ends a purge whose every shard was swept. May be run again.
    pub async fn finish_purge(&self, task: &PurgeReportTask) -> VaultResult<ReportResult> {
        let (cluster, n) = (&task.cluster, task.purge);
        if n == NOTHING {
            let key = layout::purges_folder(cluster);
            return Ok(ReportResult { key, objects: 0, bytes: 0, at: None, locked: None });
        }
        let intents = self.read_intents(cluster).await?;
        let intent = intents.get(n).ok_or_else(|| VaultError::PurgeState {
            cluster: cluster.clone(),
            purge: n,
            why: "it has no intent".to_owned(),
        })?;
        let list = self.condemned_list(cluster, n).await?;
        let (mut expired, mut dead) = (Vec::new(), Vec::new());
        let mut records_left = Vec::new();
        for backup in self.backups_and_damaged(cluster).await?.0 {
            let name = backup.start.backup.clone();
            match standing(&backup, n) {
                Standing::Expired => {
                    let own = intent.expire.contains(&name);
                    let again = matches!(&backup.place, SealPlace::Tombstone(stone) if stone.records_left);
                    if self.bury(&backup, n).await? || own || again {
                        let left = self.remove_records(cluster, &name).await?;
                        self.note_records_left(cluster, &name, !left.is_empty()).await?;
                        records_left.extend(left);
                        expired.push(name);
                    }
                }
                Standing::Dead => {
                    records_left.extend(self.remove_records(cluster, &name).await?);
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
        let locked = self.still_locked(cluster, &list, &records_left).await?;
        let stay = |count: fn(&StillLocked) -> u64| locked.as_ref().map_or(0, count);
        let objects = totals.objects.saturating_sub(stay(|locked| locked.objects));
        let bytes = totals.bytes.saturating_sub(stay(|locked| locked.bytes));
        let key = layout::purge_result(cluster, n);
        let result = PurgeRecord {
            version: FORMAT_VERSION,
            cluster: cluster.clone(),
            purge: n,
            job: intent.job,
            finished_at: Utc::now(),
            expired,
            dead,
            objects,
            bytes,
            locked,
        };
        around!("vault.purge-result").run(record::overwrite(self.store(), &key, &result)).await?;
        Ok(ReportResult { key, objects, bytes, at: Some(result.finished_at), locked })
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
            records_left: false,
        };
        self.put_tombstone(tombstone).await?;
        Ok(true)
    }

    /// Writes into a backup's tombstone whether some of its records are left.
    async fn note_records_left(
        &self,
        cluster: &ClusterName,
        backup: &BackupName,
        left: bool,
    ) -> VaultResult<()> {
        if self.store().lock().is_none() {
            return Ok(());
        }
        match self.seal_place(cluster, backup).await? {
            SealPlace::Tombstone(stone) if stone.records_left != left => {
                self.put_tombstone(TombstoneRecord { records_left: left, ..*stone }).await
            }
            _ => Ok(()),
        }
    }

    /// What of the condemned is still there, and until when; with records of which so much is known.
    async fn still_locked(
        &self,
        cluster: &ClusterName,
        list: &ListFile,
        records: &[String],
    ) -> VaultResult<Option<StillLocked>> {
        if self.store().lock().is_none() {
            return Ok(None);
        }
        let (mut condemned, mut folders) = (HashSet::new(), BTreeSet::new());
        list.read(|object, backup| {
            condemned.insert(object.key);
            folders.insert(backup);
            Ok(())
        })?;
        let (mut objects, mut bytes, mut asked) = (0_u64, 0_u64, Vec::new());
        for backup in folders {
            let mut found = self.store().list(&layout::data_folder(cluster, &backup));
            while let Some(object) = found.try_next().await? {
                if condemned.contains(&object.key) {
                    objects += 1;
                    bytes = bytes.saturating_add(object.size);
                    if asked.len() < ASKED {
                        asked.push(object.key);
                    }
                }
            }
        }
        asked.extend(records.iter().take(ASKED).cloned());
        let ends =
            futures::stream::iter(asked).map(|key| async move { self.store().locked_until(&key).await });
        let ends: Vec<_> = ends.buffer_unordered(ASKED_AT_ONCE).try_collect().await?;
        let none =
            StillLocked { objects, bytes, from: DateTime::<Utc>::MAX_UTC, until: DateTime::<Utc>::MIN_UTC };
        let locked = ends.into_iter().flatten().fold(none, |locked, at| StillLocked {
            from: locked.from.min(at),
            until: locked.until.max(at),
            ..locked
        });
        Ok((locked.until > DateTime::<Utc>::MIN_UTC).then_some(locked))
    }

    /// Removes what only a seal makes sense of: manifests, index, schema; and uploads never ended. Returns what
    /// the store still locks.
    async fn remove_records(&self, cluster: &ClusterName, backup: &BackupName) -> VaultResult<Vec<String>> {
        let mut locked = Vec::new();
        let folder = layout::backup_folder(cluster, backup);
        for part in ["nodes/", "index/", "schema/"] {
            let keys: Vec<String> = self
                .store()
                .list(&format!("{folder}{part}"))
                .map_ok(|object| object.key)
                .try_collect()
                .await?;
            locked.extend(self.delete_unlocked(&keys).await?);
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
                Ok(locked)
            }
            Err(error) => Err(error.into()),
            Ok(_) => Ok(locked),
        }
    }
}
