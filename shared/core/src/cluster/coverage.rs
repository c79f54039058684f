//! What a backup holds of the ring, from which nodes were backed up and who owned what.
//!
//! `complete`: every member. `covering`: members are missing, yet every range of every keyspace is
//! held by as many replicas as the policy asks. `incomplete`: anything less.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Replication, Ring, Topology};
use crate::HostId;

/// How much of the ring a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// Every member of the ring.
    Complete,
    /// Members are missing, but every range is held at the level asked for.
    Covering,
    /// Some range is held by fewer replicas than asked for.
    Incomplete,
}

impl Coverage {
    /// Whether such a backup counts for retention and can be restored whole.
    pub const fn is_restorable(self) -> bool {
        matches!(self, Self::Complete | Self::Covering)
    }

    /// The word used in messages, tables and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Covering => "covering",
            Self::Incomplete => "incomplete",
        }
    }
}

/// How many replicas of each range a policy wants to hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequiredCoverage {
    /// Every node.
    #[default]
    All,
    /// A majority of each range's replicas.
    Quorum,
    /// One replica of each range.
    One,
}

impl RequiredCoverage {
    fn replicas(self, of: usize) -> usize {
        match self {
            Self::All => of,
            Self::Quorum => of / 2 + 1,
            Self::One => 1.min(of),
        }
    }
}

/// How well one keyspace is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyspaceCoverage {
    /// Ranges of the ring.
    pub ranges: usize,
    /// Ranges held by enough replicas.
    pub held: usize,
    /// Fewest replicas that any range is held by.
    pub fewest_replicas: usize,
}

/// The judgement and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CoverageReport {
    /// The judgement.
    pub coverage: Coverage,
    /// By keyspace; node-local keyspaces are not listed.
    pub keyspaces: BTreeMap<String, KeyspaceCoverage>,
    /// Members of the ring that were not backed up.
    pub missing: Vec<HostId>,
}

/// Judges a backup that holds the nodes `held` of `topology`.
pub fn assess(topology: &Topology, held: &BTreeSet<HostId>, required: RequiredCoverage) -> CoverageReport {
    let missing: Vec<_> = topology.host_ids().into_iter().filter(|host| !held.contains(host)).collect();
    let mut keyspaces = BTreeMap::new();
    let mut enough = true;
    let ring = Ring::new(topology);
    for (name, replication) in &topology.keyspaces {
        if matches!(replication, Replication::Local) {
            continue;
        }
        let ranges = ring.replicas(replication);
        let mut report = KeyspaceCoverage { ranges: ranges.len(), held: 0, fewest_replicas: usize::MAX };
        for replicas in &ranges {
            let have = replicas.iter().filter(|host| held.contains(host)).count();
            report.fewest_replicas = report.fewest_replicas.min(have);
            report.held += usize::from(have >= required.replicas(replicas.len()));
        }
        if ranges.is_empty() {
            report.fewest_replicas = 0;
        }
        enough &= report.held == report.ranges;
        keyspaces.insert(name.clone(), report);
    }
    let coverage = match (missing.is_empty() && !topology.nodes.is_empty(), enough) {
        (true, _) => Coverage::Complete,
        (false, true) if !held.is_empty() => Coverage::Covering,
        (false, _) => Coverage::Incomplete,
    };
    CoverageReport { coverage, keyspaces, missing }
}

#[cfg(test)]
mod tests {
    use super::super::topology::testing::ring_of;
    use super::*;

    fn cluster(factor: u32) -> Topology {
        let mut topology = ring_of(&[("dc1", "r1", &[0]), ("dc1", "r2", &[10]), ("dc1", "r3", &[20])]);
        topology.keyspaces.insert("orders".into(), Replication::Simple { factor });
        topology.keyspaces.insert("system".into(), Replication::Local);
        topology
    }

    fn judge(factor: u32, held: &[usize], required: RequiredCoverage) -> Coverage {
        let topology = cluster(factor);
        let ids = topology.host_ids();
        assess(&topology, &held.iter().map(|i| ids[*i]).collect(), required).coverage
    }

    #[test]
    fn coverage_follows_from_replication_and_the_level_asked_for() {
        use {Coverage::*, RequiredCoverage::*};
        let table = [
            (3, &[0, 1, 2][..], All, Complete),
            (3, &[0, 1][..], Quorum, Covering),
            (3, &[0, 1][..], All, Incomplete),
            (3, &[0][..], Quorum, Incomplete),
            (3, &[0][..], One, Covering),
            (2, &[0, 1][..], One, Covering),
            (1, &[0, 1][..], One, Incomplete),
            (3, &[][..], One, Incomplete),
        ];
        for (factor, held, required, expected) in table {
            assert_eq!(judge(factor, held, required), expected, "{factor} {held:?} {required:?}");
        }
    }

