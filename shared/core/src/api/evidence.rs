//! What was tested, held, changed, and by whom: `GET /v1/evidence`, the newest first.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JobResult;
use crate::{
    BackupName, ClusterName, JobId, PolicyName,
    job::{JobKind, JobState, VerifyLevel},
};

/// What kind of thing it is evidence of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// A verify has reported.
    Verified,
    /// A restore (or the plan of one) came to an end.
    Restored,
    /// A drill came to an end.
    Drilled,
    /// A purge came to an end.
    Purged,
    /// Somebody held a backup.
    Held,
    /// Somebody let a hold go.
    Released,
    /// Somebody told a job what to do.
    Ordered,
    /// A policy was last applied, paused or resumed.
    Policy,
}

impl EvidenceKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Verified,
        Self::Restored,
        Self::Drilled,
        Self::Purged,
        Self::Held,
        Self::Released,
        Self::Ordered,
        Self::Policy,
    ];

    /// The word used in JSON and queries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Restored => "restored",
            Self::Drilled => "drilled",
            Self::Purged => "purged",
            Self::Held => "held",
            Self::Released => "released",
            Self::Ordered => "ordered",
            Self::Policy => "policy",
        }
    }
}

impl std::str::FromStr for EvidenceKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("unknown kind of evidence {text:?}"))
    }
}

/// One piece of evidence. What does not belong to its kind is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceItem {
    /// When.
    pub at: DateTime<Utc>,
    /// Of what.
    pub kind: EvidenceKind,
    /// The cluster: a restore's is its target.
    pub cluster: ClusterName,
    /// The backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupName>,
    /// The cluster that the backup is of, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_cluster: Option<ClusterName>,
    /// The job; one that is long over may be forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// What that job does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_kind: Option<JobKind>,
    /// The policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
    /// By whom, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Verify: how deep it looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<VerifyLevel>,
    /// Verify: damaged or missing objects. Restore: rows read back. Purge: objects deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Restore, purge: where the job is in its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
    /// Restore, purge: how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JobResult>,
    /// Restore: it only planned, and changed nothing.
    #[serde(default)]
    pub plan_only: bool,
    /// Hold: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Hold: why. Order: what the job was told. Restore, purge: why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
