//! A worker that does nothing and says what it is told to say.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use ringvault_core::{
    BackupName, HostId, TaskError, WorkerId,
    backup::BackupFigures,
    cluster::{Coverage, CoverageReport, Node, Replication, Token, Topology},
    job::RestoreMethod,
    rows::ENCODING,
    task::{
        ApplyResult, CheckResult, DigestResult, DownloadResult, MarkResult, NodeManifestRef, NodePlan,
        PlanResult, PreflightResult, Progress, ReportResult, SchemaResult, SealResult, SettleResult,
        SnapshotResult, SweepResult, TaskPayload, TaskResult, TruncateResult, UploadResult, ValidateResult,
    },
};
use ringvault_queue::{
    Beat, Report,
    message::{
        DiskSpace, NodeHello, NodeStill, StopReason, TaskFailed, TaskHeartbeat, TaskOffer, TaskStarted,
        TaskStopped, TaskSucceeded,
    },
};
use ringvault_scheduler::reports;
use uuid::Uuid;

use super::{Lab, cluster};

#[derive(Clone)]
pub struct Worker {
    pub id: WorkerId,
    pub host: HostId,
    pub incarnation: Uuid,
}

impl Worker {
    pub fn beside(host: HostId) -> Self {
        Self { id: WorkerId::generate(), host, incarnation: Uuid::now_v7() }
    }

    pub fn hello(&self, ring: &[HostId]) -> Beat {
        self.hello_in(&ring.iter().map(|host| (*host, "dc1", "r1")).collect::<Vec<_>>())
    }

    /// In a ring of nodes in these data centers and racks.
    pub fn hello_in(&self, ring: &[(HostId, &str, &str)]) -> Beat {
        let nodes = ring
            .iter()
            .enumerate()
            .map(|(index, (host, dc, rack))| Node {
                host_id: *host,
                address: format!("10.0.0.{index}"),
                dc: (*dc).to_owned(),
                rack: (*rack).to_owned(),
                tokens: vec![Token(i64::try_from(index).expect("few nodes") * 100)],
            })
            .collect();
        let keyspaces = BTreeMap::from([("k".to_owned(), Replication::Simple { factor: 3 })]);
        Beat::Hello(NodeHello {
            worker: self.id,
            incarnation: self.incarnation,
            cluster: cluster(),
            host_id: Some(self.host),
            stands_for: None,
            dc: "dc1".to_owned(),
            rack: "r1".to_owned(),
            tokens: Vec::new(),
            address: "10.0.0.1".to_owned(),
            cassandra_version: Some("5.0.4".to_owned()),
            partitioner: None,
            schema_version: None,
            data_dirs: vec!["/data".to_owned()],
            disk: DiskSpace { total: 100, free: 50 },
            capabilities: BTreeSet::from(["vault.delete".to_owned()]),
            slots: 4,
            short_slots: 1,
            version: "0.1.0".to_owned(),
            topology: Some(Topology { nodes, keyspaces }),
            problem: None,
            edition: None,
            ends: false,
        })
    }

    /// Nothing is new since it said this edition.
    pub fn still(&self, edition: u32) -> Beat {
        let disk = DiskSpace { total: 100, free: 40 };
        let (worker, incarnation) = (self.id, self.incarnation);
        Beat::Still(NodeStill { worker, incarnation, cluster: cluster(), edition, disk })
    }

    /// On an empty machine that is to become the node.
    pub fn stands_for(&self) -> Beat {
        match self.hello(&[]) {
            Beat::Hello(hello) => {
                let stands_for = Some(self.host);
                Beat::Hello(NodeHello { host_id: None, topology: None, stands_for, ..hello })
            }
            other => other,
        }
    }

    pub fn heartbeat(&self, offer: &TaskOffer) -> Beat {
        Beat::Heartbeat(TaskHeartbeat {
            task: offer.task,
            epoch: offer.epoch,
            worker: self.id,
            incarnation: self.incarnation,
            progress: Progress { items_done: 1, ..Progress::default() },
        })
    }

    pub fn started(&self, offer: &TaskOffer) -> Report {
        Report::Started(TaskStarted {
            task: offer.task,
            epoch: offer.epoch,
            dispatch_seq: offer.dispatch_seq,
            worker: self.id,
            nonce: Some(self.incarnation),
        })
    }

    pub fn succeeded(&self, offer: &TaskOffer) -> Report {
        Report::Succeeded(TaskSucceeded {
            task: offer.task,
            epoch: offer.epoch,
            worker: self.id,
            result: self.result(&offer.payload),
        })
    }

    pub fn failed(&self, offer: &TaskOffer, error: TaskError) -> Report {
        Report::Failed(TaskFailed { task: offer.task, epoch: offer.epoch, worker: self.id, error })
    }

    pub fn stopped(&self, offer: &TaskOffer) -> Report {
        Report::Stopped(TaskStopped {
            task: offer.task,
            epoch: offer.epoch,
            worker: self.id,
            reason: StopReason::Cancel,
            draining: false,
        })
    }

