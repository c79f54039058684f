//! How many of a backup's nodes upload at once, and among whom they are counted.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::Node;

/// Among whom `max_parallel_nodes` counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParallelScope {
    /// The nodes of the whole cluster.
    #[default]
    Cluster,
    /// The nodes of each data center.
    DataCenter,
    /// The nodes of each rack of each data center.
    Rack,
}

impl ParallelScope {
    /// Whether it is the one that is meant where nothing is said.
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster)
    }

    /// The group that a node counts in: nodes with the same one share the number.
    pub fn group_of(self, node: &Node) -> String {
        match self {
            Self::Cluster => String::new(),
            Self::DataCenter => node.dc.clone(),
            // No two pairs read alike, whatever the names are.
            Self::Rack => format!("{}:{}/{}", node.dc.len(), node.dc, node.rack),
        }
    }
}

/// Room for uploads of one job, group by group.
#[derive(Debug, Clone)]
pub struct ParallelRoom {
    at_once: u32,
    running: BTreeMap<String, u32>,
}

impl ParallelRoom {
    /// Where `at_once` may run in each group, and `running` do.
    pub const fn new(at_once: u32, running: BTreeMap<String, u32>) -> Self {
        Self { at_once, running }
    }

    /// Whether one more may run in this group.
    pub fn has_room(&self, group: &str) -> bool {
        self.running.get(group).copied().unwrap_or_default() < self.at_once
    }

    /// One more runs there.
    pub fn take(&mut self, group: &str) {
        *self.running.entry(group.to_owned()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::HostId;

    fn node(dc: &str, rack: &str) -> Node {
        Node {
            host_id: HostId(Uuid::nil()),
            address: String::new(),
            dc: dc.to_owned(),
            rack: rack.to_owned(),
            tokens: Vec::new(),
        }
    }

    #[test]
    fn racks_of_the_same_name_in_two_data_centers_are_two() {
        let groups = |scope: ParallelScope| {
            [("a", "r1"), ("b", "r1"), ("a", "r2"), ("a/r1", "x"), ("a", "r1/x")]
                .map(|(dc, rack)| scope.group_of(&node(dc, rack)))
        };
        let distinct = |groups: [String; 5]| std::collections::BTreeSet::from(groups).len();
        assert_eq!(distinct(groups(ParallelScope::Cluster)), 1);
        assert_eq!(distinct(groups(ParallelScope::DataCenter)), 3);
        assert_eq!(distinct(groups(ParallelScope::Rack)), 5);
    }

    proptest! {
        /// In whatever order nodes come, each group fills up to the number, and none beyond it.
        #[test]
        fn every_group_fills_and_none_runs_over(
            at_once in 1_u32..4,
            running in 0_u32..3,
            come in proptest::collection::vec((0_usize..3, 0_usize..3), 0..40),
            scope in prop_oneof![
                Just(ParallelScope::Cluster), Just(ParallelScope::DataCenter), Just(ParallelScope::Rack)],
        ) {
            let names = ["x", "y", "z"];
            let nodes: Vec<Node> = come.iter().map(|(dc, rack)| node(names[*dc], names[*rack])).collect();
            let busy = scope.group_of(&node("x", "x"));
            let mut room = ParallelRoom::new(at_once, BTreeMap::from([(busy.clone(), running)]));
            let mut wanted = BTreeMap::from([(busy.clone(), running)]);
            let mut placed = wanted.clone();
            for node in &nodes {
                let group = scope.group_of(node);
                *wanted.entry(group.clone()).or_default() += 1;
                if room.has_room(&group) {
                    room.take(&group);
                    *placed.entry(group).or_default() += 1;
                }
            }
            for (group, wanted) in wanted {
                // More than are allowed now may have been under way.
                let before = if group == busy { running } else { 0 };
                let placed = placed.get(&group).copied().unwrap_or_default();
                prop_assert_eq!(placed, wanted.min(at_once).max(before));
            }
        }
    }
}
