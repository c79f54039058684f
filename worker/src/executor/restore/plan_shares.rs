//! Reads every manifest once: each target node's share, whole, in slices and in streams, what is known of each table, and whether
//! each node of the backup holds every table that it must.
//!
//! A node of the backup that owned ranges of a keyspace has a folder of each of its tables, empty or
//! not. Where one is missing, the backup does not hold what the node had of it: restoring would
//! bring less than it seems to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ringvault_cassandra::sstable::{Descriptor, slice::sliced_version};
use ringvault_core::{
    HostId, TaskError,
    cluster::Topology,
    restore::{AUTH_KEYSPACE, Method, Moved, Owners, Renames, Share, Streams},
    selection::TableName,
    task::NodePlan,
};
use ringvault_vault::manifest::SstableFacts;

use super::{
    plan_checks::Findings,
    record::{PlannedTable, RestorePlan},
    share::{PlannedTables, Restored, facts, restored_components, whole_size},
    sliced_files::{Sliced, how_sliced, sizes},
};
use crate::executor::Executor;

/// What is added up over the manifests.
struct Sums {
    nodes: Vec<NodeSums>,
    tables: BTreeMap<TableName, PlannedTable>,
    versions: BTreeSet<String>,
    renames: Renames,
    /// Tables that the manifest at hand names.
    seen: BTreeSet<TableName>,
    /// What slices have: versions that are sliced, and those that are not.
    sliced: BTreeSet<String>,
    unsliceable: BTreeSet<String>,
    /// Who fetches what, where it is streamed.
    streams: Streams,
}

/// One target node's sums.
struct NodeSums {
    share: Share,
    /// Whole SSTables.
    whole: NodePlan,
    /// Slices of those that it does not own all of.
    slices: NodePlan,
    /// What it fetches and what it receives, where each is fetched once.
    streams: NodePlan,
}

/// What the share of each node would be, by the ways that there are to fetch it.
pub(super) struct Shares {
    whole: Vec<NodePlan>,
    slices: Vec<NodePlan>,
    streams: Vec<NodePlan>,
    /// Versions that slices would have.
    pub(super) sliced_versions: BTreeSet<String>,
    /// Versions that are not sliced.
    pub(super) unsliceable: BTreeSet<String>,
}

impl Shares {
    /// Bytes over all nodes.
    pub(super) fn moved(&self) -> Moved {
        let bytes = |node: &NodePlan| node.bytes.saturating_add(node.receives);
        let sum = |nodes: &[NodePlan]| nodes.iter().map(bytes).fold(0, u64::saturating_add);
        Moved { import: sum(&self.whole), slice: sum(&self.slices), stream: sum(&self.streams) }
    }

    /// Those of a method.
    pub(super) fn of(self, method: &Method) -> Vec<NodePlan> {
        match method {
            Method::Slice => self.slices,
            Method::Stream => self.streams,
            Method::Copy { .. } | Method::Import => self.whole,
        }
    }
}

impl Sums {
    fn add(&mut self, source: HostId, name: TableName, entry: Restored) {
        let entry = match entry {
            Restored::Table => {
                self.seen.insert(name);
                return;
            }
            Restored::Sstable(entry) => entry,
        };
        let keyspace = self.renames.target(&name).keyspace;
        let table = self.tables.entry(name).or_default();
        table.sstables += 1;
        table.partitions = table.partitions.saturating_add(partitions_with_rows(entry.facts));
        let sstable = facts(source, &entry, &keyspace);
        let (sizes, size) = (sizes(&entry), whole_size(&entry));
        let mut is_sliced = false;
        let fetcher = self.streams.place(&sstable, size);
        for node in self.nodes.iter_mut().filter(|node| Some(node.streams.host_id) == fetcher) {
            node.streams.sstables += 1;
            node.streams.files += restored_components(&entry).count() as u64;
            node.streams.bytes = node.streams.bytes.saturating_add(size);
        }
        for node in self.nodes.iter_mut().filter(|node| node.share.wants(&sstable)) {
            let is_owned = node.share.owns_all(&sstable);
            table.cleanup |= !is_owned;
            let slice_bytes = node.share.slice_bytes(&sstable, sizes);
            for plan in [&mut node.whole, &mut node.slices] {
                plan.sstables += 1;
            }
            node.slices.bytes = node.slices.bytes.saturating_add(slice_bytes);
            let received = node.share.owned_bytes(&sstable, size);
            node.streams.receives = node.streams.receives.saturating_add(received);
            for component in restored_components(&entry) {
                node.whole.files += 1;
                node.whole.bytes = node.whole.bytes.saturating_add(component.size);
                let is_fetched = is_owned || how_sliced(&entry, component) != Sliced::Left;
                node.slices.files += u64::from(is_fetched);
            }
            is_sliced |= !is_owned && entry.table.keyspace != AUTH_KEYSPACE;
        }
        if is_sliced {
            self.note_sliced(&entry.name.version, &entry.name.format);
        }
        if !self.versions.contains(&entry.name.version) {
            self.versions.insert(entry.name.version);
        }
    }
}

impl Sums {
    /// What becomes of an SSTable's version when it is sliced.
    fn note_sliced(&mut self, version: &str, format: &str) {
        let descriptor = Descriptor::parse_file_name(&format!("{version}-1-{format}-Data.db"));
        let sliced = descriptor.as_ref().and_then(|(descriptor, _)| sliced_version(descriptor));
        let (set, version) = match sliced {
            Some(sliced) => (&mut self.sliced, sliced),
            None => (&mut self.unsliceable, version),
        };
        if !set.contains(version) {
            set.insert(version.to_owned());
        }
    }
}

