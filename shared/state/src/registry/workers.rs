//! Workers: who is there, beside which node, with which room.

use std::collections::HashMap;

use chrono::Duration;
use ringvault_core::{ClusterName, HostId, WorkerId};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    StateResult,
    tasks::due::{self, Load},
    word::{self, Row},
};

/// What a worker says of itself.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// Who.
    pub id: WorkerId,
    /// Which run of its process; a later run has a greater one.
    pub incarnation: Uuid,
    /// The cluster it was told it belongs to.
    pub cluster: ClusterName,
    /// Its node.
    pub host_id: Option<HostId>,
    /// What it may do beyond its node.
    pub capabilities: Vec<String>,
    /// Tasks at once.
    pub slots: u32,
    /// Of these, kept for short ones.
    pub short_slots: u32,
    /// Bytes in all where it stages.
    pub disk_total: u64,
    /// Bytes free there.
    pub disk_free: u64,
    /// Its program's version.
    pub version: String,
    /// What keeps it from working.
    pub problem: Option<String>,
    /// Digest of the ring as its node sees it; `None` while it cannot be asked.
    pub sees: Option<Vec<u8>>,
    /// Hash of all that it says, by which the next one that says the same is known ([`repeat`]).
    pub said: Vec<u8>,
    /// What its run calls what it says.
    pub edition: Option<u32>,
    /// Why it is refused; `None`: it is welcome.
    pub refused: Option<String>,
}

/// Whether an announcement says what the one before said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// No, or what it said may have another consequence now: it is to be taken whole.
    No,
    /// Yes, of a worker that was heard of just now.
    Heard,
    /// Yes, of a worker that was silent for too long.
    AfterSilence,
}

/// By what an announcement is known for one that says nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known<'a> {
    /// The hash of all that it says.
    Said(&'a [u8]),
    /// What its run calls what it said.
    Edition(u32),
}

/// Notes that a live worker was heard of again, in one statement, if it says the same as before and its cluster is
/// still bound to the ring that it sees. Only free disk space is new each time.
pub async fn repeat(
    conn: &mut PgConnection,
    (id, incarnation, known): (WorkerId, Uuid, Known<'_>),
    (disk_total, disk_free): (u64, u64),
    silence: Duration,
) -> StateResult<Repeat> {
    let (said, edition) = match known {
        Known::Said(said) => (Some(said), None),
        Known::Edition(edition) => (None, Some(word::int("edition", edition)?)),
    };
    // The first part reads the row as it was before the second.
    let silent = sqlx::query_scalar!(
        r#"with was as (select last_seen from workers where id = $1),
           heard as (
             update workers w set last_seen = now(), disk_total = $4, disk_free = $5
             where id = $1 and incarnation = $2 and coalesce(said = $3, edition = $7) and state = 'live' and host_id is not null
               and exists (
                 select from clusters c join topologies t on t.cluster = c.name and t.valid_to is null
                 where c.name = w.cluster and t.digest = w.sees and cardinality(c.ring_hosts) > 0)
             returning cluster, host_id),
           node as (
             update nodes n set last_seen = now() from heard h
             where n.cluster = h.cluster and n.host_id = h.host_id and n.forgotten_at is null
             returning n.host_id)
         select was.last_seen < now() - make_interval(secs => $6) as "silent!" from was, node"#,
        id.0,
        incarnation,
        said,
        word::big(disk_total),
        word::big(disk_free),
        silence.as_seconds_f64(),
        edition,
    )
    .fetch_optional(conn)
    .await?;
    Ok(match silent {
        None => Repeat::No,
        Some(false) => Repeat::Heard,
        Some(true) => Repeat::AfterSilence,
    })
}

/// What an announcement was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Of an earlier run of the worker than one heard of just now; nothing was kept.
    Stale,
    /// Of a worker that was not known, or of the run that is known.
    Kept,
    /// Of a later run: what the former one had in hand is lost.
    NewRun,
}

/// Keeps an announcement. A worker that cannot ask its node just now keeps the node that it had. One
/// of an earlier run is believed after half a minute of silence, so that
/// a clock that was set back keeps no worker away.
pub async fn announce(conn: &mut PgConnection, worker: &Announcement) -> StateResult<Heard> {
    let known = sqlx::query!(
        r#"select incarnation, last_seen > now() - interval '30 seconds' as "fresh!"
         from workers where id = $1 for update"#,
        worker.id.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    let heard = match known {
        Some(known) if known.incarnation > worker.incarnation && known.fresh => {
            return Ok(Heard::Stale);
        }
        Some(known) if known.incarnation != worker.incarnation => Heard::NewRun,
        _ => Heard::Kept,
    };
    sqlx::query!(
        "insert into workers (id, cluster, host_id, incarnation, state, reason, problem, capabilities,
             slots, short_slots, disk_total, disk_free, version, sees, said, edition)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         on conflict (id) do update set cluster = $2,
             host_id = coalesce($3, case when workers.cluster = $2 then workers.host_id end),
             incarnation = $4, state = $5,
             reason = $6, problem = $7, capabilities = $8, slots = $9, short_slots = $10,
             disk_total = $11, disk_free = $12, version = $13, sees = $14, said = $15,
             edition = $16, last_seen = now()",
        worker.id.0,
        worker.cluster.as_str(),
        worker.host_id.map(|host| host.0),
        worker.incarnation,
        if worker.refused.is_some() { "refused" } else { "live" },
        worker.refused,
        worker.problem,
        &worker.capabilities,
        word::int("slots", worker.slots)?,
        word::int("short_slots", worker.short_slots)?,
        word::big(worker.disk_total),
        word::big(worker.disk_free),
        worker.version,
        worker.sees,
        worker.said,
        worker.edition.map(|edition| word::int("edition", edition)).transpose()?,
    )
    .execute(conn)
    .await?;
    Ok(heard)
}

