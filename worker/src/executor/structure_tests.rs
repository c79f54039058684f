//! SSTables of real nodes, backed up into a vault as a worker does and verified to their structure: whole,
//! damaged on the node before they were backed up, and damaged in the vault.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use ringvault_core::{
    BackupName, ClusterName, HostId, JobId,
    cluster::{Node, Replication, RequiredCoverage, Token, Topology},
    job::{BackupMode, VerifyLevel},
    selection::Selection,
    task::{CheckResult, CheckTask, FindingKind, NodeManifestRef, SealTask},
};
use ringvault_vault::{
    Vault, VaultConfig,
    backup::{SealRecord, StartRecord},
    journal::UploadJournal,
    manifest::{Header, VERSION},
    progress::TransferProgress,
    transfer::TransferContext,
    upload::{ReuseBase, UploadConfig, UploadRequest, upload},
};
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use super::{super::source::NodeSnapshot, Structure};

const TABLES: [&str; 6] = ["nb/rows", "nb/raw", "oa/rows", "oa/raw", "da/rows", "da/raw"];

/// A node's data directory with a snapshot of each table, and a vault.
struct Ground {
    folder: tempfile::TempDir,
    vault: Vault,
}

fn cluster() -> ClusterName {
    ClusterName::new("c").unwrap()
}

fn name(text: &str) -> BackupName {
    BackupName::new(text).unwrap()
}

fn table_name(folder: &str) -> String {
    folder.replace('/', "_")
}

fn table_id(n: usize) -> Uuid {
    Uuid::from_u128(n as u128 + 1)
}

impl Ground {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (n, table) in TABLES.iter().enumerate() {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cassandra/fixtures").join(table);
            let to = Self::snapshot_in(folder.path(), n);
            fs::create_dir_all(&to).unwrap();
            let mut data = String::new();
            for file in fs::read_dir(from).unwrap() {
                let file = file.unwrap();
                let file_name = file.file_name().into_string().unwrap();
                fs::copy(file.path(), to.join(&file_name)).unwrap();
                if file_name.ends_with("-Data.db") {
                    data = file_name;
                }
            }
            fs::write(to.join("manifest.json"), format!(r#"{{"files":["{data}"]}}"#)).unwrap();
        }
        let config = VaultConfig::at(Url::from_directory_path(folder.path().join("vault")).unwrap());
        let vault = Vault::init(&config, "tests").await.unwrap().with_scratch(folder.path());
        Self { folder, vault }
    }

    fn snapshot_in(folder: &Path, n: usize) -> PathBuf {
        let table = format!("{}-{}", table_name(TABLES[n]), table_id(n).simple());
        folder.join("data/ks").join(table).join("snapshots/tag")
    }

    /// The file of a table's SSTable with this component.
    fn file(&self, table: &str, component: &str) -> PathBuf {
        let n = TABLES.iter().position(|other| *other == table).unwrap();
        let found = fs::read_dir(Self::snapshot_in(self.folder.path(), n)).unwrap();
        let mut found = found.map(|entry| entry.unwrap().path());
        found.find(|path| path.to_str().unwrap().ends_with(&format!("-{component}"))).unwrap()
    }

