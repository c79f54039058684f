//! Members of rings with their workers.

use chrono::{DateTime, Duration, Utc};
use ringvault_core::{
    ClusterName, HostId, WorkerId,
    api::{Disk, NodeState, NodeView},
};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    StateResult,
    word::{Row, big_count},
};

struct Raw {
    cluster: String,
    host_id: Option<Uuid>,
    address: Option<String>,
    dc: Option<String>,
    rack: Option<String>,
    tokens: Option<i32>,
    cassandra_version: Option<String>,
    data_dirs: Option<Value>,
    worker: Option<Uuid>,
    worker_state: Option<String>,
    reason: Option<String>,
    problem: Option<String>,
    capabilities: Option<Vec<String>>,
    slots: Option<i32>,
    disk_total: Option<i64>,
    disk_free: Option<i64>,
    version: Option<String>,
    last_seen: Option<DateTime<Utc>>,
    tasks: i32,
    heard: bool,
}

impl Raw {
    fn read(self) -> StateResult<NodeView> {
        let row = Row::new("node of cluster", &self.cluster);
        let (state, problem) = self.judge();
        Ok(NodeView {
            cluster: row.word("cluster", &self.cluster)?,
            host_id: self.host_id.map(HostId),
            worker: self.worker.map(WorkerId),
            state,
            problem,
            address: self.address.unwrap_or_default(),
            dc: self.dc.unwrap_or_default(),
            rack: self.rack.unwrap_or_default(),
            tokens: row.count("tokens", self.tokens.unwrap_or(0))?,
            last_seen: self.last_seen,
            cassandra_version: self.cassandra_version,
            worker_version: self.version,
            disk: self
                .disk_total
                .zip(self.disk_free)
                .map(|(total, free)| Disk { total: big_count(total), free: big_count(free) }),
            data_dirs: row.maybe_json("data_dirs", self.data_dirs)?.unwrap_or_default(),
            capabilities: self.capabilities.unwrap_or_default(),
            slots: row.count("slots", self.slots.unwrap_or(0))?,
            tasks: row.count("tasks", self.tasks)?,
        })
    }

    /// Whether it can be given work, and what keeps it from working.
    fn judge(&self) -> (NodeState, Option<String>) {
        match self.worker_state.as_deref() {
            None => (NodeState::NoWorker, Some("no worker has announced this node".to_owned())),
            Some("refused") => (NodeState::Refused, self.reason.clone()),
            Some("gone") => {
                let said = self
                    .problem
                    .as_ref()
                    .map(|problem| format!("its worker is gone, with the words: {problem}"));
                (NodeState::Silent, said.or_else(|| Some("its worker was stopped".to_owned())))
            }
            Some(_) if self.heard => (NodeState::Live, self.problem.clone()),
            Some(_) => (NodeState::Silent, self.problem.clone()),
        }
    }
}

/// Members of the ring of `cluster` (of every ring where absent) with their workers, and workers
/// without a node or that were refused. A worker that was not heard for `silent_after` is silent.
/// Of several workers that announced one node the one heard last counts.
pub async fn list(
    conn: &mut PgConnection,
    cluster: Option<&ClusterName>,
    silent_after: Duration,
) -> StateResult<Vec<NodeView>> {
    let rows = sqlx::query_as!(
        Raw,
        r#"with seen as (
             select distinct on (w.cluster, coalesce(w.host_id, w.id)) w.*,
                 w.state = 'live'
                     and w.last_seen > clock_timestamp() - make_interval(secs => $2) as heard
             from workers w
             where w.state <> 'refused' and ($1::text is null or w.cluster = $1)
             order by w.cluster, coalesce(w.host_id, w.id), (w.state = 'live') desc, w.last_seen desc),
           members as (
             select * from nodes where left_at is null and forgotten_at is null
               and ($1::text is null or cluster = $1)),
           paired as (
             select coalesce(n.cluster, w.cluster) as cluster, coalesce(n.host_id, w.host_id) as host_id,
                 n.address, n.dc, n.rack, n.tokens, n.cassandra_version, n.data_dirs,
                 w.id as worker, w.state as worker_state, w.reason, w.problem, w.capabilities, w.slots,
                 w.disk_total, w.disk_free, w.version, w.last_seen, coalesce(w.heard, false) as heard
             from members n full join seen w on w.cluster = n.cluster and w.host_id = n.host_id
             where n.host_id is not null or w.state = 'live'
             union all
             select w.cluster, w.host_id, null, null, null, null, null, null, w.id, w.state, w.reason,
                 w.problem, w.capabilities, w.slots, w.disk_total, w.disk_free, w.version, w.last_seen,
                 false
             from workers w
             where w.state = 'refused' and ($1::text is null or w.cluster = $1)
               and w.last_seen > clock_timestamp() - interval '1 day')
         select p.cluster as "cluster!", p.host_id as "host_id?", p.address as "address?",
             p.dc as "dc?", p.rack as "rack?", p.tokens as "tokens?",
             p.cassandra_version as "cassandra_version?", p.data_dirs as "data_dirs?",
             p.worker as "worker?", p.worker_state as "worker_state?", p.reason as "reason?",
             p.problem as "problem?", p.capabilities as "capabilities?", p.slots as "slots?",
             p.disk_total as "disk_total?", p.disk_free as "disk_free?", p.version as "version?",
             p.last_seen as "last_seen?", p.heard as "heard!",
             (select count(*)::integer from tasks t
              where t.worker = p.worker and t.state in ('dispatched', 'running')) as "tasks!"
         from paired p order by p.cluster, p.dc, p.rack, p.address, p.host_id, p.worker"#,
        cluster.map(ClusterName::as_str),
        silent_after.as_seconds_f64(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Raw::read).collect()
}
