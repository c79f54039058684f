//! What a job is asked to do: the body of a request, kept with the job unchanged.

use std::{collections::BTreeMap, num::NonZeroU32};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DataCenterLimits, JobKind, ParallelScope};
use crate::{
    BackupName, ClusterName, HostId, PolicyName,
    cluster::RequiredCoverage,
    policy::Retention,
    restore::{DataCenterMap, Renames},
    selection::Selection,
};

/// What a job does, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobSpec {
    /// Takes a backup.
    Backup(BackupSpec),
    /// Checks a backup.
    Verify(VerifySpec),
    /// Brings data back.
    Restore(RestoreSpec),
    /// Takes expired backups away.
    Purge(PurgeSpec),
    /// Proves that a backup can be restored.
    Drill(DrillSpec),
    /// Keeps a digest of every row that a cluster holds.
    Digest(DigestSpec),
}

impl JobSpec {
    /// The kind of job.
    pub const fn kind(&self) -> JobKind {
        match self {
            Self::Backup(_) => JobKind::Backup,
            Self::Verify(_) => JobKind::Verify,
            Self::Restore(_) => JobKind::Restore,
            Self::Purge(_) => JobKind::Purge,
            Self::Drill(_) => JobKind::Drill,
            Self::Digest(_) => JobKind::Digest,
        }
    }

    /// The cluster whose workers do the job: the target, for a restore and a drill.
    pub const fn cluster(&self) -> &ClusterName {
        match self {
            Self::Backup(spec) => &spec.cluster,
            Self::Verify(spec) => &spec.cluster,
            Self::Restore(spec) => &spec.target,
            Self::Purge(spec) => &spec.cluster,
            Self::Drill(spec) => spec.target(),
            Self::Digest(spec) => &spec.cluster,
        }
    }

    /// The backup it makes or works on, with the cluster it belongs to.
    pub const fn backup(&self) -> Option<(&ClusterName, &BackupName)> {
        match self {
            Self::Backup(BackupSpec { cluster, name: Some(name), .. }) => Some((cluster, name)),
            Self::Verify(spec) => Some((&spec.cluster, &spec.backup)),
            Self::Restore(spec) => Some((&spec.source, &spec.backup)),
            Self::Drill(DrillSpec { cluster, backup: Some(backup), .. }) => Some((cluster, backup)),
            Self::Backup(_) | Self::Purge(_) | Self::Drill(_) | Self::Digest(_) => None,
        }
    }
}

/// Whether a backup reuses what the vault holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupMode {
    /// Uploads only content that no sealed backup names.
    #[default]
    Incremental,
    /// Uploads everything, and is not reused by others.
    Full,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupSpec {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its name; filled in with `<cluster>-<time>` when the job is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<BackupName>,
    /// Reuse or not.
    #[serde(default)]
    pub mode: BackupMode,
    /// Which tables.
    #[serde(default)]
    pub selection: Selection,
    /// Only nodes of this data center.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dc: Option<String>,
    /// How much of the ring it must hold to succeed.
    #[serde(default)]
    pub coverage: RequiredCoverage,
    /// Labels, kept with the backup.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Uploads at once; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel_nodes: Option<u32>,
    /// Among whom these are counted.
    #[serde(default, skip_serializing_if = "ParallelScope::is_cluster")]
    pub max_parallel_scope: ParallelScope,
    /// Bytes a second each node may upload; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<u64>,
    /// Requests a second each node may make to the store; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_limit: Option<u64>,
    /// The same for the nodes of single data centers, by their names.
    #[serde(default, skip_serializing_if = "DataCenterLimits::is_empty")]
    pub data_centers: DataCenterLimits,
    /// Seconds from its start for which nobody can delete what it needs, in a vault with locks; never less
    /// than the vault's own period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_seconds: Option<u64>,
    /// The policy that fired it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
}

/// The longest lock that S3 knows, in seconds: a hundred years.
pub const LONGEST_LOCK_SECONDS: u64 = 36_500 * 86_400;

/// Whether a backup may be locked for so long.
///
/// # Errors
/// Why not, to be read after the field's name.
pub fn check_lock_seconds(seconds: u64) -> Result<(), String> {
    match seconds {
        0 => Err("lasts a second at least".to_owned()),
        1..=LONGEST_LOCK_SECONDS => Ok(()),
        _ => Err("is longer than the hundred years that S3 knows".to_owned()),
    }
}

/// How deep a verify looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerifyLevel {
    /// Seal, manifests, and that every object is there with its size.
    #[default]
    Presence,
    /// Also every byte against its hash.
    Digest,
    /// Also each SSTable's own structure: checksums of its chunks, and whether its components agree.
    Sstable,
}

impl VerifyLevel {
    /// The word used in JSON, on the command line and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Digest => "digest",
            Self::Sstable => "sstable",
        }
    }
}

/// A verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifySpec {
    /// The backup's cluster; its workers do the work.
    pub cluster: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// How deep.
    #[serde(default)]
    pub level: VerifyLevel,
    /// The policy that fired it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
}