    /// Backs everything up; files of fewer bytes than `pack` go into packs.
    async fn back_up(&self, backup: &str, pack: u64) -> SealRecord {
        let objects: Vec<_> = (0..TABLES.len())
            .map(|n| {
                let shape = serde_json::json!({"table_id": table_id(n), "columns": [], "is_counter": false});
                serde_json::json!({"kind": "table", "keyspace": "ks", "name": table_name(TABLES[n]),
                    "statements": ["CREATE TABLE x (k int PRIMARY KEY)"], "table": shape})
            })
            .collect();
        let schema = serde_json::json!({"version": 1, "release_version": "5.0.4", "objects": objects});
        let text = schema.to_string();
        let schema = self.vault.put_schema(&cluster(), &name(backup), text.as_bytes()).await.unwrap();
        let schema_hash = schema.blake3.to_string();
        let (job, host_id) = (JobId::generate(), HostId(Uuid::from_u128(7)));
        let start = StartRecord {
            version: 1,
            cluster: cluster(),
            backup: name(backup),
            job,
            started_at: chrono::Utc::now(),
            mode: BackupMode::Incremental,
            policy: None,
            tags: BTreeMap::new(),
            selection: Selection::default(),
            coverage: RequiredCoverage::All,
            lock_seconds: None,
        };
        self.vault.begin_backup(&start).await.unwrap();
        let (dc, rack, address) = ("dc1".to_owned(), "r1".to_owned(), "10.0.0.1".to_owned());
        let tokens = vec![Token(0)];
        let header = Header {
            version: VERSION,
            cluster: cluster(),
            backup: name(backup),
            job,
            epoch: 1,
            host_id,
            address: address.clone(),
            dc: dc.clone(),
            rack: rack.clone(),
            tokens: tokens.clone(),
            cassandra_version: "5.0.4".into(),
            partitioner: "org.apache.cassandra.dht.Murmur3Partitioner".into(),
            schema_version: "v".into(),
            schema_hash,
            objects_hash: None,
            snapshot_at: chrono::Utc::now(),
            topology: Topology {
                nodes: vec![Node { host_id, address, dc, rack, tokens }],
                keyspaces: [("ks".to_owned(), Replication::Simple { factor: 1 })].into(),
            },
            bases: std::collections::BTreeSet::new(),
            locked_for: None,
        };
        let expected = (0..TABLES.len()).map(|n| ("ks".into(), table_name(TABLES[n]), table_id(n)));
        let source = NodeSnapshot {
            data_dirs: vec![self.folder.path().join("data")],
            tag: "tag".into(),
            selection: Selection::default(),
            expected: expected.collect(),
        };
        let journal = self.folder.path().join(format!("{backup}.journal"));
        let request = UploadRequest {
            header: header.clone(),
            source: Arc::new(source),
            reuse: ReuseBase::default(),
            journal: UploadJournal::open(&journal, &cluster(), &name(backup)).unwrap(),
            scratch: self.folder.path().to_owned(),
            config: UploadConfig { pack_threshold: pack, ..UploadConfig::default() },
        };
        let context = TransferContext::new(self.vault.store().clone());
        let uploaded = Box::pin(upload(&context, request)).await.unwrap();
        let manifest = NodeManifestRef {
            host_id,
            key: uploaded.key,
            blake3: uploaded.blake3.to_string(),
            snapshot_at: header.snapshot_at,
            schema_version: header.schema_version,
        };
        let task = SealTask {
            job,
            cluster: cluster(),
            backup: name(backup),
            nodes: vec![manifest],
            coverage: RequiredCoverage::All,
            dc: None,
            tainted: false,
        };
        self.vault.seal(&task).await.unwrap()
    }

