//! Purge intents, as everybody but the purge reads them: what has expired.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use ringvault_core::{BackupName, ClusterName, JobId};
use serde::{Deserialize, Serialize};

use crate::{
    error::{VaultError, VaultResult},
    identity::Vault,
    layout, record,
};

/// `purges/<n>.json`: from when it stands, these backups have expired, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeIntent {
    /// Version of the vault's format.
    pub version: u32,
    /// The cluster.
    pub cluster: ClusterName,
    /// The purge's number.
    pub purge: u64,
    /// The job, so that a task that starts again finds its own.
    pub job: JobId,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// The backups it expires.
    pub expire: Vec<BackupName>,
}

/// All intents of a cluster, by number.
#[derive(Debug, Clone, Default)]
pub struct Intents(BTreeMap<u64, PurgeIntent>);

impl Intents {
    /// The first purge that expires `backup`.
    pub fn expired_by(&self, backup: &BackupName) -> Option<u64> {
        self.0.values().find(|intent| intent.expire.contains(backup)).map(|intent| intent.purge)
    }

    /// The intent of `job`.
    pub fn of_job(&self, job: JobId) -> Option<&PurgeIntent> {
        self.0.values().find(|intent| intent.job == job)
    }

    /// The intent of purge `n`.
    pub fn get(&self, n: u64) -> Option<&PurgeIntent> {
        self.0.get(&n)
    }

    /// The number that the next purge takes.
    pub fn next_number(&self) -> u64 {
        self.0.last_key_value().map_or(1, |(n, _)| n + 1)
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = &PurgeIntent> {
        self.0.values()
    }
}

impl FromIterator<PurgeIntent> for Intents {
    fn from_iter<I: IntoIterator<Item = PurgeIntent>>(intents: I) -> Self {
        Self(intents.into_iter().map(|intent| (intent.purge, intent)).collect())
    }
}

impl Vault {
    /// Reads every purge intent of the cluster.
    ///
    /// A backup reads these after its own `start.json` stands: the purge protocol rests on that order.
    pub async fn read_intents(&self, cluster: &ClusterName) -> VaultResult<Intents> {
        let store = self.store();
        let mut keys = Vec::new();
        let mut objects = store.list(&layout::purges_folder(cluster));
        while let Some(object) = objects.try_next().await? {
            keys.extend(layout::purge_number(&object.key).map(|n| (n, object.key)));
        }
        let intents = futures::stream::iter(keys).map(|(n, key)| async move {
            let intent: PurgeIntent = record::read(store, &key)
                .await?
                .ok_or_else(|| VaultError::malformed(&key, "it was listed and is not there"))?;
            if intent.purge == n && intent.cluster == *cluster {
                Ok(intent)
            } else {
                Err(VaultError::malformed(&key, "it is another purge's"))
            }
        });
        intents.buffer_unordered(super::PARALLEL).try_collect::<Vec<_>>().await.map(Intents::from_iter)
    }
}
