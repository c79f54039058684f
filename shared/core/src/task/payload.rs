//! What a worker is told. Ids and references only: never a secret, and nothing that grows with the
//! data; the rest a worker reads from the vault.

use std::{collections::BTreeMap, num::NonZeroU32};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    BackupName, ClusterName, HostId, JobId, PolicyName,
    cluster::RequiredCoverage,
    job::{BackupMode, RestoreSpec, StageKind, VerifyLevel},
    selection::Selection,
};

/// The work of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TaskPayload {
    /// Flush and snapshot.
    Snapshot(SnapshotTask),
    /// Bring the snapshot to the vault.
    Upload(UploadTask),
    /// Judge and seal the backup.
    Seal(SealTask),
    /// Clear what a job left on the node.
    Release(ReleaseTask),
    /// Check a shard of a backup's objects.
    Check(CheckTask),
    /// Write what a verify found.
    VerifyReport(VerifyReportTask),
    /// Decide how a restore is done.
    Plan(RestoreTask),
    /// Room, formats, rights.
    Preflight(RestoreTask),
    /// Bring objects to the node.
    Download(RestoreTask),
    /// Create what is missing of the schema.
    Schema(RestoreTask),
    /// Empty the target tables.
    Truncate(RestoreTask),
    /// Hand the files to Cassandra.
    Apply(RestoreTask),
    /// Cleanup, views.
    Settle(RestoreTask),
    /// Look whether it is there and readable.
    Validate(RestoreTask),
    /// Write a purge's intent and condemn.
    Mark(MarkTask),
    /// Delete a shard of what is condemned.
    Sweep(SweepTask),
    /// Close a purge.
    PurgeReport(PurgeReportTask),
    /// Read the rows of some token ranges.
    Digest(DigestTask),
}

impl TaskPayload {
    /// Has it send and fetch so many bytes a second at most (no limit when absent), whatever it was made with.
    pub fn set_rate_limit(&mut self, bytes_per_second: Option<u64>) {
        match self {
            Self::Upload(task) => task.rate_limit = bytes_per_second,
            Self::Plan(task)
            | Self::Preflight(task)
            | Self::Download(task)
            | Self::Schema(task)
            | Self::Truncate(task)
            | Self::Apply(task)
            | Self::Settle(task)
            | Self::Validate(task) => task.spec.rate_limit = bytes_per_second,
            Self::Snapshot(_)
            | Self::Seal(_)
            | Self::Release(_)
            | Self::Check(_)
            | Self::VerifyReport(_)
            | Self::Mark(_)
            | Self::Sweep(_)
            | Self::PurgeReport(_)
            | Self::Digest(_) => {}
        }
    }

    /// The backup that it is about, if it is about one.
    pub const fn backup(&self) -> Option<&BackupName> {
        match self {
            Self::Snapshot(task) => Some(&task.backup),
            Self::Upload(task) => Some(&task.backup),
            Self::Seal(task) => Some(&task.backup),
            Self::Check(task) => Some(&task.backup),
            Self::VerifyReport(task) => Some(&task.backup),
            Self::Release(ReleaseTask { abort: Some((_, backup)), .. }) => Some(backup),
            Self::Plan(task)
            | Self::Preflight(task)
            | Self::Download(task)
            | Self::Schema(task)
            | Self::Truncate(task)
            | Self::Apply(task)
            | Self::Settle(task)
            | Self::Validate(task) => Some(&task.spec.backup),
            Self::Release(_) | Self::Mark(_) | Self::Sweep(_) | Self::PurgeReport(_) | Self::Digest(_) => {
                None
            }
        }
    }

    /// The stage such a task belongs to.
    pub const fn stage(&self) -> StageKind {
        match self {
            Self::Snapshot(_) => StageKind::Snapshot,
            Self::Upload(_) => StageKind::Upload,
            Self::Seal(_) => StageKind::Seal,
            Self::Release(_) => StageKind::Release,
            Self::Check(_) => StageKind::Check,
            Self::VerifyReport(_) | Self::PurgeReport(_) => StageKind::Report,
            Self::Plan(_) => StageKind::Plan,
            Self::Preflight(_) => StageKind::Preflight,
            Self::Download(_) => StageKind::Download,
            Self::Schema(_) => StageKind::Schema,
            Self::Truncate(_) => StageKind::Truncate,
            Self::Apply(_) => StageKind::Apply,
            Self::Settle(_) => StageKind::Settle,
            Self::Validate(_) => StageKind::Validate,
            Self::Mark(_) => StageKind::Mark,
            Self::Sweep(_) => StageKind::Sweep,
            Self::Digest(_) => StageKind::Digest,
        }
    }
}

/// `snapshot`: creates the backup's `start.json` if it is not there, then flushes and snapshots.
/// The snapshot's tag is [`snapshot_tag`](crate::job::snapshot_tag) of the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotTask {
    /// The job.
    pub job: JobId,
    /// The cluster.
    pub cluster: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// When the job was created: the same for every node.
    pub started_at: DateTime<Utc>,
    /// Which tables.
    pub selection: Selection,
    /// Reuse or not.
    pub mode: BackupMode,
    /// How much of the ring it must hold.
    pub coverage: RequiredCoverage,
    /// The policy that asked for it.
    pub policy: Option<PolicyName>,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// Seconds from its start for which it is locked, where that is longer than the vault's own period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_seconds: Option<u64>,
}

