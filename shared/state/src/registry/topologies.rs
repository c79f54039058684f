//! Rings over time, and their members.

use chrono::{DateTime, Utc};
use ringvault_core::{ClusterName, cluster::Topology};
use sqlx::PgConnection;

use crate::{
    StateResult,
    word::{self, Row},
};

/// The ring of a cluster now; empty if none was ever seen.
pub async fn present(conn: &mut PgConnection, cluster: &ClusterName) -> StateResult<Topology> {
    let value = sqlx::query_scalar!(
        "select topology from topologies where cluster = $1 and valid_to is null",
        cluster.as_str()
    )
    .fetch_optional(conn)
    .await?;
    let topology = Row::new("topology of cluster", cluster).maybe_json("topology", value)?;
    Ok(topology.unwrap_or_default())
}

/// Whether the ring of a cluster now is the one with this digest.
pub async fn is_present(conn: &mut PgConnection, cluster: &ClusterName, digest: &[u8]) -> StateResult<bool> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from topologies where cluster = $1 and valid_to is null and digest = $2)
             as "found!""#,
        cluster.as_str(),
        digest
    )
    .fetch_one(conn)
    .await?;
    Ok(found)
}

/// Notes the digest of the ring that a cluster has now.
pub async fn note_digest(conn: &mut PgConnection, cluster: &ClusterName, digest: &[u8]) -> StateResult<()> {
    sqlx::query!(
        "update topologies set digest = $2 where cluster = $1 and valid_to is null",
        cluster.as_str(),
        digest
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The ring of a cluster at an instant, and since when it was so.
pub async fn at(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    at: DateTime<Utc>,
) -> StateResult<Option<(DateTime<Utc>, Topology)>> {
    let row = sqlx::query!(
        "select valid_from, topology from topologies
         where cluster = $1 and valid_from <= $2 and (valid_to is null or valid_to > $2)
         order by valid_from desc limit 1",
        cluster.as_str(),
        at
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let topology = Row::new("topology of cluster", cluster).json("topology", row.topology)?;
        Ok((row.valid_from, topology))
    })
    .transpose()
}

/// Makes `topology` the present one and keeps the former as history. The caller holds the cluster's
/// lock and has seen that it differs. `digest` is what [`is_present`] knows it by; without one it is noted later.
pub async fn change(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    topology: &Topology,
    digest: Option<&[u8]>,
) -> StateResult<()> {
    let now = crate::now(conn).await?;
    sqlx::query!(
        "update topologies set valid_to = $2 where cluster = $1 and valid_to is null",
        cluster.as_str(),
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into topologies (cluster, valid_from, topology, digest) values ($1, $2, $3, $4)",
        cluster.as_str(),
        now,
        word::json("a topology", topology)?,
        digest
    )
    .execute(&mut *conn)
    .await?;
    for node in &topology.nodes {
        sqlx::query!(
            "insert into nodes (cluster, host_id, address, dc, rack, tokens)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (cluster, host_id) do update
                 set address = $3, dc = $4, rack = $5, tokens = $6, left_at = null",
            cluster.as_str(),
            node.host_id.0,
            node.address,
            node.dc,
            node.rack,
            word::int("tokens", node.tokens.len())?,
        )
        .execute(&mut *conn)
        .await?;
    }
    let members: Vec<_> = topology.nodes.iter().map(|node| node.host_id.0).collect();
    sqlx::query!(
        "update nodes set left_at = now()
         where cluster = $1 and left_at is null and host_id <> all($2)",
        cluster.as_str(),
        &members
    )
    .execute(conn)
    .await?;
    Ok(())
}
