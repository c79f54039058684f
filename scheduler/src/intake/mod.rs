//! Requests of other systems: each happens once, and is answered by an event.
//!
//! What cannot be read goes to the dead queue with its reason, is counted, and is answered by
//! `request.rejected` as far as its envelope can be read; what can be read and may not be done is
//! answered only. Acknowledged after the commit, so a request that was read is never lost.

mod answer;
mod take;

use std::sync::Arc;

use futures::StreamExt;
use ringvault_queue::{Delivery, Envelope, EnvelopeError, RawEnvelope, Request, topology};
use tokio_util::sync::CancellationToken;

use crate::{Context, inlet, workflow::DriveError};

/// Unacknowledged at once.
const PREFETCH: u16 = 16;
/// Handled at once.
const PARALLEL: usize = 4;

/// Runs until told to stop.
pub async fn run(ctx: &Context, stop: &CancellationToken) {
    let requests = ctx.queue.consume(topology::REQUESTS, PREFETCH);
    requests
        .take_until(stop.cancelled())
        .for_each_concurrent(PARALLEL, |delivery| receive(ctx, stop, delivery))
        .await;
}

async fn receive(ctx: &Context, stop: &CancellationToken, delivery: Delivery) {
    let author = delivery.user_id.clone();
    let body: Arc<[u8]> = delivery.body.as_slice().into();
    match RawEnvelope::parse(&body) {
        Ok(raw) => match raw.open::<Request>() {
            Ok(envelope) => {
                let asked = take::Asked { envelope, author };
                inlet::take(stop, delivery, || take::take(ctx, &asked)).await;
            }
            Err(error) => unreadable(ctx, stop, delivery, Some(&raw), &error).await,
        },
        Err(error) => unreadable(ctx, stop, delivery, None, &error).await,
    }
}

/// Takes one request of the broker's user `author`: does it, or answers why not.
pub async fn handle(
    ctx: &Context,
    envelope: Envelope<Request>,
    author: Option<String>,
) -> Result<(), DriveError> {
    take::take(ctx, &take::Asked { envelope, author }).await
}

async fn unreadable(
    ctx: &Context,
    stop: &CancellationToken,
    delivery: Delivery,
    raw: Option<&RawEnvelope<'_>>,
    error: &EnvelopeError,
) {
    let rejected = answer::unreadable(raw, error);
    answer::send(ctx, stop, &rejected).await;
    inlet::bury(delivery, error.code(), &error.to_string()).await;
}
