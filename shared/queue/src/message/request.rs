//! From other systems, to the scheduler (queue `ringvault.requests`). A request happens once for
//! its `(source, idempotency_key)`, so it may be sent again until it is answered by an event.

use ringvault_core::{JobId, job::JobSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

super::message_family! {
    /// What is asked of the scheduler (exchange `ringvault.requests`, routing key: the type).
    Request, needs_idempotency_key = true {
        /// A new job.
        CreateJob(JobSpec) = "job.create", read = super::job_spec::read_job_spec;
        /// A failed job's failed tasks again.
        RetryJob(JobRetry) = "job.retry";
        /// A job shall stop for good.
        CancelJob(JobCancel) = "job.cancel";
    }
}

/// Reopens the failed tasks of a failed job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobRetry {
    /// The job.
    pub job: JobId,
}

/// Stops a job for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobCancel {
    /// The job.
    pub job: JobId,
}
