//! From a worker, about being alive (queue `ringvault.heartbeats`, bounded in age and length: only
//! the newest of these matter).

use std::collections::BTreeSet;

use ringvault_core::{
    ClusterName, HostId, TaskId, WorkerId,
    cluster::{Token, Topology},
    task::Progress,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

super::message_family! {
    /// A sign of life (exchange `ringvault.reports`, routing key `heartbeat`).
    Beat {
        /// On it, and how far.
        Heartbeat(TaskHeartbeat) = "task.heartbeat";
        /// Who the worker is and what its node is like.
        Hello(NodeHello) = "node.hello";
        /// All that the worker last said of itself and its node is still so.
        Still(NodeStill) = "node.still";
        /// The worker is leaving.
        Goodbye(NodeGoodbye) = "node.goodbye";
    }
}

/// The worker is on the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskHeartbeat {
    /// The task.
    pub task: TaskId,
    /// The epoch it was granted under.
    pub epoch: u32,
    /// Who.
    pub worker: WorkerId,
    /// Which run of the worker's process.
    pub incarnation: Uuid,
    /// How far.
    #[serde(default)]
    pub progress: Progress,
}

/// A worker and its node, sent at start, when something changes, and when it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeHello {
    /// Who.
    pub worker: WorkerId,
    /// Which run of the worker's process: a UUID of version 7, so that a later one is greater.
    pub incarnation: Uuid,
    /// The cluster the worker was told it belongs to.
    pub cluster: ClusterName,
    /// Its node, if it has one yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<HostId>,
    /// The node that this machine, whose Cassandra was never started, is to become by an offline restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_for: Option<HostId>,
    /// The node's data center; empty without a node.
    #[serde(default)]
    pub dc: String,
    /// The node's rack; empty without a node.
    #[serde(default)]
    pub rack: String,
    /// Tokens the node owns, ascending.
    #[serde(default)]
    pub tokens: Vec<Token>,
    /// Address the ring knows the node by, without a port.
    #[serde(default)]
    pub address: String,
    /// Such as `5.0.6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cassandra_version: Option<String>,
    /// The partitioner's class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitioner: Option<String>,
    /// Cassandra's own id of the schema it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<String>,
    /// Data directories on the node.
    #[serde(default)]
    pub data_dirs: Vec<String>,
    /// Room where the worker stages what it downloads.
    pub disk: DiskSpace,
    /// What the worker may do beyond its own node, such as `vault-delete`.
    #[serde(default)]
    pub capabilities: BTreeSet<String>,
    /// Tasks at once in all.
    pub slots: u32,
    /// Of these, slots kept for short tasks.
    pub short_slots: u32,
    /// The worker program's version.
    pub version: String,
    /// The ring and keyspaces as this node sees them; absent while it cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
    /// What keeps the worker from working, in words, such as Cassandra being down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Counts what this run of the worker said that differs; [`NodeStill`] names it. Absent: the worker is of a release
    /// that says everything each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<u32>,
    /// It ends with these words, and is gone: `problem` says why it cannot run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
}

/// Sent each minute by a worker that has nothing new to say: only this much, as a ring of hundreds of nodes is long. A
/// scheduler that does not know the edition asks for all of it (`node.describe`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeStill {
    /// Who.
    pub worker: WorkerId,
    /// Which run of the worker's process.
    pub incarnation: Uuid,
    /// The cluster.
    pub cluster: ClusterName,
    /// The edition of its last [`NodeHello`].
    pub edition: u32,
    /// Room where the worker stages what it downloads.
    pub disk: DiskSpace,
}

/// Bytes of a file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskSpace {
    /// In all.
    pub total: u64,
    /// Free for the worker's user.
    pub free: u64,
}

/// The worker is leaving in good order: what it ran has been stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeGoodbye {
    /// Who.
    pub worker: WorkerId,
    /// Which run of the worker's process.
    pub incarnation: Uuid,
    /// The cluster.
    pub cluster: ClusterName,
}
