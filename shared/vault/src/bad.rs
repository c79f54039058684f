//! Damaged objects, marked so that no backup reuses them.
//!
//! A verify puts a marker for each; the next backup that still has the content brings it again, under
//! a key of its own; a heal copies it over the damaged object for the older backups and writes into the
//! marker that it is healed. Markers are deleted by purges alone: whoever seals and heals may not have
//! the right to delete.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use ringvault_core::{BackupName, ClusterName, JobId, task::FindingKind};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};

use crate::{
    error::VaultResult,
    hash::Digest,
    identity::Vault,
    layout,
    record::{self, FORMAT_VERSION},
};

/// Requests for markers under way at the same time.
const PARALLEL: usize = 16;

/// `bad/<digest of the key>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRecord {
    /// Version of the vault's format.
    pub version: u32,
    /// The damaged object.
    pub key: String,
    /// What is wrong with it.
    pub kind: FindingKind,
    /// The backup that was verified.
    pub backup: BackupName,
    /// The verify.
    pub job: JobId,
    /// When.
    pub found_at: DateTime<Utc>,
    /// When it was sound again, or named by nobody any more: the marker means nothing then, and goes
    /// with the next purge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healed_at: Option<DateTime<Utc>>,
}

impl BadRecord {
    /// A marker for `key`.
    pub(crate) fn new(key: &str, kind: FindingKind, backup: &BackupName, job: JobId) -> Self {
        let (key, backup) = (key.to_owned(), backup.clone());
        Self { version: FORMAT_VERSION, key, kind, backup, job, found_at: Utc::now(), healed_at: None }
    }
}

impl Vault {
    /// Marks an object as damaged.
    pub(crate) async fn mark_bad(&self, cluster: &ClusterName, bad: &BadRecord) -> VaultResult<()> {
        let key = marker_key(cluster, &bad.key);
        around!("vault.bad").run(record::overwrite(self.store(), &key, bad)).await
    }

    /// Every marker of the cluster, those that are healed too.
    pub async fn bad_records(&self, cluster: &ClusterName) -> VaultResult<Vec<BadRecord>> {
        let keys: Vec<_> =
            self.store().list(&layout::bad_folder(cluster)).map_ok(|object| object.key).try_collect().await?;
        let read = futures::stream::iter(keys)
            .map(|key| async move { record::read::<BadRecord>(self.store(), &key).await });
        let records: Vec<_> = read.buffered(PARALLEL).try_collect().await?;
        Ok(records.into_iter().flatten().collect())
    }

    /// The keys of damaged objects: not to be reused.
    pub async fn bad_keys(&self, cluster: &ClusterName) -> VaultResult<HashSet<String>> {
        let records = self.bad_records(cluster).await?.into_iter();
        Ok(records.filter(|bad| bad.healed_at.is_none()).map(|bad| bad.key).collect())
    }

    /// Writes into a marker that it means nothing any more.
    pub(crate) async fn mark_healed(&self, cluster: &ClusterName, bad: &BadRecord) -> VaultResult<()> {
        self.mark_bad(cluster, &BadRecord { healed_at: Some(Utc::now()), ..bad.clone() }).await
    }

    /// Takes markers away, because their objects are sound again or gone. For purges.
    pub(crate) async fn clear_bad(&self, cluster: &ClusterName, keys: &[String]) -> VaultResult<()> {
        let markers: Vec<_> = keys.iter().map(|key| marker_key(cluster, key)).collect();
        self.delete_all(&markers).await
    }
}

fn marker_key(cluster: &ClusterName, key: &str) -> String {
    layout::bad(cluster, &Digest::of(key.as_bytes()).to_string())
}
