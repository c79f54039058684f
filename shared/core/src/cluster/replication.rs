//! Which nodes hold a token range, by a keyspace's replication.
//!
//! Follows Cassandra's `SimpleStrategy` and `NetworkTopologyStrategy.calculateNaturalReplicas`
//! (4.0 and newer): clockwise from the range's end; a rack of a data center repeats only as often as
//! its replicas outnumber its racks.

use std::{collections::BTreeMap, rc::Rc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Node, Ownership, Token, TokenRange, TokenSet, Topology};
use crate::HostId;

/// A keyspace's replication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "class", rename_all = "snake_case")]
pub enum Replication {
    /// Each node holds its own data (`LocalStrategy`).
    Local,
    /// Every node holds everything (`EverywhereStrategy`).
    Everywhere,
    /// `SimpleStrategy`.
    Simple {
        /// Copies of each range.
        factor: u32,
    },
    /// `NetworkTopologyStrategy`.
    NetworkTopology {
        /// Copies of each range, by data center.
        factors: BTreeMap<String, u32>,
    },
}

impl Replication {
    /// Reads the map of `system_schema.keyspaces.replication`. Transient replication (`3/1`)
    /// counts its full replicas only. `None` for a strategy that is not known here.
    pub fn from_options(options: &BTreeMap<String, String>) -> Option<Self> {
        let class = options.get("class")?.rsplit('.').next()?;
        let number = |text: &String| -> Option<u32> {
            let (all, transient) = text.split_once('/').unwrap_or((text, "0"));
            all.trim().parse::<u32>().ok()?.checked_sub(transient.trim().parse().ok()?)
        };
        match class {
            "LocalStrategy" => Some(Self::Local),
            "EverywhereStrategy" => Some(Self::Everywhere),
            "SimpleStrategy" => Some(Self::Simple { factor: number(options.get("replication_factor")?)? }),
            "NetworkTopologyStrategy" => {
                let factors = options
                    .iter()
                    .filter(|(name, _)| name.as_str() != "class")
                    .map(|(dc, factor)| Some((dc.clone(), number(factor)?)))
                    .collect::<Option<_>>()?;
                Some(Self::NetworkTopology { factors })
            }
            _ => None,
        }
    }
}

/// The ring, sorted once, and who holds each of its ranges.
///
/// A range's replicas are found by walking on from its end until enough are found, which is a few
/// steps; so all ranges together cost about as much as there are tokens times replicas.
#[derive(Debug)]
pub struct Ring<'a> {
    /// Every token with its node's place in the topology, ascending by token.
    tokens: Vec<(Token, usize)>,
    nodes: &'a [Node],
}

impl<'a> Ring<'a> {
    /// Sorts the ring.
    pub fn new(topology: &'a Topology) -> Self {
        let mut tokens: Vec<(Token, usize)> = topology
            .nodes
            .iter()
            .enumerate()
            .flat_map(|(place, node)| node.tokens.iter().map(move |token| (*token, place)))
            .collect();
        tokens.sort_by_key(|(token, _)| *token);
        Self { tokens, nodes: &topology.nodes }
    }

    /// Every range, ascending by its end. One token: the whole ring.
    pub fn ranges(&self) -> impl Iterator<Item = TokenRange> {
        let last = self.tokens.last().map(|(token, _)| *token);
        self.tokens.iter().scan(last, |previous, (token, _)| {
            previous.replace(*token).map(|start| TokenRange::new(start, *token))
        })
    }

    /// The nodes that hold each range, in ring order, and as [`Ring::ranges`] lists the ranges.
    /// None for `Local`, whose data belongs to no range.
    pub fn replicas(&self, replication: &Replication) -> Vec<Vec<HostId>> {
        let rule = match replication {
            Replication::Local => return vec![Vec::new(); self.tokens.len()],
            Replication::Everywhere => {
                return vec![self.nodes.iter().map(|node| node.host_id).collect(); self.tokens.len()];
            }
            Replication::Simple { factor } => Quotas::simple(self.nodes, *factor),
            Replication::NetworkTopology { factors } => Quotas::network(self.nodes, factors),
        };
        (0..self.tokens.len())
            .map(|from| {
                let chosen = self.walk(from, rule.clone());
                chosen.into_iter().map(|place| self.nodes[place].host_id).collect()
            })
            .collect()
    }

    /// What each node owns under `replication`. A node of a `Local` keyspace owns the whole ring:
    /// its data is its own.
    pub fn ownership(&self, replication: &Replication) -> Ownership {
        if matches!(replication, Replication::Local | Replication::Everywhere) {
            let nodes = self.nodes.iter().map(|node| (node.host_id, TokenSet::full())).collect();
            return Ownership { nodes };
        }
        let mut owned: BTreeMap<HostId, Vec<TokenRange>> =
            self.nodes.iter().map(|node| (node.host_id, Vec::new())).collect();
        for (range, replicas) in self.ranges().zip(self.replicas(replication)) {
            for host in replicas {
                owned.entry(host).or_default().push(range);
            }
        }
        let nodes = owned.into_iter().map(|(host, ranges)| (host, ranges.into_iter().collect())).collect();
        Ownership { nodes }
    }

