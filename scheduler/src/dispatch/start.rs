//! Starting queued jobs, oldest first, unless another is in the way or their window is closed.

use futures::{StreamExt, stream};
use ringvault_core::{
    PolicyName,
    job::{JobEvent, JobState},
};
use ringvault_fault::around;
use ringvault_state::{
    StateError,
    jobs::{self, Startable},
    registry::clusters,
};

use super::PARALLEL;
use crate::{
    Context,
    isolate::Isolated,
    policies::window,
    workflow::{DriveError, Step},
};

/// Jobs started in one pass.
const BATCH: i64 = 500;

/// What became of a queued job.
enum Start {
    Done,
    /// Somebody else works on its cluster, most likely another scheduler that starts it.
    Later,
    /// It is not queued any more, or another is in the way.
    Not,
}

/// Starts what can be started. How many were, or are to be looked at again.
pub(super) async fn start_queued(ctx: &Context) -> Result<usize, DriveError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    // Begun outside its window a backup would take its snapshots there, and then be paused.
    let closed = window::all_closed(&mut conn).await?;
    let startable = jobs::startable(&mut conn, &closed, BATCH).await?;
    drop(conn);
    let closed = &closed;
    let mut starting = stream::iter(startable)
        .map(|job| async move { (job.id, start(ctx, &job, closed).await) })
        .buffer_unordered(PARALLEL);
    let mut started = 0;
    let mut isolated = Isolated::default();
    while let Some((job, outcome)) = starting.next().await {
        match outcome {
            Ok(Start::Done | Start::Later) => started += 1,
            Ok(Start::Not) => {}
            Err(error) => isolated.note("a queued job", job, error)?,
        }
    }
    Ok(started)
}

async fn start(ctx: &Context, waiting: &Startable, closed: &[PolicyName]) -> Result<Start, DriveError> {
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    // Under the cluster's lock no two jobs that exclude each other start at once.
    if !clusters::lock_free(&mut tx, &waiting.cluster).await? {
        return Ok(Start::Later);
    }
    let actor = format!("scheduler {}", ctx.config.id);
    let Some(mut step) = Step::lock(ctx, &mut tx, waiting.id, actor).await? else {
        return Ok(Start::Not);
    };
    if step.job.machine.state != JobState::Queued
        || jobs::in_the_way(step.conn, &step.job, closed).await?.is_some()
    {
        return Ok(Start::Not);
    }
    step.job_event(JobEvent::Start).await?;
    ringvault_state::commit(tx, around!("dispatch.start-job")).await?;
    Ok(Start::Done)
}
