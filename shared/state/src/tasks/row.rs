//! A task's row: changed only by who holds its job's lock.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use ringvault_core::{
    ClusterName, HostId, JobId, TaskError, TaskId, WorkerId,
    job::{Placement, StageKind, TaskOutcome},
    task::{Task, TaskPayload, TaskResult},
};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    StateResult,
    word::{self, Row},
};

/// A task.
#[derive(Debug, Clone)]
pub struct TaskRow {
    /// Its id.
    pub id: TaskId,
    /// Its job.
    pub job: JobId,
    /// The cluster whose workers may do it.
    pub cluster: ClusterName,
    /// Index of its stage in the job's stages.
    pub stage: usize,
    /// Its stage's kind.
    pub kind: StageKind,
    /// Whether it clears up after a cancel or abandon.
    pub cleanup: bool,
    /// Where it may run.
    pub placement: Placement,
    /// Upload: those of the job with the same group share its `max_parallel_nodes`.
    pub parallel_group: String,
    /// What it does.
    pub payload: TaskPayload,
    /// What the state machine decides on.
    pub machine: Task,
    /// What it brought.
    pub result: Option<TaskResult>,
    /// When it was first granted.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub ended_at: Option<DateTime<Utc>>,
}

impl TaskRow {
    /// The node it is for.
    pub const fn host_id(&self) -> Option<HostId> {
        match self.placement {
            Placement::Node(host) => Some(host),
            Placement::Any | Placement::AnyWithDelete => None,
        }
    }
}

const fn placement_word(placement: Placement) -> &'static str {
    match placement {
        Placement::Node(_) => "node",
        Placement::Any => "any",
        Placement::AnyWithDelete => "any_with_delete",
    }
}

pub(super) fn read_placement(row: &Row<'_>, word: &str, host: Option<uuid::Uuid>) -> StateResult<Placement> {
    match (word, host) {
        ("node", Some(host)) => Ok(Placement::Node(HostId(host))),
        ("any", None) => Ok(Placement::Any),
        ("any_with_delete", None) => Ok(Placement::AnyWithDelete),
        (word, _) => Err(row.unreadable("placement", format!("unknown: {word:?}"))),
    }
}

