//! Holds by name, as the vault keeps them: who wants a backup kept, and why.
//!
//! The database decides what a purge takes, under the lock of the backup's row; these records are what
//! it is filled from when it is lost. A hold is written here before the database commits it, so one that
//! anybody was told of is never lost with the database; one that the database did not come to commit keeps
//! its backup after a rebuild, until somebody releases it, which is the safe side. A release is written
//! over the hold rather than deleting it: whoever may write may do this, and who let go stays known.
//! Holds of jobs are not kept: they end with their jobs, and no job outlives the database.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use ringvault_core::{BackupName, ClusterName};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};

use crate::{
    error::{VaultError, VaultResult},
    hash::Digest,
    identity::Vault,
    layout,
    record::{self, FORMAT_VERSION},
};

/// `holds/<backup>/<digest of the name>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRecord {
    /// Version of the vault's format.
    pub version: u32,
    /// The cluster.
    pub cluster: ClusterName,
    /// The backup that is kept.
    pub backup: BackupName,
    /// The hold's name.
    pub name: String,
    /// Why it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who wants it.
    pub set_by: String,
    /// Since when.
    pub set_at: DateTime<Utc>,
    /// Who let it go; absent while it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<HoldReleased>,
}

/// The end of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldReleased {
    /// Who let it go.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl HoldRecord {
    /// A hold of `backup` from `set_at` on.
    pub fn new(
        (cluster, backup): (&ClusterName, &BackupName),
        name: &str,
        reason: Option<&str>,
        (set_by, set_at): (&str, DateTime<Utc>),
    ) -> Self {
        Self {
            version: FORMAT_VERSION,
            cluster: cluster.clone(),
            backup: backup.clone(),
            name: name.to_owned(),
            reason: reason.map(str::to_owned),
            set_by: set_by.to_owned(),
            set_at,
            released: None,
        }
    }

    fn key(&self) -> String {
        layout::hold(&self.cluster, &self.backup, &Digest::of(self.name.as_bytes()).to_string())
    }
}

impl Vault {
    /// Writes a hold, or its end, over what was there.
    pub async fn put_hold(&self, hold: &HoldRecord) -> VaultResult<()> {
        self.check_owner().await?;
        around!("vault.hold").run(record::overwrite(self.store(), &hold.key(), hold)).await
    }

    /// Every hold of a backup by its key, those that were released too, each with its own failure.
    pub async fn hold_records(
        &self,
        cluster: &ClusterName,
        backup: &BackupName,
    ) -> VaultResult<Vec<(String, VaultResult<HoldRecord>)>> {
        let mut holds = Vec::new();
        let mut objects = self.store().list(&layout::holds_folder(cluster, backup));
        while let Some(object) = objects.try_next().await? {
            let read = match record::read::<HoldRecord>(self.store(), &object.key).await {
                Ok(Some(hold))
                    if hold.cluster == *cluster && hold.backup == *backup && hold.key() == object.key =>
                {
                    Ok(hold)
                }
                Ok(Some(_)) => Err(VaultError::malformed(&object.key, "it is another hold's")),
                Ok(None) => continue,
                Err(VaultError::Store(error)) => return Err(error.into()),
                Err(error) => Err(error),
            };
            holds.push((object.key, read));
        }
        Ok(holds)
    }
}
