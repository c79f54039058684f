//! Jobs in lists, and the job a shortened id means.

use chrono::{DateTime, Utc};
use ringvault_core::{
    BackupName, ClusterName, JobId, PolicyName,
    api::{JobResult, JobSummary},
    job::{JobKind, JobState, StageKind},
};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{StateResult, word::Row};

/// Which jobs a list holds; an absent part selects all.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Whose workers do them.
    pub cluster: Option<ClusterName>,
    /// In one of these states.
    pub states: Option<Vec<JobState>>,
    /// Of this kind.
    pub kind: Option<JobKind>,
    /// Fired by this policy.
    pub policy: Option<PolicyName>,
    /// That make or work on a backup of this name.
    pub backup: Option<BackupName>,
}

/// The last job of a page: the next one goes on after it.
pub type After = (DateTime<Utc>, Uuid);

pub(super) struct Raw {
    pub(super) id: Uuid,
    pub(super) kind: String,
    pub(super) cluster: String,
    pub(super) backup: Option<String>,
    pub(super) policy: Option<String>,
    pub(super) requested_by: String,
    pub(super) state: String,
    pub(super) stage: Option<String>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) ended_at: Option<DateTime<Utc>>,
    pub(super) retry_until: Option<DateTime<Utc>>,
    pub(super) past_no_return: bool,
    pub(super) outcome: Option<String>,
    pub(super) error: Option<Value>,
}

impl Raw {
    pub(super) fn read(self) -> StateResult<JobSummary> {
        let row = Row::new("job", &self.id);
        Ok(JobSummary {
            id: JobId(self.id),
            kind: row.word("kind", &self.kind)?,
            cluster: row.word("cluster", &self.cluster)?,
            backup: row.maybe_word("backup", self.backup.as_deref())?,
            policy: row.maybe_word("policy", self.policy.as_deref())?,
            state: row.word("state", &self.state)?,
            stage: row.maybe_word::<StageKind>("stage", self.stage.as_deref())?,
            result: row.maybe_json::<JobResult>("outcome", self.outcome.map(Value::from))?,
            error: row.maybe_json("error", self.error)?,
            requested_by: self.requested_by,
            created_at: self.created_at,
            started_at: self.started_at,
            ended_at: self.ended_at,
            retry_until: self.retry_until,
            past_no_return: self.past_no_return,
        })
    }
}

/// Jobs, the newest first, at most `limit` of those after `after`.
pub async fn list(
    conn: &mut PgConnection,
    filter: &JobFilter,
    after: Option<After>,
    limit: i64,
) -> StateResult<Vec<JobSummary>> {
    let states: Option<Vec<String>> =
        filter.states.as_ref().map(|states| states.iter().map(|state| state.as_str().to_owned()).collect());
    let rows = sqlx::query_as!(
        Raw,
        "select id, kind, cluster, backup, policy, requested_by, state, stages[stage + 1] as stage,
             created_at, started_at, ended_at, retry_until, past_no_return, outcome, error
         from jobs
         where ($1::text is null or cluster = $1)
           and ($2::text[] is null or state = any($2))
           and ($3::text is null or kind = $3)
           and ($4::text is null or policy = $4)
           and ($5::text is null or backup = $5)
           and ($6::timestamptz is null or (created_at, id) < ($6, $7::uuid))
         order by created_at desc, id desc limit $8",
        filter.cluster.as_ref().map(ClusterName::as_str),
        states.as_deref(),
        filter.kind.map(JobKind::as_str),
        filter.policy.as_ref().map(PolicyName::as_str),
        filter.backup.as_ref().map(BackupName::as_str),
        after.map(|(at, _)| at),
        after.map(|(_, id)| id),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Raw::read).collect()
}

/// One job.
pub async fn summary(conn: &mut PgConnection, id: JobId) -> StateResult<Option<JobSummary>> {
    let row = sqlx::query_as!(
        Raw,
        "select id, kind, cluster, backup, policy, requested_by, state, stages[stage + 1] as stage,
             created_at, started_at, ended_at, retry_until, past_no_return, outcome, error
         from jobs where id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?;
    row.map(Raw::read).transpose()
}

/// The ids from `low` to `high`, at most `limit`: what a shortened id may mean.
pub async fn between(conn: &mut PgConnection, low: Uuid, high: Uuid, limit: i64) -> StateResult<Vec<JobId>> {
    let rows = sqlx::query_scalar!(
        "select id from jobs where id between $1 and $2 order by id limit $3",
        low,
        high,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(JobId).collect())
}
