//! What a backup may call itself: pure, from what its nodes saw.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use ringvault_core::{
    HostId,
    cluster::{Coverage, CoverageReport, Replication, RequiredCoverage, Topology, assess},
    selection::Selection,
};
use serde::{Deserialize, Serialize};

use crate::manifest::Header;

/// Why a backup is less than it might be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "remark", rename_all = "snake_case")]
pub enum Remark {
    /// Nodes joined, left or moved between the first and the last snapshot.
    RingChanged {
        /// A node that saw one ring.
        one: HostId,
        /// A node that saw another.
        other: HostId,
    },
    /// The schema changed between the first and the last snapshot.
    SchemaChanged {
        /// A node that had one schema.
        one: HostId,
        /// A node that had another.
        other: HostId,
    },
    /// Members of the ring that are not in it.
    NodesMissing {
        /// Their host ids.
        nodes: Vec<HostId>,
    },
    /// Keyspaces of which some range is held by too few replicas.
    RangesThin {
        /// The keyspaces.
        keyspaces: Vec<String>,
    },
    /// Tables of the schema that a node must hold and its manifest does not name.
    TablesMissing {
        /// The node.
        node: HostId,
        /// The first of them.
        tables: Vec<String>,
    },
    /// Only one data center was asked for.
    OneDataCenter {
        /// The data center.
        dc: String,
        /// Keyspaces that have no replicas there, and so are not in it.
        without: Vec<String>,
    },
    /// Something that a later release says.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &[String]| items.join(", ");
        match self {
            Self::RingChanged { one, other } => {
                write!(f, "the ring changed between the snapshots of {one} and {other}: take it again")
            }
            Self::SchemaChanged { one, other } => {
                write!(f, "the schema changed between the snapshots of {one} and {other}: take it again")
            }
            Self::NodesMissing { nodes } => {
                let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
                write!(f, "nodes of the ring are missing: {}", list(&nodes))
            }
            Self::RangesThin { keyspaces } => {
                write!(f, "some ranges are held by too few replicas, of: {}", list(keyspaces))
            }
            Self::TablesMissing { node, tables } => {
                write!(f, "node {node} lacks tables of the schema: {}", list(tables))
            }
            Self::Unknown => write!(f, "a remark of a later release"),
            Self::OneDataCenter { dc, without } if without.is_empty() => {
                write!(f, "only data center {dc} was asked for")
            }
            Self::OneDataCenter { dc, without } => {
                write!(
                    f,
                    "only data center {dc} was asked for, where these have no replicas: {}",
                    list(without)
                )
            }
        }
    }
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) coverage: Coverage,
    pub(crate) report: CoverageReport,
    /// The ring, as the last snapshot's node saw it.
    pub(crate) topology: Topology,
    pub(crate) remarks: Vec<Remark>,
}

/// Judges a backup by its manifests' headers; `None` without any.
///
/// `lacking` are tables that a node's manifest should name and does not.
///
/// A ring or schema that changed while it was taken makes it incomplete: which ranges it holds, or of
/// which tables, cannot be said for the cluster as a whole.
pub(crate) fn judge(
    headers: &[Header],
    lacking: BTreeMap<HostId, Vec<String>>,
    required: RequiredCoverage,
    selection: &Selection,
    dc: Option<&str>,
) -> Option<Judgement> {
    let last = headers.iter().max_by_key(|header| (header.snapshot_at, header.host_id))?;
    let mut remarks = Vec::new();
    if let Some(other) = headers.iter().find(|h| !h.topology.same_ring(&last.topology)) {
        remarks.push(Remark::RingChanged { one: other.host_id, other: last.host_id });
    }
    if let Some(other) = headers.iter().find(|header| !is_same_schema(header, last)) {
        remarks.push(Remark::SchemaChanged { one: other.host_id, other: last.host_id });
    }
    remarks.extend(lacking.into_iter().map(|(node, tables)| Remark::TablesMissing { node, tables }));
    let changed = !remarks.is_empty();

    let topology = last.topology.clone();
    let mut judged = topology.clone();
    judged.keyspaces.retain(|keyspace, _| selection.touches(keyspace));
    if let Some(dc) = dc {
        let without = limit_to(dc, &mut judged.keyspaces);
        remarks.push(Remark::OneDataCenter { dc: dc.to_owned(), without });
    }
    let held: BTreeSet<HostId> = headers.iter().map(|header| header.host_id).collect();
    let report = assess(&judged, &held, required);
    if !report.missing.is_empty() {
        remarks.push(Remark::NodesMissing { nodes: report.missing.clone() });
    }
    let thin: Vec<_> = report
        .keyspaces
        .iter()
        .filter(|(_, keyspace)| keyspace.held < keyspace.ranges)
        .map(|(name, _)| name.clone())
        .collect();
    if !thin.is_empty() {
        remarks.push(Remark::RangesThin { keyspaces: thin });
    }
    let coverage = if changed { Coverage::Incomplete } else { report.coverage };
    Some(Judgement { coverage, report, topology, remarks })
}

