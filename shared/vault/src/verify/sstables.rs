//! Level `sstable`: every byte against its digest, and each SSTable's own structure, in one reading.
//!
//! The work is cut by SSTable, not by object: what its components say of each other is seen only by who
//! reads them all. Small components are fetched together where they lie beside each other in a pack;
//! Data.db and what says where its chunks end are read side by side. So each content is read once, and
//! nothing of a pack that no manifest names. An SSTable that several nodes name with the same content in the
//! same places is read once, and told for each of them.
//!
//! What a structure means is not known here: a [`StructureCheck`] of the caller's knows. Damage of a
//! structure whose bytes are what the manifest says came from the node: it is told, and gets no marker in
//! `bad/`, since to bring the same bytes again would heal nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use ringvault_core::{
    HostId,
    selection::TableName,
    task::{CheckTask, Finding, FindingKind},
};
use tokio_util::sync::CancellationToken;

use super::{damage, records::Opened, target, unless_stopped};
use crate::{
    checksum::Checker,
    content,
    error::{VaultError, VaultResult},
    hash::{ContentHasher, Digest, HashKey},
    identity::Vault,
    manifest::{Component, Entry, ManifestFile, SstableEntry},
    progress::TransferProgress,
};

/// SSTables read at the same time.
const AT_ONCE: usize = 4;
/// Components of fewer bytes are fetched with their neighbours, in one request, and held.
const SMALL: u64 = 1 << 20;
/// Bytes between two contents of a pack that are fetched along rather than asked around.
const MAX_GAP: u64 = 64 << 10;
/// Bytes of one request for small components.
const MAX_RUN: u64 = 16 << 20;

/// Knows what an SSTable consists of.
pub trait StructureCheck: Send + Sync {
    /// Begins to look at an SSTable; `None`: nothing is known of its kind.
    fn begin(&self, sstable: &SstableEntry) -> Option<Box<dyn SstableInspection>>;
}

/// Looks at one SSTable as its bytes go by, each once. Components come one after the other, in the order
/// of [`Self::rank`]; of the sidecar as much as is wanted before each piece of the data.
pub trait SstableInspection: Send {
    /// Where a component stands in the order.
    fn rank(&self, component: &str) -> u8;

    /// The component that is read beside `Data.db`.
    fn sidecar(&self) -> Option<String>;

    /// Whether more of the sidecar is needed before the next `coming` bytes of `Data.db`.
    fn wants_sidecar(&self, coming: usize) -> bool;

    /// The next bytes of a component.
    fn take(&mut self, component: &str, piece: &[u8]);

    /// All of a component was taken.
    fn end(&mut self, component: &str);

    /// What is wrong: component and words.
    fn finish(self: Box<Self>) -> Vec<(String, String)>;
}

/// An entry of a manifest, and the nodes that name these very contents.
struct Unit {
    entry: Entry,
    nodes: Vec<HostId>,
}

/// What reading the units came to.
#[derive(Default)]
pub(super) struct Inspected {
    pub(super) bytes: u64,
    pub(super) objects: u64,
    pub(super) findings: Vec<Finding>,
    /// Damaged objects.
    pub(super) damaged: BTreeMap<String, FindingKind>,
}

/// What is wrong with a content.
type Wrong = (FindingKind, String);

