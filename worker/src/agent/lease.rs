//! How long a task is surely this worker's.
//!
//! The scheduler's lease of a task ends so many seconds after it has read the last heartbeat, and
//! it read none before that was sent. So a worker that counts from the moment at which it *sent* the
//! last heartbeat that the broker confirmed always believes a lease over before the scheduler does,
//! and before another worker can be granted the task. Once over it stays over until a new grant: a
//! heartbeat that is confirmed later proves nothing, because the task may be another's by then.
//!
//! Two clocks are asked, because each stands still or jumps where the other does not: the monotonic
//! one does not count the time a machine sleeps, the wall clock can be set back. A wall clock set
//! forward ends a lease too early, which costs a repetition and nothing else.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// A moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    fn after(self, length: Duration) -> Self {
        Self { monotonic: self.monotonic + length, wall: self.wall + length }
    }

    /// Whether either clock has reached `end`.
    fn has_reached(self, end: Self) -> bool {
        self.monotonic >= end.monotonic || self.wall >= end.wall
    }
}

/// The lease of one running task. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Lease(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    epoch: u32,
    length: Duration,
    until: Moment,
    is_lost: bool,
}

impl State {
    fn granted(epoch: u32, length: Duration, asked_at: Moment) -> Self {
        Self { epoch, length, until: asked_at.after(length), is_lost: false }
    }
}

impl Lease {
    /// By the grant of `epoch`, which was asked for at `asked_at`.
    pub(super) fn granted(epoch: u32, length: Duration, asked_at: Moment) -> Self {
        Self(Arc::new(Mutex::new(State::granted(epoch, length, asked_at))))
    }

    /// The running task is granted anew under a later epoch.
    pub(super) fn renew(&self, epoch: u32, length: Duration, asked_at: Moment) {
        *self.state() = State::granted(epoch, length, asked_at);
    }

    /// The broker has confirmed, by `now`, a heartbeat under `epoch` that was sent at `sent_at`.
    pub(super) fn extend(&self, epoch: u32, sent_at: Moment, now: Moment) {
        let mut state = self.state();
        let until = sent_at.after(state.length);
        if epoch == state.epoch && !state.is_over(now) && until.monotonic > state.until.monotonic {
            state.until = until;
        }
    }

    /// Whether the task may be another's by now.
    pub(super) fn is_over(&self, now: Moment) -> bool {
        self.state().is_over(now)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_over(&mut self, now: Moment) -> bool {
        self.is_lost |= now.has_reached(self.until);
        self.is_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(60);

    fn at(start: Moment, seconds: u64) -> Moment {
        start.after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_lease_counts_from_the_sending_of_a_heartbeat_not_from_its_confirm() {
        let start = Moment::now();
        let lease = Lease::granted(1, LENGTH, start);
        lease.extend(1, at(start, 20), at(start, 50));
        assert!(!lease.is_over(at(start, 79)));
        assert!(lease.is_over(at(start, 80)));
    }

    #[test]
    fn what_is_confirmed_too_late_brings_no_lease_back_and_a_grant_does() {
        let start = Moment::now();
        let lease = Lease::granted(1, LENGTH, start);
        lease.extend(1, at(start, 59), at(start, 61));
        assert!(lease.is_over(at(start, 61)));
        lease.extend(1, at(start, 61), at(start, 61));
        assert!(lease.is_over(start), "over is over, whatever a clock says later");
        lease.renew(2, LENGTH, at(start, 70));
        assert!(!lease.is_over(at(start, 71)));
        lease.extend(1, at(start, 100), at(start, 100));
        assert!(lease.is_over(at(start, 130)), "a heartbeat of an earlier epoch");
    }

    #[test]
    fn the_time_a_machine_sleeps_counts() {
        let start = Moment::now();
        let lease = Lease::granted(1, LENGTH, start);
        let woken = Moment { monotonic: start.monotonic, wall: start.wall + Duration::from_hours(1) };
        assert!(lease.is_over(woken));
    }
}
