//! Counts what goes to the dead queue, for metrics, alerts and people: whoever put it there, it passes
//! here once (twice at worst, as all messages). The messages themselves stay in the dead queue.

use futures::StreamExt;
use ringvault_queue::{Delivery, session::Obituary, topology};
use ringvault_state::{StateError, dead};
use tokio_util::sync::CancellationToken;

use crate::{Context, inlet, workflow::DriveError};

/// Unacknowledged at once.
const PREFETCH: u16 = 32;

/// Runs until told to stop.
pub async fn run(ctx: &Context, stop: &CancellationToken) {
    let copies = ctx.queue.consume(topology::DEAD_COUNT, PREFETCH);
    copies.take_until(stop.cancelled()).for_each(|delivery| receive(ctx, stop, delivery)).await;
}

async fn receive(ctx: &Context, stop: &CancellationToken, delivery: Delivery) {
    let obituary = delivery.obituary();
    inlet::take(stop, delivery, || count(ctx, &obituary)).await;
}

async fn count(ctx: &Context, Obituary { queue, code, reason }: &Obituary) -> Result<(), DriveError> {
    let queue = of_its_kind(queue);
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    match dead::count(&mut conn, queue, code, reason).await {
        Err(error) if !error.is_passing() => {
            // Not to the dead queue: its copy would come here again, and for ever.
            tracing::error!(queue, code, %error, "a dead message could not be counted");
            Ok(())
        }
        counted => Ok(counted?),
    }
}

/// Workers' queues are counted together: there may be thousands.
fn of_its_kind(queue: &str) -> &str {
    if queue.starts_with(topology::WORKER_QUEUES) { "ringvault.worker" } else { queue }
}
