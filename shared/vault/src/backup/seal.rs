//! The last step of a backup: `backup.json`, created once.
//!
//! Everything a seal names is in the vault, and was checked, before the seal is created: every line of
//! the manifests, that the objects this backup brought are there at their size, and that what it reuses
//! lies in backups that were sealed; so a reader who sees a seal can rely on all of it. A manifest that
//! lacks a table which the node must hold makes the backup incomplete: every node snapshots every
//! selected table of its schema, also one of which it owns nothing. A seal is created with `If-None-Match`, so an abort marker
//! that came first keeps a late worker from sealing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use ringvault_core::{
    BackupName, ClusterName, HostId,
    backup::BackupFigures,
    cluster::{Coverage, CoverageReport, RequiredCoverage, Topology},
    task::{NodeManifestRef, SealResult, SealTask},
};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};

use super::{
    CapturedSchema, IndexRef, Remark, SchemaRef, SealLock, SealPlace, StartRecord, index_build, judge,
    read_through::{NamedTables, OwnObjects, ReadThrough, read_through},
    state::SealFile,
};
use crate::{
    error::{VaultError, VaultResult},
    hash::Digest,
    identity::Vault,
    layout,
    manifest::{Figures, Header, ManifestFile},
    record::{self, FORMAT_VERSION},
};

/// Tables named in a remark of what a node lacks.
const MAX_LACKING: usize = 20;

/// A node's part of a sealed backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedNode {
    /// The node.
    pub host_id: HostId,
    /// Its manifest.
    pub key: String,
    /// BLAKE3 of the manifest's object.
    pub blake3: Digest,
    /// Its address, without a port.
    pub address: String,
    /// Data center.
    pub dc: String,
    /// Rack.
    pub rack: String,
    /// Version of Cassandra.
    pub cassandra_version: String,
    /// Cassandra's version of the schema.
    pub schema_version: String,
    /// When its snapshot was complete.
    pub snapshot_at: DateTime<Utc>,
    /// What its manifest names.
    pub figures: Figures,
    /// The backups in whose folders what it names lies: a purge reads the manifest only where one of
    /// these goes.
    pub reuses: BTreeSet<BackupName>,
}

/// `backup.json`: the seal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SealRecord {
    /// Version of the vault's format.
    pub version: u32,
    /// What the backup was asked to be.
    pub start: StartRecord,
    /// When it was sealed.
    pub sealed_at: DateTime<Utc>,
    /// What it may call itself.
    pub coverage: Coverage,
    /// How much of the ring it had to hold.
    pub required: RequiredCoverage,
    /// What the coverage rests on.
    pub report: CoverageReport,
    /// Why it is less than it might be.
    #[serde(default)]
    pub remarks: Vec<Remark>,
    /// The ring.
    pub topology: Topology,
    /// Class name of the partitioner.
    pub partitioner: String,
    /// The schema.
    pub schema: SchemaRef,
    /// The accepted manifests.
    pub nodes: Vec<SealedNode>,
    /// Its figures.
    pub figures: BackupFigures,
    /// What it names, by content.
    #[serde(default)]
    pub index: IndexRef,
    /// Packs it names that are mostly dead: the next backup brings their live parts again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sparse_packs: Vec<String>,
    /// Only nodes of this data center were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dc: Option<String>,
    /// Taken while a restore of the cluster was under way or had failed there; the first releases'
    /// seals do not say it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tainted: bool,
    /// Until when what it names is locked; absent where no locks are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<SealLock>,
}

impl SealRecord {
    /// As a seal task answers.
    pub fn to_result(&self) -> SealResult {
        SealResult {
            coverage: self.coverage,
            report: self.report.clone(),
            sealed_at: self.sealed_at,
            figures: self.figures,
            remarks: self.remarks.iter().map(ToString::to_string).collect(),
            locked_until: self.lock.as_ref().map(|lock| lock.until),
        }
    }

    /// Whether another program made it, and only its records are here.
    pub fn is_imported(&self) -> bool {
        self.start.tags.get("origin").is_some_and(|origin| origin == "medusa")
            && self.nodes.iter().all(|node| node.reuses.is_empty())
    }

    /// The node's part.
    pub fn node(&self, host: HostId) -> Option<&SealedNode> {
        self.nodes.iter().find(|node| node.host_id == host)
    }
}

