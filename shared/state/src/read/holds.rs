//! What holds backups.

use chrono::{DateTime, Utc};
use ringvault_core::{
    BackupName, ClusterName,
    api::{HoldKind, HoldView},
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{StateResult, word::Row};

struct Raw {
    id: Uuid,
    cluster: String,
    backup: String,
    job: Option<Uuid>,
    name: Option<String>,
    reason: Option<String>,
    created_by: String,
    created_at: DateTime<Utc>,
}

impl Raw {
    fn read(self) -> StateResult<HoldView> {
        let row = Row::new("hold", &self.id);
        let (name, kind) = match (self.name, self.job) {
            (Some(name), _) => (name, HoldKind::Legal),
            (None, Some(job)) => (job.to_string(), HoldKind::Job),
            (None, None) => return Err(row.unreadable("name", "it has neither a name nor a job")),
        };
        Ok(HoldView {
            cluster: row.word("cluster", &self.cluster)?,
            backup: row.word("backup", &self.backup)?,
            name,
            kind,
            reason: self.reason,
            set_by: self.created_by,
            set_at: self.created_at,
        })
    }
}

/// Holds that are not released, the oldest first, at most `limit` after the hold `after`.
pub async fn list(
    conn: &mut PgConnection,
    cluster: Option<&ClusterName>,
    backup: Option<&BackupName>,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> StateResult<Vec<(Uuid, HoldView)>> {
    let rows = sqlx::query_as!(
        Raw,
        "select id, cluster, backup, job, name, reason, created_by, created_at from holds
         where released_at is null and ($1::text is null or cluster = $1)
           and ($2::text is null or backup = $2)
           and ($3::timestamptz is null or (created_at, id) > ($3, $4::uuid))
         order by created_at, id limit $5",
        cluster.map(ClusterName::as_str),
        backup.map(BackupName::as_str),
        after.map(|(at, _)| at),
        after.map(|(_, id)| id),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|raw| Ok((raw.id, raw.read()?))).collect()
}

/// What holds one backup.
pub async fn of_backup(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    backup: &BackupName,
) -> StateResult<Vec<HoldView>> {
    let found = list(conn, Some(cluster), Some(backup), None, i64::MAX).await?;
    Ok(found.into_iter().map(|(_, hold)| hold).collect())
}
