//! One backup of Medusa's taken over: read, judged, written down.
//!
//! What can be damaged is read before anything is written. Then manifests and schema are put, which nobody
//! sees without a seal, and last `start.json` and the seal, one right after the other: what a purge waits for
//! is there for two requests. Manifests are named by the time of their import, so of two imports at once
//! neither writes over what the other's seal names.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use ringvault_core::{
    BackupName, ClusterName, HostId, JobId,
    cluster::{RequiredCoverage, Topology},
    job::BackupMode,
    selection::Selection,
};
use ringvault_fault::around;
use uuid::Uuid;

use super::{
    MedusaBackup,
    entries::{Origin, entries_of},
    meta::{NodeFiles, Tokenmap, check_server, derived, host_id, malformed, members},
    schema::Schema,
};
use crate::{
    backup::{IndexRef, SchemaRef, SealPlace, SealRecord, SealedNode, StartRecord, held, judge},
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
    manifest::{Entry, Header, IMPORTED_VERSION, ManifestWriter},
    record::FORMAT_VERSION,
};

/// Nodes whose files are read at the same time.
const PARALLEL: usize = 8;
/// A backup that is not done on every node may still become so for this long.
const MAY_STILL_RUN: TimeDelta = TimeDelta::hours(24);
/// What Medusa takes a ring's tokens for, when they are numbers of 64 bits.
const PARTITIONER: &str = "org.apache.cassandra.dht.Murmur3Partitioner";

/// What became of one backup of Medusa's.
#[derive(Debug)]
pub struct Imported {
    /// What is to be said of it.
    pub outcome: ImportOutcome,
    /// Its pieces that are missing or damaged, in words.
    pub problems: Vec<String>,
}

/// What an import came to.
#[derive(Debug)]
pub enum ImportOutcome {
    /// It is in the vault now, or would be.
    New(Box<SealRecord>),
    /// It was there before.
    Known,
    /// It was there before, and expired here.
    Gone {
        /// The purge that expired it.
        purge: u64,
    },
    /// Some of its nodes are not done, and may still be at work.
    Unfinished,
    /// It cannot be taken over: in words.
    Refused(String),
}

impl Imported {
    fn of(outcome: ImportOutcome) -> Self {
        Self { outcome, problems: Vec::new() }
    }

    fn refused(why: impl Into<String>) -> Self {
        Self::of(ImportOutcome::Refused(why.into()))
    }
}

/// The job that stands for an import: the same each time.
fn job_of(store: &str, cluster: &ClusterName, backup: &str) -> JobId {
    JobId(derived(&format!("medusa backup\0{store}\0{cluster}\0{backup}")))
}

/// A node that was read.
struct Node {
    name: String,
    host_id: HostId,
    started: DateTime<Utc>,
    tokenmap: Tokenmap,
    release: String,
    schema: Schema,
    schema_text: Vec<u8>,
    entries: Vec<Entry>,
}

impl Vault {
    /// Takes over one backup of the Medusa store `store` as one of `cluster`. `now` says whether an unfinished
    /// one may still be at work; with `unfinished` it is taken as it is. With `dry_run` nothing is written.
    ///
    /// # Errors
    /// Only what the store could not answer, and a vault that may not be written; what is damaged is told
    /// in the answer.
    pub async fn import_medusa(
        &self,
        (cluster, store): (&ClusterName, &str),
        from: &MedusaBackup,
        now: DateTime<Utc>,
        (unfinished, dry_run): (bool, bool),
    ) -> VaultResult<Imported> {
        let Ok(backup) = BackupName::new(&from.name) else {
            let why = "its name can be none here: 1 to 128 letters, digits, '.', '_' and '-', a letter or digit first";
            return Ok(Imported::refused(why));
        };
        let job = job_of(store, cluster, &from.name);
        if let Some(outcome) = self.imported_before(cluster, &backup, job).await? {
            return Ok(Imported::of(outcome));
        }
        let started = from.started().unwrap_or(now);
        if from.has_unfinished() && !unfinished && now - started < MAY_STILL_RUN {
            return Ok(Imported::of(ImportOutcome::Unfinished));
        }
        let (nodes, mut problems) = self.read_nodes(cluster, store, from).await?;
        if nodes.is_empty() {
            let outcome = ImportOutcome::Refused("no node of it is whole".to_owned());
            return Ok(Imported { outcome, problems });
        }
        for node in &nodes {
            problems.extend(node.schema.unread.iter().map(|statement| {
                format!(
                    "node {}: a statement of its schema is not understood and left out: {statement}",
                    node.name
                )
            }));
        }
        problems.dedup_by(|a, b| a.split_once(": ").map(|x| x.1) == b.split_once(": ").map(|x| x.1));
        let start = StartRecord {
            version: FORMAT_VERSION,
            cluster: cluster.clone(),
            backup,
            job,
            started_at: started,
            // Nothing of it is reused.
            mode: BackupMode::Full,
            policy: None,
            tags: tags(store, from),
            selection: Selection::default(),
            coverage: RequiredCoverage::All,
            lock_seconds: None,
        };
        let finished = from.nodes.values().filter_map(|node| node.finished).max().unwrap_or(started);
        let seal = self.write_imported(start, nodes, finished, dry_run).await?;
        Ok(match seal {
            Some(seal) => Imported { outcome: ImportOutcome::New(Box::new(seal)), problems },
            // Another import was quicker.
            None => Imported { outcome: ImportOutcome::Known, problems },
        })
    }