    async fn verify(&self, backup: &str, level: VerifyLevel, shards: u32) -> CheckResult {
        let mut sum = CheckResult::default();
        let (job, stop) = (JobId::generate(), CancellationToken::new());
        for shard in 0..shards {
            let (cluster, backup) = (cluster(), name(backup));
            let task = CheckTask { job, cluster, backup, level, shard, shards };
            let progress = TransferProgress::new();
            let part = self.vault.verify_shard_with(&task, &Structure, &progress, &stop).await.unwrap();
            sum.objects += part.objects;
            sum.bytes += part.bytes;
            sum.damaged += part.damaged;
            sum.findings.extend(part.findings);
        }
        sum
    }
}

fn flip(path: &Path, at: usize) {
    let mut body = fs::read(path).unwrap();
    body[at] ^= 1;
    fs::write(path, body).unwrap();
}

#[tokio::test]
async fn sstables_of_real_nodes_hold_together_and_each_byte_is_read_once() {
    let ground = Ground::new().await;
    // All in packs; Data.db and statistics as objects; everything as an object.
    for (backup, pack) in [("packs", 1 << 20), ("mixed", 200), ("objects", 1)] {
        let seal = ground.back_up(backup, pack).await;
        let digest = ground.verify(backup, VerifyLevel::Digest, 2).await;
        for shards in [1, 3] {
            let checked = ground.verify(backup, VerifyLevel::Sstable, shards).await;
            assert_eq!(checked.findings, [], "{backup}");
            assert_eq!(checked.bytes, seal.figures.bytes, "{backup}");
            assert_eq!(checked.objects, digest.objects, "{backup}");
        }
    }
}

#[tokio::test]
async fn what_was_damaged_on_the_node_is_found_by_its_structure_alone() {
    let ground = Ground::new().await;
    // Where nothing but the SSTable's own structure tells: no checksum of the node covers these.
    flip(&ground.file("nb/rows", "Index.db"), 3);
    flip(&ground.file("oa/raw", "CRC.db"), 5);
    flip(&ground.file("oa/rows", "CompressionInfo.db"), 46);
    let partitions = ground.file("da/rows", "Partitions.db");
    let size = fs::metadata(&partitions).unwrap().len();
    flip(&partitions, usize::try_from(size).unwrap() - 9);
    fs::write(ground.file("nb/raw", "TOC.txt"), "Data.db\nSummary.db\nNone.db\n").unwrap();
    ground.back_up("b", 200).await;
    assert_eq!(ground.verify("b", VerifyLevel::Digest, 1).await.findings, [], "its hashes are good");

    let found = ground.verify("b", VerifyLevel::Sstable, 2).await;
    assert!(found.findings.iter().all(|finding| finding.kind == FindingKind::Structure), "{found:#?}");
    let files: BTreeSet<_> = found
        .findings
        .iter()
        .map(|finding| {
            let table = finding.table.as_ref().unwrap();
            let file = finding.file.as_ref().unwrap();
            assert!(finding.host_id.is_some() && !finding.detail.is_empty(), "{finding:?}");
            (table.table.clone(), file.rsplit('-').next().unwrap().to_owned())
        })
        .collect();
    for (table, file) in [
        ("nb_rows", "Index.db"),
        ("oa_raw", "Data.db"),
        ("oa_rows", "CompressionInfo.db"),
        ("da_rows", "Partitions.db"),
        ("nb_raw", "TOC.txt"),
    ] {
        assert!(files.contains(&(table.to_owned(), file.to_owned())), "{table} {file}: {files:?}");
    }
    assert!(files.iter().all(|(table, _)| table != "da_raw"), "{files:?}");
    assert_eq!(found.damaged, found.findings.len() as u64);
    assert!(
        ground.vault.bad_records(&cluster()).await.unwrap().is_empty(),
        "the same bytes would come again"
    );
}

#[tokio::test]
async fn what_was_damaged_in_the_vault_is_told_once_and_marked() {
    let ground = Ground::new().await;
    ground.back_up("b", 200).await;
    let data = walkdir(&ground.folder.path().join("vault"), "nb-1-big-Data.db");
    assert_eq!(data.len(), 2);
    for path in &data {
        flip(path, 100);
    }
    let partitions = walkdir(&ground.folder.path().join("vault"), "Statistics.db").remove(0);
    fs::remove_file(partitions).unwrap();
    let found = ground.verify("b", VerifyLevel::Sstable, 3).await;
    let mut kinds: Vec<_> = found.findings.iter().map(|finding| finding.kind).collect();
    kinds.sort_by_key(|kind| format!("{kind:?}"));
    let expect = [FindingKind::Corrupt, FindingKind::Corrupt, FindingKind::Missing];
    assert_eq!(kinds, expect, "{:#?}", found.findings);
    assert_eq!(ground.vault.bad_records(&cluster()).await.unwrap().len(), 3);
}

/// Files whose name ends so, anywhere below the folder.
fn walkdir(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walkdir(&path, end));
        } else if path.to_str().unwrap().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}
