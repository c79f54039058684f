//! How far a job is: the document of `GET /v1/jobs/{id}/events`, sent at each change and at least
//! every few seconds, and a last time in the job's final state.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JobResult;
use crate::{
    BackupName, ClusterName, HostId, JobId, TaskError,
    job::{JobKind, JobState, StageKind},
    task::{Progress, TaskState},
};

/// A job's progress at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobProgress {
    /// The job.
    pub job: JobId,
    /// What it does.
    pub kind: JobKind,
    /// The cluster whose workers do it.
    pub cluster: ClusterName,
    /// The backup it makes or works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupName>,
    /// Where it is in its life.
    pub state: JobState,
    /// When it was read.
    pub as_of: DateTime<Utc>,
    /// When its first stage opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// The open (or last open) stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageKind>,
    /// Percent of the open stage's work; absent while it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Bytes gone through in the open stage.
    pub bytes_done: u64,
    /// Bytes to go through in the open stage; 0 while unknown.
    pub bytes_total: u64,
    /// Bytes a second over the open stage so far; absent while it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Seconds to the end of the open stage at that rate; absent while it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
    /// Every stage, in order.
    pub stages: Vec<StageProgress>,
    /// Tasks of the open stage, by node.
    pub nodes: Vec<NodeProgress>,
    /// How it ended; absent while it is under way and when it was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JobResult>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
}

/// Where a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    /// An earlier stage is not over.
    Waiting,
    /// Its tasks are under way.
    Open,
    /// The barrier after it has opened.
    Done,
    /// Its verdict was failure.
    Failed,
    /// The job was stopped in it.
    Stopped,
}

/// A stage with its tasks counted by state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageProgress {
    /// The stage.
    pub stage: StageKind,
    /// Where it is.
    pub state: StageState,
    /// Its tasks; 0 until it opens.
    pub tasks: u32,
    /// Tasks not placed yet.
    pub ready: u32,
    /// Tasks placed or running.
    pub running: u32,
    /// Tasks done.
    pub succeeded: u32,
    /// Tasks over without success.
    pub failed: u32,
}

/// One task of the open stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeProgress {
    /// The node it is for; absent where any worker may do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<HostId>,
    /// What to call it: the node's address, or the shard.
    pub label: String,
    /// Where the task is.
    pub state: TaskState,
    /// Percent done; absent while unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// As last told by a heartbeat.
    pub progress: Progress,
    /// Why it waits or has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
}
