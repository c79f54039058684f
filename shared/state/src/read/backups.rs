//! Backups in lists and in full.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use ringvault_core::{
    BackupName, ClusterName, HostId, JobId, PolicyName,
    api::{BackupDetail, BackupNode, BackupSummary, Verification},
    backup::BackupState,
    job::VerifyLevel,
    task::TaskResult,
};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::holds;
use crate::{
    StateResult,
    word::{Row, big_count},
};

/// Which backups a list holds; an absent part selects all.
#[derive(Debug, Clone, Default)]
pub struct BackupFilter {
    /// Of this cluster.
    pub cluster: Option<ClusterName>,
    /// Of this name.
    pub name: Option<BackupName>,
    /// In one of these states.
    pub states: Option<Vec<BackupState>>,
    /// Asked for by this policy.
    pub policy: Option<PolicyName>,
}

/// The last backup of a page: the next one goes on after it.
#[derive(Debug, Clone)]
pub struct After {
    /// Its start.
    pub started_at: DateTime<Utc>,
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub name: String,
}

struct Raw {
    cluster: String,
    name: String,
    job: Uuid,
    policy: Option<String>,
    state: String,
    started_at: DateTime<Utc>,
    sealed_at: Option<DateTime<Utc>>,
    figures: Option<Value>,
    verified_level: Option<String>,
    verified_at: Option<DateTime<Utc>>,
    damaged: i64,
    tainted: bool,
    locked_until: Option<DateTime<Utc>>,
    tags: Value,
    holds: Vec<String>,
}

impl Raw {
    fn read(self) -> StateResult<BackupSummary> {
        let row = Row::new("backup", &self.name);
        let level: Option<VerifyLevel> =
            row.maybe_json("verified_level", self.verified_level.map(Value::from))?;
        let verified = level.zip(self.verified_at).map(|(level, at)| Verification {
            job: None,
            level,
            at,
            damaged: big_count(self.damaged),
        });
        Ok(BackupSummary {
            cluster: row.word("cluster", &self.cluster)?,
            name: row.word("name", &self.name)?,
            job: JobId(self.job),
            policy: row.maybe_word("policy", self.policy.as_deref())?,
            state: row.word("state", &self.state)?,
            started_at: self.started_at,
            sealed_at: self.sealed_at,
            figures: row.maybe_json("figures", self.figures)?.unwrap_or_default(),
            verified,
            locked_until: self.locked_until,
            holds: self.holds,
            tainted: self.tainted,
            tags: row.json("tags", self.tags)?,
        })
    }
}

/// Backups, the newest first, at most `limit` of those after `after`.
pub async fn list(
    conn: &mut PgConnection,
    filter: &BackupFilter,
    after: Option<&After>,
    limit: i64,
) -> StateResult<Vec<BackupSummary>> {
    let states: Option<Vec<String>> =
        filter.states.as_ref().map(|states| states.iter().map(|state| state.as_str().to_owned()).collect());
    let rows = sqlx::query_as!(
        Raw,
        r#"select cluster, name, job, policy, state, started_at, sealed_at, figures, verified_level,
             verified_at, damaged, tainted, locked_until, tags,
             array(select coalesce(h.name, h.job::text) from holds h
                   where h.cluster = b.cluster and h.backup = b.name and h.released_at is null
                   order by h.created_at, h.id) as "holds!"
         from backups b
         where ($1::text is null or cluster = $1)
           and ($2::text[] is null or state = any($2))
           and ($3::text is null or policy = $3)
           and ($4::timestamptz is null or started_at < $4
             or (started_at = $4 and (cluster, name) > ($5::text, $6::text)))
           and ($8::text is null or name = $8)
         order by started_at desc, cluster, name limit $7"#,
        filter.cluster.as_ref().map(ClusterName::as_str),
        states.as_deref(),
        filter.policy.as_ref().map(PolicyName::as_str),
        after.map(|after| after.started_at),
        after.map(|after| after.cluster.as_str()),
        after.map(|after| after.name.as_str()),
        limit,
        filter.name.as_ref().map(BackupName::as_str),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Raw::read).collect()
}

