//! A node's share of a restore: the SSTables it takes, derived from the plan and the manifests.

use std::{collections::HashMap, path::Path, sync::Arc};

use ringvault_core::{
    HostId, TaskError,
    cluster::{Token, TokenSet},
    restore::{Method, Owners, Share, SstableFacts, Streams, Take},
    selection::TableName,
};
use ringvault_vault::manifest::{Component, Entry, ManifestFile, SstableEntry, TableRef};
use uuid::Uuid;

use super::{
    record::{PlannedManifest, RestorePlan},
    sliced_files::{INDEX, Sliced, how_sliced, is_source},
};
use crate::executor::{Executor, failure};

/// An SSTable to take, and whose it was.
#[derive(Debug, Clone)]
pub(super) struct SharedSstable {
    pub(super) source: HostId,
    pub(super) entry: SstableEntry,
    /// The tokens whose partitions are taken; `None`: its files as they are.
    pub(super) slice: Option<Arc<TokenSet>>,
    /// What is known of where it goes, if it is streamed.
    pub(super) stream: Option<StreamTo>,
}

/// Where a streamed SSTable goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamTo {
    /// At least so many nodes get some of it.
    pub(super) receivers: usize,
    /// The node that fetches it owns all of it.
    pub(super) is_owned: bool,
}

impl SharedSstable {
    pub(super) fn table(&self) -> TableName {
        TableName::new(&self.entry.table.keyspace, &self.entry.table.table)
    }

    /// Tells it from every other SSTable of the backup, and is a relative path.
    pub(super) fn place(&self) -> String {
        let SstableEntry { table, name, .. } = &self.entry;
        format!(
            "{}/{}/{}/{}/{}-{}-{}",
            table.keyspace, table.table, self.source, table.data_dir, name.version, name.id, name.format
        )
    }

    /// The files that are fetched whole. Those of indexes are not, as the node builds them anew, and
    /// of a sliced one just those that tell where its partitions are.
    pub(super) fn components(&self) -> impl Iterator<Item = &Component> {
        let is_sliced = self.slice.is_some();
        let fetched =
            move |component: &&Component| !is_sliced || how_sliced(&self.entry, component) == Sliced::Whole;
        restored_components(&self.entry).filter(fetched)
    }

    /// What its slice is made of, beside Data.db.
    pub(super) fn slice_sources(&self) -> impl Iterator<Item = &Component> {
        restored_components(&self.entry).filter(|component| is_source(component))
    }

    /// Its Data.db.
    pub(super) fn data(&self) -> Option<&Component> {
        self.component("Data.db")
    }

    /// Its Index.db, if it is sliced and parts of that will do.
    pub(super) fn index_in_parts(&self) -> Option<&Component> {
        self.slice.as_ref()?;
        self.component(INDEX).filter(|index| how_sliced(&self.entry, index) == Sliced::Parts)
    }

    fn component(&self, name: &str) -> Option<&Component> {
        self.entry.components.iter().find(|component| component.name == name)
    }

    /// About how many bytes of its Data.db are fetched.
    pub(super) fn data_share(&self) -> u64 {
        self.share(self.data())
    }

    /// About how many bytes are fetched of the files that come in parts.
    pub(super) fn parts_share(&self) -> u64 {
        self.data_share().saturating_add(self.share(self.index_in_parts()))
    }

    /// The part of a file's bytes that it takes of the SSTable's tokens.
    fn share(&self, component: Option<&Component>) -> u64 {
        let size = component.map_or(0, |component| component.size);
        let facts = &self.entry.facts;
        let (first, last) =
            facts.first_token.zip(facts.last_token).unwrap_or((Token(i64::MIN), Token(i64::MAX)));
        let part = self.slice.as_ref().map_or(1.0, |wanted| wanted.part_of(first, last).0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let share = (part * size as f64) as u64;
        share.min(size)
    }
}

/// The components of an SSTable that a restore brings.
pub(super) fn restored_components(entry: &SstableEntry) -> impl Iterator<Item = &Component> {
    entry.components.iter().filter(|component| !component.name.starts_with("SAI+"))
}

/// Bytes of an SSTable's files that a restore brings.
pub(super) fn whole_size(entry: &SstableEntry) -> u64 {
    restored_components(entry).map(|component| component.size).fold(0, u64::saturating_add)
}

/// The tables of a plan, with their ids in the backup where they are known: a manifest may also name
/// an earlier table of the same name.
#[derive(Debug, Clone, Default)]
pub(super) struct PlannedTables(HashMap<TableName, Option<Uuid>>);

impl PlannedTables {
    pub(super) fn of(plan: &RestorePlan) -> Arc<Self> {
        let id_of = |table: &TableName| plan.facts.get(table).map(|facts| facts.table_id);
        Arc::new(Self(plan.tables.iter().map(|table| (table.clone(), id_of(table))).collect()))
    }

