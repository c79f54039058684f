//! Backups: a cache of what the vault says, by which jobs are accepted, retention decides and lists
//! are shown. The vault is the truth; this can be rebuilt from it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use ringvault_core::{
    BackupName, ClusterName, JobId, PolicyName,
    backup::{BackupFacts, BackupState, Scope, newest_widest},
    job::BackupMode,
    task::SealResult,
};
use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    StateResult,
    word::{self, Row},
};

/// A backup that begins.
#[derive(Debug, Clone)]
pub struct NewBackup<'a> {
    /// Its cluster.
    pub cluster: &'a ClusterName,
    /// Its name.
    pub name: &'a BackupName,
    /// The job that makes it.
    pub job: JobId,
    /// The policy that asked for it.
    pub policy: Option<&'a PolicyName>,
    /// Which tables, of which data center.
    pub scope: &'a Scope,
    /// Reuse or not.
    pub mode: BackupMode,
    /// Labels.
    pub tags: &'a BTreeMap<String, String>,
    /// When its job was created.
    pub started_at: DateTime<Utc>,
}

/// Takes the name for a new backup. `false`: it is taken.
pub async fn take_name(conn: &mut PgConnection, backup: &NewBackup<'_>) -> StateResult<bool> {
    let done = sqlx::query!(
        "insert into backups (cluster, name, job, policy, state, mode, tags, started_at, selection, dc)
         values ($1, $2, $3, $4, 'running', $5, $6, $7, $8, $9) on conflict do nothing",
        backup.cluster.as_str(),
        backup.name.as_str(),
        backup.job.0,
        backup.policy.map(PolicyName::as_str),
        mode_word(backup.mode),
        word::json("tags", backup.tags)?,
        backup.started_at,
        word::json("a selection", &backup.scope.selection)?,
        backup.scope.dc,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(crate) const fn mode_word(mode: BackupMode) -> &'static str {
    match mode {
        BackupMode::Incremental => "incremental",
        BackupMode::Full => "full",
    }
}

/// Whether the name is taken here.
pub async fn exists(conn: &mut PgConnection, cluster: &ClusterName, name: &BackupName) -> StateResult<bool> {
    let found = sqlx::query_scalar!(
        r#"select exists (select 1 from backups where cluster = $1 and name = $2) as "found!""#,
        cluster.as_str(),
        name.as_str()
    )
    .fetch_one(conn)
    .await?;
    Ok(found)
}

/// Locks a backup's row and says where the backup is in its life. Whoever adds a hold or expires a
/// backup does it under this lock, so one of the two comes first and the other sees it.
pub async fn lock(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    name: &BackupName,
) -> StateResult<Option<BackupState>> {
    let state = sqlx::query_scalar!(
        "select state from backups where cluster = $1 and name = $2 for update",
        cluster.as_str(),
        name.as_str()
    )
    .fetch_optional(conn)
    .await?;
    state.map(|state| Row::new("backup", name).word("state", &state)).transpose()
}

struct RawFacts {
    cluster: String,
    name: String,
    job: uuid::Uuid,
    policy: Option<String>,
    state: String,
    started_at: DateTime<Utc>,
    held: bool,
    tainted: bool,
    locked_until: Option<DateTime<Utc>>,
    selection: Value,
    dc: Option<String>,
}

impl RawFacts {
    fn read(self) -> StateResult<BackupFacts> {
        let row = Row::new("backup", &self.name);
        Ok(BackupFacts {
            cluster: row.word("cluster", &self.cluster)?,
            name: row.word("name", &self.name)?,
            job: JobId(self.job),
            policy: row.maybe_word("policy", self.policy.as_deref())?,
            state: row.word("state", &self.state)?,
            started_at: self.started_at,
            held: self.held,
            tainted: self.tainted,
            locked_until: self.locked_until,
            scope: Scope { selection: row.json("selection", self.selection)?, dc: self.dc },
        })
    }
}

/// Locks a cluster's backups that are not gone and says of each what retention decides on, oldest
/// first. The lock keeps holds away until the transaction ends.
pub async fn lock_facts(conn: &mut PgConnection, cluster: &ClusterName) -> StateResult<Vec<BackupFacts>> {
    sqlx::query!(
        "select name from backups where cluster = $1 and purged_at is null order by name for update",
        cluster.as_str()
    )
    .fetch_all(&mut *conn)
    .await?;
    facts(conn, cluster).await
}

/// What retention decides on, of a cluster's backups that are not gone, oldest first.
pub async fn facts(conn: &mut PgConnection, cluster: &ClusterName) -> StateResult<Vec<BackupFacts>> {
    let rows = sqlx::query_as!(
        RawFacts,
        r#"select b.cluster, b.name, b.job, b.policy, b.state, b.started_at, b.tainted, b.locked_until,
             b.selection, b.dc,
             exists (select 1 from holds h where h.cluster = b.cluster and h.backup = b.name
                     and h.released_at is null) as "held!"
         from backups b where b.cluster = $1 and b.purged_at is null
         order by b.started_at, b.name"#,
        cluster.as_str()
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(RawFacts::read).collect()
}

/// Backups that were begun, not sealed, and whose job is over for good or unknown: a purge gives
/// them an abort marker and takes what they left.
pub async fn left_behind(conn: &mut PgConnection, cluster: &ClusterName) -> StateResult<Vec<BackupName>> {
    let rows = sqlx::query_scalar!(
        "select b.name from backups b left join jobs j on j.id = b.job
         where b.cluster = $1 and b.purged_at is null
           and (b.state = 'dead' or (b.state = 'running'
                and (j.id is null or j.state in ('succeeded', 'cancelled', 'abandoned'))))
         order by b.started_at, b.name",
        cluster.as_str()
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(|name| Row::new("backup", name).word("name", name)).collect()
}

/// Expires a backup for the purge `job`. It can no longer be restored or held. The caller holds its
/// lock and has looked at its holds.
pub async fn expire(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    name: &BackupName,
    job: JobId,
    reason: &str,
) -> StateResult<()> {
    sqlx::query!(
        "update backups set state = 'expired', expired_at = coalesce(expired_at, now()), expired_by = $3,
             expire_reason = coalesce(expire_reason, $4)
         where cluster = $1 and name = $2",
        cluster.as_str(),
        name.as_str(),
        job.0,
        reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The backup is sealed, be it that it was taken for dead. `false`: its seal was known already, or it
/// has expired since.
pub async fn sealed(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    name: &BackupName,
    seal: &SealResult,
) -> StateResult<bool> {
    let tainted = is_tainted(conn, cluster, name).await?;
    let done = sqlx::query!(
        "update backups set state = $3, sealed_at = $4, figures = $5, coverage = $6, remarks = $7,
             tainted = $8, locked_until = $9
         where cluster = $1 and name = $2 and state in ('running', 'dead') and purged_at is null",
        cluster.as_str(),
        name.as_str(),
        BackupState::from(seal.coverage).as_str(),
        seal.sealed_at,
        word::json("figures", &seal.figures)?,
        word::json("a coverage report", &seal.report)?,
        word::json("remarks", &seal.remarks)?,
        tainted,
        seal.locked_until,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The backup's job is over for good without a seal. With `left_traces` a purge has yet to look
/// after what it left in the vault.
pub async fn died(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    name: &BackupName,
    left_traces: bool,
) -> StateResult<()> {
    sqlx::query!(
        "update backups set state = 'dead', purged_at = case when $3 then null else now() end
         where cluster = $1 and name = $2 and state = 'running'",
        cluster.as_str(),
        name.as_str(),
        left_traces
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether, at any time since this backup began, a restore of its cluster was past its truncate, or
/// had ended there without success and no later restore has mended it.
pub async fn is_tainted(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    name: &BackupName,
) -> StateResult<bool> {
    let tainted = sqlx::query_scalar!(
        r#"select exists (
             select 1 from backups b join jobs r on r.cluster = $1
             where b.cluster = $1 and b.name = $2 and r.kind = 'restore' and r.past_no_return
               and (r.state not in ('succeeded', 'cancelled', 'abandoned')
                 or r.ended_at > b.started_at
                 or (r.state = 'abandoned' and not exists (
                       select 1 from jobs later
                       where later.kind = 'restore' and later.cluster = $1
                         and later.past_no_return and later.state = 'succeeded'
                         and later.created_at > r.created_at)))) as "tainted!""#,
        cluster.as_str(),
        name.as_str()
    )
    .fetch_one(conn)
    .await?;
    Ok(tainted)
}

/// A purge has reported: these are gone from the vault. `state` is `Expired` or `Dead`.
pub async fn gone(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    names: &[BackupName],
    state: BackupState,
) -> StateResult<()> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "update backups set state = $3, purged_at = coalesce(purged_at, now())
         where cluster = $1 and name = any($2)",
        cluster.as_str(),
        &names,
        state.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest backup of the cluster that can be restored whole, of those that are of the most.
pub async fn newest_restorable(
    conn: &mut PgConnection,
    cluster: &ClusterName,
) -> StateResult<Option<BackupName>> {
    let mut good = facts(conn, cluster).await?;
    good.retain(|backup| backup.state.is_restorable() && !backup.tainted);
    let newest = newest_widest(&good, |backup| &backup.scope, |backup| backup.started_at);
    Ok(newest.map(|backup| backup.name.clone()))
}
