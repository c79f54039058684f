//! Nodes that their owner has given up: gone for good, though the ring may still name them. No job waits
//! for one; it is back once it announces itself.

use ringvault_core::{ClusterName, HostId};
use sqlx::PgConnection;

use crate::StateResult;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    /// It is forgotten from now on.
    Now,
    /// It was before.
    Already,
    /// A worker beside it is live: it is not gone.
    Alive,
    /// The ring has no such node.
    Unknown,
}

/// Forgets a node, with the workers that were beside it. The caller holds the cluster's lock.
pub async fn forget(
    conn: &mut PgConnection,
    (cluster, host): (&ClusterName, HostId),
    silence: chrono::Duration,
) -> StateResult<Forgotten> {
    let node = sqlx::query!(
        r#"select forgotten_at is not null as "forgotten!",
             exists (select 1 from workers w where w.cluster = $1 and w.host_id = $2 and w.state = 'live'
                     and w.last_seen > clock_timestamp() - make_interval(secs => $3)) as "alive!"
         from nodes where cluster = $1 and host_id = $2 and left_at is null for update"#,
        cluster.as_str(),
        host.0,
        silence.as_seconds_f64(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    match node {
        None => return Ok(Forgotten::Unknown),
        Some(node) if node.forgotten => return Ok(Forgotten::Already),
        Some(node) if node.alive => return Ok(Forgotten::Alive),
        Some(_) => {}
    }
    sqlx::query!(
        "update nodes set forgotten_at = now() where cluster = $1 and host_id = $2",
        cluster.as_str(),
        host.0
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "update workers set state = 'gone' where cluster = $1 and host_id = $2 and state = 'live'",
        cluster.as_str(),
        host.0
    )
    .execute(conn)
    .await?;
    Ok(Forgotten::Now)
}

/// The node has announced itself: it was not gone. `true`: it had been forgotten.
pub async fn is_back(conn: &mut PgConnection, cluster: &ClusterName, host: HostId) -> StateResult<bool> {
    let done = sqlx::query!(
        "update nodes set forgotten_at = null
         where cluster = $1 and host_id = $2 and forgotten_at is not null",
        cluster.as_str(),
        host.0
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Whether a node is forgotten.
pub async fn is_forgotten(conn: &mut PgConnection, cluster: &ClusterName, host: HostId) -> StateResult<bool> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from nodes
             where cluster = $1 and host_id = $2 and forgotten_at is not null) as "forgotten!""#,
        cluster.as_str(),
        host.0
    )
    .fetch_one(conn)
    .await?;
    Ok(found)
}

/// Nodes of a cluster that are forgotten.
pub async fn list(conn: &mut PgConnection, cluster: &ClusterName) -> StateResult<Vec<HostId>> {
    let hosts = sqlx::query_scalar!(
        "select host_id from nodes where cluster = $1 and forgotten_at is not null",
        cluster.as_str()
    )
    .fetch_all(conn)
    .await?;
    Ok(hosts.into_iter().map(HostId).collect())
}
