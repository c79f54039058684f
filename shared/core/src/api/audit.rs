//! The audit log: who did what, when, in a chain of hashes (`ringvault_core::audit`).

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::ClusterName;

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn to_micros<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::audit::instant(*at))
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Its place in the log, from 1 without a gap.
    pub seq: u64,
    /// When, on the database's clock, to a microsecond.
    #[serde(serialize_with = "to_micros")]
    pub at: DateTime<Utc>,
    /// Who: `token deploy`, `policy nightly`, `amqp user`, `scheduler sched-1`.
    pub actor: String,
    /// What: `job.create`, `job.cancel`, `job.succeeded`, `policy.apply`, `hold.release`, `token.revoke`.
    pub action: String,
    /// Of or in which cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterName>,
    /// To what: `job 01…`, `policy nightly`, `backup b1`.
    pub target: String,
    /// What else there is to say of it.
    pub details: Value,
    /// Hash of the entry before, in hexadecimal; zeros before the first.
    pub prev: String,
    /// SHA-256 of this entry without this field, in hexadecimal.
    pub hash: String,
}

/// What the vault was told of the log: whoever writes the database cannot write it anew unseen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditAnchor {
    /// Which log: another database has another.
    pub chain: Uuid,
    /// Number of an entry.
    pub seq: u64,
    /// Its hash, in hexadecimal.
    pub hash: String,
    /// When the vault was told.
    pub at: DateTime<Utc>,
}
