//! The ring at one instant: nodes, their place and their tokens.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Ownership, Replication, Ring, Token, TokenRange};
use crate::HostId;

/// A member of the ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Cassandra's id of the node.
    pub host_id: HostId,
    /// Address other nodes and clients know it by, without a port.
    pub address: String,
    /// Data center.
    pub dc: String,
    /// Rack.
    pub rack: String,
    /// Tokens it owns, ascending.
    pub tokens: Vec<Token>,
}

/// A cluster's ring and its keyspaces' replication.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Topology {
    /// Members, ordered by host id.
    pub nodes: Vec<Node>,
    /// Replication by keyspace.
    #[serde(default)]
    pub keyspaces: BTreeMap<String, Replication>,
}

impl Topology {
    /// Every range of the ring, ascending by its end. One token: the whole ring.
    pub fn ranges(&self) -> Vec<TokenRange> {
        Ring::new(self).ranges().collect()
    }

    /// What each node owns of a keyspace with this replication. Sorts the ring: ask once a keyspace,
    /// not once a node.
    pub fn ownership(&self, replication: &Replication) -> Ownership {
        Ring::new(self).ownership(replication)
    }

    /// The node with this host id.
    pub fn node(&self, host: HostId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.host_id == host)
    }

    /// Host ids in the order of `nodes`.
    pub fn host_ids(&self) -> Vec<HostId> {
        self.nodes.iter().map(|node| node.host_id).collect()
    }

    /// Whether both rings have the same members with the same tokens and places; addresses and
    /// keyspaces may differ.
    pub fn same_ring(&self, other: &Self) -> bool {
        let key = |topology: &Self| {
            let mut nodes: Vec<_> = topology
                .nodes
                .iter()
                .map(|n| (n.host_id, n.dc.clone(), n.rack.clone(), n.tokens.clone()))
                .collect();
            nodes.sort();
            nodes
        };
        key(self) == key(other)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    /// A topology with host ids 1, 2, 3 … in the order given: (dc, rack, tokens).
    pub(crate) fn ring_of(nodes: &[(&str, &str, &[i64])]) -> Topology {
        let nodes = nodes
            .iter()
            .enumerate()
            .map(|(index, (dc, rack, tokens))| Node {
                host_id: HostId(Uuid::from_u128(index as u128 + 1)),
                address: format!("127.0.0.{}", index + 1),
                dc: (*dc).to_owned(),
                rack: (*rack).to_owned(),
                tokens: tokens.iter().map(|t| Token(*t)).collect(),
            })
            .collect();
        Topology { nodes, keyspaces: BTreeMap::new() }
    }

    /// Rings of up to eight nodes in two data centers and three racks, with one or more tokens each.
    pub(crate) fn any_topology() -> impl Strategy<Value = Topology> {
        let tokens = proptest::collection::btree_set(-50_i64..50, 1..24);
        let places = proptest::collection::vec((0..2_usize, 0..3_usize), 1..9);
        (tokens, places).prop_map(|(tokens, places)| {
            let mut rows: Vec<(&str, &str, Vec<i64>)> = places
                .into_iter()
                .map(|(dc, rack)| (["dc1", "dc2"][dc], ["r1", "r2", "r3"][rack], Vec::new()))
                .collect();
            let count = rows.len();
            // Neighbours on the ring are often the same node, as with virtual nodes.
            for (index, token) in tokens.into_iter().enumerate() {
                rows[index * 5 / 3 % count].2.push(token);
            }
            rows.retain(|(_, _, tokens)| !tokens.is_empty());
            let rows: Vec<(&str, &str, &[i64])> =
                rows.iter().map(|(d, r, t)| (*d, *r, t.as_slice())).collect();
            ring_of(&rows)
        })
    }

    /// Every strategy, with factors that may be none or more than there are nodes.
    pub(crate) fn any_replication() -> impl Strategy<Value = Replication> {
        let network = (0_u32..5, proptest::option::of(0_u32..4)).prop_map(|(one, two)| {
            let factors = std::iter::once(("dc1".to_owned(), one))
                .chain(two.map(|two| ("dc2".to_owned(), two)))
                .collect();
            Replication::NetworkTopology { factors }
        });
        prop_oneof![
            1 => Just(Replication::Local),
            1 => Just(Replication::Everywhere),
            4 => (0_u32..5).prop_map(|factor| Replication::Simple { factor }),
            8 => network,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::ring_of, *};

    #[test]
    fn ranges_tile_the_ring() {
        let topology = ring_of(&[("dc1", "r1", &[0, 20]), ("dc1", "r1", &[10])]);
        let range = |start, end| TokenRange::new(Token(start), Token(end));
        assert_eq!(topology.ranges(), vec![range(20, 0), range(0, 10), range(10, 20)]);
        let first = topology.host_ids()[0];
        let owned = topology.ownership(&Replication::Simple { factor: 1 });
        assert_eq!(owned.of(first), Some(&[range(10, 0)].into_iter().collect()));
    }
}
