//! The outbox's relay: publishes what transactions have written, with confirms, outside of any
//! transaction.
//!
//! A message is claimed for a while, published, and marked; a relay that dies in between leaves it
//! to be claimed again, so it may arrive twice and is never lost. A returned offer is told to its
//! task: its worker is not there.

use std::time::Duration;

use chrono::TimeDelta;
use futures::future::join_all;
use ringvault_core::task::TaskEvent;
use ringvault_fault::around;
use ringvault_queue::{Publish, PublishError};
use ringvault_state::{
    StateError, StateResult,
    outbox::{self, Claimed, Message},
    tasks,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Context,
    isolate::Isolated,
    workflow::{DriveError, Step},
};

/// Messages claimed at once.
const BATCH: i64 = 256;
/// How long a claim holds: longer than a publish waits for its confirm.
const CLAIM: TimeDelta = TimeDelta::seconds(60);
/// Before a message that the broker could not take is tried again.
const PAUSE: TimeDelta = TimeDelta::milliseconds(500);
/// Before a message that the broker refuses is tried again: it takes somebody to mend that.
const LONG_PAUSE: TimeDelta = TimeDelta::seconds(30);
/// After a pass that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Runs until told to stop.
pub async fn run(ctx: &Context, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let pause = if ctx.queue.state().borrow().is_connected() {
            match pass(ctx).await {
                Ok(0) => ctx.config.timing.poll,
                Ok(_) => continue,
                Err(error) => {
                    tracing::error!(%error, "the outbox could not be relayed");
                    AFTER_FAILURE
                }
            }
        } else {
            ctx.config.timing.poll
        };
        tokio::select! {
            () = ctx.wake.relay.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Publishes one batch. How many messages it had.
pub async fn pass(ctx: &Context) -> Result<usize, DriveError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let claimed = around!("relay.claim").run(outbox::claim(&mut conn, CLAIM, BATCH)).await?;
    drop(conn);
    if claimed.is_empty() {
        return Ok(0);
    }
    let published = join_all(claimed.iter().map(|row| publish(ctx, row))).await;

    let mut sent = Vec::new();
    let mut returned = Vec::new();
    let mut failed = Vec::new();
    for (row, result) in claimed.iter().zip(published) {
        match result {
            Ok(()) => sent.push(row.id),
            Err(PublishError::Unroutable { .. }) => returned.push(row),
            Err(error) => failed.push((row, error)),
        }
    }
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    around!("relay.mark-sent").run(outbox::mark_sent(&mut conn, &sent)).await?;
    for (row, error) in failed {
        put_off(&mut conn, row, &error).await?;
    }
    drop(conn);
    let mut isolated = Isolated::default();
    for row in returned {
        // One that is not told stays claimed for a while, is sent and returned again.
        if let Err(error) = give_back(ctx, row).await {
            isolated.note("a returned message", row.id, error)?;
        }
    }
    Ok(claimed.len())
}

async fn publish(ctx: &Context, row: &Claimed) -> Result<(), PublishError> {
    let Message {
        exchange, routing_key, message_id, message_type, headers, body, mandatory, persistent, ..
    } = row.message.clone();
    let message = Publish {
        exchange,
        routing_key,
        body,
        message_id,
        message_type,
        headers,
        mandatory,
        persistent,
        expiration: None,
    };
    around!("relay.publish").run(ctx.queue.publish(&message)).await
}

async fn put_off(
    conn: &mut ringvault_state::PgConnection,
    row: &Claimed,
    error: &PublishError,
) -> StateResult<()> {
    let pause = if error.is_passing() { PAUSE } else { LONG_PAUSE };
    let message = &row.message.message_type;
    tracing::warn!(id = row.id, message, %error, "a message of the outbox was not taken");
    outbox::mark_failed(conn, row.id, &error.to_string(), pause).await
}

/// No queue took it. For an offer: its worker is unreachable.
async fn give_back(ctx: &Context, row: &Claimed) -> Result<(), DriveError> {
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    outbox::mark_returned(&mut tx, row.id, "no queue takes it").await?;
    if let Some((task, epoch)) = row.message.offer
        && let Some(job) = tasks::job_of(&mut tx, task).await?
    {
        let actor = format!("scheduler {}", ctx.config.id);
        if let Some(mut step) = Step::lock(ctx, &mut tx, job, actor).await?
            && let Some(mut task) = step.task(task).await?
        {
            step.task_event(&mut task, &TaskEvent::Unroutable { epoch }).await?;
        }
    }
    ringvault_state::commit(tx, around!("relay.give-back")).await?;
    ctx.wake.dispatch.notify_one();
    Ok(())
}