    /// The replication factors of each keyspace, by data center.
    type Factors = &'static [&'static [(&'static str, u32)]];
    /// Racks, replication, nodes held, what is required, and what the backup is then.
    type Case = ([&'static str; 3], Factors, &'static [usize], RequiredCoverage, Coverage);

    /// Six nodes with two tokens each; the first three in `dc1`, in these racks, the others in `dc2`. Along
    /// the ring: 0, 3, 1, 4, 2, 5, and once more.
    fn two_data_centers(racks: [&str; 3], keyspaces: Factors) -> Topology {
        let mut topology = ring_of(&[
            ("dc1", racks[0], &[0, 30]),
            ("dc1", racks[1], &[10, 40]),
            ("dc1", racks[2], &[20, 50]),
            ("dc2", "r1", &[5, 35]),
            ("dc2", "r2", &[15, 45]),
            ("dc2", "r3", &[25, 55]),
        ]);
        for (index, factors) in keyspaces.iter().enumerate() {
            let factors = factors.iter().map(|(dc, factor)| ((*dc).to_owned(), *factor)).collect();
            topology.keyspaces.insert(format!("k{index}"), Replication::NetworkTopology { factors });
        }
        topology
    }

    #[test]
    fn a_backup_without_a_node_covers_what_other_replicas_hold_and_nothing_else() {
        use {Coverage::*, RequiredCoverage::*};
        let apart = ["r1", "r2", "r3"];
        // Two of a rack: every range has its second copy in the other rack, on the third node.
        let paired = ["r1", "r1", "r2"];
        let both: Factors = &[&[("dc1", 2), ("dc2", 1)]];
        let first: Factors = &[&[("dc1", 2)]];
        let one_each: Factors = &[&[("dc1", 2)], &[("dc2", 1)]];
        let table: [Case; 20] = [
            (apart, both, &[0, 1, 2, 3, 4, 5], All, Complete),
            (apart, both, &[1, 2, 3, 4, 5], One, Covering),
            (apart, both, &[1, 2, 3, 4, 5], Quorum, Covering),
            (apart, both, &[1, 2, 3, 4, 5], All, Incomplete),
            // Of any two neighbours in the first data center one is left.
            (apart, both, &[1, 2], One, Covering),
            (apart, both, &[2], One, Incomplete),
            (apart, both, &[3, 4, 5], One, Covering),
            (apart, both, &[3, 4, 5], Quorum, Incomplete),
            (apart, both, &[0, 1, 2], Quorum, Covering),
            (apart, both, &[0, 1, 2, 3, 4], Quorum, Covering),
            (apart, both, &[0, 1, 2, 3, 4], All, Incomplete),
            // Nodes that hold nothing of it are not missed.
            (apart, first, &[0, 1, 2], All, Covering),
            (apart, first, &[0, 1], All, Incomplete),
            (apart, one_each, &[0, 1, 2], One, Incomplete),
            (apart, one_each, &[1, 2, 3, 4, 5], One, Covering),
            (apart, one_each, &[0, 1, 2, 3, 4], One, Incomplete),
            (paired, first, &[2], One, Covering),
            (apart, first, &[2], One, Incomplete),
            (paired, first, &[0, 1], One, Covering),
            (paired, first, &[0], One, Incomplete),
        ];
        for (racks, keyspaces, held, required, expected) in table {
            let topology = two_data_centers(racks, keyspaces);
            let ids = topology.host_ids();
            let report = assess(&topology, &held.iter().map(|i| ids[*i]).collect(), required);
            let case = format!("{racks:?} {keyspaces:?} {held:?} {required:?}");
            assert_eq!(report.coverage, expected, "{case}: {report:?}");
            assert_eq!(report.missing.len(), 6 - held.len(), "{case}");
            for keyspace in report.keyspaces.values() {
                assert!(keyspace.ranges == 12 && keyspace.held <= keyspace.ranges, "{case}: {report:?}");
            }
        }
    }

    #[test]
    fn a_keyspace_that_every_node_holds_is_covered_by_any() {
        let mut topology = two_data_centers(["r1", "r2", "r3"], &[]);
        topology.keyspaces.insert("everywhere".into(), Replication::Everywhere);
        let ids = topology.host_ids();
        let judge = |required| assess(&topology, &BTreeSet::from([ids[0]]), required).coverage;
        assert_eq!(judge(RequiredCoverage::One), Coverage::Covering);
        assert_eq!(judge(RequiredCoverage::Quorum), Coverage::Incomplete);
    }
}
