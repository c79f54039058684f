//! What a purge would take away: `POST /v1/purges/preview` with the body of a purge.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BackupName, ClusterName, backup::BackupState, task::StillLocked};

/// A purge, looked at before it is asked for. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PurgePreview {
    /// The cluster.
    pub cluster: ClusterName,
    /// When it was decided.
    pub as_of: DateTime<Utc>,
    /// Backups that would expire, the oldest first.
    pub expire: Vec<PurgeTarget>,
    /// Unsealed backups whose job is over: their leftovers would go.
    pub dead: Vec<BackupName>,
    /// Backups that stay.
    pub keep: Vec<PurgeKept>,
    /// Backups that were named and cannot go.
    pub refused: Vec<PurgeRefusal>,
    /// Objects that no other backup names; absent where that was not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// Their bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Of these, what an earlier purge was to delete and the store still locks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<StillLocked>,
}

/// A backup that would expire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PurgeTarget {
    /// The backup.
    pub backup: BackupName,
    /// Its state now.
    pub state: BackupState,
    /// The instant it holds.
    pub started_at: DateTime<Utc>,
    /// Bytes it names.
    pub bytes: u64,
    /// Bytes it brought: what may be freed, as far as no other backup names them.
    pub bytes_new: u64,
    /// Why it goes.
    pub reason: String,
}

/// A backup that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PurgeKept {
    /// The backup.
    pub backup: BackupName,
    /// Its state.
    pub state: BackupState,
    /// The instant it holds.
    pub started_at: DateTime<Utc>,
    /// Why it stays.
    pub reason: String,
}

/// A backup that was named and cannot go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PurgeRefusal {
    /// The backup.
    pub backup: BackupName,
    /// Why.
    pub reason: String,
}
