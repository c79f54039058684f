//! Workers announce themselves, their nodes and rings; from that comes the metadata service.
//!
//! A cluster's id is bound to its ring. A worker of another ring that claims the id is refused: it is
//! listed with the reason and gets no tasks, so a restored copy of a cluster or a misconfigured
//! worker never writes into, or truncates, the original's backups or tables.

mod bond;
mod said;

use ringvault_core::{
    ClusterName, HostId, WorkerId,
    cluster::Topology,
    task::{TaskEvent, TaskState},
};
use ringvault_fault::around;
use ringvault_queue::message::{DiskSpace, NodeHello, NodeStill};
use ringvault_state::{
    PgConnection, StateError, StateResult,
    registry::{
        clusters, forgotten, topologies, votes,
        workers::{self, Announcement, Heard, Known, Repeat},
    },
    tasks::{self, due},
};

use crate::{
    Context,
    config::delta,
    workflow::{DriveError, Step},
};
use bond::{Bond, bond_of};
use uuid::Uuid;

/// Takes a worker's announcement. Whether tasks may have a place now that had none: it is welcome, and is new or says
/// something new, or was not heard of for a while.
pub async fn hello(ctx: &Context, hello: &NodeHello) -> Result<bool, DriveError> {
    let ring = hello.topology.as_ref().filter(|seen| !seen.nodes.is_empty()).map(said::ring);
    let said = said::said(hello, ring.as_deref());
    match repeat(ctx, (hello.worker, hello.incarnation, Known::Said(&said)), hello.disk).await? {
        Repeat::Heard => return Ok(false),
        Repeat::AfterSilence => return Ok(true),
        Repeat::No => {}
    }
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let bound_to = match clusters::lock(&mut tx, &hello.cluster).await? {
        Some(hosts) => hosts,
        None => {
            clusters::add(&mut tx, &hello.cluster).await?;
            clusters::lock(&mut tx, &hello.cluster).await?.unwrap_or_default()
        }
    };
    let refused = match bond_of(&bound_to, hello) {
        Bond::Stranger(why) => Some(why),
        Bond::Member => another_has_the_place(ctx, &mut tx, hello).await?,
    };
    if let Some(reason) = &refused {
        let (worker, cluster) = (hello.worker, &hello.cluster);
        tracing::warn!(%worker, %cluster, reason, "a worker is refused");
    }
    let welcome = refused.is_none();
    let announcement = announcement(hello, ring, said, refused);
    let heard = workers::announce(&mut tx, &announcement).await?;
    if heard == Heard::Stale {
        tracing::debug!(worker = %hello.worker, "an announcement of an earlier run of the worker");
        return Ok(false);
    }
    if welcome {
        if let (Some(seen), Some(ring)) = (&hello.topology, &announcement.sees) {
            keep_ring(ctx, &mut tx, (&hello.cluster, seen, ring), bound_to.is_empty()).await?;
        }
        keep_node(&mut tx, hello).await?;
    }
    if hello.ends {
        workers::leave(&mut tx, hello.worker, hello.incarnation).await?;
    }
    ringvault_state::commit(tx, around!("registry.hello")).await?;
    if heard == Heard::NewRun {
        lost_with_its_run(ctx, hello.worker).await?;
    }
    Ok(welcome && !hello.ends)
}

/// Takes a worker's word that nothing is new.
pub async fn still(ctx: &Context, still: &NodeStill) -> Result<Repeat, DriveError> {
    repeat(ctx, (still.worker, still.incarnation, Known::Edition(still.edition)), still.disk).await
}

async fn repeat(
    ctx: &Context,
    key: (WorkerId, Uuid, Known<'_>),
    disk: DiskSpace,
) -> Result<Repeat, DriveError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let silence = delta(ctx.config.timing.worker_silence);
    let disk = (disk.total, disk.free);
    Ok(around!("registry.repeat").run(workers::repeat(&mut conn, key, disk, silence)).await?)
}

/// The node whose tasks the worker gets: its own, or the one that its empty machine is to become.
fn place(hello: &NodeHello) -> Option<HostId> {
    hello.host_id.or(hello.stands_for)
}

