//! What a digest job kept of the rows that it read.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ClusterName, JobId, rows::TableDigest, selection::Selection};

/// A cluster's rows, as digests by table and token range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowDigests {
    /// The job that read them.
    pub job: JobId,
    /// The cluster.
    pub cluster: ClusterName,
    /// Which tables were asked for.
    #[serde(default)]
    pub selection: Selection,
    /// When the reading began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<DateTime<Utc>>,
    /// When it was over. What was written in between may be in it or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// How rows were encoded: digests of two encodings cannot be compared.
    pub encoding: u32,
    /// By table, in the order of their names.
    pub tables: Vec<TableDigest>,
}