/// One backup in full.
pub async fn detail(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    backup: &BackupName,
) -> StateResult<Option<BackupDetail>> {
    let raw = sqlx::query_as!(
        Raw,
        r#"select cluster, name, job, policy, state, started_at, sealed_at, figures, verified_level,
             verified_at, damaged, tainted, locked_until, tags,
             array(select coalesce(h.name, h.job::text) from holds h
                   where h.cluster = b.cluster and h.backup = b.name and h.released_at is null
                   order by h.created_at, h.id) as "holds!"
         from backups b where cluster = $1 and name = $2"#,
        cluster.as_str(),
        backup.as_str(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(raw) = raw else { return Ok(None) };
    let summary = raw.read()?;
    let more = sqlx::query!(
        "select mode, coverage, remarks, selection from backups where cluster = $1 and name = $2",
        cluster.as_str(),
        backup.as_str(),
    )
    .fetch_one(&mut *conn)
    .await?;
    let row = Row::new("backup", backup);
    Ok(Some(BackupDetail {
        mode: row.json("mode", more.mode.into())?,
        selection: row.json("selection", more.selection)?,
        coverage: row.maybe_json("coverage", more.coverage)?,
        remarks: row.json("remarks", more.remarks)?,
        nodes: nodes(conn, summary.job).await?,
        held_by: holds::of_backup(conn, cluster, backup).await?,
        verifications: verifications(conn, cluster, backup).await?,
        summary,
    }))
}

/// What each node brought, from the answers to the backup's tasks.
async fn nodes(conn: &mut PgConnection, job: JobId) -> StateResult<Vec<BackupNode>> {
    let rows = sqlx::query!(
        r#"select t.host_id as "host_id!", coalesce(n.address, '') as "address!", t.result
         from tasks t left join nodes n on n.cluster = t.cluster and n.host_id = t.host_id
         where t.job = $1 and t.kind in ('snapshot', 'upload') and not t.cleanup
           and t.host_id is not null
         order by n.address, t.host_id, t.stage"#,
        job.0
    )
    .fetch_all(conn)
    .await?;
    let mut nodes: BTreeMap<(String, Uuid), BackupNode> = BTreeMap::new();
    for raw in rows {
        let row = Row::new("task of node", &raw.host_id);
        let key = (raw.address.clone(), raw.host_id);
        let node = nodes.entry(key).or_insert_with(|| BackupNode {
            host_id: HostId(raw.host_id),
            address: raw.address,
            held: false,
            snapshot_at: None,
            manifest: None,
            schema_version: None,
            sstables: 0,
            files: 0,
            bytes: 0,
            bytes_new: 0,
        });
        match row.maybe_json::<TaskResult>("result", raw.result)? {
            Some(TaskResult::Snapshot(snapshot)) => node.snapshot_at = Some(snapshot.taken_at),
            Some(TaskResult::Upload(upload)) => {
                node.held = true;
                node.snapshot_at = Some(upload.manifest.snapshot_at);
                node.manifest = Some(upload.manifest.key);
                node.schema_version = Some(upload.manifest.schema_version);
                node.sstables = upload.sstables;
                node.files = upload.files;
                node.bytes = upload.bytes;
                node.bytes_new = upload.bytes_new;
            }
            _ => {}
        }
    }
    Ok(nodes.into_values().collect())
}

async fn verifications(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    backup: &BackupName,
) -> StateResult<Vec<Verification>> {
    let rows = sqlx::query!(
        "select job, level, at, damaged from verifications
         where cluster = $1 and backup = $2 order by at desc, job limit 100",
        cluster.as_str(),
        backup.as_str(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|raw| {
            let row = Row::new("verification", &raw.job);
            Ok(Verification {
                job: Some(JobId(raw.job)),
                level: row.json("level", raw.level.into())?,
                at: raw.at,
                damaged: big_count(raw.damaged),
            })
        })
        .collect()
}
