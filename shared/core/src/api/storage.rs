//! What is kept, what it costs, and what goes next.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PurgeTarget;
use crate::{
    BackupName, ClusterName, PolicyName,
    policy::{PolicyAction, Retention},
};

/// `GET /v1/storage`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StorageReport {
    /// When it was read.
    pub as_of: DateTime<Utc>,
    /// What the store costs, where the configuration says so (`[store_price]`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<StorePrice>,
    /// By name: clusters that have, or had, a backup.
    pub clusters: Vec<ClusterStorage>,
}

/// What a store costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StorePrice {
    /// For a GiB (2³⁰ bytes) kept a month.
    pub per_gib_month: f64,
    /// Such as `USD`.
    pub currency: String,
}

/// What one cluster's backups take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterStorage {
    /// The cluster.
    pub cluster: ClusterName,
    /// Backups that are sealed and not expired.
    pub kept: u32,
    /// Of these, backups that can be restored whole.
    pub restorable: u32,
    /// Of these, backups that somebody holds by hand.
    pub held: u32,
    /// Backups under way.
    pub running: u32,
    /// Backups that were given up, and expired ones, that no purge has taken from the store yet.
    pub leftover: u32,
    /// When the oldest that is kept was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<DateTime<Utc>>,
    /// When the newest that is kept was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<DateTime<Utc>>,
    /// Bytes that a restore of the newest kept backup reads.
    pub newest_bytes: u64,
    /// Bytes that restores of every kept backup would read: what keeping each in full would take.
    pub named_bytes: u64,
    /// Bytes in the store: brought by backups, less what purges freed.
    pub stored_bytes: u64,
    /// What they cost a month; absent without a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_per_month: Option<f64>,
    /// What says what goes, by name; empty: nothing ever goes by itself.
    pub retentions: Vec<RetentionRule>,
}

/// A policy with a retention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetentionRule {
    /// The policy.
    pub policy: PolicyName,
    /// `purge`: of all of the cluster's backups, when it fires. `backup`: of its own backups, after
    /// each of them.
    pub action: PolicyAction,
    /// What it keeps.
    pub retention: Retention,
    /// When it fires next; absent while it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_fire: Option<DateTime<Utc>>,
}

/// `GET /v1/clusters/{cluster}/expiring`: what would go if every retention were applied now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpiryForecast {
    /// The cluster.
    pub cluster: ClusterName,
    /// When it was judged.
    pub as_of: DateTime<Utc>,
    /// By policy.
    pub rules: Vec<RuleForecast>,
    /// Unsealed backups whose job is over: the next purge takes what they left.
    pub dead: Vec<BackupName>,
}

/// What one policy's retention would expire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleForecast {
    /// The policy and what it keeps.
    #[serde(flatten)]
    pub rule: RetentionRule,
    /// What would expire now, the oldest first.
    pub expire: Vec<PurgeTarget>,
}
