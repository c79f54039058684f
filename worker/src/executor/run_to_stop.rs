//! Ending a task that was told to stop.
//!
//! Transfers watch the signal and clear up after themselves (an open multipart upload is aborted, what
//! is finished is noted), and what was asked of the node goes on there whether anybody waits for it or
//! not: a snapshot that is still being taken could not be cleared. So such executors are let end by
//! themselves for a while. The others only read, or do in one step what can be done again; they are
//! dropped at once.

use std::{future::Future, time::Duration};

use ringvault_core::{TaskError, task::TaskPayload};
use ringvault_queue::message::StopReason;

use crate::agent::{StopSignal, stopped};

/// For transfers, and for everything when the worker is going: it has half a minute in all.
const SHORT: Duration = Duration::from_secs(15);
/// For what the node was asked to do.
const NODE_CALL: Duration = Duration::from_mins(5);

/// For the swap of an offline restore, which is not left half way with the node stopped.
const SWAP: Duration = Duration::from_hours(2);

/// How long this task may take to end.
pub(super) fn grace(payload: &TaskPayload, why: StopReason) -> Duration {
    match (payload, why) {
        (TaskPayload::Apply(task), why) if task.spec.offline && why != StopReason::Gone => SWAP,
        (TaskPayload::Snapshot(_) | TaskPayload::Truncate(_) | TaskPayload::Apply(_), StopReason::Gone)
        | (
            TaskPayload::Upload(_) | TaskPayload::Download(_) | TaskPayload::Check(_) | TaskPayload::Sweep(_),
            _,
        ) => SHORT,
        (TaskPayload::Snapshot(_) | TaskPayload::Truncate(_) | TaskPayload::Apply(_), _) => NODE_CALL,
        _ => Duration::ZERO,
    }
}

/// Runs `work` to its end; once told to stop, for `grace` at most. What it ends with counts, even
/// then.
pub(super) async fn run_to_stop<T>(
    work: impl Future<Output = Result<T, TaskError>>,
    stop: &StopSignal,
    grace: impl FnOnce(StopReason) -> Duration,
) -> Result<T, TaskError> {
    tokio::pin!(work);
    tokio::select! {
        biased;
        outcome = &mut work => return outcome,
        () = stop.token().cancelled() => {}
    }
    let grace = grace(stop.reason().unwrap_or(StopReason::Gone));
    tokio::time::timeout(grace, work).await.unwrap_or_else(|_| Err(stopped()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_watches_the_signal_ends_by_itself() {
        let stop = StopSignal::default();
        let watched = stop.token().clone();
        let work = async {
            watched.cancelled().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok("cleared up")
        };
        let told = async {
            tokio::task::yield_now().await;
            stop.stop(StopReason::Cancel);
        };
        let (ended, ()) = tokio::join!(run_to_stop(work, &stop, |_| SHORT), told);
        assert_eq!(ended, Ok("cleared up"));
    }

    #[tokio::test]
    async fn what_does_not_is_dropped_after_its_grace() {
        let stop = StopSignal::default();
        stop.stop(StopReason::Pause);
        let work = std::future::pending::<Result<(), TaskError>>();
        let ended = run_to_stop(work, &stop, |why| {
            assert_eq!(why, StopReason::Pause);
            Duration::from_millis(10)
        });
        assert_eq!(ended.await.unwrap_err().code, "RV-STOPPED");
    }
}
