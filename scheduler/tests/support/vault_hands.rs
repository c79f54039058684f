//! Workers that do in the vault what they are told, for real: backups, verifies and purges of a small
//! cluster without a Cassandra.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ringvault_core::{
    HostId, TaskError,
    cluster::{Node, Replication, Token, Topology},
    task::{NodeManifestRef, SnapshotResult, TaskPayload, TaskResult, UploadResult, UploadTask},
};
use ringvault_queue::{
    Report,
    message::{TaskOffer, TaskSucceeded},
};
use ringvault_vault::{
    Vault,
    backup::{AbortOutcome, StartRecord},
    hash::Digest,
    identity::RingIdentity,
    journal::UploadJournal,
    manifest::{Header, SstableFacts, SstableName, TableRef, VERSION},
    progress::TransferProgress,
    purge::MarkOutcome,
    transfer::TransferContext,
    upload::{
        SnapshotSource, SourceFile, SourceItem, SourceSstable, SourceTable, UploadConfig, UploadRequest,
        upload,
    },
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Lab, cluster, host, worker::Worker};

const TABLE_ID: Uuid = Uuid::from_u128(0x33);

/// One table with one SSTable, whose bytes `content` decides.
struct Files {
    folder: PathBuf,
}

impl Files {
    fn of(folder: &Path, node: HostId, content: &str) -> Self {
        let folder = folder.join(format!("node-{node}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in [("Data.db", content.repeat(4000)), ("TOC.txt", "Data.db\nTOC.txt\n".to_owned())]
        {
            std::fs::write(folder.join(format!("nb-1-big-{name}")), format!("{node}{text}")).expect("a file");
        }
        Self { folder }
    }
}

impl SnapshotSource for Files {
    fn items(&self) -> Box<dyn Iterator<Item = Result<SourceItem, TaskError>> + Send + '_> {
        let table = TableRef { keyspace: "k".into(), table: "t".into(), table_id: TABLE_ID, data_dir: 0 };
        let name = SstableName { index: None, version: "nb".into(), id: "1".into(), format: "big".into() };
        let components = ["Data.db", "TOC.txt"]
            .map(|part| SourceFile { name: part.into(), path: self.folder.join(name.file_name(part)) });
        let sstable = SourceSstable { table: table.clone(), name, components: components.into() };
        let items =
            [SourceItem::Table(SourceTable { table, files: Vec::new() }), SourceItem::Sstable(sstable)];
        Box::new(items.into_iter().map(Ok))
    }

    fn facts(&self, _: &SourceSstable) -> Result<SstableFacts, TaskError> {
        Ok(SstableFacts::default())
    }
}

/// The ring as the workers of [`Lab::nodes`] see it.
fn ring(nodes: usize) -> Topology {
    let node = |index: usize| Node {
        host_id: host(index + 1),
        address: format!("10.0.0.{index}"),
        dc: "dc1".to_owned(),
        rack: "r1".to_owned(),
        tokens: vec![Token(i64::try_from(index).expect("few nodes") * 100)],
    };
    let keyspaces = [("k".to_owned(), Replication::Simple { factor: 3 })].into();
    Topology { nodes: (0..nodes).map(node).collect(), keyspaces }
}

/// What the workers have on their disks, and which vault they bring it to.
pub struct Hands<'a> {
    pub vault: &'a Vault,
    pub folder: &'a Path,
    pub nodes: usize,
    /// Decides the bytes of every SSTable: another content is another SSTable.
    pub content: String,
}