/// What only the worker beside a node knows of it.
pub async fn describe_node(
    conn: &mut PgConnection,
    (cluster, host): (&ClusterName, HostId),
    (cassandra_version, partitioner, schema_version): (Option<&str>, Option<&str>, Option<&str>),
    data_dirs: &[String],
) -> StateResult<()> {
    let data_dirs: Value = data_dirs.iter().cloned().map(Value::String).collect();
    sqlx::query!(
        "update nodes set cassandra_version = $3, partitioner = $4, schema_version = $5,
             data_dirs = $6, last_seen = now()
         where cluster = $1 and host_id = $2",
        cluster.as_str(),
        host.0,
        cassandra_version,
        partitioner,
        schema_version,
        data_dirs,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A heartbeat of one of its tasks was heard: it is there.
pub async fn seen(conn: &mut PgConnection, id: WorkerId, incarnation: Uuid) -> StateResult<()> {
    sqlx::query!(
        "update workers set last_seen = now()
         where id = $1 and incarnation = $2 and last_seen < now() - interval '10 seconds'",
        id.0,
        incarnation
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// It says it is leaving.
pub async fn leave(conn: &mut PgConnection, id: WorkerId, incarnation: Uuid) -> StateResult<()> {
    sqlx::query!(
        "update workers set state = 'gone', last_seen = now()
         where id = $1 and incarnation <= $2 and state = 'live'",
        id.0,
        incarnation
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A worker that may be given tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveWorker {
    /// Who.
    pub id: WorkerId,
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its node.
    pub host_id: Option<HostId>,
    /// What it may do beyond its node.
    pub capabilities: Vec<String>,
    /// Tasks at once.
    pub slots: u32,
    /// Of these, kept for short ones.
    pub short_slots: u32,
    /// Whether it says that something keeps it from working.
    pub troubled: bool,
    /// What it has.
    pub load: Load,
}

/// Workers of these clusters heard of within `silence`, with what they have, most recently heard of
/// first.
pub async fn live(
    conn: &mut PgConnection,
    clusters: &[ClusterName],
    silence: Duration,
    max_attempts: u32,
) -> StateResult<Vec<LiveWorker>> {
    let clusters: Vec<String> = clusters.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        r#"select id, cluster, host_id, capabilities, slots, short_slots, problem is not null as "troubled!"
         from workers
         where state = 'live' and cluster = any($2) and last_seen > now() - make_interval(secs => $1)
         order by last_seen desc, id"#,
        silence.as_seconds_f64(),
        &clusters,
    )
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<WorkerId> = rows.iter().map(|raw| WorkerId(raw.id)).collect();
    let mut loads = due::loads_of(conn, &ids, max_attempts).await?;
    Ok(word::readable(rows.into_iter().map(|raw| {
        let row = Row::new("worker", &raw.id);
        let id = WorkerId(raw.id);
        Ok(LiveWorker {
            id,
            cluster: row.word("cluster", &raw.cluster)?,
            host_id: raw.host_id.map(HostId),
            slots: row.count("slots", raw.slots)?,
            short_slots: row.count("short_slots", raw.short_slots)?,
            troubled: raw.troubled,
            load: loads.remove(&id).unwrap_or_default(),
            capabilities: raw.capabilities,
        })
    })))
}

/// The data centers of these clusters' workers, by the node that each is beside; one of which no node is known is left
/// out.
pub async fn data_centers(
    conn: &mut PgConnection,
    clusters: &[ClusterName],
) -> StateResult<HashMap<WorkerId, String>> {
    let clusters: Vec<String> = clusters.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        "select w.id, n.dc from workers w join nodes n on n.cluster = w.cluster and n.host_id = w.host_id
         where w.cluster = any($1)",
        &clusters
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (WorkerId(row.id), row.dc)).collect())
}

/// How many workers of a cluster were heard of within `silence`.
pub async fn count_live(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    silence: Duration,
) -> StateResult<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*)::integer as "count!" from workers
         where cluster = $1 and state = 'live' and last_seen > now() - make_interval(secs => $2)"#,
        cluster.as_str(),
        silence.as_seconds_f64(),
    )
    .fetch_one(conn)
    .await?;
    Row::new("cluster", cluster).count("live workers", count)
}

/// Locks these workers' rows in the order of their ids, so that their slots are counted and taken by
/// one scheduler at a time, and no two wait for each other.
pub async fn lock(conn: &mut PgConnection, ids: &[WorkerId]) -> StateResult<()> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    sqlx::query!("select id from workers where id = any($1) order by id for no key update", &ids)
        .fetch_all(conn)
        .await?;
    Ok(())
}