impl Vault {
    /// Checks the SSTables of the task's shard.
    pub(super) async fn check_sstables(
        &self,
        task: &CheckTask,
        opened: &Opened,
        structure: &dyn StructureCheck,
        progress: &TransferProgress,
        stop: &CancellationToken,
    ) -> VaultResult<Inspected> {
        let (units, objects) = units_of_shard(&opened.manifests, task).await?;
        let mut targets = BTreeMap::new();
        let mut expected = 0_u64;
        for component in units.iter().flat_map(|unit| unit.entry.components()) {
            expected = expected.saturating_add(component.size);
            target::add(&mut targets, component);
        }
        progress.expect(units.iter().map(|unit| unit.entry.components().len() as u64).sum(), expected);
        let absent = self.check_presence(&opened.folders, &mut targets, stop).await?;
        let absent: BTreeMap<String, Wrong> =
            absent.into_iter().map(|(key, damage)| (key, (damage.kind, damage.detail))).collect();
        let mut inspected = Inspected { objects, ..Inspected::default() };
        let hash_key = self.store().hash_key();
        let reading = Reading { vault: self, hash_key, absent: &absent, progress, stop };
        let (reading, units) = (&reading, &units);
        let reads = futures::stream::iter(0..units.len())
            .map(|n| async move { reading.unit(&units[n], structure).await });
        let mut reads = std::pin::pin!(reads.buffer_unordered(AT_ONCE));
        while let Some((unit, wrong)) = reads.try_next().await? {
            let is_absent = |component: &&Component| absent.contains_key(&component.place.key);
            let components = unit.entry.components();
            let gone: u64 = components.iter().filter(is_absent).map(|component| component.size).sum();
            inspected.bytes += components.iter().map(|component| component.size).sum::<u64>() - gone;
            for (component, (kind, detail)) in wrong {
                if kind != FindingKind::Structure {
                    inspected.damaged.insert(component.place.key.clone(), kind);
                }
                inspected.findings.extend(findings(task, unit, component, kind, &detail));
            }
        }
        Ok(inspected)
    }
}

fn findings<'a>(
    task: &'a CheckTask,
    unit: &'a Unit,
    component: &'a Component,
    kind: FindingKind,
    detail: &'a str,
) -> impl Iterator<Item = Finding> + 'a {
    let table = unit.entry.table();
    unit.nodes.iter().map(move |node| Finding {
        kind,
        backup: task.backup.clone(),
        host_id: Some(*node),
        table: Some(TableName::new(&table.keyspace, &table.table)),
        file: Some(unit.entry.file_name(component)),
        key: component.place.key.clone(),
        detail: detail.to_owned(),
    })
}

/// The entries of the shard: by a hash of where their first content lies, so that the same SSTable named
/// by several nodes is one shard's. And how many objects the shard has at the other levels, so that all
/// shards together count each object once.
async fn units_of_shard(
    manifests: &Arc<Vec<(HostId, ManifestFile)>>,
    task: &CheckTask,
) -> VaultResult<(Vec<Unit>, u64)> {
    let (manifests, task) = (manifests.clone(), task.clone());
    let read = tokio::task::spawn_blocking(move || {
        let mut units: Vec<Unit> = Vec::new();
        let mut known: HashMap<Digest, usize> = HashMap::new();
        let mut objects: HashSet<String> = HashSet::new();
        for (host, manifest) in manifests.iter() {
            let mut reader = manifest.reader()?;
            while let Some(entry) = reader.next_entry()? {
                for component in entry.components() {
                    let key = &component.place.key;
                    if target::is_mine(key, &task) && !objects.contains(key) {
                        objects.insert(key.clone());
                    }
                }
                let Some(first) = entry.components().first() else { continue };
                let place = format!("{}@{}", first.place.key, first.place.offset());
                if !target::is_mine(&place, &task) {
                    continue;
                }
                let same = identity(&entry);
                match known.get(&same).and_then(|n| units.get_mut(*n)) {
                    Some(unit) => unit.nodes.push(*host),
                    None => {
                        known.insert(same, units.len());
                        units.push(Unit { entry, nodes: vec![*host] });
                    }
                }
            }
        }
        Ok((units, objects.len() as u64))
    });
    read.await.map_err(|e| VaultError::Internal(e.to_string()))?
}

/// By name and the places of all contents.
fn identity(entry: &Entry) -> Digest {
    let mut hasher = ContentHasher::new();
    hasher.update(entry.order().to_string().as_bytes());
    for component in entry.components() {
        let place = &component.place;
        hasher.update(format!("\n{} {}@{}", component.name, place.key, place.offset()).as_bytes());
    }
    hasher.digest()
}

