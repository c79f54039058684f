//! From a worker, about what changes a task's state (queue `ringvault.reports`). Each names the
//! epoch it answers: one with an old epoch changes nothing.

use ringvault_core::{TaskError, TaskId, WorkerId, task::TaskResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StopReason;

super::message_family! {
    /// What a worker reports (exchange `ringvault.reports`, routing key `report`).
    Report {
        /// It has the offer and asks for the grant.
        Started(TaskStarted) = "task.started";
        /// It is done.
        Succeeded(TaskSucceeded) = "task.succeeded";
        /// It could not do it.
        Failed(TaskFailed) = "task.failed";
        /// It let go of it.
        Stopped(TaskStopped) = "task.stopped";
    }
}

/// The worker has the offer and asks for the grant of this pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskStarted {
    /// The task.
    pub task: TaskId,
    /// The offer's epoch.
    pub epoch: u32,
    /// The offer's sequence number.
    pub dispatch_seq: u32,
    /// Who.
    pub worker: WorkerId,
    /// Made up for this question, and given back in the grant: a worker begins only what answers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Uuid>,
}

/// The task is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskSucceeded {
    /// The task.
    pub task: TaskId,
    /// The epoch it was granted under.
    pub epoch: u32,
    /// Who.
    pub worker: WorkerId,
    /// What came of it.
    pub result: TaskResult,
}

/// The task failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskFailed {
    /// The task.
    pub task: TaskId,
    /// The epoch it was granted under.
    pub epoch: u32,
    /// Who.
    pub worker: WorkerId,
    /// Why, and whether to try again.
    pub error: TaskError,
}

/// The worker let go of the task unfinished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskStopped {
    /// The task.
    pub task: TaskId,
    /// The epoch it was granted under.
    pub epoch: u32,
    /// Who.
    pub worker: WorkerId,
    /// Why.
    pub reason: StopReason,
    /// The worker is shutting down in good order and hands back what it ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
}
