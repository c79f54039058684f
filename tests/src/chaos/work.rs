//! Continuous work while faults come: rows that are written, policies that fire, requests of another
//! process, verifies back to back, restores into a second cluster.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use rand::{RngCore as _, SeedableRng as _, rngs::SmallRng};
use ringvault_core::api::{Document, JobAccepted, JobDetail};
use scylla::statement::{Consistency, Statement};
use serde_json::json;
use uuid::Uuid;

use super::{hands::Hands, inject::CLUSTER};
use crate::{
    Lab,
    cql::Cql,
    requester::{Errand, request},
    ringvault::{exit, fresh},
};

/// The keyspace that is written, backed up and restored.
pub(super) const KEYSPACE: &str = "chaos";
/// Where restores go.
pub(super) const SECOND: &str = "c2";
/// The source of the other process's requests.
pub(super) const SOURCE: &str = "chaos-requester";
/// Bytes of a row.
const BODY: usize = 2 << 10;
/// Between two rows.
const PACE: Duration = Duration::from_millis(60);
/// Clocks of one machine agree; this covers what lies between a stamp and what it stamps.
const MARGIN: TimeDelta = TimeDelta::seconds(1);

/// What was written when: rows have the numbers 0, 1, 2 and so on, and the next is written only when
/// every replica has the one before.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Vec<DateTime<Utc>>>);

impl Ledger {
    fn written(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Utc::now());
    }

    /// How many rows a backup of this time must hold at least and may hold at most.
    pub(super) fn bounds(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> (usize, usize) {
        let stamps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = |at: DateTime<Utc>| stamps.partition_point(|stamp| *stamp < at);
        // One more may be on its way.
        (before(from - MARGIN), before(to + MARGIN) + 1)
    }
}

/// The content of a row.
fn body(id: usize) -> Vec<u8> {
    let mut body = vec![0; BODY];
    SmallRng::seed_from_u64(id as u64).fill_bytes(&mut body);
    body
}

/// Makes the keyspace in both clusters and the policies.
pub(super) async fn prepare(hands: &Hands, replicas: usize) -> Result<()> {
    for (cluster, replicas) in [(CLUSTER, replicas), (SECOND, 1)] {
        let cql = Cql::connect(&hands.lab, cluster).await?;
        let replication = format!("{{'class': 'NetworkTopologyStrategy', 'dc1': {replicas}}}");
        cql.run(&format!("CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = {replication}"))
            .await?;
        if cluster == CLUSTER {
            cql.run(&format!("CREATE TABLE IF NOT EXISTS {KEYSPACE}.ledger (id int PRIMARY KEY, body blob)"))
                .await?;
        }
    }
    let policies = format!(
        "[policy.chaos-backup]\ncluster = \"{CLUSTER}\"\nschedule = \"* * * * *\"\naction = \"backup\"\n\
         keyspaces = [\"{KEYSPACE}\"]\nmisfire = \"once\"\n\
         [policy.chaos-purge]\ncluster = \"{CLUSTER}\"\nschedule = \"*/2 * * * *\"\naction = \"purge\"\n\
         retention = {{ keep_last = 4, min_restorable = 2 }}\n"
    );
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), policies)?;
    let path = file.path().display().to_string();
    hands.insist(&["policy", "apply", &path, "--yes"], 20).await?.expect(exit::OK)?;
    Ok(())
}

/// The work, until it is told to stop.
pub(super) struct Work {
    /// What was written.
    pub(super) ledger: Arc<Ledger>,
    /// Idempotency keys of requests that the broker has taken.
    pub(super) requested: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Work {
    /// Begins.
    pub(super) fn begin(hands: &Arc<Hands>) -> Self {
        let (ledger, requested) = (Arc::new(Ledger::default()), Arc::default());
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = vec![
            tokio::spawn(write(hands.lab.clone(), Arc::clone(&ledger), Arc::clone(&stop))),
            tokio::spawn(ask(Arc::clone(hands), Arc::clone(&requested), Arc::clone(&stop))),
            tokio::spawn(check(Arc::clone(hands), Arc::clone(&stop))),
            tokio::spawn(bring_back(Arc::clone(hands), Arc::clone(&stop))),
        ];
        Self { ledger, requested, stop, tasks }
    }

    /// Begins nothing new. What is under way in the system goes on.
    pub(super) async fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            let abort = task.abort_handle();
            if tokio::time::timeout(Duration::from_mins(1), task).await.is_err() {
                abort.abort();
            }
        }
    }
}

