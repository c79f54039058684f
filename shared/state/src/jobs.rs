//! Jobs: inserted once, then changed only under their row's lock.

mod overdue;

use chrono::{DateTime, Utc};
use ringvault_core::{
    BackupName, ClusterName, JobId, PolicyName, TaskError,
    api::JobResult,
    job::{Job, JobKind, JobSpec, Limits, StageKind},
    trace::{JobTrace, SpanId, TraceParent},
};
use serde_json::Value;
use sqlx::PgConnection;

pub use overdue::{Overdue, overdue};

use crate::{
    StateResult,
    word::{self, Row},
};

const fn result_word(result: JobResult) -> &'static str {
    match result {
        JobResult::Ok => "ok",
        JobResult::Partial => "partial",
        JobResult::Problems => "problems",
        JobResult::Failed => "failed",
    }
}

/// A job.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// What it is asked to do.
    pub spec: JobSpec,
    /// What the state machine decides on.
    pub machine: Job,
    /// The system that asked.
    pub source: String,
    /// Under which key.
    pub idempotency_key: String,
    /// On whose behalf.
    pub requested_by: String,
    /// The policy that fired it.
    pub policy: Option<PolicyName>,
    /// Attempts of each task, where the policy says so.
    pub max_attempts: Option<u32>,
    /// What its nodes keep to since somebody said so while it ran.
    pub said: Limits,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// Since when it is in its state.
    pub state_since: DateTime<Utc>,
    /// When its first stage opened.
    pub started_at: Option<DateTime<Utc>>,
    /// When it settled.
    pub ended_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub outcome: Option<JobResult>,
    /// Why it failed.
    pub error: Option<TaskError>,
    /// Cancelled or abandoned: whether the tasks that clear up were inserted.
    pub cleanup_opened: bool,
    /// Cancelled or abandoned: when nobody waits for the clearing up any more.
    pub cleanup_until: Option<DateTime<Utc>>,
    /// Its place in a trace, if anybody traces it.
    pub trace: Option<JobTrace>,
}

impl JobRow {
    /// The cluster whose workers do it.
    pub const fn cluster(&self) -> &ClusterName {
        self.spec.cluster()
    }

    /// The backup it makes or works on, with the cluster it belongs to.
    pub const fn backup(&self) -> Option<(&ClusterName, &BackupName)> {
        self.spec.backup()
    }
}

/// Inserts a new job.
pub async fn insert(conn: &mut PgConnection, job: &JobRow) -> StateResult<()> {
    let stages: Vec<String> = job.machine.stages.iter().map(|s| s.as_str().to_owned()).collect();
    let backup = job.backup();
    let max_parallel = match &job.spec {
        JobSpec::Backup(spec) => spec.max_parallel_nodes,
        _ => None,
    };
    sqlx::query!(
        "insert into jobs (id, kind, cluster, spec, state, state_since, stages, source, idempotency_key,
             requested_by, policy, backup_cluster, backup, max_attempts, max_parallel, created_at,
             traceparent, trace_caller)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $6, $16, $17)",
        job.id.0,
        job.machine.kind.as_str(),
        job.cluster().as_str(),
        word::json("a job's specification", &job.spec)?,
        job.machine.state.as_str(),
        job.created_at,
        &stages,
        job.source,
        job.idempotency_key,
        job.requested_by,
        job.policy.as_ref().map(PolicyName::as_str),
        backup.map(|(cluster, _)| cluster.as_str()),
        backup.map(|(_, backup)| backup.as_str()),
        job.max_attempts.map(|n| word::int("max_attempts", n)).transpose()?,
        max_parallel.map(|n| word::int("max_parallel_nodes", n)).transpose()?,
        traceparent_of(job),
        job.trace.and_then(|trace| trace.caller).map(|span| span.to_string()),
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn traceparent_of(job: &JobRow) -> Option<String> {
    job.trace.map(|trace| trace.own.to_string())
}

struct Raw {
    id: uuid::Uuid,
    kind: String,
    spec: Value,
    state: String,
    state_since: DateTime<Utc>,
    stages: Vec<String>,
    stage: i32,
    past_no_return: bool,
    retry_until: Option<DateTime<Utc>>,
    source: String,
    idempotency_key: String,
    requested_by: String,
    policy: Option<String>,
    max_attempts: Option<i32>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    outcome: Option<String>,
    error: Option<Value>,
    cleanup_opened: bool,
    cleanup_until: Option<DateTime<Utc>>,
    rate_limit: Option<i64>,
    request_limit: Option<i64>,
    data_center_limits: Option<Value>,
    traceparent: Option<String>,
    trace_caller: Option<String>,
}

