//! The transition log, replayed: from a job's first line every event is applied once more, and what
//! comes out must be what stands in the tables. For tests and for whoever doubts a database.

use std::collections::BTreeMap;

use ringvault_core::{
    JobId, TaskId,
    job::{self, Job},
    task::{self, Task},
};
use sqlx::PgConnection;

use crate::{
    StateResult, jobs,
    log::{self, Entry, TaskInputs},
    tasks,
};

/// What a log says that a job and its tasks are.
#[derive(Debug, Clone, Default)]
pub struct Replayed {
    /// The job; `None` where the log has no line of it.
    pub job: Option<Job>,
    /// Its tasks.
    pub tasks: BTreeMap<TaskId, Task>,
}

/// Replays the lines of one job, in their order. The error says which line cannot have happened.
pub fn replay(entries: &[Entry]) -> Result<Replayed, String> {
    let mut replayed = Replayed::default();
    for entry in entries {
        let at = |why: String| format!("line {}: {why}", entry.id);
        match entry.task {
            None => replayed.job = Some(next_job(replayed.job.take(), entry).map_err(at)?),
            Some(id) => {
                let before = replayed.tasks.remove(&id);
                replayed.tasks.insert(id, next_task(before, entry).map_err(at)?);
            }
        }
    }
    Ok(replayed)
}

/// Replays a job's whole log and compares with the tables. `None`: they agree; otherwise in what
/// they differ. Take it on one connection in a transaction of `repeatable read`, or of a job that
/// holds still.
pub async fn disagreement(conn: &mut PgConnection, id: JobId) -> StateResult<Option<String>> {
    let entries = log::of_job(conn, id, 0, i64::MAX).await?;
    let Some(row) = jobs::load(conn, id).await? else { return Ok(Some("there is no such job".to_owned())) };
    let replayed = match replay(&entries) {
        Ok(replayed) => replayed,
        Err(why) => return Ok(Some(why)),
    };
    if replayed.job.as_ref() != Some(&row.machine) {
        return Ok(Some(format!("the job is {:?}, and its log says {:?}", row.machine, replayed.job)));
    }
    for (task, mut logged) in replayed.tasks {
        let Some(now) = tasks::lock(conn, task).await? else {
            return Ok(Some(format!("task {task} is in the log alone")));
        };
        let mut now = now.machine;
        // Heartbeats move the lease's end and are not logged.
        logged.deadline = None;
        now.deadline = None;
        if logged != now {
            return Ok(Some(format!("task {task} is {now:?}, and its log says {logged:?}")));
        }
    }
    Ok(None)
}

fn next_job(before: Option<Job>, entry: &Entry) -> Result<Job, String> {
    let Some(event) = &entry.event else { return entry.first_job().map_err(|error| error.to_string()) };
    let before = before.ok_or("there is no first line before it")?;
    same("from", entry.from.as_deref().unwrap_or_default(), before.state.as_str())?;
    let event = serde_json::from_value(event.clone()).map_err(|error| error.to_string())?;
    let (after, _) = job::transition(&before, &event).map_err(|error| error.to_string())?;
    same("to", &entry.to, after.state.as_str())?;
    Ok(after)
}

fn next_task(before: Option<Task>, entry: &Entry) -> Result<Task, String> {
    let Some(event) = &entry.event else { return entry.first_task().map_err(|error| error.to_string()) };
    let before = before.ok_or("there is no first line before it")?;
    same("from", entry.from.as_deref().unwrap_or_default(), before.state.as_str())?;
    let event = serde_json::from_value(event.clone()).map_err(|error| error.to_string())?;
    let inputs: TaskInputs =
        serde_json::from_value(entry.inputs.clone()).map_err(|error| error.to_string())?;
    let (after, _) = task::transition(&before, &event, &inputs.rules, entry.at, inputs.jitter)
        .map_err(|error| error.to_string())?;
    same("to", &entry.to, after.state.as_str())?;
    Ok(after)
}

fn same(side: &str, logged: &str, replayed: &str) -> Result<(), String> {
    if logged == replayed { Ok(()) } else { Err(format!("{side} {logged}, but it was {replayed}")) }
}
