//! The history of attempts: one row a placement, for `job show` and for people. Decides nothing.

use ringvault_core::{TaskError, TaskId, WorkerId};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{StateResult, word};

/// A placement: a task under an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The task.
    pub task: TaskId,
    /// Its epoch.
    pub epoch: u32,
}

/// How a placement ended.
#[derive(Debug, Clone)]
pub struct End {
    /// Which.
    pub attempt: Attempt,
    /// The word for it.
    pub outcome: &'static str,
    /// Why it failed.
    pub error: Option<TaskError>,
}

fn keys<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> StateResult<(Vec<Uuid>, Vec<i32>)> {
    let mut keys = (Vec::new(), Vec::new());
    for Attempt { task, epoch } in attempts {
        keys.0.push(task.0);
        keys.1.push(word::int("epoch", *epoch)?);
    }
    Ok(keys)
}

/// Placements were made, each on a worker.
pub async fn opened(conn: &mut PgConnection, placed: &[(Attempt, WorkerId)]) -> StateResult<()> {
    if placed.is_empty() {
        return Ok(());
    }
    let (tasks, epochs) = keys(placed.iter().map(|(attempt, _)| attempt))?;
    sqlx::query!(
        "insert into attempts (task, epoch, worker)
         select * from unnest($1::uuid[], $2::integer[], $3::uuid[]) on conflict do nothing",
        &tasks,
        &epochs,
        &placed.iter().map(|(_, worker)| worker.0).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// They were granted.
pub async fn granted(conn: &mut PgConnection, granted: &[Attempt]) -> StateResult<()> {
    if granted.is_empty() {
        return Ok(());
    }
    let (tasks, epochs) = keys(granted.iter())?;
    sqlx::query!(
        "update attempts a set granted_at = coalesce(a.granted_at, now())
         from unnest($1::uuid[], $2::integer[]) as g (task, epoch)
         where a.task = g.task and a.epoch = g.epoch",
        &tasks,
        &epochs,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// They ended, with what and why.
pub async fn closed(conn: &mut PgConnection, ends: &[End]) -> StateResult<()> {
    if ends.is_empty() {
        return Ok(());
    }
    let (tasks, epochs) = keys(ends.iter().map(|end| &end.attempt))?;
    let mut errors: Vec<Option<Value>> = Vec::new();
    for end in ends {
        errors.push(word::maybe_json("an attempt's error", end.error.as_ref())?);
    }
    sqlx::query!(
        "update attempts a set ended_at = now(), outcome = e.outcome, error = e.error
         from unnest($1::uuid[], $2::integer[], $3::text[], $4::jsonb[]) as e (task, epoch, outcome, error)
         where a.task = e.task and a.epoch = e.epoch and a.ended_at is null",
        &tasks,
        &epochs,
        &ends.iter().map(|end| end.outcome).collect::<Vec<_>>() as &[&str],
        &errors as &[Option<Value>],
    )
    .execute(conn)
    .await?;
    Ok(())
}
