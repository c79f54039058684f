//! A vault, and a cluster of nodes that bring backups to it, step by step as the workers do.

#![allow(dead_code, unreachable_pub)] // a module of several test binaries, each uses its part

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use ringvault_core::{
    BackupName, ClusterName, JobId,
    cluster::{self, Replication, RequiredCoverage, Token, Topology},
    job::{BackupMode, VerifyLevel},
    selection::Selection,
    task::{
        CheckResult, CheckTask, MarkResult, MarkTask, NodeManifestRef, PurgeReportTask, ReportResult,
        SealTask, SweepTask,
    },
};
use ringvault_vault::{
    EncryptionConfig, Vault, VaultConfig, VaultResult,
    backup::{SealRecord, StartRecord},
    crypt::SecretKey,
    hash::Digest,
    manifest::{Header, SstableEntry},
    progress::TransferProgress,
    purge::MarkOutcome,
    transfer::TransferContext,
    upload::{Uploaded, upload},
    verify::{SstableInspection, StructureCheck},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use crate::support::{Lab, Node, table_ref};

/// The statement that makes the ring's table.
pub const STATEMENT: &str = "CREATE TABLE ks.t (k int PRIMARY KEY)";

/// The schema as a worker captures it, with one table or more.
pub fn schema_of(tables: &[&str]) -> Vec<u8> {
    let objects: Vec<_> = tables
        .iter()
        .map(|table| {
            let id = table_ref("ks", table, 0).table_id;
            let shape = serde_json::json!({"table_id": id, "columns": [], "is_counter": false});
            let statements = [STATEMENT.replace("ks.t", &format!("ks.{table}"))];
            serde_json::json!({"kind": "table", "keyspace": "ks", "name": table, "statements": statements, "table": shape})
        })
        .collect();
    serde_json::json!({"version": 1, "release_version": "5.0.4", "objects": objects}).to_string().into()
}

pub fn name(text: &str) -> BackupName {
    BackupName::new(text).unwrap()
}

/// The job that makes the backup, or does the purge, of this name.
pub fn job(of: &str) -> JobId {
    let mut id = [0; 16];
    id.copy_from_slice(&Digest::of(of.as_bytes()).as_bytes()[..16]);
    JobId(Uuid::from_bytes(id))
}

/// A new key in a file of this name.
pub fn key_file(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, SecretKey::generate().unwrap().to_text().as_bytes()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

pub struct World {
    pub vault: Vault,
    pub lab: Lab,
    pub nodes: Vec<Node>,
    pub cluster: ClusterName,
    /// Which tables backups say that they are of.
    pub selection: Selection,
    /// The schema that nodes capture.
    pub schema: Vec<u8>,
    /// When the first backup begins, by its record.
    pub epoch: DateTime<Utc>,
    /// How long after the one before each other does.
    pub step: TimeDelta,
    /// What each backup asks for.
    pub lock_seconds: Option<u64>,
    /// Whether nodes are told of it.
    pub nodes_know: bool,
    begun: HashMap<BackupName, DateTime<Utc>>,
}

/// Knows nothing of SSTables: their bytes are all that is looked at.
struct NoStructure;

impl StructureCheck for NoStructure {
    fn begin(&self, _: &SstableEntry) -> Option<Box<dyn SstableInspection>> {
        None
    }
}

impl World {
    /// A new vault in a folder, and a ring of so many nodes with a table each.
    pub async fn on_folder(nodes: usize) -> Self {
        let local = tempfile::tempdir().unwrap();
        let config = VaultConfig::at(Url::from_directory_path(local.path().join("vault")).unwrap());
        Self::new(&config, local, nodes).await
    }

    /// The same with a vault that is encrypted, and its configuration.
    pub async fn encrypted(nodes: usize) -> (Self, VaultConfig) {
        let local = tempfile::tempdir().unwrap();
        let config = VaultConfig {
            encryption: Some(EncryptionConfig::of_file(key_file(local.path(), "key"))),
            ..VaultConfig::at(Url::from_directory_path(local.path().join("vault")).unwrap())
        };
        (Self::new(&config, local, nodes).await, config)
    }

    pub async fn new(config: &VaultConfig, local: TempDir, nodes: usize) -> Self {
        let vault = Vault::init(config, "tests").await.unwrap().with_scratch(local.path());
        let mut world = Self::of(vault, local);
        world.nodes = (0..nodes)
            .map(|n| {
                let mut node = Node::new();
                node.table("ks", "t", 0);
                node.sstable("ks", "t", 0, None, &format!("{n}"), &[("Data.db", 20_000), ("TOC.txt", 92)]);
                node
            })
            .collect();
        world
    }

    /// A vault that is there, without nodes.
    pub fn of(vault: Vault, local: TempDir) -> Self {
        let lab = Lab::new(vault.store().clone(), local);
        let vault = vault.with_scratch(lab.local.path());
        let (selection, schema) = (Selection::default(), schema_of(&["t"]));
        let (epoch, step) = (DateTime::from_timestamp(1_700_000_000, 0).unwrap(), TimeDelta::minutes(1));
        let (nodes, begun) = (Vec::new(), HashMap::new());
        Self {
            vault,
            cluster: lab.cluster.clone(),
            lab,
            nodes,
            selection,
            schema,
            epoch,
            step,
            lock_seconds: None,
            nodes_know: true,
            begun,
        }
    }

    pub fn topology(&self) -> Topology {
        let nodes = self.nodes.iter().zip(1..).map(|(node, n)| cluster::Node {
            host_id: node.host,
            address: format!("10.0.0.{n}"),
            dc: "dc1".into(),
            rack: "r1".into(),
            tokens: vec![Token(n * 100)],
        });
        let keyspaces = [("ks".to_owned(), Replication::Simple { factor: 2 })];
        Topology { nodes: nodes.collect(), keyspaces: keyspaces.into() }
    }

    pub fn start(&self, backup: &str, mode: BackupMode) -> StartRecord {
        StartRecord {
            version: 1,
            cluster: self.cluster.clone(),
            backup: name(backup),
            job: job(backup),
            started_at: self.begun.get(&name(backup)).copied().unwrap_or_default(),
            mode,
            policy: None,
            tags: [("why".to_owned(), "test".to_owned())].into(),
            selection: self.selection.clone(),
            coverage: RequiredCoverage::All,
            lock_seconds: self.lock_seconds,
        }
    }

    /// Step one of a backup.
    pub async fn begin_as(&mut self, backup: &str, mode: BackupMode) -> VaultResult<()> {
        let count = i32::try_from(self.begun.len()).unwrap();
        let at = self.epoch + self.step * count;
        self.begun.entry(name(backup)).or_insert(at);
        self.vault.begin_backup(&self.start(backup, mode)).await
    }

    pub async fn begin(&mut self, backup: &str) {
        self.begin_as(backup, BackupMode::Incremental).await.unwrap();
    }

    pub fn header(&self, node: usize, backup: &str, schema_hash: &str) -> Header {
        let topology = self.topology();
        Header {
            job: job(backup),
            tokens: topology.nodes[node].tokens.clone(),
            schema_hash: schema_hash.to_owned(),
            topology,
            ..self.lab.header(&self.nodes[node], backup, 1)
        }
    }

    /// Steps two and three: a node uploads what it has now.
    pub async fn bring(&mut self, node: usize, backup: &str) -> (NodeManifestRef, Uploaded) {
        let vault = self.vault.locking_for(self.lock_seconds.filter(|_| self.nodes_know));
        let schema = vault.put_schema(&self.cluster, &name(backup), &self.schema).await.unwrap();
        let header = self.header(node, backup, &schema.blake3.to_string());
        let reuse = self.vault.reuse_base(&self.cluster, &name(backup), header.host_id).await.unwrap();
        let snapshot = Arc::new(self.nodes[node].snapshot());
        let request = self.lab.request(header.clone(), snapshot, reuse);
        let context = TransferContext::new(vault.store().clone());
        let uploaded = Box::pin(upload(&context, request)).await.unwrap();
        let manifest = NodeManifestRef {
            host_id: header.host_id,
            key: uploaded.key.clone(),
            blake3: uploaded.blake3.to_string(),
            snapshot_at: header.snapshot_at,
            schema_version: header.schema_version,
        };
        (manifest, uploaded)
    }

    pub async fn bring_all(&mut self, backup: &str) -> (Vec<NodeManifestRef>, Vec<Uploaded>) {
        let (mut manifests, mut uploads) = (Vec::new(), Vec::new());
        for node in 0..self.nodes.len() {
            let (manifest, uploaded) = self.bring(node, backup).await;
            manifests.push(manifest);
            uploads.push(uploaded);
        }
        (manifests, uploads)
    }

    /// The last step.
    pub async fn seal(&self, backup: &str, nodes: Vec<NodeManifestRef>) -> VaultResult<SealRecord> {
        let task = SealTask {
            job: job(backup),
            cluster: self.cluster.clone(),
            backup: name(backup),
            nodes,
            coverage: RequiredCoverage::All,
            dc: None,
            tainted: false,
        };
        self.vault.seal(&task).await
    }

    /// A whole backup of every node.
    pub async fn backup(&mut self, backup: &str) -> SealRecord {
        self.begin(backup).await;
        let (manifests, _) = self.bring_all(backup).await;
        self.seal(backup, manifests).await.unwrap()
    }

    pub fn mark_task(&self, purge: &str, expire: &[&str], dead: &[&str]) -> MarkTask {
        let names = |texts: &[&str]| texts.iter().map(|text| name(text)).collect();
        MarkTask { job: job(purge), cluster: self.cluster.clone(), expire: names(expire), dead: names(dead) }
    }

    pub async fn mark(&self, purge: &str, expire: &[&str], dead: &[&str]) -> MarkOutcome {
        self.vault.mark(&self.mark_task(purge, expire, dead)).await.unwrap()
    }

    pub async fn condemn(&self, purge: &str, expire: &[&str], dead: &[&str]) -> MarkResult {
        match self.mark(purge, expire, dead).await {
            MarkOutcome::Condemned(result) => result,
            MarkOutcome::Waiting { on, .. } => panic!("{purge} waits for {on:?}"),
        }
    }

    pub async fn sweep(&self, purge: u64, shard: u32, shards: u32) -> VaultResult<()> {
        let task = SweepTask { job: job("sweep"), cluster: self.cluster.clone(), purge, shard, shards };
        self.vault.sweep(&task, &TransferProgress::new(), &CancellationToken::new()).await.map(drop)
    }

    pub async fn finish(&self, purge: u64) -> ReportResult {
        let task = PurgeReportTask { job: job("finish"), cluster: self.cluster.clone(), purge };
        self.vault.finish_purge(&task).await.unwrap()
    }

    /// A whole purge.
    pub async fn purge(&self, purge: &str, expire: &[&str], dead: &[&str]) -> MarkResult {
        let marked = self.condemn(purge, expire, dead).await;
        for shard in 0..3 {
            self.sweep(marked.purge, shard, 3).await.unwrap();
        }
        self.finish(marked.purge).await;
        marked
    }

    pub fn check_task(&self, backup: &str, level: VerifyLevel, shard: u32, shards: u32) -> CheckTask {
        let (cluster, backup) = (self.cluster.clone(), name(backup));
        CheckTask { job: job("verify"), cluster, backup, level, shard, shards }
    }

    /// A verify in so many shards, their results added up.
    pub async fn verify(&self, backup: &str, level: VerifyLevel, shards: u32) -> CheckResult {
        let mut sum = CheckResult::default();
        for shard in 0..shards {
            let task = self.check_task(backup, level, shard, shards);
            let result = self
                .vault
                .verify_shard_with(&task, &NoStructure, &TransferProgress::new(), &CancellationToken::new())
                .await
                .unwrap();
            sum.objects += result.objects;
            sum.bytes += result.bytes;
            sum.damaged += result.damaged;
            sum.findings.extend(result.findings);
        }
        sum
    }

    /// Asserts that every byte of a backup is there.
    pub async fn assert_whole(&self, backup: &str) {
        let result = self.verify(backup, VerifyLevel::Digest, 2).await;
        assert_eq!(result.findings, [], "{backup}");
        assert!(result.objects > 0);
    }

    pub async fn keys(&self, folder: &str) -> Vec<String> {
        self.lab.store.list(folder).map_ok(|object| object.key).try_collect().await.unwrap()
    }

    /// Keys in the `data/` folder of a backup.
    pub async fn data_of(&self, backup: &str) -> Vec<String> {
        self.keys(&format!("clusters/{}/backups/{backup}/data/", self.cluster)).await
    }
}
