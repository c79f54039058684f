//! Jobs: accepted, listed, told in full.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{StageProgress, TaskView, TransitionView};
use crate::{
    BackupName, ClusterName, JobId, PolicyName, TaskError,
    job::{DataCenterLimits, JobKind, JobSpec, JobState, NodeLimits, StageKind},
    task::{Finding, PlanResult, PreflightResult, SealResult, StillLocked},
    trace::TraceId,
};

/// `202`: the job exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobAccepted {
    /// The job.
    pub job: JobId,
    /// It existed already: the same `Idempotency-Key` with the same body was answered before.
    pub existing: bool,
    /// The backup it makes or works on, with the name it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupName>,
}

/// How a settled job ended: what the command line's exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobResult {
    /// Everything asked for was done.
    Ok,
    /// A backup that misses nodes.
    Partial,
    /// It ran to its end and found problems.
    Problems,
    /// It could not be done.
    Failed,
}

/// A job in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobSummary {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// The cluster whose workers do it.
    pub cluster: ClusterName,
    /// The backup it makes or works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupName>,
    /// The policy that fired it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
    /// Who asked for it.
    pub requested_by: String,
    /// Where it is in its life.
    pub state: JobState,
    /// The open (or last open) stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageKind>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When its first stage opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it was over (or failed, while it can be retried).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// Until when a failed job may be retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_until: Option<DateTime<Utc>>,
    /// A restore that has set off its truncate: it cannot be cancelled.
    #[serde(default)]
    pub past_no_return: bool,
    /// How it ended; absent while it is under way and when it was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JobResult>,
    /// The first failure of a failed job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
}

/// A job that is not over, with how far its open stage is and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenJob {
    /// As in the list.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// Restore: it only plans, and changes nothing.
    #[serde(default)]
    pub plan_only: bool,
    /// Its stages.
    pub stages: u32,
    /// Its open stage, from 1; 0 until the first opens.
    pub stage_number: u32,
    /// Tasks of the open stage.
    pub tasks: u32,
    /// Of these, done.
    pub tasks_done: u32,
    /// Of these, with a worker.
    pub tasks_running: u32,
    /// Of these, to be tried again after an error.
    pub tasks_retrying: u32,
    /// Bytes gone through in the open stage.
    pub bytes_done: u64,
    /// Bytes to go through in the open stage; 0 while unknown.
    pub bytes_total: u64,
    /// When a heartbeat last told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<DateTime<Utc>>,
    /// Since when a task of it waits for its surroundings to be mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<DateTime<Utc>>,
    /// The node of the task that has waited longest; empty where any worker may do it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub waiting_node: String,
    /// What that task waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<TaskError>,
}

/// A job's full story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobDetail {
    /// As in the list.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// What it was asked to do.
    pub spec: JobSpec,
    /// Bytes a second each node keeps to since somebody said so while it ran; 0: no limit. Absent: as it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<u64>,
    /// Likewise, requests a second to the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_limit: Option<u64>,
    /// Likewise, of the nodes of single data centers, by their names.
    #[serde(default, skip_serializing_if = "DataCenterLimits::is_empty")]
    pub data_center_limits: DataCenterLimits,
    /// The trace that it is part of, where jobs are traced: what a tracing system knows it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub trace_id: Option<TraceId>,
    /// Its stages, in order.
    pub stages: Vec<StageProgress>,
    /// Its tasks, by stage and node.
    pub tasks: Vec<TaskView>,
    /// What happened to it, the oldest first.
    pub transitions: Vec<TransitionView>,
    /// What has come of it so far.
    pub outcome: JobOutcome,
}

/// How fast a job's nodes may go from now on. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Bytes a second that each node sends and fetches; 0: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Requests a second of each node to the store; 0: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u64>,
    /// Only of the nodes of this data center; of all nodes when absent, and then nothing said of a single one counts
    /// any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_center: Option<String>,
}

impl RateLimit {
    /// As limits of a node.
    pub const fn limits(&self) -> NodeLimits {
        NodeLimits { rate_limit: self.bytes_per_second, request_limit: self.requests_per_second }
    }
}

/// What came of a job. What does not belong to its kind is absent or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobOutcome {
    /// Backup: the seal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<SealResult>,
    /// Restore: the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanResult>,
    /// Restore: what each node said about room and formats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preflight: Vec<PreflightResult>,
    /// Restore: what was brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<RestoreOutcome>,
    /// Verify: objects looked at. Purge: objects deleted.
    #[serde(default)]
    pub objects: u64,
    /// Verify: bytes read. Purge: bytes freed.
    #[serde(default)]
    pub bytes: u64,
    /// Verify: damaged or missing objects in all.
    #[serde(default)]
    pub damaged: u64,
    /// Verify: the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Purge: what it expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge: Option<PurgeOutcome>,
    /// Digest: how much was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowsOutcome>,
}

/// How much a digest has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowsOutcome {
    /// Tables.
    pub tables: u64,
    /// Their rows.
    pub rows: u64,
}

/// What a restore brought back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestoreOutcome {
    /// Bytes staged on the target's nodes.
    pub bytes_downloaded: u64,
    /// SSTables that Cassandra took.
    pub sstables: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows read back afterwards, as a check.
    pub rows_read: u64,
    /// Keyspaces, types and tables that were created.
    pub created: Vec<String>,
    /// What did not match afterwards, in words.
    pub problems: Vec<String>,
    /// Offline: where what the nodes held before lies, if it was to be kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
}

/// What a purge took away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PurgeOutcome {
    /// Its number in the vault.
    pub purge: u64,
    /// Backups it expired.
    pub expired: Vec<BackupName>,
    /// Dead backups whose leftovers it took.
    pub aborted: Vec<BackupName>,
    /// Objects condemned.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What of them the store still locks: the first purge after that deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<StillLocked>,
}
