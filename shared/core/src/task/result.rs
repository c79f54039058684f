//! What a worker answers when a task is done. Bounded in size: lists are cut and say so.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NodeManifestRef;
use crate::{
    BackupName, HostId,
    backup::BackupFigures,
    cluster::{Coverage, CoverageReport},
    job::RestoreMethod,
    rows::TableDigest,
    selection::TableName,
};

/// The answer to one task, by the task's kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TaskResult {
    /// To `snapshot`.
    Snapshot(SnapshotResult),
    /// To `upload`.
    Upload(UploadResult),
    /// To `seal`.
    Seal(SealResult),
    /// To `release`: done.
    Release {
        /// Snapshots and staged folders that were cleared.
        cleared: u64,
        /// The backup was to be declared dead and is sealed: the seal came first and stands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sealed: Option<Box<SealResult>>,
    },
    /// To `check`.
    Check(CheckResult),
    /// To `report`.
    Report(ReportResult),
    /// To `plan`.
    Plan(PlanResult),
    /// To `preflight`.
    Preflight(PreflightResult),
    /// To `download`.
    Download(DownloadResult),
    /// To `schema`.
    Schema(SchemaResult),
    /// To `truncate`.
    Truncate(TruncateResult),
    /// To `apply`.
    Apply(ApplyResult),
    /// To `settle`.
    Settle(SettleResult),
    /// To `validate`.
    Validate(ValidateResult),
    /// To `mark`.
    Mark(MarkResult),
    /// To `sweep`.
    Sweep(SweepResult),
    /// To `digest`.
    Digest(DigestResult),
}

/// How far a running task is, sent with heartbeats. Zero totals mean unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Bytes to go through in all.
    pub bytes_total: u64,
    /// Bytes gone through.
    pub bytes_done: u64,
    /// Of these, bytes that were already in the vault.
    #[serde(default)]
    pub bytes_reused: u64,
    /// Files or objects in all.
    pub items_total: u64,
    /// Files or objects done.
    pub items_done: u64,
    /// What it is at, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doing: Option<String>,
    /// A rate limit holds it back.
    #[serde(default)]
    pub throttled: bool,
}

/// A node's snapshot is complete on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotResult {
    /// The node.
    pub host_id: HostId,
    /// When it was complete.
    pub taken_at: DateTime<Utc>,
    /// Tables in it.
    pub tables: u64,
}

/// A node's manifest is in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadResult {
    /// The manifest.
    pub manifest: NodeManifestRef,
    /// SSTables named.
    pub sstables: u64,
    /// Files named.
    pub files: u64,
    /// Bytes named.
    pub bytes: u64,
    /// Bytes brought to the vault.
    pub bytes_new: u64,
    /// Objects brought to the vault.
    pub objects_new: u64,
    /// Bytes read from data files.
    pub bytes_read: u64,
    /// Whether the snapshot was let go.
    pub snapshot_cleared: bool,
}

/// The backup is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SealResult {
    /// What it holds of the ring.
    pub coverage: Coverage,
    /// By keyspace.
    pub report: CoverageReport,
    /// When it was sealed.
    pub sealed_at: DateTime<Utc>,
    /// Its figures.
    pub figures: BackupFigures,
    /// Why it is less than complete, in words; empty when complete.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// Until when the store keeps all that it names from being deleted; absent where nothing is locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<DateTime<Utc>>,
}

/// What is wrong with an object or a record of the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Not there.
    Missing,
    /// Another size than its manifest says.
    Truncated,
    /// Another content than its manifest says.
    Corrupt,
    /// A manifest or the seal cannot be read or does not match.
    Record,
    /// Its bytes are what its manifest says, and what they say is wrong: it was damaged on the node.
    Structure,
}

/// One damaged thing, named in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// The backup that names it.
    pub backup: BackupName,
    /// The node whose file it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<HostId>,
    /// The table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableName>,
    /// The file as Cassandra names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The object's key.
    pub key: String,
    /// Expected and found.
    pub detail: String,
}

/// A shard of a verify.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckResult {
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Findings in all.
    pub damaged: u64,
    /// The first of them (at most [`Self::MAX_FINDINGS`]).
    pub findings: Vec<Finding>,
}

impl CheckResult {
    /// Findings listed; the vault's `bad/` markers have all.
    pub const MAX_FINDINGS: usize = 200;
}

/// A job's record is in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportResult {
    /// Object key of the record.
    pub key: String,
    /// Objects concerned (checked, or deleted).
    pub objects: u64,
    /// Bytes concerned (read, or freed).
    pub bytes: u64,
    /// The instant that the record names as its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// Purge: what it would have deleted too and the store still locks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<StillLocked>,
}