    /// What a worker would answer when all is well.
    pub fn result(&self, payload: &TaskPayload) -> TaskResult {
        match payload {
            TaskPayload::Snapshot(_) => {
                TaskResult::Snapshot(SnapshotResult { host_id: self.host, taken_at: Utc::now(), tables: 3 })
            }
            TaskPayload::Upload(_) => TaskResult::Upload(UploadResult {
                manifest: NodeManifestRef {
                    host_id: self.host,
                    key: format!("nodes/{}", self.host),
                    blake3: "00".repeat(32),
                    snapshot_at: Utc::now(),
                    schema_version: "s".to_owned(),
                },
                sstables: 1,
                files: 8,
                bytes: 1000,
                bytes_new: 1000,
                objects_new: 2,
                bytes_read: 1000,
                snapshot_cleared: true,
            }),
            TaskPayload::Seal(seal) => TaskResult::Seal(SealResult {
                coverage: Coverage::Complete,
                report: CoverageReport {
                    coverage: Coverage::Complete,
                    keyspaces: BTreeMap::new(),
                    missing: Vec::new(),
                },
                sealed_at: Utc::now(),
                figures: BackupFigures {
                    nodes_held: u32::try_from(seal.nodes.len()).expect("few nodes"),
                    ..BackupFigures::default()
                },
                remarks: Vec::new(),
                locked_until: None,
            }),
            TaskPayload::Release(_) => TaskResult::Release { cleared: 1, sealed: None },
            TaskPayload::Check(_) => TaskResult::Check(CheckResult::default()),
            TaskPayload::VerifyReport(_) | TaskPayload::PurgeReport(_) => TaskResult::Report(ReportResult {
                key: "r".to_owned(),
                objects: 1,
                bytes: 1,
                at: None,
                locked: None,
            }),
            TaskPayload::Mark(mark) => TaskResult::Mark(MarkResult {
                purge: 1,
                expired: mark.expire.clone(),
                aborted: Vec::<BackupName>::new(),
                sealed: Vec::new(),
                objects: 10,
                bytes: 100,
            }),
            TaskPayload::Sweep(_) => TaskResult::Sweep(SweepResult { objects: 10, bytes: 100, locked: 0 }),
            TaskPayload::Digest(task) => TaskResult::Digest(DigestResult {
                encoding: ENCODING,
                ranges: task.ranges.clone(),
                tables: Vec::new(),
            }),
            TaskPayload::Plan(task) => TaskResult::Plan(PlanResult {
                key: "plan".to_owned(),
                blake3: None,
                method: RestoreMethod::Import,
                reason: "a test".to_owned(),
                source_nodes: 1,
                nodes: vec![NodePlan {
                    host_id: self.host,
                    address: "10.0.0.1".to_owned(),
                    sstables: 1,
                    files: 8,
                    bytes: 1000,
                    receives: 0,
                }],
                tables: 1,
                blockers: Vec::new(),
                warnings: Vec::new(),
                checks: vec![format!("{} is sealed", task.spec.backup)],
            }),
            TaskPayload::Preflight(_) => TaskResult::Preflight(PreflightResult {
                host_id: self.host,
                disk_needed: 1,
                disk_free: 2,
                blockers: Vec::new(),
            }),
            TaskPayload::Download(_) => TaskResult::Download(DownloadResult {
                host_id: self.host,
                files: 8,
                bytes: 1000,
                bytes_kept: 0,
            }),
            TaskPayload::Schema(_) => TaskResult::Schema(SchemaResult { created: Vec::new() }),
            TaskPayload::Truncate(_) => {
                TaskResult::Truncate(TruncateResult { tables: Vec::new(), at: Utc::now() })
            }
            TaskPayload::Apply(_) => {
                TaskResult::Apply(ApplyResult { host_id: self.host, sstables: 1, bytes: 1000, tables: 1 })
            }
            TaskPayload::Settle(_) => TaskResult::Settle(SettleResult {
                host_id: self.host,
                cleaned: 1,
                views: Vec::new(),
                auth: None,
                kept: Vec::new(),
            }),
            TaskPayload::Validate(_) => {
                TaskResult::Validate(ValidateResult { tables: 1, rows_read: 1, problems: Vec::new() })
            }
        }
    }
}

impl Lab {
    pub async fn report(&self, report: &Report) {
        reports::handle(&self.ctx, report).await.expect("a report that is taken");
    }

    /// Runs what is offered to these workers, again and again, until nothing is offered any more.
    /// How many tasks of each kind were done.
    pub async fn run(&self, workers: &[Worker]) -> BTreeMap<&'static str, u32> {
        let mut done = BTreeMap::new();
        loop {
            let offers = self.offers().await;
            if offers.is_empty() {
                return done;
            }
            for offer in offers {
                let worker = self.worker_of(workers, &offer).await;
                self.report(&worker.started(&offer)).await;
                self.report(&worker.succeeded(&offer)).await;
                *done.entry(offer.stage.as_str()).or_default() += 1;
            }
        }
    }

    /// The worker that the task is placed on.
    pub async fn worker_of<'a>(&self, workers: &'a [Worker], offer: &TaskOffer) -> &'a Worker {
        let id: Uuid = sqlx::query_scalar("select worker from tasks where id = $1")
            .bind(offer.task.0)
            .fetch_one(&self.ctx.db)
            .await
            .expect("a placed task");
        workers.iter().find(|worker| worker.id.0 == id).expect("one of the workers")
    }
}
