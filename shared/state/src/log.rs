//! The transition log: every event a state machine took, with all it was decided on, so that
//! replaying the log from its first line gives the present state.

use chrono::{DateTime, Utc};
use ringvault_core::{
    JobId, TaskId,
    job::{Job, JobEvent, JobState},
    task::{RetryRules, Task, TaskEvent, TaskState},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    StateResult,
    word::{self, Row},
};

/// What a task's transition is decided on besides the task and the event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskInputs {
    /// How patient the scheduler was.
    pub rules: RetryRules,
    /// The random part of a backoff.
    pub jitter: f64,
}

/// A line that is to be written.
#[derive(Debug, Clone)]
pub struct Line {
    job: JobId,
    task: Option<TaskId>,
    event: Option<Value>,
    from: Option<&'static str>,
    to: &'static str,
    inputs: Value,
    at: DateTime<Utc>,
    actor: String,
}

impl Line {
    /// A new job's first line.
    pub fn job_created(id: JobId, job: &Job, at: DateTime<Utc>, actor: &str) -> StateResult<Self> {
        let inputs = json!({ "first": word::json("a job", job)? });
        let (to, actor) = (job.state.as_str(), actor.to_owned());
        Ok(Self { job: id, task: None, event: None, from: None, to, inputs, at, actor })
    }

    /// An event that changed a job.
    pub fn job_event(
        id: JobId,
        event: &JobEvent,
        (from, to): (JobState, JobState),
        at: DateTime<Utc>,
        actor: &str,
    ) -> StateResult<Self> {
        Ok(Self {
            job: id,
            task: None,
            event: Some(word::json("a job's event", event)?),
            from: Some(from.as_str()),
            to: to.as_str(),
            inputs: json!({}),
            at,
            actor: actor.to_owned(),
        })
    }

    /// A new task's first line.
    pub fn task_created(
        job: JobId,
        id: TaskId,
        task: &Task,
        at: DateTime<Utc>,
        actor: &str,
    ) -> StateResult<Self> {
        let inputs = json!({ "first": word::json("a task", task)? });
        let (to, actor) = (task.state.as_str(), actor.to_owned());
        Ok(Self { job, task: Some(id), event: None, from: None, to, inputs, at, actor })
    }

    /// An event that changed a task.
    pub fn task_event(
        (job, id): (JobId, TaskId),
        event: &TaskEvent,
        (from, to): (TaskState, TaskState),
        inputs: &TaskInputs,
        at: DateTime<Utc>,
        actor: &str,
    ) -> StateResult<Self> {
        Ok(Self {
            job,
            task: Some(id),
            event: Some(word::json("a task's event", event)?),
            from: Some(from.as_str()),
            to: to.as_str(),
            inputs: word::json("a task's rules", inputs)?,
            at,
            actor: actor.to_owned(),
        })
    }
}

/// Writes lines, in their order.
pub async fn write(conn: &mut PgConnection, lines: &[Line]) -> StateResult<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Line) -> Option<&str>| -> Vec<Option<&str>> { lines.iter().map(of).collect() };
    sqlx::query!(
        "insert into transitions (job, task, event, from_state, to_state, inputs, at, actor)
         select job, task, event, from_state, to_state, inputs, at, actor
         from unnest($1::uuid[], $2::uuid[], $3::jsonb[], $4::text[], $5::text[], $6::jsonb[],
             $7::timestamptz[], $8::text[]) with ordinality
             as l (job, task, event, from_state, to_state, inputs, at, actor, place)
         order by place",
        &lines.iter().map(|line| line.job.0).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.task.map(|task| task.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &lines.iter().map(|line| line.event.clone()).collect::<Vec<_>>() as &[Option<Value>],
        &column(|line| line.from) as &[Option<&str>],
        &column(|line| Some(line.to)) as &[Option<&str>],
        &lines.iter().map(|line| line.inputs.clone()).collect::<Vec<_>>(),
        &lines.iter().map(|line| line.at).collect::<Vec<_>>(),
        &column(|line| Some(&line.actor)) as &[Option<&str>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A line of the log, as read back.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place in the order of events.
    pub id: i64,
    /// The task; `None` for an event of the job itself.
    pub task: Option<TaskId>,
    /// The event's JSON; `None` for the first line.
    pub event: Option<Value>,
    /// The state before.
    pub from: Option<String>,
    /// The state after.
    pub to: String,
    /// What else it was decided on.
    pub inputs: Value,
    /// When.
    pub at: DateTime<Utc>,
    /// Who or what caused it.
    pub actor: String,
}

/// The log of a job and its tasks after the line `after` (0: from the first), in order.
pub async fn of_job(conn: &mut PgConnection, job: JobId, after: i64, limit: i64) -> StateResult<Vec<Entry>> {
    let rows = sqlx::query!(
        "select id, task, event, from_state, to_state, inputs, at, actor
         from transitions where job = $1 and id > $2 order by id limit $3",
        job.0,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Entry {
            id: row.id,
            task: row.task.map(TaskId),
            event: row.event,
            from: row.from_state,
            to: row.to_state,
            inputs: row.inputs,
            at: row.at,
            actor: row.actor,
        })
        .collect())
}

/// What happened to a job itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Milestone {
    /// The event's word, such as `stage_passed`; `None`: it was created.
    pub event: Option<String>,
    /// The state after.
    pub to: JobState,
    /// When.
    pub at: DateTime<Utc>,
}

/// What happened to a job itself, without its tasks, in order.
pub async fn milestones(conn: &mut PgConnection, job: JobId) -> StateResult<Vec<Milestone>> {
    let rows = sqlx::query!(
        "select event ->> 'event' as event, to_state, at from transitions
         where job = $1 and task is null order by id",
        job.0
    )
    .fetch_all(conn)
    .await?;
    let row = Row::new("transition of job", &job);
    rows.into_iter()
        .map(|raw| Ok(Milestone { event: raw.event, to: row.word("to_state", &raw.to_state)?, at: raw.at }))
        .collect()
}

impl Entry {
    /// The state of the job that the first line began with.
    pub fn first_job(&self) -> StateResult<Job> {
        self.input("first")
    }

    /// The state of the task that its first line began with.
    pub fn first_task(&self) -> StateResult<Task> {
        self.input("first")
    }

    fn input<T: serde::de::DeserializeOwned>(&self, field: &str) -> StateResult<T> {
        let value = self.inputs.get(field).cloned().unwrap_or_default();
        Row::new("transition", &self.id).json(field, value)
    }
}
