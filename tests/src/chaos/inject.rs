//! Doing and mending one fault.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{
    Fault, Planned,
    clock::Shifted,
    hands::{Hands, signal},
    proxy::{Manner, Proxy},
    wire::Wire,
};
use crate::{Lab, disk::SmallDisk, lab::Status};

/// How long the system may take to do anything after a fault is mended, before it counts as stuck.
const RECOVERY: Duration = Duration::from_mins(3);
/// The cluster whose nodes and workers are hit.
pub(super) const CLUSTER: &str = "c1";

/// The node of it whose worker has a small disk.
const SMALL: u32 = 1;

/// What lies between the programs and their servers.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) store: Proxy,
    /// With the file that holds the URL by the wire, as all of these.
    pub(super) broker_of_workers: (Wire, PathBuf),
    pub(super) broker_of_schedulers: (Wire, PathBuf),
    pub(super) database: (Wire, PathBuf),
    disk: SmallDisk,
    _folder: TempDir,
}

impl Ground {
    /// Under a lab whose services run, before its clusters are started.
    pub(super) async fn lay(lab: &Lab) -> Result<Self> {
        let services = lab.status().await?.services;
        let store = services.store.endpoint.context("the store is no S3 server")?;
        let folder = tempfile::tempdir()?;
        let broker =
            |user: &str| services.rabbitmq.requester_url_file.with_file_name(format!("rabbitmq-{user}-url"));
        let state = lab.dir().join(format!("clusters/{CLUSTER}/node{SMALL}/worker/state"));
        Ok(Self {
            store: Proxy::before(store.trim_start_matches("http://")).await?,
            broker_of_workers: Wire::of_url(&broker("worker"), folder.path()).await?,
            broker_of_schedulers: Wire::of_url(&broker("scheduler"), folder.path()).await?,
            database: Wire::of_url(&services.postgres.url_file, folder.path()).await?,
            disk: SmallDisk::at(&state, "size=8m,mode=700")?,
            _folder: folder,
        })
    }

    /// As if there were no faults.
    pub(super) fn behave(&self) {
        self.store.behave(Manner::Honest);
        for (wire, _) in [&self.broker_of_workers, &self.broker_of_schedulers, &self.database] {
            wire.mend();
        }
    }
}

/// Does a fault, waits, mends it. When it returns everything is started that was stopped.
pub(super) async fn inject(hands: &Hands, ground: &Ground, planned: Planned) -> Result<()> {
    let status = hands.lab.status().await?;
    let Planned { fault, target, lasts, .. } = planned;
    let wait = || tokio::time::sleep(lasts);
    match fault {
        Fault::KillWorker => signal(worker(&status, target), Signal::KILL),
        Fault::KillScheduler => signal(scheduler(&status, target), Signal::KILL),
        Fault::FreezeWorker | Fault::FreezeScheduler => {
            let pid = match fault {
                Fault::FreezeWorker => worker(&status, target),
                _ => scheduler(&status, target),
            };
            signal(pid, Signal::STOP)?;
            wait().await;
            signal(pid, Signal::CONT)
        }
        Fault::RestartBroker => {
            signal(status.services.rabbitmq.pid, Signal::KILL)?;
            wait().await;
            services_up(hands).await
        }
        Fault::CutConnections => {
            match hands.lab.run(&["rabbitmqctl", "close_all_connections", "chaos"]).await {
                // Faults overlap: the broker is still down from an earlier one, and has none to close.
                Err(error) if is_down(&format!("{error:#}")) => Ok(()),
                closed => closed.map(|_| ()),
            }
        }
        Fault::RestartPostgres => {
            // Immediate shutdown: nothing is written any more, the next start recovers.
            signal(status.services.postgres.pid, Signal::QUIT)?;
            wait().await;
            services_up(hands).await
        }
        Fault::StoreDown => {
            signal(status.services.store.pid, Signal::KILL)?;
            wait().await;
            services_up(hands).await
        }
        Fault::Store500 | Fault::Store503 | Fault::StoreCut | Fault::StoreSlow => {
            ground.store.behave(match fault {
                Fault::Store500 => Manner::Answers(500),
                Fault::Store503 => Manner::Answers(503),
                Fault::StoreCut => Manner::Cuts,
                _ => Manner::Slow,
            });
            wait().await;
            ground.store.behave(Manner::Honest);
            Ok(())
        }
        Fault::KillNode => {
            let nodes = &status.clusters.get(CLUSTER).context("the cluster")?.nodes;
            let node = &nodes[target as usize % nodes.len()];
            signal(node.pid, Signal::KILL)?;
            wait().await;
            let index = node.index.to_string();
            hands.lab.run(&["start-node", &index, "--cluster", CLUSTER]).await.map(|_| ())
        }
        Fault::CutBroker | Fault::CutDatabase => {
            let (wire, _) = match fault {
                Fault::CutDatabase => &ground.database,
                _ if target % 2 == 0 => &ground.broker_of_workers,
                _ => &ground.broker_of_schedulers,
            };
            wire.cut();
            wait().await;
            wire.mend();
            Ok(())
        }
        Fault::FillDisk => {
            ground.disk.fill()?;
            wait().await;
            ground.disk.free()
        }
        Fault::ShiftClock => {
            let like = status.services.schedulers.first().context("a scheduler")?;
            let minutes = if target % 2 == 0 { 7 } else { -7 };
            let program = status.bin_dir.join("ringvault-scheduler");
            let mut shifted = Shifted::scheduler(&program, &like.config, minutes)?;
            wait().await;
            // It gives up where a server that it starts with is away at that moment.
            if !shifted.runs()? {
                eprintln!("[chaos] the scheduler with the shifted clock did not stay");
            }
            Ok(())
        }
    }
    .with_context(|| fault.as_str())
}

/// Starts the services that do not run.
pub(super) async fn services_up(hands: &Hands) -> Result<()> {
    hands.lab.run(&["up", "--services-only", "--no-ringvault"]).await.map(|_| ())
}

/// Seconds from now until a task succeeds again. `None`: none does.
pub(super) async fn recovery(hands: &Hands) -> Result<Option<f64>> {
    const SUCCEEDED: &str =
        "select count(*) from transitions where task is not null and to_state = 'succeeded'
        and id > (select coalesce(max(id), 0) - 20000 from transitions)";
    let began = Instant::now();
    let mut before = None;
    while began.elapsed() < RECOVERY {
        if let Ok(rows) = hands.rows::<(i64,)>(SUCCEEDED).await {
            let count = rows.first().map_or(0, |row| row.0);
            if *before.get_or_insert(count) < count {
                return Ok(Some(began.elapsed().as_secs_f64()));
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(None)
}

/// Whether `rabbitmqctl` found a broker that is down, or not up yet.
fn is_down(error: &str) -> bool {
    ["is not running", "requires the 'rabbit' app to be running"].iter().any(|words| error.contains(words))
}

fn worker(status: &Status, target: u32) -> Option<u32> {
    let mut pids = status.clusters.values().flat_map(|cluster| &cluster.nodes);
    let count = pids.clone().count().max(1);
    pids.nth(target as usize % count)?.worker.as_ref()?.pid
}

fn scheduler(status: &Status, target: u32) -> Option<u32> {
    let schedulers = &status.services.schedulers;
    schedulers.get(target as usize % schedulers.len().max(1))?.pid
}
