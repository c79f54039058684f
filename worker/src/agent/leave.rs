//! The way out: what runs is handed back and nothing new is taken, within the half minute that a
//! service manager gives.
//!
//! The goodbye comes first, so that no task is placed here meanwhile. Then every task is told to stop,
//! and the worker goes on as ever until they have: heartbeats keep leases, controls are heard, what is
//! offered all the same is handed back at once. So a task is another's only after its run here has
//! ended, or after its lease has.

use std::time::Duration;

use ringvault_queue::{Consumer, message::StopReason};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::{Agent, Inside};

/// How long the broker may take to confirm the goodbye.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(2);
/// How long tasks get to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(18);
/// How long their reports may take then.
const REPORT_PATIENCE: Duration = Duration::from_secs(4);

impl Agent {
    /// Says goodbye, stops what runs, and reports it as handed back.
    pub(super) async fn leave(&mut self, inbox: &mut Consumer, inside: &mut Inside) {
        self.is_leaving = true;
        if timeout(GOODBYE_PATIENCE, self.beats.goodbye()).await.is_err() {
            warn!("the broker has not confirmed the goodbye");
        }
        self.ledger.stop_all(StopReason::Gone);
        let until = Instant::now() + STOP_PATIENCE;
        while self.ledger.has_running() {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {
                    warn!("some tasks did not stop in time; their leases will run out");
                    break;
                }
                Some(delivery) = inbox.next() => self.receive(delivery).await,
                () = self.listen_inside(inside) => {}
            }
        }
        self.outbound.drain(Instant::now() + REPORT_PATIENCE).await;
    }
}