/// By Cassandra's own version of the schema, and by its objects where both say them. The captured texts
/// differ between releases, and there are two while a cluster is upgraded node by node.
fn is_same_schema(one: &Header, other: &Header) -> bool {
    let objects = one.objects_hash.as_ref().zip(other.objects_hash.as_ref());
    one.schema_version == other.schema_version && objects.is_none_or(|(one, other)| one == other)
}

/// Counts replicas in one data center only. Takes away the keyspaces that have none there, and
/// returns their names. `SimpleStrategy` knows no data centers and is judged by the whole ring.
fn limit_to(dc: &str, keyspaces: &mut BTreeMap<String, Replication>) -> Vec<String> {
    let mut without = Vec::new();
    keyspaces.retain(|name, replication| {
        let Replication::NetworkTopology { factors } = replication else { return true };
        factors.retain(|center, factor| center == dc && *factor > 0);
        if factors.is_empty() {
            without.push(name.clone());
        }
        !factors.is_empty()
    });
    without
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use ringvault_core::{
        BackupName, ClusterName, JobId,
        cluster::{Node, Token},
    };
    use uuid::Uuid;

    use super::*;

    fn host(n: u128) -> HostId {
        HostId(Uuid::from_u128(n))
    }

    /// Six nodes, three in each of two data centers.
    fn topology() -> Topology {
        let nodes = (1..=6)
            .map(|n| Node {
                host_id: host(n),
                address: format!("10.0.0.{n}"),
                dc: if n <= 3 { "east".into() } else { "west".into() },
                rack: "r1".into(),
                tokens: vec![Token(i64::try_from(n).unwrap() * 100)],
            })
            .collect();
        let both = [("east".to_owned(), 3), ("west".to_owned(), 3)].into();
        let west = [("west".to_owned(), 3)].into();
        let keyspaces = [
            ("orders".to_owned(), Replication::NetworkTopology { factors: both }),
            ("local".to_owned(), Replication::NetworkTopology { factors: west }),
        ];
        Topology { nodes, keyspaces: keyspaces.into() }
    }

    fn header(n: u128) -> Header {
        Header {
            version: 1,
            cluster: ClusterName::new("c").unwrap(),
            backup: BackupName::new("b").unwrap(),
            job: JobId(Uuid::nil()),
            epoch: 1,
            host_id: host(n),
            address: format!("10.0.0.{n}"),
            dc: "east".into(),
            rack: "r1".into(),
            tokens: Vec::new(),
            cassandra_version: "5.0.4".into(),
            partitioner: "Murmur3Partitioner".into(),
            schema_version: "s1".into(),
            schema_hash: "h1".into(),
            objects_hash: None,
            snapshot_at: DateTime::<Utc>::from_timestamp(1000, 0).unwrap(),
            topology: topology(),
            bases: std::collections::BTreeSet::new(),
            locked_for: None,
        }
    }

    fn headers(nodes: std::ops::RangeInclusive<u128>) -> Vec<Header> {
        nodes.map(header).collect()
    }

    fn verdict(headers: &[Header], required: RequiredCoverage, dc: Option<&str>) -> Judgement {
        judge(headers, BTreeMap::new(), required, &Selection::default(), dc).unwrap()
    }

    #[test]
    fn every_node_is_complete_and_a_few_may_be_covering() {
        let all = verdict(&headers(1..=6), RequiredCoverage::All, None);
        assert_eq!((all.coverage, all.remarks.len()), (Coverage::Complete, 0));
        let most = verdict(&headers(1..=5), RequiredCoverage::One, None);
        assert_eq!(most.coverage, Coverage::Covering);
        assert_eq!(most.remarks, [Remark::NodesMissing { nodes: vec![host(6)] }]);
        let few = verdict(&headers(1..=2), RequiredCoverage::One, None);
        assert_eq!(few.coverage, Coverage::Incomplete);
        let nothing = judge(&[], BTreeMap::new(), RequiredCoverage::One, &Selection::default(), None);
        assert!(nothing.is_none());
    }

    #[test]
    fn a_ring_or_schema_that_changed_on_the_way_is_never_complete() {
        let mut changed = headers(1..=6);
        changed[2].topology.nodes[0].tokens.push(Token(7));
        let ring = verdict(&changed, RequiredCoverage::One, None);
        assert_eq!(ring.coverage, Coverage::Incomplete);
        assert!(matches!(ring.remarks[0], Remark::RingChanged { one, .. } if one == host(3)));
        let mut changed = headers(1..=6);
        changed[3].schema_version = "s2".into();
        let schema = verdict(&changed, RequiredCoverage::One, None);
        assert_eq!(schema.coverage, Coverage::Incomplete);
        assert!(schema.remarks[0].to_string().contains("take it again"));
    }

    #[test]
    fn two_releases_in_one_ring_have_the_same_schema_in_other_words() {
        let mut upgraded = headers(1..=6);
        upgraded[4].cassandra_version = "5.0.5".into();
        upgraded[4].schema_hash = "h2".into();
        assert_eq!(verdict(&upgraded, RequiredCoverage::All, None).coverage, Coverage::Complete);
        for header in &mut upgraded {
            header.objects_hash = Some("o1".into());
        }
        assert_eq!(verdict(&upgraded, RequiredCoverage::All, None).coverage, Coverage::Complete);
        upgraded[2].objects_hash = None;
        assert_eq!(verdict(&upgraded, RequiredCoverage::All, None).coverage, Coverage::Complete);
        upgraded[3].objects_hash = Some("o2".into());
        let changed = verdict(&upgraded, RequiredCoverage::All, None);
        assert!(matches!(changed.remarks[..], [Remark::SchemaChanged { .. }]));
    }

    #[test]
    fn a_node_without_a_table_it_must_hold_makes_it_incomplete() {
        let lacking = BTreeMap::from([(host(2), vec!["ks.t".to_owned()])]);
        let judged = judge(&headers(1..=6), lacking, RequiredCoverage::All, &Selection::default(), None);
        let judged = judged.unwrap();
        assert_eq!(judged.coverage, Coverage::Incomplete);
        assert!(judged.remarks[0].to_string().contains("ks.t"));
    }

    #[test]
    fn a_remark_of_a_later_release_is_read() {
        let later = r#"{"remark":"something_new","of":[1]}"#;
        assert_eq!(serde_json::from_str::<Remark>(later).unwrap(), Remark::Unknown);
    }

    #[test]
    fn one_data_center_covers_what_has_replicas_there() {
        let east = verdict(&headers(1..=3), RequiredCoverage::All, Some("east"));
        assert_eq!(east.coverage, Coverage::Covering);
        let without = vec!["local".to_owned()];
        assert_eq!(east.remarks[0], Remark::OneDataCenter { dc: "east".into(), without });
    }

    #[test]
    fn only_what_was_selected_is_judged() {
        let selection = Selection { keyspaces: vec!["orders".into()], ..Selection::default() };
        let east = judge(&headers(1..=3), BTreeMap::new(), RequiredCoverage::One, &selection, None).unwrap();
        assert_eq!(east.coverage, Coverage::Covering, "{:?}", east.remarks);
    }
}
