//! How fast a job's nodes may go: what was asked for, what was said while it ran, and what follows for one node.
//!
//! What was said counts more than what was asked for, and of each what is of a node's data center more than what is of
//! all nodes. Bytes and requests are apart: a data center with a rate of its own keeps to everybody's requests.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{JobSpec, RestoreSpec};

/// What one node keeps to on behalf of a job. 0: no limit, whatever holds more widely; absent: what does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeLimits {
    /// Bytes a second that it sends and fetches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<u64>,
    /// Requests a second to the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_limit: Option<u64>,
}

/// By data center.
pub type DataCenterLimits = BTreeMap<String, NodeLimits>;

/// What holds for each node of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of all nodes.
    pub everywhere: NodeLimits,
    /// Of the nodes of single data centers.
    pub data_centers: DataCenterLimits,
}

impl NodeLimits {
    /// Whether it says nothing.
    pub const fn is_empty(self) -> bool {
        self.rate_limit.is_none() && self.request_limit.is_none()
    }

    /// These, and where they say nothing, `wider`.
    #[must_use]
    pub fn or(self, wider: Self) -> Self {
        Self {
            rate_limit: self.rate_limit.or(wider.rate_limit),
            request_limit: self.request_limit.or(wider.request_limit),
        }
    }
}

impl Limits {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.everywhere.is_empty() && self.data_centers.is_empty()
    }

    /// What is said for a node of this data center; `None`: nobody knows which it is of.
    pub fn of(&self, data_center: Option<&str>) -> NodeLimits {
        let own = data_center.and_then(|name| self.data_centers.get(name)).copied();
        own.unwrap_or_default().or(self.everywhere)
    }

    /// Says something for the nodes of one data center, or for all of them: then nothing that was said before of a
    /// single one counts any more.
    pub fn say(&mut self, data_center: Option<&str>, said: NodeLimits) {
        if let Some(name) = data_center {
            let own = self.data_centers.entry(name.to_owned()).or_default();
            *own = said.or(*own);
            return;
        }
        self.everywhere = said.or(self.everywhere);
        for own in self.data_centers.values_mut() {
            own.rate_limit = own.rate_limit.filter(|_| said.rate_limit.is_none());
            own.request_limit = own.request_limit.filter(|_| said.request_limit.is_none());
        }
        self.data_centers.retain(|_, own| !own.is_empty());
    }
}

impl JobSpec {
    /// What each node was asked to keep to.
    pub fn limits(&self) -> Limits {
        let (rate_limit, request_limit, data_centers) = match self {
            Self::Backup(spec) => (spec.rate_limit, spec.request_limit, &spec.data_centers),
            Self::Restore(spec) => (spec.rate_limit, spec.request_limit, &spec.data_centers),
            Self::Drill(spec) => (spec.rate_limit, spec.request_limit, &spec.data_centers),
            Self::Verify(_) | Self::Purge(_) | Self::Digest(_) => return Limits::default(),
        };
        Limits { everywhere: NodeLimits { rate_limit, request_limit }, data_centers: data_centers.clone() }
    }
}

impl RestoreSpec {
    /// As it stands in tasks: what a node keeps to comes with the offer, so that a worker of an older release reads
    /// the specification.
    #[must_use]
    pub fn without_limits(&self) -> Self {
        Self { request_limit: None, data_centers: DataCenterLimits::new(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn limits(rate: u64, requests: u64) -> NodeLimits {
        NodeLimits { rate_limit: Some(rate), request_limit: Some(requests) }
    }

    const fn rate(rate: u64) -> NodeLimits {
        NodeLimits { rate_limit: Some(rate), request_limit: None }
    }

    #[test]
    fn a_data_center_has_its_own_and_keeps_to_everybodys_otherwise() {
        let asked = Limits {
            everywhere: limits(100, 50),
            data_centers: DataCenterLimits::from([("dc2".to_owned(), rate(20))]),
        };
        assert_eq!(asked.of(Some("dc2")), limits(20, 50));
        assert_eq!(asked.of(Some("dc1")), limits(100, 50));
        assert_eq!(asked.of(None), limits(100, 50));
        assert_eq!(Limits::default().of(Some("dc1")), NodeLimits::default());
    }

    #[test]
    fn what_was_said_counts_more_and_the_last_word_of_all() {
        let asked = Limits {
            everywhere: limits(100, 50),
            data_centers: DataCenterLimits::from([("dc2".to_owned(), rate(20))]),
        };
        let mut said = Limits::default();
        let now = |said: &Limits, dc| said.of(Some(dc)).or(asked.of(Some(dc)));
        said.say(Some("dc1"), rate(7));
        assert_eq!((now(&said, "dc1"), now(&said, "dc2")), (limits(7, 50), limits(20, 50)));
        said.say(Some("dc1"), NodeLimits { rate_limit: None, request_limit: Some(3) });
        assert_eq!(now(&said, "dc1"), limits(7, 3), "the one takes nothing from the other");
        said.say(None, rate(30));
        assert_eq!((now(&said, "dc1"), now(&said, "dc2")), (limits(30, 3), limits(30, 50)));
        said.say(None, limits(0, 9));
        assert_eq!((now(&said, "dc1"), now(&said, "dc2")), (limits(0, 9), limits(0, 9)));
        assert!(said.data_centers.is_empty());
    }

    proptest! {
        /// Whatever was said before, the last word for somebody is what they keep to.
        #[test]
        fn the_last_word_holds(
            words in proptest::collection::vec(
                (0_usize..4, proptest::option::of(0_u64..9), proptest::option::of(0_u64..9)), 1..12),
        ) {
            let centers = [None, Some("dc1"), Some("dc2"), Some("dc3")];
            let mut said = Limits::default();
            let mut rates = [None; 4];
            let mut requests = [None; 4];
            for (whom, rate_limit, request_limit) in words {
                said.say(centers[whom], NodeLimits { rate_limit, request_limit });
                for heard in (0..4).filter(|heard| whom == 0 || *heard == whom) {
                    rates[heard] = rate_limit.or(rates[heard]);
                    requests[heard] = request_limit.or(requests[heard]);
                }
                for (heard, center) in centers.iter().enumerate() {
                    let of = said.of(*center);
                    prop_assert_eq!((of.rate_limit, of.request_limit), (rates[heard], requests[heard]));
                }
            }
        }
    }
}
