//! `dev/chaos`: a real lab under continuous work while faults come at random by seed.
//!
//! The faults and their times are computed from the seed before anything runs ([`plan`]). In the end
//! they stop, what is under way must end, every invariant must hold, and the newest and the oldest
//! restorable backup must come back with every row.

mod clock;
mod hands;
mod inject;
mod proxy;
mod relay;
mod schedule;
mod settle;
mod wire;
mod work;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::Serialize;

use crate::{Lab, faults::Supervisor, invariants::Violation};
use hands::Hands;
use inject::{CLUSTER, Ground, inject, recovery};
pub use schedule::{Fault, Planned, plan};
use work::{SECOND, Work};

/// The last line of a run.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// As asked for.
    pub seed: u64,
    /// Faults injected.
    pub faults: usize,
    /// Jobs that were run.
    pub jobs: i64,
    /// Jobs that failed under faults and went through when they were retried: kind and code.
    pub retried: Vec<String>,
    /// Programs that were started again.
    pub restarts: u32,
    /// What must not be. Empty is well.
    pub violations: Vec<Violation>,
    /// By kind of fault: the longest time from its end to the next task that was done.
    pub recovery_seconds: BTreeMap<&'static str, f64>,
}

/// Runs `length` of faults on a lab that it starts, with `nodes` in the first cluster.
pub async fn run(lab: &Lab, seed: u64, length: Duration, nodes: usize) -> Result<Outcome> {
    lab.run(&["up", "--services-only", "--no-ringvault"]).await?;
    clock::library()?;
    let ground = Ground::lay(lab).await?;
    up(lab, &ground, CLUSTER, nodes).await?;
    up(lab, &ground, SECOND, 1).await?;
    let hands = Arc::new(Hands::on(lab).await?);
    work::prepare(&hands, nodes).await?;
    let supervisor = Supervisor::over(lab);
    let mut work = Work::begin(&hands);

    let began = Instant::now();
    let recovered: Arc<Mutex<BTreeMap<&'static str, f64>>> = Arc::default();
    let violations: Arc<Mutex<Vec<Violation>>> = Arc::default();
    let ground = Arc::new(ground);
    let mut under_way = Vec::new();
    let planned = plan(seed, length);
    for fault in &planned {
        tokio::time::sleep(fault.at.saturating_sub(began.elapsed())).await;
        let seconds = began.elapsed().as_secs();
        eprintln!("[chaos] {seconds:>5}s {} for {}s", fault.fault.as_str(), fault.lasts.as_secs());
        let (hands, ground) = (Arc::clone(&hands), Arc::clone(&ground));
        let (recovered, violations, fault) = (Arc::clone(&recovered), Arc::clone(&violations), *fault);
        under_way.push(tokio::spawn(async move {
            let kind = fault.fault.as_str();
            let note = |what: String| {
                let mut violations = violations.lock().unwrap_or_else(PoisonError::into_inner);
                violations.push(Violation::new("the system recovers", what));
            };
            if let Err(error) = inject(&hands, &ground, fault).await {
                return note(format!("{kind} at {seconds}s could not be mended: {error:#}"));
            }
            match recovery(&hands).await {
                Ok(Some(seconds)) => {
                    let mut recovered = recovered.lock().unwrap_or_else(PoisonError::into_inner);
                    let longest = recovered.entry(kind).or_default();
                    *longest = longest.max((seconds * 10.0).round() / 10.0);
                }
                Ok(None) => note(format!("no task was done for minutes after {kind}")),
                Err(error) => note(format!("after {kind}: {error:#}")),
            }
        }));
    }
    tokio::time::sleep(length.saturating_sub(began.elapsed())).await;
    futures::future::join_all(under_way).await;
    eprintln!("[chaos] {:>5}s faults are over; settling", began.elapsed().as_secs());
    let mut judgement = settle::judge(&hands, &ground, &mut work).await?;
    judgement.violations.extend(violations.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
    let recovery_seconds = recovered.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Outcome {
        seed,
        faults: planned.len(),
        jobs: judgement.jobs,
        retried: judgement.failed,
        restarts: supervisor.restarts(),
        violations: judgement.violations,
        recovery_seconds,
    })
}

/// Starts a cluster with its workers, and the schedulers, all of which reach their servers by wires.
async fn up(lab: &Lab, ground: &Ground, cluster: &str, nodes: usize) -> Result<()> {
    let (nodes, endpoint) = (nodes.to_string(), format!("vault.endpoint=http://{}", ground.store.address()));
    let url_file = |section: &str, file: &Path| format!("{section}.url_file={}", file.display());
    let broker = url_file("rabbitmq", &ground.broker_of_schedulers.1);
    let brokers_workers = url_file("rabbitmq", &ground.broker_of_workers.1);
    let database = url_file("postgres", &ground.database.1);
    let mut arguments = vec![
        "up",
        "--no-build",
        "--cluster",
        cluster,
        "--nodes",
        &nodes,
        "--heap",
        "512m",
        "--schedulers",
        "2",
    ];
    for option in [
        &endpoint,
        &broker,
        &database,
        // Short, so that what takes a lease takes seconds.
        "retry.lease=10s",
        "retry.dispatch_timeout=4s",
        "retry.environment_interval=2s",
        "retry.backoff_base=500ms",
        "retry.backoff_cap=5s",
        "retry.max_attempts=12",
        "timing.ask_patience=3s",
    ] {
        arguments.extend(["--scheduler-option", option]);
    }
    arguments.extend([
        "--worker-option",
        &brokers_workers,
        "--worker-option",
        &endpoint,
        "--worker-option",
        "worker.hello_seconds=5",
    ]);
    lab.run(&arguments).await.map(|_| ())
}
