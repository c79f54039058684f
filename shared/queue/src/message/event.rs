//! To other systems: what happened to jobs and backups (exchange `ringvault.events`). Routing key:
//! the type, a dot, and the cluster, so that `job.#` and `backup.sealed.orders-prod` both select.

use ringvault_core::{
    BackupName, ClusterName, JobId, PolicyName, TaskError, cluster::Coverage, job::JobKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

super::message_family! {
    /// What happened.
    Event {
        /// A job exists.
        JobCreated(JobEvent) = "job.created";
        /// Its first task was placed.
        JobStarted(JobEvent) = "job.started";
        /// It did what it was asked.
        JobSucceeded(JobEvent) = "job.succeeded";
        /// It stopped with an error; it may be retried.
        JobFailed(JobEvent) = "job.failed";
        /// It was stopped on demand.
        JobCancelled(JobEvent) = "job.cancelled";
        /// It failed and is over for good.
        JobAbandoned(JobEvent) = "job.abandoned";
        /// A backup can be restored from now on.
        BackupSealed(BackupEvent) = "backup.sealed";
        /// A backup is gone for good.
        BackupExpired(BackupEvent) = "backup.expired";
        /// A verify found damage in a backup.
        BackupDamaged(BackupEvent) = "backup.damaged";
        /// A request could not be read, or may not be done.
        RequestRejected(RequestRejected) = "request.rejected";
    }
}

impl Event {
    /// The cluster it is about, where it is about one.
    pub const fn cluster(&self) -> Option<&ClusterName> {
        match self {
            Self::JobCreated(event)
            | Self::JobStarted(event)
            | Self::JobSucceeded(event)
            | Self::JobFailed(event)
            | Self::JobCancelled(event)
            | Self::JobAbandoned(event) => Some(&event.cluster),
            Self::BackupSealed(event) | Self::BackupExpired(event) | Self::BackupDamaged(event) => {
                Some(&event.cluster)
            }
            Self::RequestRejected(event) => event.cluster.as_ref(),
        }
    }
}

/// Something happened to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobEvent {
    /// The job.
    pub job: JobId,
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
    /// `source` of the request that created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_source: Option<String>,
    /// `idempotency_key` of the request that created it: how the asker knows its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_key: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
}

/// Something happened to a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupEvent {
    /// The backup's cluster.
    pub cluster: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// The job that did or found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// How much of the ring a sealed backup holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// What was found, in words, of a damaged backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A request was refused and changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestRejected {
    /// Stable code, such as `RV-MSG-PAYLOAD`.
    pub code: String,
    /// What was wrong, and what to change.
    pub reason: String,
    /// The request message, where its envelope could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Uuid>,
    /// The request's type, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_type: Option<String>,
    /// The request's `source`, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_source: Option<String>,
    /// The request's `idempotency_key`, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_key: Option<String>,
    /// The cluster it was about, where that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterName>,
}