impl Raw {
    fn read(self) -> StateResult<JobRow> {
        let row = Row::new("job", &self.id);
        let stages: Vec<StageKind> =
            self.stages.iter().map(|s| row.word("stages", s)).collect::<Result<_, _>>()?;
        let machine = Job {
            kind: row.word::<JobKind>("kind", &self.kind)?,
            stages,
            state: row.word("state", &self.state)?,
            stage: row.count("stage", self.stage)? as usize,
            past_no_return: self.past_no_return,
            retry_until: self.retry_until,
        };
        // A trace that cannot be read is none: no job stands still for it.
        let own = self.traceparent.and_then(|text| text.parse::<TraceParent>().ok());
        let caller = self.trace_caller.and_then(|text| text.parse::<SpanId>().ok());
        Ok(JobRow {
            id: JobId(self.id),
            spec: row.spec(self.spec)?,
            machine,
            policy: row.maybe_word("policy", self.policy.as_deref())?,
            max_attempts: self.max_attempts.map(|n| row.count("max_attempts", n)).transpose()?,
            said: row.limits(self.rate_limit, self.request_limit, self.data_center_limits)?,
            outcome: row.maybe_json("outcome", self.outcome.map(Value::from))?,
            error: row.maybe_json("error", self.error)?,
            source: self.source,
            idempotency_key: self.idempotency_key,
            requested_by: self.requested_by,
            created_at: self.created_at,
            state_since: self.state_since,
            started_at: self.started_at,
            ended_at: self.ended_at,
            cleanup_opened: self.cleanup_opened,
            cleanup_until: self.cleanup_until,
            trace: own.map(|own| JobTrace { own, caller }),
        })
    }
}

/// Loads a job and locks its row until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: JobId) -> StateResult<Option<JobRow>> {
    let raw = sqlx::query_as!(
        Raw,
        "select id, kind, spec, state, state_since, stages, stage, past_no_return, retry_until, source,
             idempotency_key, requested_by, policy, max_attempts, created_at, started_at, ended_at,
              outcome, error, cleanup_opened, cleanup_until, rate_limit, request_limit,
              data_center_limits, traceparent, trace_caller
         from jobs where id = $1 for no key update",
        id.0
    )
    .fetch_optional(conn)
    .await?;
    raw.map(Raw::read).transpose()
}

/// Loads jobs and locks their rows, in the order of their ids. A job that somebody else has locked is
/// left out, so that nobody waits for all of them because of one.
pub async fn lock_free(conn: &mut PgConnection, ids: &[JobId]) -> StateResult<Vec<JobRow>> {
    let ids: Vec<uuid::Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Raw,
        "select id, kind, spec, state, state_since, stages, stage, past_no_return, retry_until, source,
             idempotency_key, requested_by, policy, max_attempts, created_at, started_at, ended_at,
              outcome, error, cleanup_opened, cleanup_until, rate_limit, request_limit,
              data_center_limits, traceparent, trace_caller
         from jobs where id = any($1) order by id for no key update skip locked",
        &ids
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Raw::read).collect()
}

