//! The end of a run: faults stop, everything is started, what is under way ends, and then it is
//! judged.

use std::{
    sync::{PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use anyhow::Result;
use ringvault_core::job::JobState;
use rustix::process::Signal;

use super::{
    hands::{Hands, signal},
    inject::{CLUSTER, Ground, services_up},
    work::{SECOND, SOURCE, Work, compare, follow, restorable, restore, start},
};
use crate::invariants::{self, Moment, Violation};

/// How long everything under way may take to end once faults have stopped.
const ENDING: Duration = Duration::from_mins(8);
/// How long what is let go asynchronously may take.
const TIDYING: Duration = Duration::from_mins(2);

/// What became of it.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    pub(super) violations: Vec<Violation>,
    pub(super) jobs: i64,
    /// Jobs that failed and had to be retried by hand, by code.
    pub(super) failed: Vec<String>,
}

pub(super) async fn judge(hands: &Hands, ground: &Ground, work: &mut Work) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    ground.behave();
    everything_runs(hands).await?;
    for policy in ["chaos-backup", "chaos-purge"] {
        hands.insist(&["policy", "pause", policy], 60).await?;
    }
    work.stop().await;
    ended(hands, &mut judgement).await?;
    requests_were_heard(hands, work, &mut judgement).await?;
    judgement.violations.extend(invariants_in_the_end(hands).await?);
    backups_come_back(hands, work, &mut judgement).await?;
    judgement.violations.extend(invariants_in_the_end(hands).await?);
    judgement.violations.dedup();
    let dead: Vec<(String, String, i64)> =
        hands.rows("select queue, last_reason, count from dead_messages").await?;
    for (queue, reason, count) in dead {
        let what = format!("{count} of {queue}, the last because {reason}");
        judgement.violations.push(Violation::new("no message is dead", what));
    }
    judgement.jobs = hands.rows::<(i64,)>("select count(*) from jobs").await?.first().map_or(0, |row| row.0);
    Ok(judgement)
}

async fn everything_runs(hands: &Hands) -> Result<()> {
    let status = hands.lab.status().await?;
    let schedulers = status.services.schedulers.iter().map(|scheduler| scheduler.pid);
    let nodes = || status.clusters.values().flat_map(|cluster| &cluster.nodes);
    let workers = nodes().filter_map(|node| node.worker.as_ref()).map(|worker| worker.pid);
    for pid in schedulers.chain(workers) {
        signal(pid, Signal::CONT)?;
    }
    services_up(hands).await?;
    for cluster in [CLUSTER, SECOND] {
        hands.lab.run(&["up", "--cluster", cluster, "--no-build"]).await?;
    }
    Ok(())
}

/// Waits for what is under way; what has failed is retried once, as an operator would, and then it
/// must succeed.
async fn ended(hands: &Hands, judgement: &mut Judgement) -> Result<()> {
    const OPEN: &str =
        "select id::text, kind, state, concat_ws(': ', error ->> 'code', error ->> 'message') from jobs
        where state not in ('succeeded', 'cancelled', 'abandoned')";
    let began = Instant::now();
    let mut retried = Vec::new();
    loop {
        let open: Vec<(String, String, String, String)> = hands.rows(OPEN).await?;
        if open.is_empty() {
            return Ok(());
        }
        for (id, kind, state, error) in &open {
            if state != "failed" {
                continue;
            }
            if retried.contains(id) {
                let what = format!("{kind} job {id} failed again after its retry: {error}");
                judgement.violations.push(Violation::new("a retry succeeds when faults have stopped", what));
                hands.insist(&["job", "abandon", id], 10).await?;
            } else {
                judgement.failed.push(format!("{kind} {error}"));
                retried.push(id.clone());
                hands.insist(&["job", "retry", id], 10).await?;
            }
        }
        if began.elapsed() > ENDING {
            for (id, kind, state, error) in open {
                let what = format!("{kind} job {id} is still {state} ({error})");
                judgement.violations.push(Violation::new("every job ends when faults have stopped", what));
            }
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// What the broker has taken of another system became one job each.
async fn requests_were_heard(hands: &Hands, work: &Work, judgement: &mut Judgement) -> Result<()> {
    // A key counts for the broker's user and the source that it names.
    const OF_SOURCE: &str = "select idempotency_key from jobs where source like 'amqp/%/chaos-requester'";
    let jobs: Vec<(String,)> = hands.rows(OF_SOURCE).await?;
    for key in work.requested.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let count = jobs.iter().filter(|(of,)| of == key).count();
        if count != 1 {
            let what = format!("{count} jobs of {SOURCE}'s request {key}");
            judgement.violations.push(Violation::new("9 a request is one job", what));
        }
    }
    Ok(())
}

async fn invariants_in_the_end(hands: &Hands) -> Result<Vec<Violation>> {
    let began = Instant::now();
    loop {
        let found = invariants::violations(&hands.lab, Moment::Settled).await?;
        if found.is_empty() || began.elapsed() > TIDYING {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// The newest and the oldest restorable backup come back with every row.
async fn backups_come_back(hands: &Hands, work: &Work, judgement: &mut Judgement) -> Result<()> {
    let mut backups = restorable(hands).await?;
    if backups.is_empty() {
        judgement.violations.push(Violation::new("backups come back", "there is none"));
    }
    if backups.len() > 2 {
        backups = vec![backups[0].clone(), backups[backups.len() - 1].clone()];
    }
    for (name, from, to) in backups {
        let job = start(hands, &restore(&name)).await?;
        let ended = follow(hands, &job, &AtomicBool::new(false)).await?;
        let outcome = match ended {
            Some(job) if job.summary.state == JobState::Succeeded => {
                compare(hands, work.ledger.bounds(from, to)).await
            }
            other => Err(anyhow::anyhow!("its restore ended {:?}", other.map(|job| job.summary))),
        };
        match outcome {
            Ok(rows) => eprintln!("[chaos] {name} came back with {rows} rows"),
            Err(error) => {
                judgement.violations.push(Violation::new("backups come back", format!("{name}: {error:#}")));
            }
        }
    }
    Ok(())
}