/// Why a worker that stands for a node is refused: another one is there that is beside that node, or stands
/// for it too. Announcements of a cluster are taken one at a time, so of two the first one has the place.
async fn another_has_the_place(
    ctx: &Context,
    conn: &mut PgConnection,
    hello: &NodeHello,
) -> Result<Option<String>, DriveError> {
    let Some(host) = hello.stands_for.filter(|_| hello.host_id.is_none()) else { return Ok(None) };
    let silence = delta(ctx.config.timing.worker_silence);
    let cluster = std::slice::from_ref(&hello.cluster);
    let live = workers::live(conn, cluster, silence, ctx.config.retry.max_attempts).await?;
    let other = live.iter().find(|worker| worker.id != hello.worker && worker.host_id == Some(host));
    Ok(other.map(|other| {
        format!(
            "it stands for node {host}, which worker {} is beside or stands for: stop that one first, and wait until it counts as silent",
            other.id
        )
    }))
}

/// `ring` and `said` are the hashes of the ring that it tells and of all that it says.
fn announcement(
    hello: &NodeHello,
    ring: Option<Vec<u8>>,
    said: Vec<u8>,
    refused: Option<String>,
) -> Announcement {
    Announcement {
        id: hello.worker,
        incarnation: hello.incarnation,
        cluster: hello.cluster.clone(),
        host_id: place(hello),
        capabilities: hello.capabilities.iter().cloned().collect(),
        slots: hello.slots,
        short_slots: hello.short_slots,
        disk_total: hello.disk.total,
        disk_free: hello.disk.free,
        version: hello.version.clone(),
        problem: hello.problem.clone(),
        sees: ring,
        said,
        edition: hello.edition,
        refused,
    }
}

/// A worker has started anew: what its former run had in hand need not be waited for. A task that
/// the new run has begun before its announcement was read is offered to it again, and adopted.
async fn lost_with_its_run(ctx: &Context, worker: WorkerId) -> Result<(), DriveError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let lost = due::in_hand(&mut conn, worker).await?;
    drop(conn);
    for id in lost {
        let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
        let Some(job) = tasks::job_of(&mut tx, id).await? else { continue };
        let actor = format!("worker {worker} started anew");
        let Some(mut step) = Step::lock(ctx, &mut tx, job, actor).await? else { continue };
        let Some(mut task) = step.task(id).await? else { continue };
        if task.machine.worker != Some(worker) {
            continue;
        }
        let event = match task.machine.state {
            TaskState::Running => TaskEvent::WorkerStartedAnew,
            _ => TaskEvent::DispatchTimedOut,
        };
        step.task_event(&mut task, &event).await?;
        ringvault_state::commit(tx, around!("registry.lost-with-its-run")).await?;
    }
    ctx.wake.all();
    Ok(())
}

/// Keeps the ring that a worker sees, with its digest: a new row of history only when most live workers see that the
/// ring or its keyspaces changed. A node that is behind or apart changes nothing, and two that disagree do not take
/// turns. An id that is bound to no ring is given to the first.
async fn keep_ring(
    ctx: &Context,
    conn: &mut PgConnection,
    (cluster, seen, digest): (&ClusterName, &Topology, &[u8]),
    unbound: bool,
) -> StateResult<()> {
    if !unbound && topologies::is_present(conn, cluster, digest).await? {
        return Ok(());
    }
    let seen = in_order(seen.clone());
    let known = topologies::present(conn, cluster).await?;
    if known == seen && !unbound {
        // Written by a release that kept no digest.
        return topologies::note_digest(conn, cluster, digest).await;
    }
    let silence = delta(ctx.config.timing.worker_silence);
    if unbound || known.nodes.is_empty() || votes::count(conn, cluster, digest, silence).await?.are_most() {
        let nodes = seen.nodes.len();
        if known != seen {
            topologies::change(conn, cluster, &seen, Some(digest)).await?;
            tracing::info!(%cluster, nodes, "the ring or its keyspaces changed");
        }
        clusters::bind(conn, cluster, &seen.host_ids()).await?;
    }
    Ok(())
}

/// Keeps what a worker says of its own node.
async fn keep_node(conn: &mut PgConnection, hello: &NodeHello) -> StateResult<()> {
    let cluster = &hello.cluster;
    if let Some(host) = place(hello)
        && forgotten::is_back(conn, cluster, host).await?
    {
        tracing::warn!(%cluster, node = %host, "a node that was forgotten is back");
    }
    if let Some(host) = hello.host_id {
        let versions = (
            hello.cassandra_version.as_deref(),
            hello.partitioner.as_deref(),
            hello.schema_version.as_deref(),
        );
        workers::describe_node(conn, (cluster, host), versions, &hello.data_dirs).await?;
    }
    Ok(())
}

/// The same ring is the same value, whichever node tells of it.
pub(crate) fn in_order(mut topology: Topology) -> Topology {
    for node in &mut topology.nodes {
        node.tokens.sort_unstable();
    }
    topology.nodes.sort_by_key(|node| node.host_id);
    topology
}