/// Loads a job.
pub async fn load(conn: &mut PgConnection, id: JobId) -> StateResult<Option<JobRow>> {
    let raw = sqlx::query_as!(
        Raw,
        "select id, kind, spec, state, state_since, stages, stage, past_no_return, retry_until, source,
             idempotency_key, requested_by, policy, max_attempts, created_at, started_at, ended_at,
              outcome, error, cleanup_opened, cleanup_until, rate_limit, request_limit,
              data_center_limits, traceparent, trace_caller
         from jobs where id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?;
    raw.map(Raw::read).transpose()
}

/// Writes what changes of a job. The caller holds its lock.
pub async fn save(conn: &mut PgConnection, job: &JobRow) -> StateResult<()> {
    sqlx::query!(
        "update jobs set state = $2, state_since = $3, stage = $4, past_no_return = $5,
             retry_until = $6, started_at = $7, ended_at = $8, outcome = $9,
              error = $10, cleanup_opened = $11, cleanup_until = $12, rate_limit = $13,
              request_limit = $14, data_center_limits = $15, traceparent = $16
         where id = $1",
        job.id.0,
        job.machine.state.as_str(),
        job.state_since,
        word::int("stage", job.machine.stage)?,
        job.machine.past_no_return,
        job.machine.retry_until,
        job.started_at,
        job.ended_at,
        job.outcome.map(result_word),
        word::maybe_json("a job's error", job.error.as_ref())?,
        job.cleanup_opened,
        job.cleanup_until,
        job.said.everywhere.rate_limit.map(word::big),
        job.said.everywhere.request_limit.map(word::big),
        word::maybe_json(
            "a job's limits",
            Some(&job.said.data_centers).filter(|limits| !limits.is_empty()),
        )?,
        traceparent_of(job),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A queued job that nothing is in the way of.
#[derive(Debug, Clone)]
pub struct Startable {
    /// The job.
    pub id: JobId,
    /// The cluster whose workers will do it.
    pub cluster: ClusterName,
}

/// Queued jobs that nothing was in the way of just now, oldest first: what [`in_the_way`] says for
/// each of them, so that any number of jobs that must wait hide none that need not. Queued jobs of the
/// policies `closed` are left out, and nobody waits for them.
pub async fn startable(
    conn: &mut PgConnection,
    closed: &[PolicyName],
    limit: i64,
) -> StateResult<Vec<Startable>> {
    let closed: Vec<String> = closed.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        "select j.id, j.cluster from jobs j
         where j.state = 'queued' and not coalesce(j.policy = any($2), false)
           and not exists (
             select from jobs o
             where o.policy = j.policy and o.kind = j.kind and o.id <> j.id
               and o.state in ('queued', 'running', 'paused', 'cancelling', 'abandoning')
               and (o.state <> 'queued' or (o.created_at, o.id) < (j.created_at, j.id)))
           and not ((j.kind in ('backup', 'purge')
                 or (j.kind = 'restore' and coalesce((j.spec ->> 'truncate')::boolean, false)
                     and not coalesce((j.spec ->> 'plan_only')::boolean, false)))
             and exists (
               select from jobs o
               where o.cluster = j.cluster and o.kind = j.kind and o.id <> j.id
                 and o.state in ('queued', 'running', 'paused', 'cancelling', 'abandoning')
                 and (o.state <> 'queued' or ((o.created_at, o.id) < (j.created_at, j.id)
                      and not coalesce(o.policy = any($2), false)))
                 and (o.kind <> 'restore' or ((o.spec ->> 'truncate')::boolean
                      and not coalesce((o.spec ->> 'plan_only')::boolean, false)))))
         order by j.created_at, j.id limit $1",
        limit,
        &closed
    )
    .fetch_all(conn)
    .await?;
    Ok(word::readable(rows.into_iter().map(|raw| {
        let row = Row::new("job", &raw.id);
        Ok(Startable { id: JobId(raw.id), cluster: row.word("cluster", &raw.cluster)? })
    })))
}

/// The job that `job` must wait for: an earlier one of the same policy; for a backup, purge or drill, another
/// of that kind on the same cluster that is under way or came earlier; for a restore, another that
/// changes the same cluster, if either of the two truncates.
/// Queued jobs of the policies `closed`, which do not begin now, are in nobody's way. The caller holds the
/// cluster's lock ([`crate::registry::clusters::lock`]), so no two start at once.
pub async fn in_the_way(
    conn: &mut PgConnection,
    job: &JobRow,
    closed: &[PolicyName],
) -> StateResult<Option<JobId>> {
    let closed: Vec<String> = closed.iter().map(ToString::to_string).collect();
    let (exclusive, truncates) = match &job.spec {
        JobSpec::Backup(_) | JobSpec::Purge(_) => (true, false),
        JobSpec::Restore(spec) => (!spec.plan_only, spec.truncate),
        // Twice the room would be too much for many, and two prove no more than one.
        JobSpec::Drill(_) => (true, false),
        JobSpec::Verify(_) | JobSpec::Digest(_) => (false, false),
    };
    let found = sqlx::query_scalar!(
        "select id from jobs
         where id <> $1
           and state in ('queued', 'running', 'paused', 'cancelling', 'abandoning')
           and (state <> 'queued'
             or ((created_at, id) < ($2, $1) and not coalesce(policy = any($8), false)))
           and ((policy = $3 and kind = $6)
             or ($4 and cluster = $5 and kind = $6
                 and (kind <> 'restore' or (($7 or coalesce((spec ->> 'truncate')::boolean, false))
                      and not coalesce((spec ->> 'plan_only')::boolean, false)))))
         order by created_at, id limit 1",
        job.id.0,
        job.created_at,
        job.policy.as_ref().map(PolicyName::as_str),
        exclusive,
        job.cluster().as_str(),
        job.machine.kind.as_str(),
        truncates,
        &closed,
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.map(JobId))
}

/// A job of this kind that the policy has fired and that is not settled, if there is one.
pub async fn unsettled_of_policy(
    conn: &mut PgConnection,
    policy: &PolicyName,
    kind: JobKind,
) -> StateResult<Option<JobId>> {
    let found = sqlx::query_scalar!(
        "select id from jobs
         where policy = $1 and kind = $2
           and state in ('queued', 'running', 'paused', 'cancelling', 'abandoning')
         order by created_at limit 1",
        policy.as_str(),
        kind.as_str()
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.map(JobId))
}
