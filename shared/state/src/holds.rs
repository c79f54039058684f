//! Holds: what keeps a backup from being expired. A job's hold lives from the transaction that
//! creates the job until the job is over for good; one by hand until it is released.

use chrono::{DateTime, Utc};
use ringvault_core::{BackupName, ClusterName, JobId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{StateResult, word::Row};

/// Holds a backup for a job. The caller holds the backup's lock and has seen that it is not expired.
pub async fn add_for_job(
    conn: &mut PgConnection,
    (cluster, backup): (&ClusterName, &BackupName),
    job: JobId,
    created_by: &str,
) -> StateResult<()> {
    sqlx::query!(
        "insert into holds (id, cluster, backup, job, created_by) values ($1, $2, $3, $4, $5)",
        Uuid::now_v7(),
        cluster.as_str(),
        backup.as_str(),
        job.0,
        created_by
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets a job's holds go.
pub async fn release_of_job(conn: &mut PgConnection, job: JobId) -> StateResult<()> {
    sqlx::query!("update holds set released_at = now() where job = $1 and released_at is null", job.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Holds a backup by hand under a name. `false`: it is held under that name already. The caller
/// holds the backup's lock and has seen that it is not expired.
pub async fn add_by_name(
    conn: &mut PgConnection,
    (cluster, backup): (&ClusterName, &BackupName),
    name: &str,
    reason: Option<&str>,
    created_by: &str,
) -> StateResult<bool> {
    insert_by_name(conn, (cluster, backup), (name, reason), created_by, None).await
}

/// Adds a hold by hand as the vault's record says. `false`: there is one of that name.
pub async fn add_as_recorded(
    conn: &mut PgConnection,
    (cluster, backup): (&ClusterName, &BackupName),
    (name, reason): (&str, Option<&str>),
    (created_by, created_at): (&str, DateTime<Utc>),
) -> StateResult<bool> {
    insert_by_name(conn, (cluster, backup), (name, reason), created_by, Some(created_at)).await
}

/// `recorded_at`: since when the vault has a record of it, if it has.
async fn insert_by_name(
    conn: &mut PgConnection,
    (cluster, backup): (&ClusterName, &BackupName),
    (name, reason): (&str, Option<&str>),
    created_by: &str,
    recorded_at: Option<DateTime<Utc>>,
) -> StateResult<bool> {
    let done = sqlx::query!(
        "insert into holds (id, cluster, backup, name, reason, created_by, created_at, recorded)
         values ($1, $2, $3, $4, $5, $6, coalesce($7, now()), $7 is not null) on conflict do nothing",
        Uuid::now_v7(),
        cluster.as_str(),
        backup.as_str(),
        name,
        reason,
        created_by,
        recorded_at
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The vault has a record of the hold.
pub async fn recorded(
    conn: &mut PgConnection,
    (cluster, backup): (&ClusterName, &BackupName),
    name: &str,
) -> StateResult<()> {
    sqlx::query!(
        "update holds set recorded = true
         where cluster = $1 and backup = $2 and name = $3 and released_at is null",
        cluster.as_str(),
        backup.as_str(),
        name
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Holds by hand of which the vault has no record, the oldest first: backup and name.
pub async fn not_recorded(
    conn: &mut PgConnection,
    limit: i64,
) -> StateResult<Vec<(ClusterName, BackupName, String)>> {
    let rows = sqlx::query!(
        r#"select id, cluster, backup, name as "name!" from holds
         where not recorded and released_at is null and name is not null order by created_at limit $1"#,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|raw| {
            let row = Row::new("hold", &raw.id);
            Ok((row.word("cluster", &raw.cluster)?, row.word("backup", &raw.backup)?, raw.name))
        })
        .collect()
}

/// Lets a hold by hand go: who does it, and why. `false`: there is none of that name.
pub async fn release_by_name(
    conn: &mut PgConnection,
    (cluster, backup): (&ClusterName, &BackupName),
    name: &str,
    (released_by, reason): (&str, &str),
) -> StateResult<bool> {
    let done = sqlx::query!(
        "update holds set released_at = now(), released_by = $4, release_reason = $5
         where cluster = $1 and backup = $2 and name = $3 and released_at is null",
        cluster.as_str(),
        backup.as_str(),
        name,
        released_by,
        reason
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// What holds a backup: names of holds by hand, ids of jobs.
pub async fn of(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    backup: &BackupName,
) -> StateResult<Vec<String>> {
    let rows = sqlx::query_scalar!(
        r#"select coalesce(name, 'job ' || job::text) as "name!" from holds
         where cluster = $1 and backup = $2 and released_at is null order by created_at"#,
        cluster.as_str(),
        backup.as_str()
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}
