//! Clusters and the rings their ids are bound to.

use chrono::{DateTime, Utc};
use ringvault_core::{ClusterName, HostId};
use sqlx::PgConnection;

use crate::StateResult;

/// Whether the cluster was ever announced.
pub async fn exists(conn: &mut PgConnection, name: &ClusterName) -> StateResult<bool> {
    let found = sqlx::query_scalar!(
        r#"select exists (select 1 from clusters where name = $1) as "found!""#,
        name.as_str()
    )
    .fetch_one(conn)
    .await?;
    Ok(found)
}

/// Locks a cluster's row until the transaction ends: whoever starts jobs or changes the ring of a
/// cluster does it under this lock. `None`: never announced.
pub async fn lock(conn: &mut PgConnection, name: &ClusterName) -> StateResult<Option<Vec<HostId>>> {
    let hosts = sqlx::query_scalar!(
        "select ring_hosts from clusters where name = $1 for no key update",
        name.as_str()
    )
    .fetch_optional(conn)
    .await?;
    Ok(hosts.map(|hosts| hosts.into_iter().map(HostId).collect()))
}

/// Locks a cluster's row as [`lock`] does, unless somebody else has it. Whether it did.
pub async fn lock_free(conn: &mut PgConnection, name: &ClusterName) -> StateResult<bool> {
    let found = sqlx::query_scalar!(
        "select name from clusters where name = $1 for no key update skip locked",
        name.as_str()
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// Adds a cluster if it is new.
pub async fn add(conn: &mut PgConnection, name: &ClusterName) -> StateResult<()> {
    sqlx::query!("insert into clusters (name) values ($1) on conflict do nothing", name.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// Adds a cluster that was first seen at `since`, if it is not there. `false`: it is.
pub async fn add_since(
    conn: &mut PgConnection,
    name: &ClusterName,
    since: DateTime<Utc>,
) -> StateResult<bool> {
    let done = sqlx::query!(
        "insert into clusters (name, created_at) values ($1, $2) on conflict do nothing",
        name.as_str(),
        since
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Binds the id to the ring with these members.
pub async fn bind(conn: &mut PgConnection, name: &ClusterName, hosts: &[HostId]) -> StateResult<()> {
    let hosts: Vec<_> = hosts.iter().map(|host| host.0).collect();
    sqlx::query!(
        "update clusters set ring_hosts = $2, bound_at = coalesce(bound_at, now()) where name = $1",
        name.as_str(),
        &hosts
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Frees the id (`cluster rebind`): the next ring that announces it gets it, and workers that were
/// refused are heard again. `false`: no such cluster.
pub async fn unbind(conn: &mut PgConnection, name: &ClusterName) -> StateResult<bool> {
    let done =
        sqlx::query!("update clusters set ring_hosts = '{}', bound_at = null where name = $1", name.as_str())
            .execute(conn)
            .await?;
    Ok(done.rows_affected() > 0)
}
