//! Policies as they stand, what a file would change, and when they fire.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{JobId, PolicyName, policy::Policy};

/// A policy with its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyView {
    /// Its name.
    pub name: PolicyName,
    /// As applied.
    pub policy: Policy,
    /// It does not fire.
    pub paused: bool,
    /// When it was last applied.
    pub applied_at: DateTime<Utc>,
    /// When it fires next; absent while paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_fire: Option<DateTime<Utc>>,
    /// Its last fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fire: Option<FireView>,
}

/// What became of a fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FireState {
    /// It created a job.
    Fired,
    /// An earlier job of the policy was under way, or the instant had passed.
    Skipped,
}

/// One fire of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FireView {
    /// The instant of the schedule.
    pub at: DateTime<Utc>,
    /// What became of it.
    pub state: FireState,
    /// The job it created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// Why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `PUT /v1/policies`: what a file changes, or would with `dry_run=1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyDiff {
    /// Nothing was written.
    pub dry_run: bool,
    /// Policies the file brings.
    pub added: Vec<PolicyName>,
    /// Policies it changes.
    pub changed: Vec<PolicyChange>,
    /// Policies that go, with `prune=1`: they are not in the file.
    pub removed: Vec<PolicyName>,
    /// Policies that are in the file as they stand.
    pub unchanged: Vec<PolicyName>,
}

/// A policy that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyChange {
    /// The policy.
    pub policy: PolicyName,
    /// Its fields that change.
    pub fields: Vec<FieldChange>,
}

/// A field that changes; values as JSON, absent when not set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldChange {
    /// The field.
    pub field: String,
    /// Before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<serde_json::Value>,
    /// After.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<serde_json::Value>,
}

/// `GET /v1/policies/{policy}/next`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextFires {
    /// The policy.
    pub policy: PolicyName,
    /// Its expression.
    pub schedule: String,
    /// Its zone.
    pub timezone: String,
    /// It is paused: none of these will fire.
    pub paused: bool,
    /// The instants, ascending.
    pub fires: Vec<DateTime<Utc>>,
}
