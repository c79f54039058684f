//! Backups and what holds them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    BackupName, ClusterName, HostId, JobId, PolicyName,
    backup::{BackupFigures, BackupState},
    cluster::CoverageReport,
    job::{BackupMode, VerifyLevel},
    selection::Selection,
};

/// A verify that came to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    /// The job; absent when only the vault tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// How deep it looked.
    pub level: VerifyLevel,
    /// When it ended.
    pub at: DateTime<Utc>,
    /// Damaged or missing objects that it found.
    pub damaged: u64,
}

/// A backup in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupSummary {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name.
    pub name: BackupName,
    /// The job that made it.
    pub job: JobId,
    /// The policy that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
    /// Where it is in its life.
    pub state: BackupState,
    /// The instant it holds.
    pub started_at: DateTime<Utc>,
    /// When it was sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_at: Option<DateTime<Utc>>,
    /// Sizes and counts; zeros until it is sealed.
    pub figures: BackupFigures,
    /// The newest verify of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verification>,
    /// Until when the store refuses to delete it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<DateTime<Utc>>,
    /// Names of what holds it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
    /// Taken while a restore of the cluster was under way or had failed there.
    #[serde(default)]
    pub tainted: bool,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// A backup in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupDetail {
    /// As in the list.
    #[serde(flatten)]
    pub summary: BackupSummary,
    /// Whether it reused what the vault held.
    pub mode: BackupMode,
    /// Which tables were asked for.
    pub selection: Selection,
    /// What it holds of the ring, by keyspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageReport>,
    /// Why it is less than complete, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// By node of the cluster that was asked for a snapshot.
    pub nodes: Vec<BackupNode>,
    /// What holds it, in full.
    pub held_by: Vec<HoldView>,
    /// Verifies of it, the newest first.
    pub verifications: Vec<Verification>,
}

/// One node's part in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupNode {
    /// The node.
    pub host_id: HostId,
    /// Its address when last known; empty when unknown.
    pub address: String,
    /// Whether its manifest is in the vault.
    pub held: bool,
    /// When its snapshot was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_at: Option<DateTime<Utc>>,
    /// Object key of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Cassandra's own id of its schema then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<String>,
    /// SSTables named.
    pub sstables: u64,
    /// Files named.
    pub files: u64,
    /// Bytes named.
    pub bytes: u64,
    /// Bytes brought to the vault.
    pub bytes_new: u64,
}

/// Who keeps a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldKind {
    /// Somebody set it; it stays until released.
    Legal,
    /// A restore or verify that is not over for good.
    Job,
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldView {
    /// The backup's cluster.
    pub cluster: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// Its name; a job's hold has the job's id.
    pub name: String,
    /// Who keeps it.
    pub kind: HoldKind,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who set it.
    pub set_by: String,
    /// When.
    pub set_at: DateTime<Utc>,
}

/// `POST /v1/holds`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldSet {
    /// The backup's cluster.
    pub cluster: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// The hold's name, such as a case number; one backup may have several.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// `DELETE /v1/holds`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldRelease {
    /// The backup's cluster.
    pub cluster: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// The hold's name.
    pub name: String,
    /// Why it may go.
    pub reason: String,
}