/// Inserts new tasks.
pub async fn insert(conn: &mut PgConnection, tasks: &[TaskRow]) -> StateResult<()> {
    if tasks.is_empty() {
        return Ok(());
    }
    let text = |of: fn(&TaskRow) -> &str| -> Vec<&str> { tasks.iter().map(of).collect() };
    let ids = |of: fn(&TaskRow) -> Uuid| -> Vec<Uuid> { tasks.iter().map(of).collect() };
    let mut stages = Vec::new();
    let mut payloads = Vec::new();
    for task in tasks {
        stages.push(word::int("stage", task.stage)?);
        payloads.push(word::json("a task's payload", &task.payload)?);
    }
    sqlx::query!(
        "insert into tasks (id, job, cluster, stage, kind, cleanup, placement, host_id, payload, state, run_at,
             parallel_group)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[], $5::text[], $6::boolean[],
             $7::text[], $8::uuid[], $9::jsonb[], $10::text[], $11::timestamptz[], $12::text[])",
        &ids(|task| task.id.0),
        &ids(|task| task.job.0),
        &text(|task| task.cluster.as_str()) as &[&str],
        &stages,
        &text(|task| task.kind.as_str()) as &[&str],
        &tasks.iter().map(|task| task.cleanup).collect::<Vec<_>>(),
        &text(|task| placement_word(task.placement)) as &[&str],
        &tasks.iter().map(|task| task.host_id().map(|host| host.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &payloads,
        &text(|task| task.machine.state.as_str()) as &[&str],
        &tasks.iter().map(|task| task.machine.run_at).collect::<Vec<_>>(),
        &text(|task| &task.parallel_group) as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct Raw {
    id: uuid::Uuid,
    job: uuid::Uuid,
    cluster: String,
    stage: i32,
    kind: String,
    cleanup: bool,
    placement: String,
    host_id: Option<uuid::Uuid>,
    parallel_group: String,
    payload: Value,
    state: String,
    epoch: i32,
    dispatch_seq: i32,
    attempts: i32,
    run_at: DateTime<Utc>,
    deadline: Option<DateTime<Utc>>,
    waiting_since: Option<DateTime<Utc>>,
    running_since: Option<DateTime<Utc>>,
    worker: Option<uuid::Uuid>,
    error: Option<Value>,
    result: Option<Value>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
}

impl Raw {
    fn read(self) -> StateResult<TaskRow> {
        let row = Row::new("task", &self.id);
        let machine = Task {
            state: row.word("state", &self.state)?,
            epoch: row.count("epoch", self.epoch)?,
            dispatch_seq: row.count("dispatch_seq", self.dispatch_seq)?,
            attempts: row.count("attempts", self.attempts)?,
            run_at: self.run_at,
            deadline: self.deadline,
            waiting_since: self.waiting_since,
            running_since: self.running_since,
            worker: self.worker.map(WorkerId),
            error: row.maybe_json::<TaskError>("error", self.error)?,
        };
        Ok(TaskRow {
            id: TaskId(self.id),
            job: JobId(self.job),
            cluster: row.word("cluster", &self.cluster)?,
            stage: row.count("stage", self.stage)? as usize,
            kind: row.word("kind", &self.kind)?,
            cleanup: self.cleanup,
            placement: read_placement(&row, &self.placement, self.host_id)?,
            parallel_group: self.parallel_group,
            payload: row.json("payload", self.payload)?,
            machine,
            result: row.maybe_json("result", self.result)?,
            started_at: self.started_at,
            ended_at: self.ended_at,
        })
    }
}

/// The job a task belongs to, which never changes: what to lock before the task.
pub async fn job_of(conn: &mut PgConnection, id: TaskId) -> StateResult<Option<JobId>> {
    Ok(jobs_of(conn, &[id]).await?.remove(&id))
}

/// The jobs that these tasks belong to; a task that does not exist is left out.
pub async fn jobs_of(conn: &mut PgConnection, ids: &[TaskId]) -> StateResult<HashMap<TaskId, JobId>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!("select id, job from tasks where id = any($1)", &ids).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| (TaskId(row.id), JobId(row.job))).collect())
}

/// Loads a task and locks its row. The caller holds its job's lock.
pub async fn lock(conn: &mut PgConnection, id: TaskId) -> StateResult<Option<TaskRow>> {
    let raw = sqlx::query_as!(
        Raw,
        "select id, job, cluster, stage, kind, cleanup, placement, host_id, parallel_group, payload, state, epoch,
             dispatch_seq, attempts, run_at, deadline, waiting_since, running_since, worker, error, result,
             started_at, ended_at
         from tasks where id = $1 for no key update",
        id.0
    )
    .fetch_optional(conn)
    .await?;
    raw.map(Raw::read).transpose()
}

/// Loads and locks tasks of these jobs, in the order of their ids; those of others are left out. The
/// caller holds the jobs' locks.
pub async fn lock_some(conn: &mut PgConnection, jobs: &[JobId], ids: &[TaskId]) -> StateResult<Vec<TaskRow>> {
    let ids: Vec<uuid::Uuid> = ids.iter().map(|id| id.0).collect();
    let jobs: Vec<uuid::Uuid> = jobs.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Raw,
        "select id, job, cluster, stage, kind, cleanup, placement, host_id, parallel_group, payload, state, epoch,
             dispatch_seq, attempts, run_at, deadline, waiting_since, running_since, worker, error, result,
             started_at, ended_at
         from tasks where id = any($1) and job = any($2)
         order by id for no key update",
        &ids,
        &jobs,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Raw::read).collect()
}

