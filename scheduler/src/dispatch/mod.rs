//! The dispatcher: starts queued jobs and places ready tasks on live workers.
//!
//! Reads what is due without locks, chooses among the live workers in memory, and then does each
//! thing under its own locks: a job that was started, or a task that was placed by another scheduler
//! meanwhile is found so and left alone. A job's lock is held for a few hundred placements at most, so
//! reports of its tasks wait for milliseconds. What fails for one job is left for the next pass.

mod fleet;
mod place;
mod start;

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream};
use ringvault_core::JobId;
use ringvault_state::{
    StateError,
    registry::workers,
    tasks::due::{self, Ready},
};
use tokio_util::sync::CancellationToken;

use crate::{Context, config::delta, isolate::Isolated, workflow::DriveError};
use fleet::Fleet;

/// Tasks looked at in one pass.
const BATCH: i64 = 10_000;
/// Of these, of one job at most.
const OF_EACH_JOB: i64 = 1_000;
/// Jobs that are started, or transactions that place tasks, at once.
const PARALLEL: usize = 4;
/// Between two passes: what becomes ready meanwhile is placed together.
const LINGER: Duration = Duration::from_millis(10);
/// After a pass that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until told to stop.
pub async fn run(ctx: &Context, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match pass(ctx).await {
            // What was placed may have made room for nothing, and what was started has tasks now.
            Ok(0) => ctx.config.timing.poll,
            Ok(_) => Duration::ZERO,
            Err(error) => {
                tracing::error!(%error, "dispatch failed");
                PAUSE
            }
        };
        tokio::time::sleep(LINGER).await;
        tokio::select! {
            () = ctx.wake.dispatch.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Starts and places what can be. How much was.
pub async fn pass(ctx: &Context) -> Result<usize, DriveError> {
    let started = start::start_queued(ctx).await?;
    let placed = place_ready(ctx).await?;
    if started + placed > 0 {
        ctx.wake.relay.notify_one();
    }
    Ok(started + placed)
}

async fn place_ready(ctx: &Context) -> Result<usize, DriveError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let clusters = due::waiting_clusters(&mut conn).await?;
    if clusters.is_empty() {
        return Ok(0);
    }
    let silence = delta(ctx.config.timing.worker_silence);
    let max_attempts = ctx.config.retry.max_attempts;
    let live = workers::live(&mut conn, &clusters, silence, max_attempts).await?;
    let mut fleet = Fleet::new(&clusters, live);
    let ready = due::ready(&mut conn, &fleet.full(), max_attempts, OF_EACH_JOB, BATCH).await?;
    drop(conn);

    let mut by_job: BTreeMap<JobId, Vec<Ready>> = BTreeMap::new();
    for task in ready {
        by_job.entry(task.job).or_default().push(task);
    }
    let shares = by_job.into_iter().map(|(job, tasks)| (job, place::choose(tasks, &mut fleet))).collect();
    let mut placing = stream::iter(place::batches(shares))
        .map(|batch| async move { place::place(ctx, batch).await })
        .buffer_unordered(PARALLEL);
    let mut placed = 0;
    let mut isolated = Isolated::default();
    while let Some((count, failed)) = placing.next().await {
        placed += count;
        for (job, error) in failed {
            isolated.note("a job with tasks to place", job, error)?;
        }
    }
    Ok(placed)
}
