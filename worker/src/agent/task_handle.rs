//! What an executor and the protocol share of one running task.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use ringvault_core::{TaskError, task::Progress, trace::TraceParent};
use ringvault_queue::message::StopReason;
use ringvault_vault::{progress::TransferProgress, throttle::Throttle};
use tokio_util::sync::CancellationToken;

use super::lease::{Lease, Moment};

/// Tells an executor to stop, and why.
#[derive(Debug, Clone, Default)]
pub struct StopSignal {
    token: CancellationToken,
    why: Arc<Mutex<Option<StopReason>>>,
}

impl StopSignal {
    /// Cancelled when the task shall stop.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Why it shall stop, once it shall.
    pub fn reason(&self) -> Option<StopReason> {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells it to stop. The first reason stays.
    pub(crate) fn stop(&self, why: StopReason) {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.token.cancel();
    }
}

/// One running task: how to stop it, how far it is, how fast it may go. Clones share it.
#[derive(Debug, Clone)]
pub struct TaskHandle {
    /// The signal to stop.
    pub stop: StopSignal,
    /// The epoch it was started under; it may be adopted under a newer one.
    pub epoch: u32,
    /// Where in a trace it was offered.
    pub trace: Option<TraceParent>,
    pub(super) lease: Lease,
    transfer: TransferProgress,
    steps: Arc<Mutex<Option<Progress>>>,
    throttle: Throttle,
    requests: Throttle,
    /// Whether a scheduler has said how fast it may go since it began.
    is_paced: Arc<AtomicBool>,
}

impl TaskHandle {
    /// For a task that begins.
    pub(super) fn new(epoch: u32, trace: Option<TraceParent>, lease: Lease) -> Self {
        Self {
            stop: StopSignal::default(),
            epoch,
            trace,
            lease,
            transfer: TransferProgress::new(),
            steps: Arc::default(),
            throttle: Throttle::unlimited(),
            requests: Throttle::unlimited(),
            is_paced: Arc::default(),
        }
    }

    /// One that is this worker's for a minute.
    #[cfg(test)]
    pub(crate) fn of_a_minute() -> Self {
        Self::new(1, None, Lease::granted(1, std::time::Duration::from_mins(1), Moment::now()))
    }

    /// Whether the task may take its next step. Asked directly before each step that cannot be taken
    /// back, and between steps that are not cut short: an error when it was told to stop, or when
    /// its lease is over and another worker may be at it. In the latter case it stops itself, and
    /// only a new grant brings it back.
    pub fn go_on(&self) -> Result<(), TaskError> {
        if self.stop.token().is_cancelled() {
            return Err(stopped());
        }
        if self.lease.is_over(Moment::now()) {
            self.stop.stop(StopReason::Gone);
            return Err(TaskError::transient(
                "RV-LEASE-LOST",
                "the task's lease ran out while no heartbeat could be sent: another worker may have it by now",
            ));
        }
        Ok(())
    }

    /// The same within something that must be brought to its end, or the node would stand still half way: a
    /// signal to stop does not count, a lease that is over does.
    pub fn still_mine(&self) -> Result<(), TaskError> {
        if self.lease.is_over(Moment::now()) {
            return self.go_on().and_then(|()| Err(stopped()));
        }
        Ok(())
    }

    /// Counters for an upload or a download.
    pub fn transfer(&self) -> &TransferProgress {
        &self.transfer
    }

    /// The task's rate limit; the scheduler may change it while it runs.
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// The task's limit of requests to the store; likewise.
    pub fn requests(&self) -> &Throttle {
        &self.requests
    }

    /// The rate that its work was asked for with. What was said since counts more.
    pub(crate) fn begin_at(&self, bytes_per_second: Option<u64>) {
        if bytes_per_second.is_some() && !self.is_paced.load(Ordering::Acquire) {
            self.throttle.set_rate(bytes_per_second);
        }
    }

    /// The requests a second that it was offered with. What was said since counts more.
    pub(crate) fn begin_requests_at(&self, requests_per_second: Option<u64>) {
        if !self.is_paced.load(Ordering::Acquire) {
            self.requests.set_rate(requests_per_second);
        }
    }

    /// A scheduler says how fast it may go from now on.
    pub(super) fn pace(&self, bytes_per_second: Option<u64>, requests_per_second: Option<u64>) {
        self.is_paced.store(true, Ordering::Release);
        self.throttle.set_rate(bytes_per_second);
        self.requests.set_rate(requests_per_second);
    }

    /// For tasks that move no bytes through a transfer: `done` of `total` items, and what it is at.
    pub fn step(&self, done: u64, total: u64, doing: impl Into<String>) {
        let progress = Progress {
            items_done: done,
            items_total: total,
            doing: Some(doing.into()),
            ..Progress::default()
        };
        *self.steps.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    /// Says more closely what it is at, at the same step.
    pub fn doing(&self, doing: impl Into<String>) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.get_or_insert_default().doing = Some(doing.into());
    }

    /// How far it is, as a heartbeat says it.
    pub fn progress(&self) -> Progress {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_held_back = || self.throttle.is_holding_back() || self.requests.is_holding_back();
        steps.unwrap_or_else(|| self.transfer.to_heartbeat(is_held_back()))
    }
}

/// What an executor ends with that was told to stop.
pub fn stopped() -> TaskError {
    TaskError::transient("RV-STOPPED", "the task was told to stop")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_while_it_runs_counts_more_than_what_it_began_with() {
        let handle = TaskHandle::of_a_minute();
        handle.begin_at(None);
        assert_eq!(handle.throttle().rate(), None);
        handle.begin_at(Some(7));
        assert_eq!(handle.throttle().rate(), Some(7));
        handle.begin_requests_at(Some(5));
        assert_eq!(handle.requests().rate(), Some(5));
        handle.pace(Some(9), Some(3));
        handle.begin_at(Some(7));
        handle.begin_requests_at(Some(5));
        assert_eq!(handle.throttle().rate(), Some(9), "of the next transfer too");
        assert_eq!(handle.requests().rate(), Some(3));
        handle.pace(Some(0), None);
        assert_eq!((handle.throttle().rate(), handle.requests().rate()), (None, None), "no limit");
    }
}
