//! The facts that the fleet's status is judged from.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use ringvault_core::{BackupName, ClusterName, JobId, backup::Scope, job::JobKind};
use sqlx::PgConnection;

use crate::{
    StateResult,
    word::{Row, big_count},
};

/// What is known of one cluster. It may be known from a policy alone.
#[derive(Debug, Clone)]
pub struct ClusterFacts {
    /// The cluster.
    pub cluster: ClusterName,
    /// Backups that can be restored whole: of each scope the newest.
    pub good: Vec<GoodBackup>,
    /// When a verify last found a backup whole.
    pub last_verified_at: Option<DateTime<Utc>>,
    /// When a drill last brought a backup of it back and read it, whole.
    pub last_drill_at: Option<DateTime<Utc>>,
    /// Jobs that are not over.
    pub jobs_open: u32,
    /// The newest failed job that waits for a retry.
    pub failed: Option<(JobId, JobKind)>,
    /// Damaged objects named by backups that are not expired, and the newest such backup.
    pub damaged: u64,
    /// The newest backup that names damaged objects.
    pub damaged_backup: Option<BackupName>,
}

/// A backup that can be restored whole.
#[derive(Debug, Clone)]
pub struct GoodBackup {
    /// Its name.
    pub name: BackupName,
    /// The instant it holds.
    pub at: DateTime<Utc>,
    /// What it is of.
    pub scope: Scope,
}

/// Of every cluster and scope the newest backup that can be restored whole.
async fn good(conn: &mut PgConnection) -> StateResult<BTreeMap<String, Vec<GoodBackup>>> {
    let rows = sqlx::query!(
        "select distinct on (cluster, selection, dc) cluster, name, started_at, selection, dc
         from backups where state in ('complete', 'covering') and not tainted
         order by cluster, selection, dc, started_at desc, name"
    )
    .fetch_all(conn)
    .await?;
    let mut by_cluster: BTreeMap<String, Vec<GoodBackup>> = BTreeMap::new();
    for raw in rows {
        let row = Row::new("backup", &raw.name);
        let good = GoodBackup {
            name: row.word("name", &raw.name)?,
            at: raw.started_at,
            scope: Scope { selection: row.json("selection", raw.selection)?, dc: raw.dc },
        };
        by_cluster.entry(raw.cluster).or_default().push(good);
    }
    Ok(by_cluster)
}

/// All clusters by name.
pub async fn clusters(conn: &mut PgConnection) -> StateResult<Vec<ClusterFacts>> {
    let mut good = good(conn).await?;
    let rows = sqlx::query!(
        r#"with known as (select name from clusters union select cluster from policies)
         select k.name as "name!",
             (select max(verified_at) from backups b
              where b.cluster = k.name and b.damaged = 0 and b.verified_at is not null) as last_verified_at,
             (select max(j.ended_at) from jobs j where j.backup_cluster = k.name and j.kind = 'drill'
                and j.state = 'succeeded' and j.outcome = 'ok') as last_drill_at,
             (select count(*)::integer from jobs j where j.cluster = k.name
                and j.state not in ('succeeded', 'cancelled', 'abandoned')) as "jobs_open!",
             failed.id as "failed_id?", failed.kind as "failed_kind?",
             (select coalesce(sum(damaged), 0)::bigint from backups b where b.cluster = k.name
                and b.damaged > 0 and b.state in ('complete', 'covering', 'incomplete')) as "damaged!",
             (select b.name from backups b where b.cluster = k.name and b.damaged > 0
                and b.state in ('complete', 'covering', 'incomplete')
              order by b.started_at desc limit 1) as damaged_backup
         from known k
         left join lateral (
             select j.id, j.kind from jobs j where j.cluster = k.name and j.state = 'failed'
               and j.state not in ('succeeded', 'cancelled', 'abandoned')
             order by j.created_at desc limit 1) failed on true
         order by 1"#
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|raw| {
            let row = Row::new("cluster", &raw.name);
            let kind = row.maybe_word("kind", raw.failed_kind.as_deref())?;
            Ok(ClusterFacts {
                cluster: row.word("name", &raw.name)?,
                good: good.remove(&raw.name).unwrap_or_default(),
                last_verified_at: raw.last_verified_at,
                last_drill_at: raw.last_drill_at,
                jobs_open: row.count("jobs", raw.jobs_open)?,
                failed: raw.failed_id.map(JobId).zip(kind),
                damaged: big_count(raw.damaged),
                damaged_backup: row.maybe_word("backup", raw.damaged_backup.as_deref())?,
            })
        })
        .collect()
}

/// The scheduler that does the housekeeping, if its turn is not over.
pub async fn leader(conn: &mut PgConnection) -> StateResult<Option<String>> {
    let found = sqlx::query_scalar!("select scheduler from leader where until > clock_timestamp()")
        .fetch_optional(conn)
        .await?;
    Ok(found)
}

/// Whether the schema is the one that this version's migrations make, or a later one.
pub async fn is_migrated(conn: &mut PgConnection) -> StateResult<bool> {
    let applied = sqlx::query_scalar!("select max(version) from _sqlx_migrations where success")
        .fetch_one(conn)
        .await?;
    let needed = crate::pool::MIGRATOR.iter().map(|migration| migration.version).max();
    Ok(applied >= needed)
}