impl Vault {
    /// Judges the backup by its accepted manifests and seals it. The same job again gets the same
    /// seal.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn seal(&self, task: &SealTask) -> VaultResult<SealRecord> {
        self.check_owner().await?;
        let (cluster, backup) = (&task.cluster, &task.backup);
        let start = self.start_record(cluster, backup).await?;
        if start.job != task.job {
            let (cluster, backup) = (cluster.clone(), backup.clone());
            return Err(VaultError::NameTaken { cluster, backup, job: start.job });
        }
        if let Some(sealed) = self.sealed_by(task).await? {
            return Ok(sealed);
        }
        self.locking_for(start.lock_seconds).judge_and_seal(task, start).await
    }

    async fn judge_and_seal(&self, task: &SealTask, start: StartRecord) -> VaultResult<SealRecord> {
        let (cluster, backup) = (&task.cluster, &task.backup);
        let manifests = Arc::new(self.fetch_manifests(task).await?);
        let mut headers = Vec::with_capacity(manifests.len());
        let mut nodes = Vec::with_capacity(manifests.len());
        let mut tables = Vec::with_capacity(manifests.len());
        let mut own = OwnObjects::of(self.store(), cluster, backup);
        for manifest in manifests.iter() {
            let read: ReadThrough;
            (read, own) = read_through(manifest, task, own).await?;
            nodes.push(sealed_node(manifest, &read.header, read.figures, read.reuses));
            headers.push(read.header);
            tables.push(read.tables);
        }
        self.check_reuses(cluster, backup, &nodes).await?;
        let lacking = self.lacking_tables(&start, &headers, &tables).await?;
        let dc = task.dc.as_deref();
        let judgement =
            judge::judge(&headers, lacking, task.coverage, &start.selection, dc).ok_or_else(|| {
                VaultError::malformed(&layout::seal(cluster, backup), "no node's manifest was accepted")
            })?;
        let last = headers.iter().max_by_key(|header| (header.snapshot_at, header.host_id));
        let hash = last.map(|header| header.schema_hash.as_str()).unwrap_or_default();
        let schema = schema_named(cluster, backup, hash)?;
        let files = nodes.iter().map(|node| node.figures.files).sum();
        let built =
            index_build::build(self.store(), cluster, backup, &manifests, files, self.scratch()).await?;
        let reuses = nodes.iter().flat_map(|node| &node.reuses).filter(|reused| *reused != backup);
        let lock = self.lock_backup(&start, &headers, &manifests, &reuses.cloned().collect()).await?;
        let seal = SealRecord {
            version: FORMAT_VERSION,
            sealed_at: Utc::now(),
            coverage: judgement.coverage,
            required: task.coverage,
            report: judgement.report,
            remarks: judgement.remarks,
            figures: self.figures(own, cluster, backup, &nodes, &judgement.topology).await?,
            topology: judgement.topology,
            partitioner: headers.first().map(|h| h.partitioner.clone()).unwrap_or_default(),
            schema,
            nodes,
            index: built.index,
            sparse_packs: built.sparse_packs,
            dc: task.dc.clone(),
            tainted: task.tainted,
            lock,
            start,
        };
        let file = SealFile::Seal(Box::new(seal));
        let created = around!("vault.seal")
            .run(record::create(self.store(), &layout::seal(cluster, backup), &file))
            .await?;
        match (created, file) {
            (true, SealFile::Seal(seal)) => Ok(*seal),
            _ => self.sealed_by(task).await?.ok_or_else(|| {
                VaultError::malformed(&layout::seal(cluster, backup), "it is there and is not")
            }),
        }
    }

    /// Creates the seal of a backup that was judged elsewhere. `false`: something stands in its place.
    pub(crate) async fn create_seal(&self, seal: &SealRecord) -> VaultResult<bool> {
        let key = layout::seal(&seal.start.cluster, &seal.start.backup);
        let file = SealFile::Seal(Box::new(seal.clone()));
        around!("vault.import-seal").run(record::create(self.store(), &key, &file)).await
    }

    /// The seal that this job has created already; `None` when nothing stands in its place.
    async fn sealed_by(&self, task: &SealTask) -> VaultResult<Option<SealRecord>> {
        let (cluster, backup) = (task.cluster.clone(), task.backup.clone());
        match self.seal_place(&cluster, &backup).await? {
            SealPlace::Empty => Ok(None),
            SealPlace::Sealed(seal) if seal.start.job == task.job => Ok(Some(*seal)),
            SealPlace::Sealed(_) => Err(VaultError::AlreadySealed { cluster, backup }),
            SealPlace::Aborted(abort) => Err(VaultError::Aborted { cluster, backup, reason: abort.reason }),
            SealPlace::Tombstone(stone) => Err(VaultError::Expired { cluster, backup, purge: stone.purge }),
        }
    }

    async fn fetch_manifests(&self, task: &SealTask) -> VaultResult<Vec<ManifestFile>> {
        let fetched = futures::stream::iter(&task.nodes).map(|node| async move {
            let digest = manifest_digest(task, node)?;
            Ok::<_, VaultError>(
                ManifestFile::fetch(self.store(), &node.key, Some(digest), self.scratch()).await?,
            )
        });
        fetched.buffered(super::PARALLEL).try_collect().await
    }

    /// Refuses what reuses objects of a backup that was never sealed: they go with the next purge.
    async fn check_reuses(
        &self,
        cluster: &ClusterName,
        backup: &BackupName,
        nodes: &[SealedNode],
    ) -> VaultResult<()> {
        let reused: BTreeSet<_> =
            nodes.iter().flat_map(|node| &node.reuses).filter(|reused| *reused != backup).cloned().collect();
        let places = futures::stream::iter(reused).map(|reused| async move {
            let place = self.seal_place(cluster, &reused).await;
            (reused, place)
        });
        let mut places = places.buffer_unordered(super::PARALLEL);
        while let Some((reused, place)) = places.next().await {
            match place {
                Ok(SealPlace::Sealed(_) | SealPlace::Tombstone(_)) => {}
                Ok(SealPlace::Empty | SealPlace::Aborted(_)) => {
                    let manifests = layout::manifests_folder(cluster, backup);
                    let why = format!("objects of {reused} are named, which was never sealed");
                    return Err(VaultError::malformed(&manifests, why));
                }
                Err(error @ VaultError::Malformed { .. }) => {
                    tracing::warn!(%cluster, %backup, %error, "a backup that is reused has a damaged record");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The selected tables that each node's schema has and its manifest does not name.
    async fn lacking_tables(
        &self,
        start: &StartRecord,
        headers: &[Header],
        tables: &[NamedTables],
    ) -> VaultResult<BTreeMap<HostId, Vec<String>>> {
        let mut schemas: HashMap<&str, CapturedSchema> = HashMap::new();
        for header in headers {
            if !schemas.contains_key(header.schema_hash.as_str()) {
                let schema = schema_named(&start.cluster, &start.backup, &header.schema_hash)?;
                let text = self.get_schema(&schema).await?;
                let parsed = CapturedSchema::parse(&text);
                schemas.insert(
                    &header.schema_hash,
                    parsed.map_err(|error| VaultError::malformed(&schema.key, error))?,
                );
            }
        }
        let mut lacking = BTreeMap::new();
        for (header, named) in headers.iter().zip(tables) {
            let Some(schema) = schemas.get(header.schema_hash.as_str()) else { continue };
            let missing: Vec<String> = schema
                .tables()
                .filter(|(keyspace, table, _)| start.selection.is_backed_up(keyspace, table))
                .filter(|(keyspace, table, id)| !named.hold(keyspace, table, *id))
                .map(|(keyspace, table, _)| format!("{keyspace}.{table}"))
                .take(MAX_LACKING)
                .collect();
            if !missing.is_empty() {
                lacking.insert(header.host_id, missing);
            }
        }
        Ok(lacking)
    }

    async fn figures(
        &self,
        mut own: OwnObjects,
        cluster: &ClusterName,
        backup: &BackupName,
        nodes: &[SealedNode],
        topology: &Topology,
    ) -> VaultResult<BackupFigures> {
        let mut figures = held(nodes, topology);
        let mut brought = self.store().list(&layout::data_folder(cluster, backup));
        while let Some(object) = brought.try_next().await? {
            figures.objects_new += 1;
            figures.bytes_new = figures.bytes_new.saturating_add(object.size);
            own.found(&object.key, object.size);
        }
        own.check()?;
        Ok(figures)
    }
}

/// What the nodes' manifests name in all; nothing is said of what was brought.
pub(crate) fn held(nodes: &[SealedNode], topology: &Topology) -> BackupFigures {
    let mut figures = BackupFigures {
        nodes_total: u32::try_from(topology.nodes.len()).unwrap_or(u32::MAX),
        nodes_held: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
        ..BackupFigures::default()
    };
    for node in nodes {
        figures.sstables += node.figures.sstables;
        figures.files += node.figures.files;
        figures.bytes = figures.bytes.saturating_add(node.figures.bytes);
    }
    figures
}

/// Checks that a reference names a manifest of this backup and node, and reads its digest.
fn manifest_digest(task: &SealTask, node: &NodeManifestRef) -> VaultResult<Digest> {
    let folder = layout::manifests_folder(&task.cluster, &task.backup);
    let own = layout::check_key(&node.key).is_ok()
        && node.key.strip_prefix(&folder).is_some_and(|name| name.starts_with(&node.host_id.to_string()));
    if !own {
        return Err(VaultError::malformed(&node.key, format!("it is no manifest of {}", node.host_id)));
    }
    node.blake3.parse().map_err(|e| VaultError::malformed(&node.key, e))
}

/// The captured schema of this hash.
fn schema_named(cluster: &ClusterName, backup: &BackupName, hash: &str) -> VaultResult<SchemaRef> {
    let manifests = layout::manifests_folder(cluster, backup);
    let blake3 = hash.parse::<Digest>().map_err(|e| VaultError::malformed(&manifests, e))?;
    Ok(SchemaRef { key: layout::schema(cluster, backup, hash), blake3 })
}

fn sealed_node(
    manifest: &ManifestFile,
    header: &Header,
    figures: Figures,
    reuses: BTreeSet<BackupName>,
) -> SealedNode {
    SealedNode {
        host_id: header.host_id,
        key: manifest.key().to_owned(),
        blake3: manifest.blake3(),
        address: header.address.clone(),
        dc: header.dc.clone(),
        rack: header.rack.clone(),
        cassandra_version: header.cassandra_version.clone(),
        schema_version: header.schema_version.clone(),
        snapshot_at: header.snapshot_at,
        figures,
        reuses,
    }
}