impl Hands<'_> {
    async fn bring(&self, task: &UploadTask, node: HostId, epoch: u32) -> UploadResult {
        let schema = serde_json::json!({"version": 1, "release_version": "5.0.4", "objects": [
            {"kind": "table", "keyspace": "k", "name": "t", "statements": ["CREATE TABLE k.t (k int PRIMARY KEY)"],
             "table": {"table_id": TABLE_ID, "columns": [], "is_counter": false}}]});
        let text = schema.to_string();
        let schema =
            self.vault.put_schema(&task.cluster, &task.backup, text.as_bytes()).await.expect("schema");
        let topology = ring(self.nodes);
        let seen = topology.nodes.iter().find(|seen| seen.host_id == node).expect("a member").clone();
        let header = Header {
            version: VERSION,
            cluster: task.cluster.clone(),
            backup: task.backup.clone(),
            job: task.job,
            epoch: epoch.into(),
            host_id: node,
            address: seen.address,
            dc: seen.dc,
            rack: seen.rack,
            tokens: seen.tokens,
            cassandra_version: "5.0.4".into(),
            partitioner: "org.apache.cassandra.dht.Murmur3Partitioner".into(),
            schema_version: "s".into(),
            schema_hash: schema.blake3.to_string(),
            objects_hash: None,
            snapshot_at: chrono::Utc::now(),
            topology,
            bases: std::collections::BTreeSet::new(),
            locked_for: None,
        };
        let reuse = self.vault.reuse_base(&task.cluster, &task.backup, node).await.expect("what to reuse");
        let scratch = self.folder.join(format!("scratch-{}-{node}", task.backup));
        std::fs::create_dir_all(&scratch).expect("a folder");
        let request = UploadRequest {
            header: header.clone(),
            source: Arc::new(Files::of(self.folder, node, &self.content)),
            reuse,
            journal: UploadJournal::open(&scratch.join("journal"), &task.cluster, &task.backup).expect("one"),
            scratch,
            config: UploadConfig { pack_threshold: 1000, pack_size: 10_000, ..UploadConfig::default() },
        };
        let context = TransferContext::new(self.vault.store().clone());
        let done = Box::pin(upload(&context, request)).await.expect("an upload");
        UploadResult {
            manifest: NodeManifestRef {
                host_id: node,
                key: done.key,
                blake3: done.blake3.to_string(),
                snapshot_at: header.snapshot_at,
                schema_version: header.schema_version,
            },
            sstables: done.figures.sstables,
            files: done.figures.files,
            bytes: done.figures.bytes,
            bytes_new: done.bytes_new,
            objects_new: done.objects_new,
            bytes_read: done.bytes_read,
            snapshot_cleared: true,
        }
    }

    /// What the task comes to when it is done.
    pub async fn work(&self, worker: &Worker, offer: &TaskOffer) -> TaskResult {
        let (vault, node) = (self.vault, worker.host);
        let stop = CancellationToken::new();
        match &offer.payload {
            TaskPayload::Snapshot(task) => {
                let ring = RingIdentity {
                    cluster_name: "Test".into(),
                    partitioner: "Murmur3Partitioner".into(),
                    host_ids: ring(self.nodes).host_ids().into_iter().collect(),
                };
                vault.bind_cluster(&task.cluster, &ring).await.expect("the ring's own cluster");
                vault.begin_backup(&StartRecord::of(task)).await.expect("a start");
                TaskResult::Snapshot(SnapshotResult {
                    host_id: node,
                    taken_at: chrono::Utc::now(),
                    tables: 1,
                })
            }
            TaskPayload::Upload(task) => TaskResult::Upload(self.bring(task, node, offer.epoch).await),
            TaskPayload::Seal(task) => TaskResult::Seal(vault.seal(task).await.expect("a seal").to_result()),
            TaskPayload::Release(task) => {
                let mut sealed = None;
                if let Some((cluster, backup)) = &task.abort {
                    let abort = vault.abort(cluster, backup, task.job, "cancelled").await.expect("a marker");
                    if let AbortOutcome::Sealed(seal) = abort {
                        sealed = Some(Box::new(seal.to_result()));
                    }
                }
                TaskResult::Release { cleared: 1, sealed }
            }
            TaskPayload::Check(task) => {
                let checked = vault.verify_shard(task, &TransferProgress::new(), &stop).await;
                TaskResult::Check(checked.expect("a verify"))
            }
            TaskPayload::VerifyReport(task) => {
                TaskResult::Report(vault.report_verify(task).await.expect("a report"))
            }
            TaskPayload::Mark(task) => match vault.mark(task).await.expect("a mark") {
                MarkOutcome::Condemned(marked) => TaskResult::Mark(marked),
                MarkOutcome::Waiting { on, .. } => panic!("it waits for {on:?}"),
            },
            TaskPayload::Sweep(task) => {
                let swept = vault.sweep(task, &TransferProgress::new(), &stop).await;
                TaskResult::Sweep(swept.expect("a sweep"))
            }
            TaskPayload::PurgeReport(task) => {
                TaskResult::Report(vault.finish_purge(task).await.expect("a report"))
            }
            other => panic!("nobody asked for {}", other.stage().as_str()),
        }
    }

    /// Does everything that is offered until nothing is.
    pub async fn run(&self, lab: &Lab, workers: &[Worker]) {
        loop {
            let offers = lab.offers().await;
            if offers.is_empty() {
                return;
            }
            for offer in offers {
                let worker = lab.worker_of(workers, &offer).await;
                lab.report(&worker.started(&offer)).await;
                let result = Box::pin(self.work(worker, &offer)).await;
                let (task, epoch) = (offer.task, offer.epoch);
                lab.report(&Report::Succeeded(TaskSucceeded { task, epoch, worker: worker.id, result }))
                    .await;
            }
        }
    }
}

/// Changes a byte in the middle of an object of the vault in `folder`.
pub fn damage(lab: &Lab, key: &str) {
    let path = lab.folder().join("vault").join(key);
    let mut body = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let middle = body.len() / 2;
    body[middle] ^= 1;
    std::fs::write(path, body).expect("written");
}

/// The key of the hold of this name.
pub fn hold_key(backup: &str, name: &str) -> String {
    format!("clusters/{}/holds/{backup}/{}.json", cluster(), Digest::of(name.as_bytes()))
}
