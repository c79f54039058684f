//! Taking a message in: acknowledged once its transaction is committed, kept while the database is
//! away, put into the dead queue with its reason when it can never be taken.

use std::{future::Future, time::Duration};

use ringvault_fault::around;
use ringvault_queue::Delivery;
use tokio_util::sync::CancellationToken;

use crate::workflow::DriveError;

/// Before the same message is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Handles a delivery with `handle` until that succeeds, and acknowledges it. While the database is
/// away the delivery is kept: to give it back would count against it. A failure that no further try
/// can mend sends it to the dead queue.
pub(crate) async fn take<F, Fut>(stop: &CancellationToken, delivery: Delivery, handle: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), DriveError>>,
{
    loop {
        match handle().await {
            Ok(()) => return acknowledge(delivery).await,
            Err(error) if error.is_passing() => {
                tracing::warn!(queue = %delivery.queue, %error, "a message waits for the database");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    // Unacknowledged, so it goes back to its queue with the connection.
                    () = stop.cancelled() => return,
                }
                if delivery.is_stale() {
                    return;
                }
            }
            Err(error) => return bury(delivery, "RV-UNHANDLED", &error.to_string()).await,
        }
    }
}

/// Acknowledges what is committed.
pub(crate) async fn acknowledge(delivery: Delivery) {
    // Stale: it comes again, and is found done.
    let _ = around!("inlet.ack").run(delivery.ack()).await;
}

/// Puts a delivery into the dead queue, where it is counted.
pub(crate) async fn bury(delivery: Delivery, code: &'static str, reason: &str) {
    let queue = delivery.queue.clone();
    tracing::warn!(%queue, code, reason, "a message goes to the dead queue");
    if let Err(error) = delivery.dead_letter(&format!("{code}: {reason}")).await {
        tracing::error!(%queue, %error, "a message could not be put into the dead queue");
    }
}