    fn walk(&self, from: usize, mut quotas: Quotas) -> Vec<usize> {
        let count = self.tokens.len();
        let mut chosen = Vec::with_capacity(quotas.left);
        for step in 0..count {
            if quotas.left == 0 {
                break;
            }
            let place = self.tokens[(from + step) % count].1;
            if !chosen.contains(&place) && quotas.admit(place) {
                chosen.push(place);
            }
        }
        chosen
    }
}

/// How many replicas are still to be found, and where: names turned into numbers, for speed.
#[derive(Debug, Clone)]
struct Quotas {
    /// In all.
    left: usize,
    centers: Vec<CenterQuota>,
    /// By node: its place among `centers`, if that data center counts, and its rack's number there.
    of_node: Rc<Vec<Option<(usize, usize)>>>,
}

#[derive(Debug, Clone)]
struct CenterQuota {
    left: usize,
    rack_repeats_left: usize,
    racks_seen: Vec<bool>,
}

impl Quotas {
    /// One data center with one rack, in which every node may be chosen.
    fn simple(nodes: &[Node], factor: u32) -> Self {
        let left = nodes.len().min(factor as usize);
        let center = CenterQuota { left, rack_repeats_left: usize::MAX, racks_seen: vec![false] };
        Self { left, centers: vec![center], of_node: Rc::new(vec![Some((0, 0)); nodes.len()]) }
    }

    fn network(nodes: &[Node], factors: &BTreeMap<String, u32>) -> Self {
        let mut of_node = vec![None; nodes.len()];
        let mut centers = Vec::new();
        for (dc, factor) in factors {
            let mut racks: BTreeMap<&str, usize> = BTreeMap::new();
            let mut members = 0;
            // Without tokens a node is no member of the ring.
            let is_member = |node: &Node| node.dc == *dc && !node.tokens.is_empty();
            for (node, place) in nodes.iter().zip(&mut of_node).filter(|(node, _)| is_member(node)) {
                let next = racks.len();
                *place = Some((centers.len(), *racks.entry(node.rack.as_str()).or_insert(next)));
                members += 1;
            }
            let left = members.min(*factor as usize);
            centers.push(CenterQuota {
                left,
                rack_repeats_left: left.saturating_sub(racks.len()),
                racks_seen: vec![false; racks.len()],
            });
        }
        Self { left: centers.iter().map(|center| center.left).sum(), centers, of_node: Rc::new(of_node) }
    }