struct Reading<'a> {
    vault: &'a Vault,
    hash_key: HashKey,
    absent: &'a BTreeMap<String, Wrong>,
    progress: &'a TransferProgress,
    stop: &'a CancellationToken,
}

/// A content as it comes.
type Pieces = BoxStream<'static, VaultResult<Bytes>>;

/// A component that is being read.
struct Open<'a> {
    component: &'a Component,
    pieces: Pieces,
    checker: Checker,
    ended: bool,
    wrong: Option<Wrong>,
}

impl Reading<'_> {
    /// Reads every content of a unit once. What is wrong with which.
    async fn unit<'e>(
        &self,
        unit: &'e Unit,
        structure: &dyn StructureCheck,
    ) -> VaultResult<(&'e Unit, Vec<(&'e Component, Wrong)>)> {
        let entry = &unit.entry;
        let mut inspection = match entry {
            Entry::Sstable(sstable) => structure.begin(sstable),
            Entry::Table(_) => None,
        };
        let mut wrong = Vec::new();
        let mut there: Vec<&Component> = Vec::new();
        for component in entry.components() {
            match self.absent.get(&component.place.key) {
                Some(absent) => wrong.push((component, absent.clone())),
                None => there.push(component),
            }
        }
        if let Some(inspection) = &inspection {
            there.sort_by_key(|component| inspection.rank(&component.name));
        }
        let mut held = self.small(&there).await?;
        let sidecar_name = inspection.as_ref().and_then(|inspection| inspection.sidecar());
        let mut sidecar = None;
        for component in &there {
            unless_stopped(self.stop)?;
            self.progress.set_current(component.place.key.clone());
            let mut open = self.open(component, &mut held);
            if sidecar_name.as_ref() == Some(&component.name) {
                sidecar = Some(open);
                continue;
            }
            while let Some(piece) = self.next(&mut open).await? {
                let Some(inspection) = &mut inspection else { continue };
                if component.name == DATA
                    && let Some(side) = &mut sidecar
                {
                    while !side.ended && inspection.wants_sidecar(piece.len()) {
                        self.feed(side, inspection.as_mut()).await?;
                    }
                }
                inspection.take(&component.name, &piece);
            }
            if let Some(inspection) = &mut inspection {
                inspection.end(&component.name);
            }
            wrong.extend(open.wrong.map(|found| (*component, found)));
        }
        if let (Some(side), Some(inspection)) = (&mut sidecar, &mut inspection) {
            while !side.ended {
                self.feed(side, inspection.as_mut()).await?;
            }
        }
        if let Some(side) = sidecar {
            wrong.extend(side.wrong.map(|found| (side.component, found)));
        }
        if let Some(inspection) = inspection {
            for (name, what) in inspection.finish() {
                let Some(component) = entry.components().iter().find(|other| other.name == name) else {
                    // A component that should be there and is not: told with the first that is.
                    let first = entry.components().iter().find(|other| other.name == DATA);
                    let first = first.or_else(|| entry.components().first());
                    wrong.extend(first.map(|c| (c, (FindingKind::Structure, format!("{name}: {what}")))));
                    continue;
                };
                // Bytes that are damaged in the vault need no second word about what they say.
                if !wrong
                    .iter()
                    .any(|(other, (kind, _))| other.name == component.name && *kind != FindingKind::Structure)
                {
                    wrong.push((component, (FindingKind::Structure, what)));
                }
            }
        }
        Ok((unit, wrong))
    }

    async fn feed(&self, side: &mut Open<'_>, inspection: &mut dyn SstableInspection) -> VaultResult<()> {
        let name = &side.component.name;
        match self.next(side).await? {
            Some(piece) => inspection.take(name, &piece),
            None => inspection.end(name),
        }
        Ok(())
    }

    /// The next bytes of a component; at its end it is judged by size and digest.
    async fn next(&self, open: &mut Open<'_>) -> VaultResult<Option<Bytes>> {
        if open.ended {
            return Ok(None);
        }
        unless_stopped(self.stop)?;
        match open.pieces.try_next().await {
            Ok(Some(piece)) => {
                open.checker.update(&piece);
                self.progress.advance(piece.len() as u64);
                return Ok(Some(piece));
            }
            Ok(None) => {
                if !open.checker.is_right() {
                    let detail = "the content is not what its manifest says".to_owned();
                    open.wrong = Some((FindingKind::Corrupt, detail));
                }
            }
            Err(VaultError::Store(error)) => {
                let Some(kind) = damage::kind_of(&error) else { return Err(error.into()) };
                let kind = if kind == FindingKind::Truncated { FindingKind::Corrupt } else { kind };
                open.wrong = Some((kind, error.to_string()));
            }
            Err(error) => return Err(error),
        }
        open.ended = true;
        self.progress.file_done();
        Ok(None)
    }

    fn open<'c>(&self, component: &'c Component, held: &mut HashMap<String, VaultResult<Bytes>>) -> Open<'c> {
        let pieces = match held.remove(&component.name) {
            Some(content) => futures::stream::once(async move { content }).boxed(),
            None => {
                let (store, place, size) =
                    (self.vault.store().clone(), component.place.clone(), component.size);
                let opened = async move {
                    let pieces = content::whole(&store, &place, size).await?;
                    Ok::<_, VaultError>(pieces.map_err(VaultError::from))
                };
                futures::stream::once(opened).try_flatten().boxed()
            }
        };
        Open {
            component,
            pieces,
            checker: component.checksum.checker(component.size, &self.hash_key),
            ended: false,
            wrong: None,
        }
    }

    /// The small components in packs, by name: neighbours in one request.
    async fn small(&self, components: &[&Component]) -> VaultResult<HashMap<String, VaultResult<Bytes>>> {
        let mut packed: Vec<&Component> = components
            .iter()
            .filter(|component| {
                let stored = component.place.stored(component.size);
                component.place.pack.is_some() && component.size > 0 && component.size.max(stored) < SMALL
            })
            .copied()
            .collect();
        packed.sort_by_key(|component| (&component.place.key, component.place.offset()));
        let mut runs: Vec<(u64, u64, Vec<&Component>)> = Vec::new();
        for component in packed {
            let Range { start: begin, end } = component.place.span(component.size);
            match runs.last_mut() {
                Some((from, to, run))
                    if run[0].place.key == component.place.key
                        && begin <= to.saturating_add(MAX_GAP)
                        && end - *from <= MAX_RUN =>
                {
                    *to = (*to).max(end);
                    run.push(component);
                }
                _ => runs.push((begin, end, vec![component])),
            }
        }
        let mut held = HashMap::new();
        for (from, to, run) in runs {
            unless_stopped(self.stop)?;
            match self.vault.store().get_range(&run[0].place.key, from, to - from).await {
                Ok(body) => {
                    for component in run {
                        let Range { start, end } = component.place.span(component.size);
                        let within =
                            |at: u64| usize::try_from(at - from).unwrap_or(usize::MAX).min(body.len());
                        let stored = body.slice(within(start)..within(end));
                        let content = content::unpacked(&component.place, component.size, stored);
                        held.insert(component.name.clone(), content.map_err(VaultError::from));
                    }
                }
                // Sound ones lie beside what cannot be read: each is asked for by itself.
                Err(error) if run.len() > 1 && error.is_damage() => {}
                Err(error) => {
                    for component in run {
                        held.insert(component.name.clone(), Err(error.clone().into()));
                    }
                }
            }
        }
        Ok(held)
    }
}

/// The component that holds the rows.
const DATA: &str = "Data.db";
