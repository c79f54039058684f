//! Backups as the vault says they are: rows that a rebuild compares, adds and mends.
//!
//! Whoever changes a row here has its lock ([`lock`]) and has read the vault after taking it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use ringvault_core::{
    BackupName, ClusterName, HostId, JobId, PolicyName,
    api::Verification,
    backup::{BackupFigures, BackupState, Scope},
    cluster::{CoverageReport, Topology},
    job::BackupMode,
    selection::Selection,
};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    StateResult,
    word::{self, Row, big},
};

/// All that a backup's row says which the vault says, too.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogRow {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name.
    pub name: BackupName,
    /// The job that made it.
    pub job: JobId,
    /// The policy that asked for it.
    pub policy: Option<PolicyName>,
    /// Where it is in its life.
    pub state: BackupState,
    /// Reuse or not.
    pub mode: BackupMode,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// When its job was created.
    pub started_at: DateTime<Utc>,
    /// Which tables, of which data center.
    pub scope: Scope,
    /// When it was sealed.
    pub sealed_at: Option<DateTime<Utc>>,
    /// Its figures.
    pub figures: Option<BackupFigures>,
    /// What its coverage rests on.
    pub coverage: Option<CoverageReport>,
    /// Why it is less than complete, in words.
    pub remarks: Vec<String>,
    /// Taken while a restore had spoilt the cluster.
    pub tainted: bool,
    /// Until when the store keeps it from being deleted.
    pub locked_until: Option<DateTime<Utc>>,
    /// The purge job that expired it, and when.
    pub expired: Option<(JobId, DateTime<Utc>)>,
    /// When it was gone from the vault.
    pub purged_at: Option<DateTime<Utc>>,
}

struct Raw {
    cluster: String,
    name: String,
    job: Uuid,
    policy: Option<String>,
    state: String,
    mode: String,
    tags: Value,
    started_at: DateTime<Utc>,
    selection: Value,
    dc: Option<String>,
    sealed_at: Option<DateTime<Utc>>,
    figures: Option<Value>,
    coverage: Option<Value>,
    remarks: Value,
    tainted: bool,
    locked_until: Option<DateTime<Utc>>,
    expired_at: Option<DateTime<Utc>>,
    expired_by: Option<Uuid>,
    purged_at: Option<DateTime<Utc>>,
    in_hand: bool,
}

/// A row, and whether the backup's own job is not over: then that job is about to say what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The row.
    pub row: CatalogRow,
    /// Whether its job is not over.
    pub in_hand: bool,
}

impl Raw {
    fn read(self) -> StateResult<Known> {
        let row = Row::new("backup", &self.name);
        let selection: Selection = row.json("selection", self.selection)?;
        let known = CatalogRow {
            cluster: row.word("cluster", &self.cluster)?,
            name: row.word("name", &self.name)?,
            job: JobId(self.job),
            policy: row.maybe_word("policy", self.policy.as_deref())?,
            state: row.word("state", &self.state)?,
            mode: row.json("mode", self.mode.into())?,
            tags: row.json("tags", self.tags)?,
            started_at: self.started_at,
            scope: Scope { selection, dc: self.dc },
            sealed_at: self.sealed_at,
            figures: row.maybe_json("figures", self.figures)?,
            coverage: row.maybe_json("coverage", self.coverage)?,
            remarks: row.json("remarks", self.remarks)?,
            tainted: self.tainted,
            locked_until: self.locked_until,
            expired: self.expired_by.map(JobId).zip(self.expired_at),
            purged_at: self.purged_at,
        };
        Ok(Known { row: known, in_hand: self.in_hand })
    }
}

/// The rows of these backups of a cluster, by name.
pub async fn find(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    names: &[BackupName],
) -> StateResult<BTreeMap<BackupName, Known>> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        Raw,
        r#"select b.cluster, b.name, b.job, b.policy, b.state, b.mode, b.tags, b.started_at, b.selection,
             b.dc, b.sealed_at, b.figures, b.coverage, b.remarks, b.tainted, b.locked_until,
             b.expired_at, b.expired_by, b.purged_at, exists (select from jobs j where j.id = b.job
                 and j.state not in ('succeeded', 'cancelled', 'abandoned')) as "in_hand!"
         from backups b where b.cluster = $1 and b.name = any($2)"#,
        cluster.as_str(),
        &names
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|raw| {
            let known = raw.read()?;
            Ok((known.row.name.clone(), known))
        })
        .collect()
}

/// Locks the rows of these backups, by name, and reads them.
pub async fn lock(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    names: &[BackupName],
) -> StateResult<BTreeMap<BackupName, Known>> {
    let in_order: Vec<String> = names.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "select name from backups where cluster = $1 and name = any($2) order by name for update",
        cluster.as_str(),
        &in_order
    )
    .fetch_all(&mut *conn)
    .await?;
    find(conn, cluster, names).await
}