async fn write(lab: Lab, ledger: Arc<Ledger>, stop: Arc<AtomicBool>) {
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(cql) = Cql::connect(&lab, CLUSTER).await else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        // A node that was away is not found by every session again: after a failure a fresh one.
        while !stop.load(Ordering::Relaxed) {
            let insert = format!("INSERT INTO {KEYSPACE}.ledger (id, body) VALUES (?, ?)");
            let mut insert = Statement::new(insert);
            insert.set_request_timeout(Some(Duration::from_secs(5)));
            let id = i32::try_from(next).unwrap_or(i32::MAX);
            if cql.driver().query_unpaged(insert, (id, body(next))).await.is_err() {
                break;
            }
            ledger.written();
            next += 1;
            tokio::time::sleep(PACE).await;
        }
    }
}

/// Requests of another process, each sent twice; one whose sending failed is sent again.
async fn ask(hands: Arc<Hands>, requested: Arc<Mutex<Vec<String>>>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let key = fresh("key");
        let message = json!({
            "id": Uuid::now_v7(), "type": "job.create", "version": 1, "source": SOURCE,
            "created_at": Utc::now(), "idempotency_key": key, "requested_by": "chaos",
            "payload": {
                "kind": "backup", "cluster": CLUSTER, "name": fresh("asked"),
                "selection": {"keyspaces": [KEYSPACE]},
            },
        })
        .to_string();
        let errand = Errand { publish: vec![message.clone(), message], wait_for: Vec::new(), seconds: 1 };
        while request(&hands.lab, &errand).await.is_err() && !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        if !stop.load(Ordering::Relaxed) {
            requested.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        }
        tokio::time::sleep(Duration::from_secs(25)).await;
    }
}

/// Small jobs back to back, so that progress shows soon after a fault.
async fn check(hands: Arc<Hands>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        if let Ok(Some(name)) = newest(&hands).await
            && let Ok(job) = start(&hands, &["verify", "run", &name, "-c", CLUSTER]).await
        {
            follow(&hands, &job, &stop).await.ok();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn bring_back(hands: Arc<Hands>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_secs(20)).await;
        if let Ok(Some(name)) = newest(&hands).await
            && let Ok(job) = start(&hands, &restore(&name)).await
        {
            follow(&hands, &job, &stop).await.ok();
        }
    }
}

/// The command that restores a backup into the second cluster.
pub(super) fn restore(name: &str) -> [&str; 11] {
    [
        "restore",
        "run",
        "--from",
        name,
        "--to",
        SECOND,
        "--keyspace",
        KEYSPACE,
        "--truncate",
        "--confirm",
        SECOND,
    ]
}

/// The newest backup that can be restored.
async fn newest(hands: &Hands) -> Result<Option<String>> {
    Ok(restorable(hands).await?.pop().map(|backup| backup.0))
}

/// Restorable backups, the oldest first: name, when its job was made, when it was sealed.
pub(super) async fn restorable(hands: &Hands) -> Result<Vec<(String, DateTime<Utc>, DateTime<Utc>)>> {
    const RESTORABLE: &str =
        "select b.name, j.created_at, b.sealed_at from backups b join jobs j on j.id = b.job
        where b.cluster = 'c1' and b.state in ('complete', 'covering') and not b.tainted
        order by b.started_at";
    hands.rows(RESTORABLE).await
}

/// Starts a job under a key of its own, so that trying again starts no second one.
pub(super) async fn start(hands: &Hands, arguments: &[&str]) -> Result<String> {
    let key = fresh("chaos");
    let arguments = [arguments, &["--idempotency-key", &key]].concat();
    Ok(hands.json::<Document<JobAccepted>>(&arguments).await?.body.job.to_string())
}

/// Waits until the job is settled; its state.
pub(super) async fn follow(hands: &Hands, job: &str, stop: &AtomicBool) -> Result<Option<JobDetail>> {
    while !stop.load(Ordering::Relaxed) {
        let shown = hands.json::<Document<JobDetail>>(&["job", "show", job]).await?.body;
        if shown.summary.state.is_settled() {
            return Ok(Some(shown));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(None)
}

/// Whether the second cluster holds exactly what the backup must hold.
pub(super) async fn compare(hands: &Hands, bounds: (usize, usize)) -> Result<usize> {
    let cql = Cql::connect(&hands.lab, SECOND).await?;
    let mut select = Statement::new(format!("SELECT id, body FROM {KEYSPACE}.ledger"));
    select.set_consistency(Consistency::One);
    let answer = cql.driver().query_unpaged(select, ()).await.context("reading the rows")?;
    let answer = answer.into_rows_result()?;
    let mut ids = Vec::new();
    for row in answer.rows::<(i32, Vec<u8>)>()? {
        let (id, found) = row?;
        let id = usize::try_from(id).context("a row's number")?;
        ensure!(found == body(id), "row {id} is not what was written");
        ids.push(id);
    }
    ids.sort_unstable();
    let is_whole = ids.iter().copied().eq(0..ids.len());
    ensure!(is_whole, "of {} rows some between the first and the last are missing", ids.len());
    let (least, most) = bounds;
    ensure!((least..=most).contains(&ids.len()), "{} rows, not between {least} and {most}", ids.len());
    Ok(ids.len())
}