/// `upload`: components by content, packs, then the node's manifest; lets the snapshot go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadTask {
    /// The job.
    pub job: JobId,
    /// The cluster.
    pub cluster: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// Which tables.
    pub selection: Selection,
    /// Reuse or not.
    pub mode: BackupMode,
    /// Bytes a second; no limit when absent.
    pub rate_limit: Option<u64>,
    /// Seconds from the backup's start for which it is locked, where that is longer than the vault's own
    /// period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_seconds: Option<u64>,
}

/// A node's manifest that was accepted: the seal names it by hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeManifestRef {
    /// The node.
    pub host_id: HostId,
    /// Object key of the manifest.
    pub key: String,
    /// BLAKE3-256 of the manifest object as stored, hex.
    pub blake3: String,
    /// When this node's snapshot was complete.
    pub snapshot_at: DateTime<Utc>,
    /// Cassandra's schema version when the snapshot was taken.
    pub schema_version: String,
}

/// `seal`: judges coverage, writes the index, creates `backup.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SealTask {
    /// The job.
    pub job: JobId,
    /// The cluster.
    pub cluster: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// The accepted manifests.
    pub nodes: Vec<NodeManifestRef>,
    /// How much of the ring it must hold.
    pub coverage: RequiredCoverage,
    /// Only this data center was asked for.
    pub dc: Option<String>,
    /// Whether a restore of the cluster was under way, or had failed there, since the backup began.
    #[serde(default)]
    pub tainted: bool,
}

/// `release`: clears the snapshots and staged files that `job` left on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseTask {
    /// The job whose leftovers go.
    pub job: JobId,
    /// The backup that is dead from now on: an abort marker takes its seal's place. Absent when the
    /// backup was sealed.
    pub abort: Option<(ClusterName, BackupName)>,
    /// Whether the copies of roles and grants that a restore made are dropped here.
    #[serde(default)]
    pub auth_copies: bool,
    /// Whether the keyspaces that a drill made are dropped here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drill: bool,
}

/// `check`: every `shards`-th object, beginning with `shard`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckTask {
    /// The job.
    pub job: JobId,
    /// The backup's cluster.
    pub cluster: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// How deep.
    pub level: VerifyLevel,
    /// Which shard, from 0.
    pub shard: u32,
    /// Of how many.
    pub shards: u32,
}

/// `report` of a verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifyReportTask {
    /// The job.
    pub job: JobId,
    /// The backup's cluster.
    pub cluster: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// How deep it was looked.
    pub level: VerifyLevel,
    /// Objects looked at, over all shards.
    pub objects: u64,
    /// Bytes read, over all shards.
    pub bytes: u64,
    /// Damaged or missing objects, over all shards.
    pub damaged: u64,
}

/// All stages of a restore: the worker derives its share from the plan in the vault
/// (`plan` itself writes it).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestoreTask {
    /// The job.
    pub job: JobId,
    /// What is asked for.
    pub spec: RestoreSpec,
    /// The node this task is for; absent where any worker of the target may do it.
    pub host_id: Option<HostId>,
    /// The plan that the job goes by: the one whose report was accepted, whatever else a planner
    /// that came late may have written. Absent for `plan` itself, and in tasks of older schedulers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanRef>,
}

/// A restore's plan in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanRef {
    /// Its object key.
    pub key: String,
    /// BLAKE3 of the object, in hexadecimal.
    pub blake3: String,
}

/// `mark`: writes the intent, waits until no backup could still reuse what goes, condemns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MarkTask {
    /// The job.
    pub job: JobId,
    /// The cluster.
    pub cluster: ClusterName,
    /// The backups this purge expires.
    pub expire: Vec<BackupName>,
    /// Unsealed backups whose job is over for good: they get an abort marker.
    pub dead: Vec<BackupName>,
}

/// `sweep`: deletes every `shards`-th condemned object, beginning with `shard`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SweepTask {
    /// The job.
    pub job: JobId,
    /// The cluster.
    pub cluster: ClusterName,
    /// The purge's number in the vault.
    pub purge: u64,
    /// Which shard, from 0.
    pub shard: u32,
    /// Of how many.
    pub shards: u32,
}

/// `report` of a purge: expired seals become tombstones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PurgeReportTask {
    /// The job.
    pub job: JobId,
    /// The cluster.
    pub cluster: ClusterName,
    /// The purge's number in the vault.
    pub purge: u64,
}

/// `digest`: every row of the selected tables in these token ranges, read at every replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DigestTask {
    /// The job.
    pub job: JobId,
    /// The cluster.
    pub cluster: ClusterName,
    /// Which tables.
    pub selection: Selection,
    /// Which of the [ranges](crate::rows::rows_range).
    pub ranges: Vec<u16>,
    /// Rows a second; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<NonZeroU32>,
}