/// At most so many partitions of an SSTable have rows. One without a row holds deletions of whole
/// partitions and nothing else.
pub(super) fn partitions_with_rows(facts: SstableFacts) -> u64 {
    if facts.rows == Some(0) { 0 } else { facts.partitions.unwrap_or_default() }
}

impl Executor {
    /// Adds up each target node's share, and fills in what is known of the tables.
    pub(super) async fn add_up(
        &self,
        plan: &mut RestorePlan,
        source: &Topology,
        findings: &mut Findings,
    ) -> Result<Shares, TaskError> {
        // Not the job's folder: whichever worker plans need not be one that the job's end clears up.
        let scratch = self.config.scratch_dir();
        let owners = Arc::new(Owners::new(&plan.target, &plan.keyspaces));
        let source_owners = Owners::new(source, &source.keyspaces);
        let nodes = plan
            .target
            .nodes
            .iter()
            .map(|node| {
                let share = Share::new(&plan.method, &owners, node.host_id);
                let (host_id, address) = (node.host_id, node.address.clone());
                let whole = NodePlan { host_id, address, sstables: 0, files: 0, bytes: 0, receives: 0 };
                NodeSums { share, slices: whole.clone(), streams: whole.clone(), whole }
            })
            .collect();
        let tables = PlannedTables::of(plan);
        let mut sums = Sums {
            nodes,
            tables: std::mem::take(&mut plan.facts),
            versions: BTreeSet::new(),
            renames: plan.spec.rename.clone(),
            seen: BTreeSet::new(),
            sliced: BTreeSet::new(),
            unsliceable: BTreeSet::new(),
            streams: Streams::new(&owners, plan.target.host_ids()),
        };
        let mut lacking: BTreeMap<&TableName, Vec<&str>> = BTreeMap::new();
        for manifest in &plan.manifests {
            let host = manifest.host_id;
            sums = self
                .read_manifest(manifest, &scratch, tables.clone(), sums, move |sums, table, entry| {
                    sums.add(host, table, entry);
                })
                .await?;
            let seen = std::mem::take(&mut sums.seen);
            let address = source.node(host).map_or("?", |node| node.address.as_str());
            for table in missing_tables(&plan.tables, &seen, &source_owners, host) {
                lacking.entry(table).or_default().push(address);
            }
        }
        for (table, nodes) in lacking {
            findings.blocker(format!(
                "the backup does not hold {table} of {}: leave the table out, or take another backup",
                nodes.join(", ")
            ));
        }
        plan.facts = sums.tables;
        plan.sstable_versions = sums.versions;
        let mut shares = Shares {
            whole: Vec::new(),
            slices: Vec::new(),
            streams: Vec::new(),
            sliced_versions: sums.sliced,
            unsliceable: sums.unsliceable,
        };
        for node in sums.nodes {
            shares.whole.push(node.whole);
            shares.slices.push(node.slices);
            shares.streams.push(node.streams);
        }
        Ok(shares)
    }
}

/// The tables that a node of the backup must hold, as it owned ranges of their keyspaces, and that
/// its manifest does not name.
fn missing_tables<'a>(
    tables: &'a [TableName],
    seen: &BTreeSet<TableName>,
    owners: &Owners,
    host: HostId,
) -> Vec<&'a TableName> {
    let must_hold =
        |table: &TableName| owners.of(&table.keyspace, host).is_none_or(|owned| !owned.is_empty());
    tables.iter().filter(|table| !seen.contains(*table) && must_hold(table)).collect()
}

#[cfg(test)]
mod tests {
    use ringvault_core::cluster::{Node, Replication, Token};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn deleted_partitions_are_not_waited_for() {
        let facts = |partitions, rows| SstableFacts { partitions, rows, ..SstableFacts::default() };
        assert_eq!(partitions_with_rows(facts(Some(3), Some(0))), 0);
        assert_eq!(partitions_with_rows(facts(Some(3), Some(1))), 3);
        assert_eq!(partitions_with_rows(facts(Some(3), None)), 3);
        assert_eq!(partitions_with_rows(facts(None, None)), 0);
    }

    #[test]
    fn a_node_must_hold_the_tables_it_owned_a_part_of() {
        let node = |n: u128, dc: &str| Node {
            host_id: HostId(Uuid::from_u128(n)),
            address: format!("10.0.0.{n}"),
            dc: dc.into(),
            rack: "r1".into(),
            tokens: vec![Token(i64::try_from(n).unwrap())],
        };
        let west = Replication::NetworkTopology { factors: [("west".to_owned(), 1)].into() };
        let topology = Topology {
            nodes: vec![node(1, "east"), node(2, "west")],
            keyspaces: [("k".to_owned(), west)].into(),
        };
        let owners = Owners::new(&topology, &topology.keyspaces);
        let (held, other) = (TableName::new("k", "held"), TableName::new("k", "other"));
        let unknown = TableName::new("unknown", "t");
        let tables = [held.clone(), other.clone(), unknown.clone()];
        let missing =
            |n| missing_tables(&tables, &[held.clone()].into(), &owners, HostId(Uuid::from_u128(n)));
        assert_eq!(missing(2), [&other, &unknown]);
        assert_eq!(missing(1), [&unknown], "no replica, nothing to hold");
    }
}
