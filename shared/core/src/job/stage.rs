//! The stages of each kind of job, in order.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JobSpec;

/// The kinds of job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Takes a backup.
    Backup,
    /// Checks a backup.
    Verify,
    /// Brings data back.
    Restore,
    /// Takes expired backups away.
    Purge,
    /// Brings a backup back beside everything, looks at it, and takes it away again.
    Drill,
    /// Reads every row and keeps digests.
    Digest,
}

impl JobKind {
    /// Whether its nodes send or fetch so much that a rate can be set for it.
    pub const fn has_rate_limit(self) -> bool {
        matches!(self, Self::Backup | Self::Restore | Self::Drill)
    }

    /// The word used in tables, JSON, metrics and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verify",
            Self::Restore => "restore",
            Self::Purge => "purge",
            Self::Drill => "drill",
            Self::Digest => "digest",
        }
    }
}

/// A stage of a job, which is also the kind of its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageKind {
    /// Backup: `start.json`, flush and snapshot on every node.
    Snapshot,
    /// Backup: every component by content, then the node's manifest; the snapshot is let go.
    Upload,
    /// Backup: coverage judged, index written, `backup.json` created.
    Seal,
    /// Backup: snapshots still lying about are cleared. Drill: its keyspaces are dropped. After a cancel of a
    /// restore: what it staged.
    Release,
    /// Verify: a shard of the objects.
    Check,
    /// Verify and purge: what was found or done is written to the vault.
    Report,
    /// Restore: methods and selection decided, written to the vault.
    Plan,
    /// Restore: room, formats and rights on each node.
    Preflight,
    /// Restore: objects to the node, checked by hash.
    Download,
    /// Restore: keyspaces, types and tables that are missing.
    Schema,
    /// Restore: the point of no return.
    Truncate,
    /// Restore: handed to Cassandra; offline: stopped, swapped and started again.
    Apply,
    /// Restore: cleanup, views, indexes.
    Settle,
    /// Restore: what was loaded is readable and as much as was sent.
    Validate,
    /// Purge: intent, wait, condemned keys.
    Mark,
    /// Purge: a shard of the condemned keys is deleted.
    Sweep,
    /// Digest: the rows of a node's share of the token ranges.
    Digest,
}

impl StageKind {
    /// Every stage.
    pub const ALL: [Self; 17] = [
        Self::Snapshot,
        Self::Upload,
        Self::Seal,
        Self::Release,
        Self::Check,
        Self::Report,
        Self::Plan,
        Self::Preflight,
        Self::Download,
        Self::Schema,
        Self::Truncate,
        Self::Apply,
        Self::Settle,
        Self::Validate,
        Self::Mark,
        Self::Sweep,
        Self::Digest,
    ];

    /// The word used in tables, JSON, metrics and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Upload => "upload",
            Self::Seal => "seal",
            Self::Release => "release",
            Self::Check => "check",
            Self::Report => "report",
            Self::Plan => "plan",
            Self::Preflight => "preflight",
            Self::Download => "download",
            Self::Schema => "schema",
            Self::Truncate => "truncate",
            Self::Apply => "apply",
            Self::Settle => "settle",
            Self::Validate => "validate",
            Self::Mark => "mark",
            Self::Sweep => "sweep",
            Self::Digest => "digest",
        }
    }

    /// Short tasks have slots kept for them, so that a snapshot never waits behind a long upload.
    pub const fn is_short(self) -> bool {
        matches!(
            self,
            Self::Snapshot | Self::Release | Self::Plan | Self::Preflight | Self::Schema | Self::Truncate
        )
    }
}

impl std::str::FromStr for StageKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        serde_json::from_value(text.into()).map_err(|_| format!("unknown stage {text:?}"))
    }
}

impl std::str::FromStr for JobKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        serde_json::from_value(text.into()).map_err(|_| format!("unknown job kind {text:?}"))
    }
}

/// The stages a job of this specification goes through.
pub fn stages_of(spec: &JobSpec) -> Vec<StageKind> {
    use StageKind::{
        Apply, Check, Digest, Download, Mark, Plan, Preflight, Release, Report, Schema, Seal, Settle,
        Snapshot, Sweep, Truncate, Upload, Validate,
    };
    match spec {
        JobSpec::Backup(_) => vec![Snapshot, Upload, Seal, Release],
        JobSpec::Verify(_) => vec![Check, Report],
        JobSpec::Restore(spec) if spec.plan_only => vec![Plan, Preflight],
        // A node that is stopped takes no statements, and needs none: its schema comes with its files.
        JobSpec::Restore(spec) if spec.offline => vec![Plan, Preflight, Download, Apply, Settle, Validate],
        JobSpec::Restore(spec) => {
            let mut stages = vec![Plan, Preflight, Download, Schema];
            if spec.truncate {
                stages.push(Truncate);
            }
            stages.extend([Apply, Settle, Validate]);
            stages
        }
        JobSpec::Purge(_) => vec![Mark, Sweep, Report],
        JobSpec::Digest(_) => vec![Digest],
        JobSpec::Drill(_) => vec![Plan, Preflight, Download, Schema, Apply, Settle, Validate, Release],
    }
}
