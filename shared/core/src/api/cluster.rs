//! The metadata service: clusters, their ring with its history, nodes and schema.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BackupName, ClusterName, HostId, WorkerId, cluster::Topology};

/// A cluster in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterSummary {
    /// Its id, given by its owner.
    pub cluster: ClusterName,
    /// When the first worker announced it.
    pub first_seen: DateTime<Utc>,
    /// When a worker of it was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<DateTime<Utc>>,
    /// Members of the ring.
    pub nodes: u32,
    /// Members of the ring with a live worker.
    pub workers_live: u32,
    /// Data centers.
    pub dcs: Vec<String>,
    /// Cassandra versions found in it.
    pub cassandra_versions: Vec<String>,
}

/// A cluster in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterDetail {
    /// As in the list.
    #[serde(flatten)]
    pub summary: ClusterSummary,
    /// The partitioner's class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitioner: Option<String>,
    /// Keyspaces of the newest topology.
    pub keyspaces: Vec<String>,
    /// Backups that are sealed and not expired.
    pub backups: u32,
    /// The newest backup that can be restored whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<BackupName>,
    /// Its nodes.
    pub members: Vec<NodeView>,
}

/// The ring at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopologyView {
    /// The cluster.
    pub cluster: ClusterName,
    /// The instant asked for, or now.
    pub at: DateTime<Utc>,
    /// Since when the ring is known to be as it is here.
    pub since: DateTime<Utc>,
    /// When it was known to have changed; absent for the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Members and replication.
    pub topology: Topology,
}

/// Whether a node can be given work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Its worker is heard.
    Live,
    /// Its worker has not been heard for too long.
    Silent,
    /// Its worker claims a cluster id that is bound to another ring.
    Refused,
    /// A member of the ring without a worker: it cannot be backed up.
    NoWorker,
}

impl NodeState {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Live, Self::Silent, Self::Refused, Self::NoWorker];

    /// The word used in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Silent => "silent",
            Self::Refused => "refused",
            Self::NoWorker => "no_worker",
        }
    }
}

/// Room where the worker stages what it downloads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disk {
    /// Bytes in all.
    pub total: u64,
    /// Bytes free.
    pub free: u64,
}

/// A member of the ring, a worker, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeView {
    /// The cluster.
    pub cluster: ClusterName,
    /// Cassandra's id of the node; absent for a worker whose node is not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<HostId>,
    /// Its worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// Whether it can be given work.
    pub state: NodeState,
    /// What keeps it from working, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Address the ring knows it by; empty when unknown.
    pub address: String,
    /// Data center; empty when unknown.
    pub dc: String,
    /// Rack; empty when unknown.
    pub rack: String,
    /// How many tokens it owns.
    pub tokens: u32,
    /// When its worker was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<DateTime<Utc>>,
    /// Such as `5.0.6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cassandra_version: Option<String>,
    /// The worker program's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_version: Option<String>,
    /// Room for staging.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
    /// Data directories on the node.
    #[serde(default)]
    pub data_dirs: Vec<String>,
    /// What the worker may do beyond its own node.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Tasks at once.
    #[serde(default)]
    pub slots: u32,
    /// Tasks placed on it now.
    #[serde(default)]
    pub tasks: u32,
}

/// What is known of a cluster's schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchemaView {
    /// The cluster.
    pub cluster: ClusterName,
    /// Whether no two nodes that told their schema have another one.
    pub agreed: bool,
    /// Each schema that nodes have, the most frequent first.
    pub versions: Vec<SchemaSeen>,
    /// Keyspaces of the newest topology.
    pub keyspaces: Vec<String>,
}

/// A schema that nodes have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchemaSeen {
    /// Cassandra's own id of it.
    pub version: String,
    /// Nodes that have it.
    pub nodes: Vec<HostId>,
    /// When it was last heard of.
    pub last_seen: DateTime<Utc>,
}

/// What `cluster rebind` does: the id is free, and the next ring that claims it gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterRebound {
    /// The cluster.
    pub cluster: ClusterName,
    /// Nothing was changed: this is what would be.
    pub dry_run: bool,
    /// Members of the ring that it was bound to.
    pub was: Vec<HostId>,
    /// Workers that were refused because they are of another ring, and will be heard again.
    pub refused: u32,
}

/// `POST /v1/clusters/{cluster}/rebind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterRebind {
    /// The cluster's name again; not needed for a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<ClusterName>,
    /// Say what would be done and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What `node forget` does: no job waits for the node any more, until it announces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeForgotten {
    /// The cluster.
    pub cluster: ClusterName,
    /// The node.
    pub host_id: HostId,
    /// Nothing was changed: this is what would be.
    pub dry_run: bool,
    /// It was forgotten before.
    pub already: bool,
}