/// How data gets back into a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestoreMethod {
    /// The planner chooses.
    #[default]
    Auto,
    /// Same tokens: each node takes its own files back.
    Copy,
    /// Any ring: each node fetches just the partitions that it owns.
    Slice,
    /// Any ring: whole SSTables that meet a node's ranges, then cleanup.
    Import,
    /// Any ring: each SSTable is fetched by one node, which streams it to its owners.
    Stream,
}

impl RestoreMethod {
    /// As it is asked for and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Copy => "copy",
            Self::Slice => "slice",
            Self::Import => "import",
            Self::Stream => "stream",
        }
    }
}

/// A restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreSpec {
    /// The cluster the backup is of.
    pub source: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// The cluster it goes to.
    pub target: ClusterName,
    /// Which tables; system keyspaces only when named.
    #[serde(default)]
    pub selection: Selection,
    /// How.
    #[serde(default)]
    pub method: RestoreMethod,
    /// Empty the target tables first. The point of no return.
    #[serde(default)]
    pub truncate: bool,
    /// The target cluster's name again, given by whoever asks for a truncate or an offline restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<ClusterName>,
    /// Create nothing: the schema must be there.
    #[serde(default)]
    pub skip_schema: bool,
    /// Also `system_auth`, last.
    #[serde(default)]
    pub with_auth: bool,
    /// Plan and check only; change nothing.
    #[serde(default)]
    pub plan_only: bool,
    /// Bytes a second each node may download; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<u64>,
    /// Requests a second each node may make to the store; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_limit: Option<u64>,
    /// The same for the nodes of single data centers, by their names.
    #[serde(default, skip_serializing_if = "DataCenterLimits::is_empty")]
    pub data_centers: DataCenterLimits,
    /// Keyspaces and tables under other names, beside what bears their own.
    #[serde(default, skip_serializing_if = "Renames::is_empty")]
    pub rename: Renames,
    /// Data centers of the target by those of the backup, for keyspaces that the restore makes.
    #[serde(default, skip_serializing_if = "DataCenterMap::is_empty")]
    pub dc_map: DataCenterMap,
    /// Only these nodes of the backup; all when empty. Online: refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<HostId>,
    /// With Cassandra stopped: each node becomes again what it was when it was backed up, with its tokens and its
    /// host id. All that it holds is taken away, so it must be confirmed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
    /// Offline: what the nodes held before stays on their disks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_old: bool,
    /// Set in the tasks of a drill, and by nobody who asks: everything comes under the names of
    /// [`crate::restore::drill_keyspace`]. A worker that does not know it refuses the task.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drill: bool,
}

/// A purge: by name, by retention, or just the leftovers of dead backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PurgeSpec {
    /// The cluster.
    pub cluster: ClusterName,
    /// Exactly these backups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<BackupName>,
    /// What this retention expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// The policy that fired it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
}

/// A drill: a restore into keyspaces of its own, which are read and dropped again. Nothing that is there
/// is touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillSpec {
    /// The cluster whose backup is tried.
    pub cluster: ClusterName,
    /// The backup; filled in with the newest restorable one when the job is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupName>,
    /// The cluster that it is brought to; its own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ClusterName>,
    /// Which tables; those of Cassandra itself are never brought.
    #[serde(default)]
    pub selection: Selection,
    /// How.
    #[serde(default)]
    pub method: RestoreMethod,
    /// Bytes a second each node may download; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<u64>,
    /// Requests a second each node may make to the store; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_limit: Option<u64>,
    /// The same for the nodes of single data centers, by their names.
    #[serde(default, skip_serializing_if = "DataCenterLimits::is_empty")]
    pub data_centers: DataCenterLimits,
    /// Data centers of the target by those of the backup.
    #[serde(default, skip_serializing_if = "DataCenterMap::is_empty")]
    pub dc_map: DataCenterMap,
    /// The policy that fired it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
}

/// A digest of rows: all of them are read, at every replica, and what they hold is kept as digests by token range, to be
/// compared with another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DigestSpec {
    /// The cluster that is read.
    pub cluster: ClusterName,
    /// Which tables; those of Cassandra itself only when named, those that are another on each node never.
    #[serde(default)]
    pub selection: Selection,
    /// Rows a second that each node reads at most; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<NonZeroU32>,
}

impl DrillSpec {
    /// The cluster that the backup is brought to.
    pub const fn target(&self) -> &ClusterName {
        match &self.target {
            Some(target) => target,
            None => &self.cluster,
        }
    }

    /// The restore that it is, under names of its own. `None`: the backup was
    /// not filled in.
    pub fn restore(&self) -> Option<RestoreSpec> {
        Some(RestoreSpec {
            source: self.cluster.clone(),
            backup: self.backup.clone()?,
            target: self.target().clone(),
            selection: self.selection.clone(),
            method: self.method,
            truncate: false,
            confirm: None,
            skip_schema: false,
            with_auth: false,
            plan_only: false,
            rate_limit: self.rate_limit,
            request_limit: self.request_limit,
            data_centers: self.data_centers.clone(),
            rename: Renames::default(),
            dc_map: self.dc_map.clone(),
            nodes: Vec::new(),
            offline: false,
            keep_old: false,
            drill: true,
        })
    }
}