/// Condemned objects that the store still keeps from being deleted: the first purge after their locks takes
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StillLocked {
    /// Objects; 0 where only records of expired backups are.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the first of the locks ends.
    pub from: DateTime<Utc>,
    /// When the last of them ends.
    pub until: DateTime<Utc>,
}

/// One target node's share of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodePlan {
    /// The node.
    pub host_id: HostId,
    /// Its address.
    pub address: String,
    /// SSTables it fetches.
    pub sstables: u64,
    /// Files it fetches.
    pub files: u64,
    /// Bytes it fetches.
    pub bytes: u64,
    /// Bytes that are streamed to it, about, its own share of what it fetches itself among them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub receives: u64,
}

/// How a restore will be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanResult {
    /// Object key of the whole plan.
    pub key: String,
    /// BLAKE3 of that object, in hexadecimal: later stages go by this plan and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// The method chosen.
    pub method: RestoreMethod,
    /// Why this method.
    pub reason: String,
    /// Nodes in the backup's ring.
    pub source_nodes: u32,
    /// By target node.
    pub nodes: Vec<NodePlan>,
    /// Tables selected.
    pub tables: u64,
    /// What must be done before it can run, in words.
    pub blockers: Vec<String>,
    /// What the reader should know.
    pub warnings: Vec<String>,
    /// What was looked at and found well.
    pub checks: Vec<String>,
}

/// One node is ready for its share, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PreflightResult {
    /// The node.
    pub host_id: HostId,
    /// Bytes it will need.
    pub disk_needed: u64,
    /// Bytes free where it stages.
    pub disk_free: u64,
    /// What must be done before it can run.
    pub blockers: Vec<String>,
}

/// A node has all its files, checked by hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DownloadResult {
    /// The node.
    pub host_id: HostId,
    /// Files staged.
    pub files: u64,
    /// Bytes staged.
    pub bytes: u64,
    /// Of these, bytes that an earlier attempt had staged.
    pub bytes_kept: u64,
}

/// The schema is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchemaResult {
    /// Objects created, as `kind keyspace.name`.
    pub created: Vec<String>,
}

/// The target tables are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TruncateResult {
    /// The tables, once each.
    pub tables: Vec<TableName>,
    /// When the last was done.
    pub at: DateTime<Utc>,
}

/// A node's files are Cassandra's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApplyResult {
    /// The node.
    pub host_id: HostId,
    /// SSTables handed over, each seen to be taken.
    pub sstables: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Tables they belong to.
    pub tables: u64,
}

/// A node has let go of what it does not own and rebuilt what is derived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettleResult {
    /// The node.
    pub host_id: HostId,
    /// Tables cleaned up.
    pub cleaned: u64,
    /// Views rebuilt.
    pub views: Vec<TableName>,
    /// What became of roles and grants, from the one node that puts them in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthChanges>,
    /// Folders with what the node held before an offline restore, where they were to be kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
}

/// Rows of `system_auth` that a restore changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthChanges {
    /// Written as the backup has them.
    pub written: u64,
    /// Deleted, as the backup does not have them.
    pub deleted: u64,
}

/// The restored tables are readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ValidateResult {
    /// Tables looked at.
    pub tables: u64,
    /// Rows read.
    pub rows_read: u64,
    /// What does not match, in words.
    pub problems: Vec<String>,
}

/// A purge's intent stands and its keys are condemned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MarkResult {
    /// The purge's number in the vault.
    pub purge: u64,
    /// Backups that are expired by it, or were gone already when it was to expire them.
    pub expired: Vec<BackupName>,
    /// Backups that got an abort marker.
    pub aborted: Vec<BackupName>,
    /// Backups that were to get one and are sealed: the seal came first and stands (at most
    /// [`Self::MAX_SEALED`]; the next purge finds the others).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealed: Vec<FoundSealed>,
    /// Objects condemned.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl MarkResult {
    /// Seals told of: each comes with its coverage by keyspace.
    pub const MAX_SEALED: usize = 20;
}

/// A backup that was taken for dead and is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FoundSealed {
    /// The backup.
    pub backup: BackupName,
    /// Its seal, as the task that sealed it would have told of it.
    pub seal: SealResult,
}

/// A shard of a purge is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SweepResult {
    /// Objects deleted.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that the store still locks: they stay for a later purge.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub locked: u64,
}

/// The rows of a node's token ranges were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DigestResult {
    /// How rows were [encoded](crate::rows::ENCODING).
    pub encoding: u32,
    /// The ranges that were read.
    pub ranges: Vec<u16>,
    /// Every selected table (at most [`Self::MAX_TABLES`]), by name.
    pub tables: Vec<TableDigest>,
}

impl DigestResult {
    /// Tables that one digest is of at most: a node that reads every range of so many tells of them in some five
    /// megabytes, and a message has eight at most.
    pub const MAX_TABLES: usize = 300;
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}
