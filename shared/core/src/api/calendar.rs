//! What a cluster can be brought back to: its recovery points by day, and by node.

use chrono::{DateTime, NaiveDate, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NodeState, Verification};
use crate::{BackupName, ClusterName, HostId, JobId, PolicyName, backup::BackupState};

/// `GET /v1/clusters/{cluster}/calendar`: the days (UTC) that have a backup, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryCalendar {
    /// The cluster.
    pub cluster: ClusterName,
    /// When it was read.
    pub as_of: DateTime<Utc>,
    /// The first instant looked at.
    pub from: DateTime<Utc>,
    /// The first instant not looked at any more.
    pub to: DateTime<Utc>,
    /// Days with a backup; an expired one counts too, so that a gap is told from what was taken away.
    pub days: Vec<CalendarDay>,
    /// There were more backups than are listed: the oldest are left out. Ask for a shorter time.
    pub cut: bool,
}

/// A day's backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CalendarDay {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// Backups of it that can be restored whole.
    pub restorable: u32,
    /// All of it, ascending.
    pub points: Vec<CalendarPoint>,
}

/// A backup as a point in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CalendarPoint {
    /// The backup.
    pub backup: BackupName,
    /// The job that made it.
    pub job: JobId,
    /// The policy that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
    /// The instant it holds.
    pub at: DateTime<Utc>,
    /// Where it is in its life.
    pub state: BackupState,
    /// Bytes a restore of everything reads; 0 until it is sealed.
    pub bytes: u64,
    /// Bytes it brought.
    pub bytes_new: u64,
    /// The newest verify of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verification>,
    /// Something holds it.
    pub held: bool,
    /// Taken while a restore of the cluster was under way or had failed there.
    pub tainted: bool,
    /// It is of some tables or one data center only.
    pub narrowed: bool,
}

/// `GET /v1/clusters/{cluster}/coverage`: which node is in which of the newest backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeCoverage {
    /// The cluster.
    pub cluster: ClusterName,
    /// When it was read.
    pub as_of: DateTime<Utc>,
    /// The newest sealed backups that are not expired, the newest first.
    pub backups: Vec<CoveredBackup>,
    /// Members of the ring.
    pub nodes: Vec<CoveredNode>,
}

/// A column of the coverage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CoveredBackup {
    /// The backup.
    pub backup: BackupName,
    /// The instant it holds.
    pub at: DateTime<Utc>,
    /// How much of the ring it holds.
    pub state: BackupState,
    /// Whether it is known which nodes it holds: not once its job is forgotten.
    pub known: bool,
}

/// A row of the coverage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CoveredNode {
    /// The node.
    pub host_id: HostId,
    /// Its address; empty when unknown.
    pub address: String,
    /// Data center.
    pub dc: String,
    /// Rack.
    pub rack: String,
    /// Whether it can be given work.
    pub state: NodeState,
    /// What keeps it from working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether each of the backups, in their order, holds it; false where that is not known.
    pub held: Vec<bool>,
    /// Bytes of it that the newest of them which holds it names.
    pub bytes: u64,
}