    /// What the vault has under this name; `None`: nothing.
    async fn imported_before(
        &self,
        cluster: &ClusterName,
        backup: &BackupName,
        job: JobId,
    ) -> VaultResult<Option<ImportOutcome>> {
        let taken = |by: JobId| {
            let why =
                format!("there is another backup of this name, made by job {by}; names are never used again");
            Some(ImportOutcome::Refused(why))
        };
        match self.seal_place(cluster, backup).await? {
            SealPlace::Sealed(seal) if seal.start.job == job => {
                let expired = self.read_intents(cluster).await?.expired_by(backup);
                Ok(Some(expired.map_or(ImportOutcome::Known, |purge| ImportOutcome::Gone { purge })))
            }
            SealPlace::Tombstone(stone) if stone.start.job == job => {
                Ok(Some(ImportOutcome::Gone { purge: stone.purge }))
            }
            SealPlace::Sealed(seal) => Ok(taken(seal.start.job)),
            SealPlace::Tombstone(stone) => Ok(taken(stone.start.job)),
            SealPlace::Aborted(abort) => {
                let why = format!("a backup of this name was given up here: {}", abort.reason);
                Ok(Some(ImportOutcome::Refused(why)))
            }
            SealPlace::Empty => match self.start_record(cluster, backup).await {
                Ok(start) if start.job != job => Ok(taken(start.job)),
                Ok(_) | Err(VaultError::NoSuchBackup { .. }) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// The nodes that are done and whole, and what is wrong with the others.
    async fn read_nodes(
        &self,
        cluster: &ClusterName,
        store: &str,
        from: &MedusaBackup,
    ) -> VaultResult<(Vec<Node>, Vec<String>)> {
        let done: Vec<(String, DateTime<Utc>)> = from
            .nodes
            .iter()
            .filter(|(_, node)| node.finished.is_some())
            .filter_map(|(name, node)| Some((name.clone(), node.started?)))
            .collect();
        let reads = futures::stream::iter(done).map(|(name, started)| async move {
            let files = self.medusa_node(store, &name, &from.name).await?;
            let read = match files.into() {
                Ok(files) => {
                    self.read_node(cluster, (store, from.name.as_str()), &name, started, files).await?
                }
                Err(why) => Err(why),
            };
            Ok::<_, VaultError>(read.map_err(|why: String| format!("node {name}: {why}")))
        });
        let mut reads = reads.buffered(PARALLEL);
        let (mut nodes, mut problems) = (Vec::new(), Vec::new());
        while let Some(read) = reads.try_next().await? {
            match read {
                Ok(node) => nodes.push(node),
                Err(why) => problems.push(why),
            }
        }
        Ok((nodes, problems))
    }

    async fn read_node(
        &self,
        cluster: &ClusterName,
        (store, backup): (&str, &str),
        name: &str,
        started: DateTime<Utc>,
        files: NodeFiles,
    ) -> VaultResult<Result<Node, String>> {
        if let Err(why) = check_server(&files.version) {
            return Ok(Err(why));
        }
        if !files.tokenmap.contains_key(name) {
            return Ok(Err("its token map does not name itself".to_owned()));
        }
        let mut origin = Origin { store, node: name, backup, opaque_tags: false };
        let entries = match entries_of(&origin, files.manifest.clone()) {
            Ok(entries) => entries,
            Err(why) => return Ok(Err(why)),
        };
        let first = entries.iter().flat_map(Entry::components).next();
        if let Some(first) = first {
            origin.opaque_tags = match self.store().has_opaque_tag(&first.place.key).await {
                Ok(opaque) => opaque,
                // A verify tells of it.
                Err(error) if error.is_not_found() => false,
                Err(error) => return Err(error.into()),
            };
        }
        let entries = if origin.opaque_tags { entries_of(&origin, files.manifest) } else { Ok(entries) };
        let entries = match entries {
            Ok(entries) => entries,
            Err(why) => return Ok(Err(why)),
        };
        let ids: BTreeMap<(String, String), Uuid> = entries
            .iter()
            .map(Entry::table)
            .map(|table| ((table.keyspace.clone(), table.table.clone()), table.table_id))
            .collect();
        let schema = match Schema::read(&files.schema, &files.version.release_version, &ids) {
            Ok(schema) => schema,
            Err(why) => return Ok(Err(format!("its schema.cql is damaged: {why}"))),
        };
        let schema_text = serde_json::to_vec(&schema).map_err(|error| malformed("schema.cql", error))?;
        Ok(Ok(Node {
            name: name.to_owned(),
            host_id: host_id(cluster, name),
            started,
            tokenmap: files.tokenmap,
            release: files.version.release_version,
            schema,
            schema_text,
            entries,
        }))
    }

    /// Writes the backup down; `None`: another import has done so.
    async fn write_imported(
        &self,
        start: StartRecord,
        nodes: Vec<Node>,
        sealed_at: DateTime<Utc>,
        dry_run: bool,
    ) -> VaultResult<Option<SealRecord>> {
        let epoch = u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default();
        let whole = topology(&start.cluster, &nodes);
        let mut headers = Vec::with_capacity(nodes.len());
        let mut sealed = Vec::with_capacity(nodes.len());
        let mut schemas: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut lacking = BTreeMap::new();
        if !dry_run {
            self.check_owner().await?;
        }
        for node in nodes {
            let missing = lacking_tables(&node);
            if !missing.is_empty() {
                lacking.insert(node.host_id, missing);
            }
            let header = self.header(&start, &node, &whole, epoch);
            schemas.entry(header.schema_hash.clone()).or_insert_with(|| node.schema_text.clone());
            let (scratch, entries, written) = (self.scratch().to_owned(), node.entries, header.clone());
            let finished = tokio::task::spawn_blocking(move || {
                let mut writer = ManifestWriter::create(&scratch, written)?;
                entries.iter().try_for_each(|entry| writer.push(entry))?;
                let finished = writer.finish()?;
                let body = std::fs::read(&finished.path)
                    .map_err(|error| VaultError::scratch(&finished.path, error))?;
                Ok::<_, VaultError>((finished, body))
            });
            let (finished, body) =
                finished.await.map_err(|error| VaultError::Internal(error.to_string()))??;
            let key = layout::manifest(&start.cluster, &start.backup, node.host_id, epoch);
            if !dry_run {
                around!("vault.import-manifest").run(self.store().put(&key, Bytes::from(body))).await?;
            }
            sealed.push(SealedNode {
                host_id: node.host_id,
                key,
                blake3: finished.blake3,
                address: header.address.clone(),
                dc: header.dc.clone(),
                rack: header.rack.clone(),
                cassandra_version: header.cassandra_version.clone(),
                schema_version: header.schema_version.clone(),
                snapshot_at: header.snapshot_at,
                figures: finished.figures,
                // Nothing of it lies in a backup's folder.
                reuses: BTreeSet::new(),
            });
            headers.push(header);
        }
        let judgement = judge::judge(&headers, lacking, RequiredCoverage::All, &start.selection, None)
            .ok_or_else(|| {
                malformed(&layout::seal(&start.cluster, &start.backup), "no node's manifest was accepted")
            })?;
        let last = headers.iter().max_by_key(|header| (header.snapshot_at, header.host_id));
        let hash = last.map(|header| header.schema_hash.clone()).unwrap_or_default();
        let schema = match schemas.remove(&hash) {
            Some(text) if !dry_run => self.put_schema(&start.cluster, &start.backup, &text).await?,
            _ => {
                let blake3 = hash.parse().map_err(|error| malformed("schema.cql", error))?;
                SchemaRef { key: layout::schema(&start.cluster, &start.backup, &hash), blake3 }
            }
        };
        let seal = SealRecord {
            version: FORMAT_VERSION,
            sealed_at,
            coverage: judgement.coverage,
            required: RequiredCoverage::All,
            report: judgement.report,
            remarks: judgement.remarks,
            figures: held(&sealed, &judgement.topology),
            topology: judgement.topology,
            partitioner: PARTITIONER.to_owned(),
            schema,
            nodes: sealed,
            index: IndexRef::default(),
            sparse_packs: Vec::new(),
            dc: None,
            tainted: false,
            lock: None,
            start,
        };
        if dry_run {
            return Ok(Some(seal));
        }
        self.begin_backup(&seal.start).await?;
        Ok(self.create_seal(&seal).await?.then_some(seal))
    }

    fn header(&self, start: &StartRecord, node: &Node, whole: &Topology, epoch: u64) -> Header {
        let hash = self.store().hash_key().digest(&node.schema_text).to_string();
        let facts = crate::hash::Digest::of(node.schema.facts().as_bytes()).to_string();
        let own = whole.nodes.iter().find(|member| member.host_id == node.host_id);
        Header {
            version: IMPORTED_VERSION,
            cluster: start.cluster.clone(),
            backup: start.backup.clone(),
            job: start.job,
            epoch,
            host_id: node.host_id,
            address: node.name.clone(),
            dc: own.map(|own| own.dc.clone()).unwrap_or_default(),
            rack: own.map(|own| own.rack.clone()).unwrap_or_default(),
            tokens: own.map(|own| own.tokens.clone()).unwrap_or_default(),
            cassandra_version: node.release.clone(),
            partitioner: PARTITIONER.to_owned(),
            // Medusa does not ask for Cassandra's own.
            schema_version: facts.clone(),
            schema_hash: hash,
            objects_hash: Some(facts),
            snapshot_at: node.started,
            topology: as_seen_by(node, whole, &start.cluster),
            bases: BTreeSet::new(),
            locked_for: None,
        }
    }
}

fn tags(store: &str, from: &MedusaBackup) -> BTreeMap<String, String> {
    let differential = from.nodes.values().any(|node| node.differential);
    let mode = if differential { "differential" } else { "full" };
    [("origin", "medusa"), ("medusa-store", store), ("medusa-mode", mode)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// The ring: each node's token map has its own data center only, all of them together have all.
fn topology(cluster: &ClusterName, nodes: &[Node]) -> Topology {
    let mut all: BTreeMap<HostId, ringvault_core::cluster::Node> = BTreeMap::new();
    let mut newest: Vec<&Node> = nodes.iter().collect();
    newest.sort_by_key(|node| (node.started, node.host_id));
    for node in &newest {
        for member in members(cluster, &node.tokenmap) {
            all.insert(member.host_id, member);
        }
    }
    let keyspaces = newest.last().map(|node| node.schema.keyspaces.clone()).unwrap_or_default();
    Topology { nodes: all.into_values().collect(), keyspaces }
}

/// The ring as a node saw it: of its own data center what its own token map says, of the others what
/// theirs do.
fn as_seen_by(node: &Node, whole: &Topology, cluster: &ClusterName) -> Topology {
    let own = members(cluster, &node.tokenmap);
    let centers: BTreeSet<&str> = own.iter().map(|member| member.dc.as_str()).collect();
    let others = whole.nodes.iter().filter(|member| !centers.contains(member.dc.as_str()));
    let mut nodes: Vec<_> = others.cloned().chain(own.iter().cloned()).collect();
    nodes.sort_by_key(|member| member.host_id);
    Topology { nodes, keyspaces: node.schema.keyspaces.clone() }
}

/// The tables of a node's schema that its manifest does not name.
fn lacking_tables(node: &Node) -> Vec<String> {
    let named: BTreeSet<(&str, &str, Uuid)> = node
        .entries
        .iter()
        .map(Entry::table)
        .map(|table| (table.keyspace.as_str(), table.table.as_str(), table.table_id))
        .collect();
    node.schema
        .tables()
        .filter(|table| !named.contains(table))
        .map(|(keyspace, table, _)| format!("{keyspace}.{table}"))
        .collect()
}