    /// The planned table that this is.
    fn find(&self, table: &TableRef) -> Option<TableName> {
        let name = TableName::new(&table.keyspace, &table.table);
        let id = self.0.get(&name)?;
        id.is_none_or(|id| id == table.table_id).then_some(name)
    }

    /// What a manifest's entry means to the restore; `None` if nothing.
    fn restored(&self, entry: Entry) -> Option<(TableName, Restored)> {
        match entry {
            Entry::Table(table) => Some((self.find(&table.table)?, Restored::Table)),
            // SSTables of legacy indexes are left: indexes are built anew.
            Entry::Sstable(sstable) if sstable.name.index.is_some() => None,
            Entry::Sstable(sstable) => {
                Some((self.find(&sstable.table)?, Restored::Sstable(Box::new(sstable))))
            }
        }
    }
}

/// A manifest's entry that a restore is about.
pub(super) enum Restored {
    /// The node has the table, with or without SSTables.
    Table,
    Sstable(Box<SstableEntry>),
}

/// The planner's view of an SSTable that comes to this keyspace.
pub(super) fn facts<'a>(source: HostId, entry: &SstableEntry, keyspace: &'a str) -> SstableFacts<'a> {
    SstableFacts { source, keyspace, span: entry.facts.first_token.zip(entry.facts.last_token) }
}

impl Executor {
    /// Reads one node's manifest of the backup, and calls `each` with every entry of `tables`.
    pub(super) async fn read_manifest<T: Send + 'static>(
        &self,
        manifest: &PlannedManifest,
        scratch: &Path,
        tables: Arc<PlannedTables>,
        mut state: T,
        mut each: impl FnMut(&mut T, TableName, Restored) + Send + 'static,
    ) -> Result<T, TaskError> {
        let file = ManifestFile::fetch(self.vault.store(), &manifest.key, Some(manifest.blake3), scratch)
            .await
            .map_err(|error| error.to_task_error())?;
        tokio::task::spawn_blocking(move || {
            let mut reader = file.reader().map_err(|error| error.to_task_error())?;
            while let Some(entry) = reader.next_entry().map_err(|error| error.to_task_error())? {
                if let Some((table, restored)) = tables.restored(entry) {
                    each(&mut state, table, restored);
                }
            }
            Ok(state)
        })
        .await
        .map_err(failure::internal)?
    }

    /// The share of `host`, in the order of the planned tables.
    pub(super) async fn share_of(
        &self,
        plan: &RestorePlan,
        host: HostId,
        scratch: &Path,
    ) -> Result<Vec<SharedSstable>, TaskError> {
        let tables = PlannedTables::of(plan);
        let owners = Arc::new(Owners::new(&plan.target, &plan.keyspaces));
        let rule = Share::new(&plan.method, &owners, host);
        let streams =
            matches!(plan.method, Method::Stream).then(|| Streams::new(&owners, plan.target.host_ids()));
        let mut taker = Taker { host, rule, streams, owned: HashMap::new(), share: Vec::new() };
        let sources: Vec<_> =
            plan.manifests.iter().filter(|manifest| taker.rule.takes_from(manifest.host_id)).collect();
        for manifest in sources {
            let (source, renames) = (manifest.host_id, plan.spec.rename.clone());
            taker = self
                .read_manifest(manifest, scratch, tables.clone(), taker, move |taker, table, entry| {
                    if let Restored::Sstable(entry) = entry {
                        taker.see(source, *entry, &renames.target(&table).keyspace);
                    }
                })
                .await?;
        }
        let mut share = taker.share;
        let ranks: HashMap<&TableName, usize> =
            plan.tables.iter().enumerate().map(|(rank, table)| (table, rank)).collect();
        share.sort_by_cached_key(|sstable| (ranks.get(&sstable.table()).copied(), sstable.place()));
        Ok(share)
    }
}

/// Picks one node's share out of all SSTables of the plan, in their order.
struct Taker {
    host: HostId,
    rule: Share,
    /// Which node fetches what, where it is streamed.
    streams: Option<Streams>,
    /// What is owned of a keyspace may be a long list: once for all its SSTables.
    owned: HashMap<String, Arc<TokenSet>>,
    share: Vec<SharedSstable>,
}

