//! The metadata service: clusters, their ring at any instant, their schema.

use chrono::{DateTime, Duration, Utc};
use ringvault_core::{
    ClusterName, HostId,
    api::{ClusterDetail, ClusterSummary, SchemaSeen, SchemaView, TopologyView},
    cluster::Topology,
};
use sqlx::PgConnection;

use super::nodes;
use crate::{StateResult, word::Row};

struct Raw {
    name: String,
    created_at: DateTime<Utc>,
    last_seen: Option<DateTime<Utc>>,
    nodes: i32,
    workers_live: i32,
    dcs: Vec<String>,
    versions: Vec<String>,
}

impl Raw {
    fn read(self) -> StateResult<ClusterSummary> {
        let row = Row::new("cluster", &self.name);
        Ok(ClusterSummary {
            cluster: row.word("name", &self.name)?,
            first_seen: self.created_at,
            last_seen: self.last_seen,
            nodes: row.count("nodes", self.nodes)?,
            workers_live: row.count("workers_live", self.workers_live)?,
            dcs: self.dcs,
            cassandra_versions: self.versions,
        })
    }
}

/// Clusters by name, at most `limit` of those after `after`; only `only` where it is given.
/// A worker that was not heard for `silent_after` is not live.
pub async fn list(
    conn: &mut PgConnection,
    only: Option<&ClusterName>,
    after: Option<&str>,
    limit: i64,
    silent_after: Duration,
) -> StateResult<Vec<ClusterSummary>> {
    let rows = sqlx::query_as!(
        Raw,
        r#"select c.name, c.created_at,
             (select max(w.last_seen) from workers w where w.cluster = c.name and w.state <> 'refused')
                 as last_seen,
             (select count(*)::integer from nodes n where n.cluster = c.name and n.left_at is null)
                 as "nodes!",
             (select count(distinct w.host_id)::integer from workers w
              join nodes n on n.cluster = w.cluster and n.host_id = w.host_id and n.left_at is null
              where w.cluster = c.name and w.state = 'live'
                and w.last_seen > clock_timestamp() - make_interval(secs => $1)) as "workers_live!",
             array(select distinct n.dc from nodes n where n.cluster = c.name and n.left_at is null
                   order by 1) as "dcs!",
             array(select distinct n.cassandra_version from nodes n
                   where n.cluster = c.name and n.left_at is null and n.cassandra_version is not null
                   order by 1) as "versions!"
         from clusters c
         where ($2::text is null or c.name = $2) and ($3::text is null or c.name > $3)
         order by c.name limit $4"#,
        silent_after.as_seconds_f64(),
        only.map(ClusterName::as_str),
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Raw::read).collect()
}

/// A cluster in full.
pub async fn detail(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    silent_after: Duration,
) -> StateResult<Option<ClusterDetail>> {
    let found = list(conn, Some(cluster), None, 1, silent_after).await?;
    let Some(summary) = found.into_iter().next() else {
        return Ok(None);
    };
    let raw = sqlx::query!(
        r#"select
             (select max(partitioner) from nodes where cluster = $1 and left_at is null) as partitioner,
             (select count(*)::integer from backups
              where cluster = $1 and state in ('complete', 'covering', 'incomplete')) as "backups!" "#,
        cluster.as_str()
    )
    .fetch_one(&mut *conn)
    .await?;
    let row = Row::new("cluster", cluster);
    Ok(Some(ClusterDetail {
        summary,
        partitioner: raw.partitioner,
        keyspaces: keyspaces(conn, cluster).await?,
        backups: row.count("backups", raw.backups)?,
        last_good: crate::backups::newest_restorable(conn, cluster).await?,
        members: nodes::list(conn, Some(cluster), silent_after).await?,
    }))
}

/// The ring at `at` (now where absent); `None` if nothing was known of the cluster then.
pub async fn topology(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    at: Option<DateTime<Utc>>,
) -> StateResult<Option<TopologyView>> {
    let raw = sqlx::query!(
        r#"select valid_from, valid_to, topology, coalesce($2, clock_timestamp()) as "at!"
         from topologies
         where cluster = $1 and valid_from <= coalesce($2, clock_timestamp())
           and (valid_to is null or valid_to > coalesce($2, clock_timestamp()))
         order by valid_from desc limit 1"#,
        cluster.as_str(),
        at
    )
    .fetch_optional(conn)
    .await?;
    let row = Row::new("topology of cluster", cluster);
    raw.map(|raw| {
        Ok(TopologyView {
            cluster: cluster.clone(),
            at: raw.at,
            since: raw.valid_from,
            until: raw.valid_to,
            topology: row.json("topology", raw.topology)?,
        })
    })
    .transpose()
}

/// Keyspaces of the newest topology.
async fn keyspaces(conn: &mut PgConnection, cluster: &ClusterName) -> StateResult<Vec<String>> {
    let Some(view) = topology(conn, cluster, None).await? else {
        return Ok(Vec::new());
    };
    let Topology { keyspaces, .. } = view.topology;
    Ok(keyspaces.into_keys().collect())
}

/// What is known of the schema; `None` if there is no such cluster.
pub async fn schema(conn: &mut PgConnection, cluster: &ClusterName) -> StateResult<Option<SchemaView>> {
    let known = sqlx::query_scalar!("select name from clusters where name = $1", cluster.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    if known.is_none() {
        return Ok(None);
    }
    let rows = sqlx::query!(
        r#"select schema_version as "version!", array_agg(host_id order by host_id) as "hosts!",
             max(last_seen) as "last_seen!"
         from nodes where cluster = $1 and left_at is null and schema_version is not null
         group by schema_version order by count(*) desc, schema_version"#,
        cluster.as_str()
    )
    .fetch_all(&mut *conn)
    .await?;
    let versions: Vec<SchemaSeen> = rows
        .into_iter()
        .map(|row| SchemaSeen {
            version: row.version,
            nodes: row.hosts.into_iter().map(HostId).collect(),
            last_seen: row.last_seen,
        })
        .collect();
    Ok(Some(SchemaView {
        cluster: cluster.clone(),
        agreed: versions.len() <= 1,
        versions,
        keyspaces: keyspaces(conn, cluster).await?,
    }))
}
