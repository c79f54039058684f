//! Tasks, their attempts, and the log of what happened.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    HostId, TaskError, TaskId, WorkerId,
    job::StageKind,
    task::{Progress, TaskState},
};

/// A task with its attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskView {
    /// Its id.
    pub id: TaskId,
    /// Its stage.
    pub stage: StageKind,
    /// It clears up after a cancel or abandon, and belongs to no stage's barrier.
    #[serde(default)]
    pub cleanup: bool,
    /// The node it is for; absent where any worker may do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<HostId>,
    /// That node's address; empty when unknown.
    #[serde(default)]
    pub address: String,
    /// Where it is in its life.
    pub state: TaskState,
    /// Placements so far.
    pub epoch: u32,
    /// Not to be placed before: while it backs off or waits.
    pub run_at: DateTime<Utc>,
    /// Since when it waits for its surroundings to be mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<DateTime<Utc>>,
    /// The worker it is placed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// When a heartbeat last told its progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<DateTime<Utc>>,
    /// The last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
    /// Every placement, the oldest first.
    pub attempts: Vec<AttemptView>,
}

/// One try of a task by one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptView {
    /// The placement it ran under.
    pub epoch: u32,
    /// Who.
    pub worker: WorkerId,
    /// When it was placed.
    pub placed_at: DateTime<Utc>,
    /// When it was granted; absent when the worker never asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// How it ended: `succeeded`, `failed`, `stopped`, `lost`, `unanswered`, `unreachable` or
    /// `taken_back`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
}

/// A line of the transition log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransitionView {
    /// When.
    pub at: DateTime<Utc>,
    /// The task it happened to; absent for the job itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// What happened.
    pub event: String,
    /// State before; absent on the first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// State after.
    pub to: String,
    /// Who or what caused it.
    pub by: String,
    /// More about it, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