/// Adds a backup. `false`: there is a row of this name.
pub async fn insert(conn: &mut PgConnection, row: &CatalogRow) -> StateResult<bool> {
    let done = sqlx::query!(
        "insert into backups (cluster, name, job, policy, state, mode, tags, started_at, selection, dc,
             sealed_at, figures, coverage, remarks, tainted, expired_at, expired_by, expire_reason, purged_at,
             locked_until)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
             case when $17::uuid is null then null else 'as the vault says' end, $18, $19)
         on conflict do nothing",
        row.cluster.as_str(),
        row.name.as_str(),
        row.job.0,
        row.policy.as_ref().map(PolicyName::as_str),
        row.state.as_str(),
        crate::backups::mode_word(row.mode),
        word::json("tags", &row.tags)?,
        row.started_at,
        word::json("a selection", &row.scope.selection)?,
        row.scope.dc,
        row.sealed_at,
        word::maybe_json("figures", row.figures.as_ref())?,
        word::maybe_json("a coverage report", row.coverage.as_ref())?,
        word::json("remarks", &row.remarks)?,
        row.tainted,
        row.expired.map(|(_, at)| at),
        row.expired.map(|(job, _)| job.0),
        row.purged_at,
        row.locked_until,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Writes a row that is there, whose lock the caller has.
pub async fn update(conn: &mut PgConnection, row: &CatalogRow) -> StateResult<()> {
    sqlx::query!(
        "update backups set job = $3, policy = $4, state = $5, mode = $6, tags = $7, started_at = $8,
             selection = $9, dc = $10, sealed_at = $11, figures = $12, coverage = $13, remarks = $14,
             tainted = $15, expired_at = $16, expired_by = $17,
             expire_reason = case when $17::uuid is null then expire_reason
                                  else coalesce(expire_reason, 'as the vault says') end,
             purged_at = $18, locked_until = $19
         where cluster = $1 and name = $2",
        row.cluster.as_str(),
        row.name.as_str(),
        row.job.0,
        row.policy.as_ref().map(PolicyName::as_str),
        row.state.as_str(),
        crate::backups::mode_word(row.mode),
        word::json("tags", &row.tags)?,
        row.started_at,
        word::json("a selection", &row.scope.selection)?,
        row.scope.dc,
        row.sealed_at,
        word::maybe_json("figures", row.figures.as_ref())?,
        word::maybe_json("a coverage report", row.coverage.as_ref())?,
        word::json("remarks", &row.remarks)?,
        row.tainted,
        row.expired.map(|(_, at)| at),
        row.expired.map(|(job, _)| job.0),
        row.purged_at,
        row.locked_until,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Backups that the database says are in the vault: sealed ones, and expired ones that no purge has
/// taken away.
pub async fn in_vault(conn: &mut PgConnection, cluster: &ClusterName) -> StateResult<Vec<BackupName>> {
    let rows = sqlx::query_scalar!(
        "select name from backups
         where cluster = $1 and purged_at is null and state not in ('running', 'dead') order by name",
        cluster.as_str()
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(|name| Row::new("backup", name).word("name", name)).collect()
}

/// Keeps that a verify has reported: in its backup's list, and as the newest if it is. `false`: it was
/// known.
pub async fn verified(
    conn: &mut PgConnection,
    (cluster, backup): (&ClusterName, &BackupName),
    job: JobId,
    verified: &Verification,
) -> StateResult<bool> {
    let level = verified.level.as_str();
    let done = sqlx::query!(
        "insert into verifications (cluster, backup, job, level, at, damaged)
         values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
        cluster.as_str(),
        backup.as_str(),
        job.0,
        level,
        verified.at,
        big(verified.damaged)
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "update backups set verified_level = $3, verified_at = $4, damaged = $5
         where cluster = $1 and name = $2 and (verified_at is null or verified_at < $4)",
        cluster.as_str(),
        backup.as_str(),
        level,
        verified.at,
        big(verified.damaged)
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The jobs whose reports on a backup are known, of a page of backups.
pub async fn known_verifications(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    names: &[BackupName],
) -> StateResult<Vec<(BackupName, JobId)>> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        "select backup, job from verifications where cluster = $1 and backup = any($2)",
        cluster.as_str(),
        &names
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((Row::new("verification", &row.job).word("backup", &row.backup)?, JobId(row.job))))
        .collect()
}

/// Fills the ring of a cluster of which none is known, as it was at `since`. `false`: one is known.
pub async fn first_topology(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    topology: &Topology,
    since: DateTime<Utc>,
) -> StateResult<bool> {
    let known = sqlx::query_scalar!(
        r#"select exists (select from topologies where cluster = $1) as "known!""#,
        cluster.as_str()
    )
    .fetch_one(&mut *conn)
    .await?;
    if known {
        return Ok(false);
    }
    crate::registry::topologies::change(conn, cluster, topology, None).await?;
    sqlx::query!(
        "update topologies set valid_from = $2 where cluster = $1 and valid_to is null",
        cluster.as_str(),
        since
    )
    .execute(conn)
    .await?;
    Ok(true)
}

/// What a seal says of a node, where no worker has said it yet.
pub async fn describe_node(
    conn: &mut PgConnection,
    (cluster, host): (&ClusterName, HostId),
    (cassandra_version, partitioner, schema_version): (&str, &str, &str),
    seen: DateTime<Utc>,
) -> StateResult<()> {
    sqlx::query!(
        "update nodes set cassandra_version = coalesce(cassandra_version, $3),
             partitioner = coalesce(partitioner, $4), schema_version = coalesce(schema_version, $5),
             first_seen = least(first_seen, $6)
         where cluster = $1 and host_id = $2",
        cluster.as_str(),
        host.0,
        cassandra_version,
        partitioner,
        schema_version,
        seen
    )
    .execute(conn)
    .await?;
    Ok(())
}
