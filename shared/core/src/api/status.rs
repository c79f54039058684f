//! The fleet at one look: `GET /v1/status`.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NoticeTrouble;
use crate::{BackupName, ClusterName};

/// Everything a person asks first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FleetStatus {
    /// When it was read.
    pub as_of: DateTime<Utc>,
    /// What the scheduler depends on.
    pub servers: Servers,
    /// By name.
    pub clusters: Vec<ClusterStatus>,
    /// Receivers that notices do not arrive at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<NoticeTrouble>,
    /// The command to look at the worst problem with; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The scheduler and its servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Servers {
    /// The scheduler that answers.
    pub scheduler: ServerStatus,
    /// The program's version.
    pub version: String,
    /// The scheduler that fires policies now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// The database.
    pub postgres: ServerStatus,
    /// The broker.
    pub rabbitmq: ServerStatus,
    /// The vault's object store.
    pub store: ServerStatus,
}

/// Whether a server can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// It answers.
    Ok,
    /// It answers, with a remark in `detail`.
    Degraded,
    /// It cannot be used; why is in `detail`.
    Down,
}

impl ServerState {
    /// The word used in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerStatus {
    /// Whether it can be used.
    pub state: ServerState,
    /// What is wrong with it, or what is worth knowing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl ServerStatus {
    /// It answers.
    pub const fn ok() -> Self {
        Self { state: ServerState::Ok, detail: None }
    }

    /// It cannot be used, because of `detail`.
    pub fn down(detail: impl Into<String>) -> Self {
        Self { state: ServerState::Down, detail: Some(detail.into()) }
    }
}

/// `/readyz`: whether this scheduler can do its work now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// Every server below can be used.
    pub ready: bool,
    /// The database, with the schema this version needs.
    pub postgres: ServerStatus,
    /// The broker.
    pub rabbitmq: ServerStatus,
    /// The vault's object store.
    pub store: ServerStatus,
}

/// A backup one can go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryPoint {
    /// The backup.
    pub backup: BackupName,
    /// The instant it holds: when it was started.
    pub at: DateTime<Utc>,
    /// Seconds from that instant to `as_of`.
    pub age_seconds: u64,
}

/// The newest good backup against the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RpoState {
    /// Within the target.
    Ok,
    /// Older than the target, or there is none.
    Late,
    /// No policy sets a target.
    None,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterStatus {
    /// The cluster.
    pub cluster: ClusterName,
    /// The newest backup that can be restored whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<RecoveryPoint>,
    /// The shortest `rpo` of its policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_target_seconds: Option<u64>,
    /// `last_good` against that target.
    pub rpo: RpoState,
    /// When a verify last found a backup of it whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verified_at: Option<DateTime<Utc>>,
    /// When a drill last proved that it can be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_drill_at: Option<DateTime<Utc>>,
    /// Members of the ring with a live worker.
    pub workers_live: u32,
    /// Members of the ring, and workers waiting for a node.
    pub workers_total: u32,
    /// Jobs that are not over.
    pub jobs_open: u32,
    /// The worst of what is wrong, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The command to look into it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