    /// Whether a node that the walk comes to, and that is not chosen yet, is chosen.
    fn admit(&mut self, node: usize) -> bool {
        let Some((center, rack)) = self.of_node[node] else { return false };
        let center = &mut self.centers[center];
        if center.left == 0 {
            return false;
        }
        if std::mem::replace(&mut center.racks_seen[rack], true) {
            if center.rack_repeats_left == 0 {
                return false;
            }
            center.rack_repeats_left -= 1;
        }
        center.left -= 1;
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::topology::testing::{any_replication, any_topology, ring_of};
    use super::*;
    use proptest::prelude::*;

    fn factors(pairs: &[(&str, u32)]) -> Replication {
        Replication::NetworkTopology { factors: pairs.iter().map(|(dc, f)| ((*dc).to_owned(), *f)).collect() }
    }

    /// The definition, one range at a time, as Cassandra has it: what the walk must agree with.
    fn by_definition(topology: &Topology, replication: &Replication, end: Token) -> Vec<HostId> {
        let mut ring: Vec<(Token, &Node)> =
            topology.nodes.iter().flat_map(|node| node.tokens.iter().map(move |t| (*t, node))).collect();
        ring.sort_by_key(|(token, _)| *token);
        let start = ring.partition_point(|(token, _)| *token < end);
        let clockwise = (0..ring.len()).map(|step| ring[(start + step) % ring.len()].1);
        let mut chosen: Vec<HostId> = Vec::new();
        match replication {
            Replication::Local => {}
            Replication::Everywhere => chosen = topology.host_ids(),
            Replication::Simple { factor } => {
                for node in clockwise {
                    if chosen.len() < *factor as usize && !chosen.contains(&node.host_id) {
                        chosen.push(node.host_id);
                    }
                }
            }
            Replication::NetworkTopology { factors } => {
                let members = |dc: &str| topology.nodes.iter().filter(|n| n.dc == dc).collect::<Vec<_>>();
                let mut left: BTreeMap<&str, usize> = BTreeMap::new();
                let mut repeats: BTreeMap<&str, usize> = BTreeMap::new();
                for (dc, factor) in factors {
                    let of_dc = members(dc);
                    let racks: HashSet<&str> = of_dc.iter().map(|n| n.rack.as_str()).collect();
                    let wanted = of_dc.len().min(*factor as usize);
                    left.insert(dc, wanted);
                    repeats.insert(dc, wanted.saturating_sub(racks.len()));
                }
                let mut seen: HashSet<(&str, &str)> = HashSet::new();
                for node in clockwise {
                    let dc = node.dc.as_str();
                    let Some(left) = left.get_mut(dc).filter(|left| **left > 0) else { continue };
                    if chosen.contains(&node.host_id) {
                        continue;
                    }
                    if !seen.insert((dc, &node.rack)) {
                        let Some(repeats) = repeats.get_mut(dc).filter(|n| **n > 0) else { continue };
                        *repeats -= 1;
                    }
                    *left -= 1;
                    chosen.push(node.host_id);
                }
            }
        }
        chosen
    }

    fn replicas(topology: &Topology, replication: &Replication, end: i64) -> Vec<HostId> {
        let ring = Ring::new(topology);
        let at = ring.ranges().position(|range| range.end == Token(end)).unwrap();
        ring.replicas(replication).swap_remove(at)
    }

    #[test]
    fn simple_strategy_takes_the_next_distinct_nodes() {
        let topology = ring_of(&[("dc1", "r1", &[0, 30]), ("dc1", "r1", &[10]), ("dc1", "r1", &[20])]);
        let ids = topology.host_ids();
        let got = replicas(&topology, &Replication::Simple { factor: 2 }, 20);
        assert_eq!(got, vec![ids[2], ids[0]]);
        let all = replicas(&topology, &Replication::Simple { factor: 9 }, 30);
        assert_eq!(all.len(), 3, "never more replicas than nodes");
    }

    #[test]
    fn a_rack_repeats_only_when_replicas_outnumber_racks() {
        let topology =
            ring_of(&[("dc1", "r1", &[0]), ("dc1", "r1", &[10]), ("dc1", "r2", &[20]), ("dc2", "r1", &[5])]);
        let ids = topology.host_ids();
        assert_eq!(replicas(&topology, &factors(&[("dc1", 2)]), 0), vec![ids[0], ids[2]]);
        assert_eq!(
            replicas(&topology, &factors(&[("dc1", 3), ("dc2", 1)]), 0),
            vec![ids[0], ids[3], ids[1], ids[2]],
        );
    }

    proptest! {
        #[test]
        fn the_walk_agrees_with_the_definition(
            topology in any_topology(), replication in any_replication(),
        ) {
            let ring = Ring::new(&topology);
            for (range, replicas) in ring.ranges().zip(ring.replicas(&replication)) {
                prop_assert_eq!(replicas, by_definition(&topology, &replication, range.end));
            }
        }

        #[test]
        fn a_token_is_owned_by_the_replicas_of_its_range(
            topology in any_topology(), replication in any_replication(), token in -60_i64..60,
        ) {
            let token = Token(token);
            let owned = topology.ownership(&replication);
            let end = topology.ranges().into_iter().find(|range| range.contains(token)).unwrap().end;
            let owners = by_definition(&topology, &replication, end);
            for host in topology.host_ids() {
                let owns = owned.of(host).unwrap().contains(token);
                prop_assert_eq!(owns, replication == Replication::Local || owners.contains(&host));
            }
        }
    }

    /// Figures of a large ring: `cargo test --workspace --lib large_rings -- --ignored --nocapture`.
    #[test]
    #[ignore = "prints figures"]
    fn large_rings_are_walked_in_milliseconds() {
        for (nodes, vnodes) in [(12_usize, 256_usize), (100, 16), (1000, 16)] {
            let mut mixed = 1_i64;
            let mut next = || {
                mixed = mixed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                mixed
            };
            let rows: Vec<(String, Vec<i64>)> = (0..nodes)
                .map(|node| (format!("r{}", node % 3), (0..vnodes).map(|_| next()).collect()))
                .collect();
            let rows: Vec<(&str, &str, &[i64])> =
                rows.iter().map(|(rack, tokens)| ("dc1", rack.as_str(), tokens.as_slice())).collect();
            let topology = ring_of(&rows);
            let rule = factors(&[("dc1", 3)]);
            let start = std::time::Instant::now();
            let owned = topology.ownership(&rule);
            let new = start.elapsed();
            assert_eq!(owned.nodes.len(), nodes);
            let start = std::time::Instant::now();
            by_definition(&topology, &rule, Token(0));
            // Once for each range and each node, which is how it was asked before.
            let old = start.elapsed() * u32::try_from(nodes * nodes * vnodes).unwrap();
            println!("{nodes} nodes of {vnodes} tokens: {new:?} a keyspace; by the definition {old:?}");
        }
    }

    #[test]
    fn options_as_cassandra_writes_them_are_read() {
        let options =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let class = "org.apache.cassandra.locator.NetworkTopologyStrategy";
        let read = Replication::from_options(&options(&[("class", class), ("dc1", "3/1")]));
        assert_eq!(read, Some(factors(&[("dc1", 2)])));
        assert_eq!(Replication::from_options(&options(&[("class", "Odd")])), None);
    }
}