/// Loads and locks a job's tasks of one stage (or its cleanup tasks). The caller holds the job's
/// lock.
pub async fn lock_open(
    conn: &mut PgConnection,
    job: JobId,
    stage: usize,
    cleanup: bool,
) -> StateResult<Vec<TaskRow>> {
    let rows = sqlx::query_as!(
        Raw,
        "select id, job, cluster, stage, kind, cleanup, placement, host_id, parallel_group, payload, state, epoch,
             dispatch_seq, attempts, run_at, deadline, waiting_since, running_since, worker, error, result,
             started_at, ended_at
         from tasks where job = $1 and stage = $2 and cleanup = $3
         order by id for no key update",
        job.0,
        word::int("stage", stage)?,
        cleanup,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Raw::read).collect()
}

/// Writes what changes of tasks, each named once. The caller holds their job's lock.
pub async fn save(conn: &mut PgConnection, tasks: &[&TaskRow]) -> StateResult<()> {
    if tasks.is_empty() {
        return Ok(());
    }
    let time = |of: fn(&TaskRow) -> Option<DateTime<Utc>>| -> Vec<Option<DateTime<Utc>>> {
        tasks.iter().map(|task| of(task)).collect()
    };
    let (mut epochs, mut dispatches, mut attempts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut errors, mut results): (Vec<Option<Value>>, Vec<Option<Value>>) = (Vec::new(), Vec::new());
    for task in tasks {
        epochs.push(word::int("epoch", task.machine.epoch)?);
        dispatches.push(word::int("dispatch_seq", task.machine.dispatch_seq)?);
        attempts.push(word::int("attempts", task.machine.attempts)?);
        errors.push(word::maybe_json("a task's error", task.machine.error.as_ref())?);
        results.push(word::maybe_json("a task's result", task.result.as_ref())?);
    }
    sqlx::query!(
        "update tasks t set state = s.state, epoch = s.epoch, dispatch_seq = s.dispatch_seq,
             attempts = s.attempts, run_at = s.run_at, deadline = s.deadline, waiting_since = s.waiting_since,
             worker = s.worker, error = s.error, result = s.result, started_at = s.started_at,
             ended_at = s.ended_at, asked_at = null, running_since = s.running_since
         from unnest($1::uuid[], $2::text[], $3::integer[], $4::integer[], $5::integer[], $6::timestamptz[],
             $7::timestamptz[], $8::timestamptz[], $9::uuid[], $10::jsonb[], $11::jsonb[], $12::timestamptz[],
             $13::timestamptz[], $14::timestamptz[])
             as s (id, state, epoch, dispatch_seq, attempts, run_at, deadline, waiting_since, worker, error,
                 result, started_at, ended_at, running_since)
         where t.id = s.id",
        &tasks.iter().map(|task| task.id.0).collect::<Vec<_>>(),
        &tasks.iter().map(|task| task.machine.state.as_str()).collect::<Vec<_>>() as &[&str],
        &epochs,
        &dispatches,
        &attempts,
        &tasks.iter().map(|task| task.machine.run_at).collect::<Vec<_>>(),
        &time(|task| task.machine.deadline) as &[Option<DateTime<Utc>>],
        &time(|task| task.machine.waiting_since) as &[Option<DateTime<Utc>>],
        &tasks.iter().map(|task| task.machine.worker.map(|worker| worker.0)).collect::<Vec<_>>()
            as &[Option<Uuid>],
        &errors as &[Option<Value>],
        &results as &[Option<Value>],
        &time(|task| task.started_at) as &[Option<DateTime<Utc>>],
        &time(|task| task.ended_at) as &[Option<DateTime<Utc>>],
        &time(|task| task.machine.running_since) as &[Option<DateTime<Utc>>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How the tasks of a stage (or the cleanup tasks) stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ready or dispatched.
    pub waiting: u32,
    /// Granted, and so possibly at work.
    pub running: u32,
    /// Done.
    pub succeeded: u32,
    /// Over without success.
    pub failed: u32,
    /// Taken back for good: of a job that was stopped, or of a node that was given up.
    pub cancelled: u32,
}

/// Whether a task of a job's stage (or a cleanup task) is not over. Looks at one of them, where a
/// [`tally`] counts them all: asked at the end of each task of a stage, that would be the square.
pub async fn is_any_open(
    conn: &mut PgConnection,
    job: JobId,
    stage: usize,
    cleanup: bool,
) -> StateResult<bool> {
    let open = sqlx::query_scalar!(
        r#"select (exists (select from tasks
                 where job = $1 and state in ('dispatched', 'running') and stage = $2 and cleanup = $3)
             or exists (select from tasks
                 where job = $1 and state = 'ready' and stage = $2 and cleanup = $3)) as "open!""#,
        job.0,
        word::int("stage", stage)?,
        cleanup,
    )
    .fetch_one(conn)
    .await?;
    Ok(open)
}

