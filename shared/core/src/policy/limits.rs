//! How fast the nodes of a policy's jobs may go, as a policy file says it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Policy;
use crate::{
    job::{Limits, NodeLimits},
    size::parse_size,
};

/// Of the nodes of one data center. What is not said holds as for all nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyLimits {
    /// Bytes a second of each node, such as `20MiB`; `0`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<String>,
    /// Requests a second of each node to the store; 0: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_limit: Option<u64>,
}

impl Policy {
    /// What each node may do, in numbers.
    ///
    /// # Errors
    /// Which rate is no size, in words; or the data center of which nothing is said.
    pub fn limits(&self) -> Result<Limits, String> {
        let everywhere = limits(self.rate_limit.as_deref(), self.request_limit)?;
        let mut all = Limits { everywhere, ..Limits::default() };
        for (name, own) in &self.data_centers {
            let said = limits(own.rate_limit.as_deref(), own.request_limit)
                .map_err(|why| format!("data_centers.{name}: {why}"))?;
            if said.is_empty() {
                return Err(format!("data_centers.{name} says nothing: give rate_limit or request_limit"));
            }
            all.data_centers.insert(name.clone(), said);
        }
        Ok(all)
    }
}

fn limits(rate: Option<&str>, request_limit: Option<u64>) -> Result<NodeLimits, String> {
    let rate_limit = rate.map(parse_size).transpose().map_err(|error| error.to_string())?;
    Ok(NodeLimits { rate_limit, request_limit })
}
