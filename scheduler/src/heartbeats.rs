//! Signs of life: they extend leases and keep progress, and say who is there.
//!
//! Cancel and pause are desired states in Postgres, sent level-triggered: every heartbeat of a task
//! that should stop is answered with a control message, so one that is lost costs one heartbeat.

use futures::StreamExt;
use ringvault_core::{WorkerId, task::TaskState};
use ringvault_queue::{
    Beat, Delivery, Envelope, Message, Publish, TaskMessage,
    message::{Control, NodeDescribe, NodeStill, StopReason, TaskControl, TaskHeartbeat},
    topology,
};
use ringvault_state::{
    StateError,
    registry::workers::{self, Repeat},
    tasks::lease::{self, Beat as Judged},
};
use tokio_util::sync::CancellationToken;

use crate::{Context, config::delta, inlet, registry, workflow::DriveError};

/// Few: what is here unread when a scheduler dies is heard late.
const PREFETCH: u16 = 32;
/// Handled at once.
const PARALLEL: usize = 4;

/// Runs until told to stop.
pub async fn run(ctx: &Context, stop: &CancellationToken) {
    let beats = ctx.queue.consume(topology::HEARTBEATS, PREFETCH);
    ctx.hearing
        .watch(beats)
        .take_until(stop.cancelled())
        .for_each_concurrent(PARALLEL, |delivery| receive(ctx, stop, delivery))
        .await;
}

async fn receive(ctx: &Context, stop: &CancellationToken, delivery: Delivery) {
    match delivery.parse::<Beat>() {
        Ok(envelope) => inlet::take(stop, delivery, || handle(ctx, &envelope.body)).await,
        Err(error) => inlet::bury(delivery, error.code(), &error.to_string()).await,
    }
}

/// Takes one sign of life.
pub async fn handle(ctx: &Context, beat: &Beat) -> Result<(), DriveError> {
    match beat {
        Beat::Heartbeat(beat) => heartbeat(ctx, beat).await,
        Beat::Hello(hello) => {
            if registry::hello(ctx, hello).await? {
                ctx.wake.dispatch.notify_one();
            }
            Ok(())
        }
        Beat::Still(still) => {
            match registry::still(ctx, still).await? {
                Repeat::Heard => {}
                Repeat::AfterSilence => ctx.wake.dispatch.notify_one(),
                Repeat::No => {
                    let NodeStill { worker, edition, .. } = *still;
                    send(ctx, worker, TaskMessage::Describe(NodeDescribe { worker, edition })).await;
                }
            }
            Ok(())
        }
        Beat::Goodbye(goodbye) => {
            let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
            workers::leave(&mut conn, goodbye.worker, goodbye.incarnation).await?;
            Ok(())
        }
    }
}

async fn heartbeat(ctx: &Context, beat: &TaskHeartbeat) -> Result<(), DriveError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let lease = delta(ctx.config.retry.lease);
    let key = (beat.task, beat.epoch, beat.worker);
    let judged = lease::extend(&mut conn, key, lease, &beat.progress).await?;
    workers::seen(&mut conn, beat.worker, beat.incarnation).await?;
    drop(conn);
    if let Some(action) = answer(beat, judged) {
        tell(ctx, beat, action).await;
    }
    Ok(())
}

/// What a heartbeat is answered with; nothing if the worker is right to go on.
fn answer(beat: &TaskHeartbeat, judged: Judged) -> Option<Control> {
    match judged {
        Judged::Wanted => None,
        Judged::Paused => Some(Control::Stop { why: StopReason::Pause }),
        Judged::Unwanted | Judged::Unknown | Judged::Stale { task: TaskState::Cancelled, .. } => {
            Some(Control::Stop { why: StopReason::Cancel })
        }
        // The worker has a newer offer of the same task and adopts what runs.
        Judged::Stale { worker, epoch, .. } if worker == Some(beat.worker) && epoch > beat.epoch => None,
        Judged::Stale { .. } => Some(Control::Forget),
    }
}

/// Straight to the worker, not by the outbox: the next heartbeat is answered again.
async fn tell(ctx: &Context, beat: &TaskHeartbeat, action: Control) {
    let control = TaskControl { task: beat.task, epoch: beat.epoch, action };
    send_control(ctx, beat.worker, control).await;
}

/// Sends a control message that may be lost.
pub(crate) async fn send_control(ctx: &Context, worker: WorkerId, control: TaskControl) {
    send(ctx, worker, TaskMessage::Control(control)).await;
}

/// Sends a message that may be lost: what it answers comes again.
async fn send(ctx: &Context, worker: WorkerId, message: TaskMessage) {
    let what = message.type_name();
    let envelope = Envelope::new(ctx.source(), chrono::Utc::now(), message);
    let sent = match Publish::to_worker(worker, &envelope) {
        Ok(message) => {
            let message = Publish { persistent: false, ..message.sign(&ctx.keys) };
            ctx.queue.publish(&message).await.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = sent {
        tracing::debug!(what, %worker, error, "a message to a worker was not delivered");
    }
}