/// Of these jobs, those of whose open stage (or clearing up, where that has begun) a task is not over.
pub async fn still_open(conn: &mut PgConnection, jobs: &[JobId]) -> StateResult<HashSet<JobId>> {
    let ids: Vec<Uuid> = jobs.iter().map(|id| id.0).collect();
    let rows = sqlx::query_scalar!(
        "select j.id from jobs j
         where j.id = any($1)
           and (exists (select from tasks t
                 where t.job = j.id and t.state in ('dispatched', 'running') and t.stage = j.stage
                   and t.cleanup = j.cleanup_opened)
             or exists (select from tasks t
                 where t.job = j.id and t.state = 'ready' and t.stage = j.stage
                   and t.cleanup = j.cleanup_opened))",
        &ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(JobId).collect())
}

/// Counts a job's tasks of one stage (or its cleanup tasks) by state.
pub async fn tally(conn: &mut PgConnection, job: JobId, stage: usize, cleanup: bool) -> StateResult<Tally> {
    let row = sqlx::query!(
        r#"select count(*) filter (where state in ('ready', 'dispatched'))::integer as "waiting!",
             count(*) filter (where state = 'running')::integer as "running!",
             count(*) filter (where state = 'succeeded')::integer as "succeeded!",
             count(*) filter (where state = 'failed')::integer as "failed!",
             count(*) filter (where state = 'cancelled')::integer as "cancelled!"
         from tasks where job = $1 and stage = $2 and cleanup = $3"#,
        job.0,
        word::int("stage", stage)?,
        cleanup,
    )
    .fetch_one(conn)
    .await?;
    let names = Row::new("tally of job", &job);
    Ok(Tally {
        waiting: names.count("waiting", row.waiting)?,
        running: names.count("running", row.running)?,
        succeeded: names.count("succeeded", row.succeeded)?,
        failed: names.count("failed", row.failed)?,
        cancelled: names.count("cancelled", row.cancelled)?,
    })
}

/// What every ended task of a job brought, in order of stages: what the next stage is planned from.
pub async fn outcomes(conn: &mut PgConnection, job: JobId) -> StateResult<Vec<TaskOutcome>> {
    let rows = sqlx::query!(
        "select id, kind, host_id, result from tasks
         where job = $1 and not cleanup order by stage, id",
        job.0
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|raw| {
            let row = Row::new("task", &raw.id);
            Ok(TaskOutcome {
                stage: row.word("kind", &raw.kind)?,
                host_id: raw.host_id.map(HostId),
                result: row.maybe_json("result", raw.result)?,
            })
        })
        .collect()
}

/// The last errors of a job's failed and given-up tasks in one stage, with the nodes they are for.
pub async fn failures(
    conn: &mut PgConnection,
    job: JobId,
    stage: usize,
) -> StateResult<Vec<(Option<HostId>, TaskError)>> {
    let rows = sqlx::query!(
        r#"select id, host_id, error as "error!" from tasks
         where job = $1 and stage = $2 and not cleanup and state in ('failed', 'cancelled')
           and error is not null
         order by ended_at, id"#,
        job.0,
        word::int("stage", stage)?,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|raw| {
            let error = Row::new("task", &raw.id).json("error", raw.error)?;
            Ok((raw.host_id.map(HostId), error))
        })
        .collect()
}