impl Taker {
    fn see(&mut self, source: HostId, entry: SstableEntry, keyspace: &str) {
        let facts = facts(source, &entry, keyspace);
        let (slice, stream) = match &mut self.streams {
            Some(streams) => {
                if streams.place(&facts, whole_size(&entry)) != Some(self.host) {
                    return;
                }
                let receivers = streams.receivers(&facts);
                (None, Some(StreamTo { receivers, is_owned: self.rule.owns_all(&facts) }))
            }
            None if !self.rule.wants(&facts) => return,
            None => match self.rule.take(&facts) {
                Take::Whole => (None, None),
                Take::Slice(tokens) => (Some(shared_set(&mut self.owned, keyspace, tokens)), None),
            },
        };
        self.share.push(SharedSstable { source, entry, slice, stream });
    }
}

/// The set of a keyspace, made once.
fn shared_set(
    owned: &mut HashMap<String, Arc<TokenSet>>,
    keyspace: &str,
    tokens: &TokenSet,
) -> Arc<TokenSet> {
    if let Some(known) = owned.get(keyspace) {
        return Arc::clone(known);
    }
    let set = Arc::new(tokens.clone());
    owned.insert(keyspace.to_owned(), Arc::clone(&set));
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringvault_core::cluster::{Node, Replication, Topology};
    use ringvault_vault::manifest::{SstableFacts, SstableName, TableEntry};

    #[test]
    fn what_is_streamed_is_one_node_s_to_fetch() {
        let node = |n: u8| Node {
            host_id: HostId(Uuid::from_u128(n.into())),
            address: format!("10.0.0.{n}"),
            dc: "dc1".into(),
            rack: "r1".into(),
            tokens: vec![Token(i64::from(n) * 100)],
        };
        let target = Topology { nodes: (1..=4).map(node).collect(), keyspaces: [].into() };
        let keyspaces = [("k".to_owned(), Replication::Simple { factor: 2 })].into();
        let owners = Arc::new(Owners::new(&target, &keyspaces));
        let entries: Vec<SstableEntry> = (0_i64..40)
            .map(|n| {
                let Entry::Sstable(mut entry) = sstable(1, None) else { panic!() };
                entry.name.id = n.to_string();
                let first = n * 37 % 400;
                entry.facts.first_token = Some(Token(first));
                entry.facts.last_token = Some(Token(first + n));
                entry
            })
            .collect();
        let share_of = |host: HostId| {
            let rule = Share::new(&Method::Stream, &owners, host);
            let streams = Some(Streams::new(&owners, target.host_ids()));
            let mut taker = Taker { host, rule, streams, owned: HashMap::new(), share: Vec::new() };
            for entry in &entries {
                taker.see(HostId(Uuid::nil()), entry.clone(), "k");
            }
            taker.share
        };
        let shares: Vec<SharedSstable> = target.host_ids().into_iter().flat_map(share_of).collect();
        let mut places: Vec<String> = shares.iter().map(SharedSstable::place).collect();
        places.sort();
        places.dedup();
        assert_eq!((shares.len(), places.len()), (entries.len(), entries.len()), "each once");
        for sstable in &shares {
            let to = sstable.stream.expect("it is streamed");
            assert!((2..=4).contains(&to.receivers), "{to:?}");
            assert!(sstable.slice.is_none() && sstable.components().count() == 0);
        }
    }

    fn table(id: u128) -> TableRef {
        TableRef { keyspace: "k".into(), table: "t".into(), table_id: Uuid::from_u128(id), data_dir: 0 }
    }

    fn sstable(id: u128, index: Option<&str>) -> Entry {
        let name = SstableName {
            index: index.map(str::to_owned),
            version: "nb".into(),
            id: "1".into(),
            format: "big".into(),
        };
        Entry::Sstable(SstableEntry {
            table: table(id),
            name,
            facts: SstableFacts::default(),
            components: Vec::new(),
        })
    }

    #[test]
    fn an_earlier_table_of_the_same_name_is_another_table() {
        let name = TableName::new("k", "t");
        let planned = PlannedTables([(name.clone(), Some(Uuid::from_u128(1)))].into());
        assert!(planned.restored(sstable(1, None)).is_some());
        assert!(planned.restored(sstable(2, None)).is_none());
        assert!(planned.restored(sstable(1, Some("idx"))).is_none());
        let folder = |id| Entry::Table(TableEntry { table: table(id), files: Vec::new() });
        assert!(planned.restored(folder(1)).is_some() && planned.restored(folder(2)).is_none());
        let older = PlannedTables([(name, None)].into());
        assert!(older.restored(sstable(2, None)).is_some(), "a plan that knows no ids goes by name");
    }
}
