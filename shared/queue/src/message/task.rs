//! To a worker, over its own queue. All of them are signed: whoever may publish to the broker could
//! otherwise truncate tables.

use chrono::{DateTime, Utc};
use ringvault_core::{JobId, TaskId, WorkerId, job::StageKind, task::TaskPayload};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

super::message_family! {
    /// What a scheduler tells a worker (exchange `ringvault.tasks`, routing key: the worker's id).
    TaskMessage {
        /// Here is a task: ask for it with `task.started` and touch nothing yet.
        Offer(TaskOffer) = "task.offer";
        /// The task is yours: begin.
        Grant(TaskGrant) = "task.grant";
        /// About a task that may be running.
        Control(TaskControl) = "task.control";
        /// Say all of yourself: what you said last is not known here.
        Describe(NodeDescribe) = "node.describe";
    }
}

/// A task placed on a worker. Nothing may be touched before the grant of the same pair of
/// `epoch` and `dispatch_seq`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskOffer {
    /// The task.
    pub task: TaskId,
    /// Its job.
    pub job: JobId,
    /// Its stage, which decides the slot it takes.
    pub stage: StageKind,
    /// Counts placements; a worker adopts a running task under a newer epoch.
    pub epoch: u32,
    /// Counts sends of this placement.
    pub dispatch_seq: u32,
    /// Forget the offer when no grant has come for so many seconds.
    pub grant_within_seconds: u32,
    /// When the scheduler gives the task up; nothing longer than this need be waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DateTime<Utc>>,
    /// Requests a second to the store; no limit when absent or 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_limit: Option<u64>,
    /// The work.
    pub payload: TaskPayload,
}

/// Permission to begin, for exactly this pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskGrant {
    /// The task.
    pub task: TaskId,
    /// The offer's epoch.
    pub epoch: u32,
    /// The offer's sequence number.
    pub dispatch_seq: u32,
    /// The task is lost when no heartbeat is heard for so many seconds: send one every third.
    pub lease_seconds: u32,
    /// The nonce of the `task.started` that this answers. A kept grant that is sent again does not
    /// have that of the worker's present question, and begins nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Uuid>,
}

/// About a task under one epoch; a worker that runs it under a newer one ignores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskControl {
    /// The task.
    pub task: TaskId,
    /// The epoch it is about.
    pub epoch: u32,
    /// What to do.
    pub action: Control,
}

/// The answer to a `node.still` whose edition is not known (any more): the worker says `node.hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeDescribe {
    /// Who.
    pub worker: WorkerId,
    /// The edition that is not known.
    pub edition: u32,
}

/// What a worker shall do with a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Control {
    /// Let go of it and answer `task.stopped`.
    Stop {
        /// Decides whether what it left behind is cleared.
        why: StopReason,
    },
    /// It is another's by now: stop without clearing anything up and without an answer.
    Forget,
    /// Are you still on it? Answer with a heartbeat at once, or with `task.stopped`.
    Ask,
    /// Go on at these rates.
    SetRateLimit {
        /// Bytes a second; no limit when absent or 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes_per_second: Option<u64>,
        /// Requests a second to the store; no limit when absent or 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requests_per_second: Option<u64>,
    },
}

/// Why a task stops before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// For good: clear up.
    Cancel,
    /// For now: keep what was done.
    Pause,
    /// The worker is shutting down, or does not know the task (any more).
    Gone,
}
