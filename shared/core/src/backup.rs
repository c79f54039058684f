//! What the rest of the system knows of a backup: its state and figures, as the seal in the vault
//! says them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BackupName, ClusterName, JobId, PolicyName, cluster::Coverage, selection::Selection};

/// Where a backup is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupState {
    /// Begun, not sealed.
    Running,
    /// Sealed: every node of the ring.
    Complete,
    /// Sealed: nodes are missing, every range is held.
    Covering,
    /// Sealed: some range is held too thinly.
    Incomplete,
    /// An abort marker took its seal's place.
    Dead,
    /// A purge has begun to take it away; it can no longer be restored or held.
    Expired,
}

impl BackupState {
    /// The word used in tables, JSON and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Covering => "covering",
            Self::Incomplete => "incomplete",
            Self::Dead => "dead",
            Self::Expired => "expired",
        }
    }

    /// Whether it can be restored whole, and so counts for retention.
    pub const fn is_restorable(self) -> bool {
        matches!(self, Self::Complete | Self::Covering)
    }

    /// Whether it is sealed and not expired.
    pub const fn is_sealed(self) -> bool {
        matches!(self, Self::Complete | Self::Covering | Self::Incomplete)
    }
}

impl From<Coverage> for BackupState {
    fn from(coverage: Coverage) -> Self {
        match coverage {
            Coverage::Complete => Self::Complete,
            Coverage::Covering => Self::Covering,
            Coverage::Incomplete => Self::Incomplete,
        }
    }
}

impl std::str::FromStr for BackupState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        serde_json::from_value(text.into()).map_err(|_| format!("unknown backup state {text:?}"))
    }
}

/// Figures of a backup. Sizes in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupFigures {
    /// Members of the ring when it was taken.
    pub nodes_total: u32,
    /// Members whose manifest it holds.
    pub nodes_held: u32,
    /// SSTables named.
    pub sstables: u64,
    /// Files (components) named.
    pub files: u64,
    /// Bytes a restore of everything reads.
    pub bytes: u64,
    /// Bytes this backup brought to the vault.
    pub bytes_new: u64,
    /// Objects this backup brought to the vault.
    pub objects_new: u64,
}

/// The name given to a backup nobody named: `<cluster>-YYYYMMDDTHHMMSSZ`.
pub fn default_backup_name(cluster: &ClusterName, at: DateTime<Utc>) -> BackupName {
    let stamp = at.format("%Y%m%dT%H%M%SZ");
    let room = crate::id::MAX_NAME_LEN - "-20261122T020000Z".len();
    let cluster = &cluster.as_str()[..cluster.as_str().len().min(room)];
    BackupName::new(format!("{cluster}-{stamp}")).expect("made of a valid name and digits")
}

/// What a backup is of. Coverage says how much of the ring it holds *of that*; so of two backups only
/// one that is of as much can stand in for the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scope {
    /// Which tables.
    #[serde(default)]
    pub selection: Selection,
    /// Only nodes of this data center.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dc: Option<String>,
}

impl Scope {
    /// Whether a backup of this surely holds whatever one of `other` does.
    pub fn covers(&self, other: &Self) -> bool {
        (self.dc.is_none() || self.dc == other.dc) && self.selection.covers(&other.selection)
    }
}

/// The newest of the backups than which no other one is wider in scope; `scope` and `at` tell of each.
/// Without any that can be restored: none.
pub fn newest_widest<T>(
    backups: &[T],
    scope: impl Fn(&T) -> &Scope,
    at: impl Fn(&T) -> DateTime<Utc>,
) -> Option<&T> {
    let is_outdone = |backup: &&T| {
        backups.iter().any(|other| scope(other).covers(scope(backup)) && !scope(backup).covers(scope(other)))
    };
    backups.iter().filter(|backup| !is_outdone(backup)).max_by_key(|backup| at(backup))
}

/// The facts of a backup that retention and listings decide on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupFacts {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name.
    pub name: BackupName,
    /// The job that made it.
    pub job: JobId,
    /// The policy that asked for it, if any.
    pub policy: Option<PolicyName>,
    /// Where it is in its life.
    pub state: BackupState,
    /// What it is of.
    #[serde(default)]
    pub scope: Scope,
    /// When its `start.json` was written.
    pub started_at: DateTime<Utc>,
    /// Something keeps it: a hold set by hand, or a restore, verify or drill of it under way.
    pub held: bool,
    /// Taken while a restore of the cluster was past its truncate or had failed there: it may hold
    /// a half-restored state and never pushes another backup out.
    pub tainted: bool,
    /// Until when the store keeps it from being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<DateTime<Utc>>,
}
