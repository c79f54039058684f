//! The tasks a worker knows of: offered, running, let go of, or done and not yet heard.
//!
//! Pure bookkeeping, without I/O, so that the protocol's rules can be tested one by one.
//!
//! A grant begins something only if it carries the nonce of the very `started` it answers. So a
//! signed pair of offer and grant that somebody kept and sends again begins nothing: the offer is
//! asked for with a new nonce, which the kept grant does not have. What has ended is remembered by
//! task and epoch, so that an offer of it is not even asked for.

use std::{
    cmp::Ordering,
    collections::{HashMap, VecDeque},
    time::Duration,
};

use ringvault_core::{TaskError, TaskId, task::TaskResult, trace::TraceParent};
use ringvault_queue::message::{StopReason, TaskGrant, TaskOffer};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    TaskHandle,
    lease::{Lease, Moment},
};

/// Ends that are remembered.
const MAX_ENDED: usize = 4096;

/// A task in the worker's hands.
enum Entry {
    /// Asked for; nothing touched.
    Offered(Asked),
    /// Begun under a grant.
    Running(Running),
    /// It is another's by now and ends here without a report. An offer that comes meanwhile waits
    /// for that end: two runs of one task never work beside each other.
    Leaving { run: u64, next: Option<Asked> },
    /// Ended; its report is not confirmed yet.
    Done { epoch: u32, outcome: Result<TaskResult, TaskError>, is_heard: bool, again: Option<Asked> },
}

/// An offer that was, or will be, answered with `started`.
struct Asked {
    offer: Box<TaskOffer>,
    trace: Option<TraceParent>,
    nonce: Uuid,
    /// The scheduler's lease begins no earlier.
    since: Moment,
    forget_at: Instant,
}

struct Running {
    run: u64,
    epoch: u32,
    /// A newer offer of the same task that waits for its grant.
    again: Option<Asked>,
    handle: TaskHandle,
    beat_every: Duration,
    next_beat: Instant,
}

/// What to do with an offer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OfferAnswer {
    /// Ask for the grant of its pair, with this nonce.
    Ask(Uuid),
    /// An earlier run of the task has to end first; then it is asked for.
    Wait,
    /// A newer one is known, or it has been done.
    Stale,
}

/// What a grant means.
pub(super) enum Granted {
    /// Begin this run.
    Start(Box<TaskOffer>, TaskHandle, u64),
    /// It runs already, now under the new epoch.
    Adopted,
    /// It has run already: report this under the epoch.
    AlreadyDone(u32, TaskResult),
    /// The scheduler believes it to run here, and it does not.
    Gone,
    /// Repeated, or of an earlier question; another one or a report says more.
    Late,
}

/// What the end of a run means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Report it under this epoch; stopped, if it was, for this reason.
    Report(u32, Option<StopReason>),
    /// It was another's; the offer that waited for its end is asked for now.
    Ask { epoch: u32, dispatch_seq: u32, nonce: Uuid },
    /// It was another's.
    Nothing,
}

/// See the module.
#[derive(Default)]
pub(super) struct Ledger {
    tasks: HashMap<TaskId, Entry>,
    ended: VecDeque<(TaskId, u32)>,
    runs: u64,
}

impl Ledger {
    /// Takes note of an offer, made at this place of a `trace`. `nonce` is a fresh one.
    pub(super) fn offer(
        &mut self,
        (offer, trace): (TaskOffer, Option<TraceParent>),
        nonce: Uuid,
        now: Instant,
    ) -> OfferAnswer {
        let (task, epoch) = (offer.task, offer.epoch);
        if self.has_ended(task, epoch) {
            return OfferAnswer::Stale;
        }
        let asked = Asked::new((offer, trace), nonce, now);
        match self.tasks.get_mut(&task) {
            Some(Entry::Running(running)) if epoch > running.epoch => Asked::put(&mut running.again, asked),
            Some(Entry::Done { epoch: known, outcome: Ok(_), again, .. }) if epoch > *known => {
                Asked::put(again, asked)
            }
            Some(Entry::Leaving { next, .. }) => match Asked::put(next, asked) {
                OfferAnswer::Ask(_) => OfferAnswer::Wait,
                other => other,
            },
            Some(Entry::Offered(known)) => known.make_way_for(asked),
            // A failure under an earlier epoch was not heard: it is tried anew, not told again.
            Some(Entry::Done { epoch: known, outcome: Err(_), .. }) if epoch > *known => {
                self.tasks.insert(task, Entry::Offered(asked));
                OfferAnswer::Ask(nonce)
            }
            Some(Entry::Running(_) | Entry::Done { .. }) => OfferAnswer::Stale,
            None => {
                self.tasks.insert(task, Entry::Offered(asked));
                OfferAnswer::Ask(nonce)
            }
        }
    }

    /// Takes note of a grant.
    pub(super) fn grant(&mut self, grant: &TaskGrant) -> Granted {
        let lease = Duration::from_secs(u64::from(grant.lease_seconds));
        let beat_every = Duration::from_secs(u64::from(grant.lease_seconds.max(3)) / 3);
        match self.tasks.remove(&grant.task) {
            Some(Entry::Offered(asked)) if asked.is_granted_by(grant) => {
                let lease = Lease::granted(grant.epoch, lease, asked.since);
                let handle = TaskHandle::new(grant.epoch, asked.trace, lease);
                self.runs += 1;
                let running = Running {
                    run: self.runs,
                    epoch: grant.epoch,
                    again: None,
                    handle: handle.clone(),
                    beat_every,
                    next_beat: Instant::now() + beat_every,
                };
                self.tasks.insert(grant.task, Entry::Running(running));
                Granted::Start(asked.offer, handle, self.runs)
            }
            Some(Entry::Running(mut running)) => {
                let known = running.epoch;
                let adopted = running.again.take_if(|asked| asked.is_granted_by(grant));
                if let Some(asked) = &adopted {
                    running.epoch = grant.epoch;
                    running.handle.lease.renew(grant.epoch, lease, asked.since);
                    running.beat_every = beat_every;
                    running.next_beat = Instant::now();
                }
                self.tasks.insert(grant.task, Entry::Running(running));
                match adopted {
                    Some(_) => Granted::Adopted,
                    // Asked for too long ago; the scheduler shall offer it again.
                    None if known < grant.epoch => Granted::Gone,
                    None => Granted::Late,
                }
            }
            Some(Entry::Done { outcome: Ok(result), again: Some(asked), .. })
                if asked.is_granted_by(grant) =>
            {
                let again = result.clone();
                let done =
                    Entry::Done { epoch: grant.epoch, outcome: Ok(result), is_heard: false, again: None };
                self.tasks.insert(grant.task, done);
                self.remember_end(grant.task, grant.epoch);
                Granted::AlreadyDone(grant.epoch, again)
            }
            Some(leaving @ Entry::Leaving { .. }) => {
                self.tasks.insert(grant.task, leaving);
                Granted::Gone
            }
            Some(other) => {
                self.tasks.insert(grant.task, other);
                Granted::Late
            }
            None if self.has_ended(grant.task, grant.epoch) => Granted::Late,
            None => Granted::Gone,
        }
    }

    /// The running task of this epoch.
    pub(super) fn running(&self, task: TaskId, epoch: u32) -> Option<&TaskHandle> {
        match self.tasks.get(&task) {
            Some(Entry::Running(running)) if running.epoch == epoch => Some(&running.handle),
            _ => None,
        }
    }

    /// Whether the task's outcome is on its way to the scheduler.
    pub(super) fn is_being_reported(&self, task: TaskId) -> bool {
        matches!(self.tasks.get(&task), Some(Entry::Done { .. }))
    }

    /// Tells a task to stop. `false`: it is not in these hands under this epoch.
    pub(super) fn stop(&mut self, task: TaskId, epoch: u32, why: StopReason) -> bool {
        match self.tasks.get_mut(&task) {
            Some(Entry::Running(running)) if running.epoch <= epoch => {
                running.handle.stop.stop(why);
                true
            }
            // Its outcome is on its way and says more than "stopped".
            Some(Entry::Running(_) | Entry::Done { .. }) => true,
            Some(Entry::Offered(asked)) if asked.offer.epoch <= epoch => {
                self.tasks.remove(&task);
                false
            }
            Some(Entry::Leaving { next, .. }) => {
                next.take_if(|asked| asked.offer.epoch <= epoch);
                false
            }
            Some(Entry::Offered(_)) | None => false,
        }
    }

    /// The task is another's by now: stops it and drops it without a report.
    pub(super) fn forget(&mut self, task: TaskId, epoch: u32) {
        let known = match self.tasks.get(&task) {
            Some(Entry::Running(running)) => running.epoch,
            Some(Entry::Done { epoch, .. }) => *epoch,
            Some(Entry::Offered(asked)) => asked.offer.epoch,
            Some(Entry::Leaving { .. }) | None => return,
        };
        if known > epoch {
            return;
        }
        if let Some(Entry::Running(running)) = self.tasks.remove(&task) {
            running.handle.stop.stop(StopReason::Gone);
            self.remember_end(task, running.epoch);
            self.tasks.insert(task, Entry::Leaving { run: running.run, next: None });
        }
    }

    /// A run ended. One that the ledger does not know (any more) changes nothing.
    pub(super) fn finish(
        &mut self,
        task: TaskId,
        run: u64,
        outcome: &Result<TaskResult, TaskError>,
        now: Instant,
    ) -> Ended {
        match self.tasks.get(&task) {
            Some(Entry::Running(running)) if running.run == run => {}
            Some(Entry::Leaving { run: leaving, .. }) if *leaving == run => {}
            _ => return Ended::Nothing,
        }
        match self.tasks.remove(&task) {
            Some(Entry::Running(Running { epoch, again, handle, .. })) => {
                self.remember_end(task, epoch);
                let entry = match (outcome, again) {
                    // Wanted again under a later epoch, and not done: that grant begins a new run.
                    (Err(_), Some(again)) => Entry::Offered(again),
                    (_, again) => Entry::Done { epoch, outcome: outcome.clone(), is_heard: false, again },
                };
                self.tasks.insert(task, entry);
                Ended::Report(epoch, handle.stop.reason())
            }
            Some(Entry::Leaving { next: Some(next), .. }) if next.forget_at > now => {
                let next = Asked { since: Moment::now(), ..next };
                let (epoch, dispatch_seq, nonce) = (next.offer.epoch, next.offer.dispatch_seq, next.nonce);
                self.tasks.insert(task, Entry::Offered(next));
                Ended::Ask { epoch, dispatch_seq, nonce }
            }
            _ => Ended::Nothing,
        }
    }

    /// The report of this epoch is confirmed.
    pub(super) fn forget_reported(&mut self, task: TaskId, epoch: u32) {
        if let Some(Entry::Done { epoch: known, is_heard, again, .. }) = self.tasks.get_mut(&task)
            && *known == epoch
        {
            *is_heard = true;
            if again.is_none() {
                self.tasks.remove(&task);
            }
        }
    }

    /// Offers whose grant did not come in time are forgotten.
    pub(super) fn drop_ungranted(&mut self, now: Instant) {
        self.tasks.retain(|_, entry| match entry {
            Entry::Offered(asked) => asked.forget_at > now,
            Entry::Done { is_heard, again, .. } => {
                again.take_if(|asked| asked.forget_at <= now);
                !*is_heard || again.is_some()
            }
            Entry::Running(running) => {
                running.again.take_if(|asked| asked.forget_at <= now);
                true
            }
            Entry::Leaving { .. } => true,
        });
    }

    /// Running tasks whose heartbeat is due.
    pub(super) fn heartbeats_due(&mut self, now: Instant) -> Vec<(TaskId, u32, TaskHandle)> {
        let mut due = Vec::new();
        for (task, entry) in &mut self.tasks {
            if let Entry::Running(running) = entry
                && running.next_beat <= now
            {
                running.next_beat = now + running.beat_every;
                due.push((*task, running.epoch, running.handle.clone()));
            }
        }
        due
    }

    /// Tells every task to stop.
    pub(super) fn stop_all(&mut self, why: StopReason) {
        for entry in self.tasks.values() {
            if let Entry::Running(running) = entry {
                running.handle.stop.stop(why);
            }
        }
    }

    /// Whether any run has not ended.
    pub(super) fn has_running(&self) -> bool {
        self.tasks.values().any(|entry| matches!(entry, Entry::Running(_) | Entry::Leaving { .. }))
    }

    fn has_ended(&self, task: TaskId, epoch: u32) -> bool {
        self.ended.iter().any(|(ended, last)| *ended == task && epoch <= *last)
    }

    fn remember_end(&mut self, task: TaskId, epoch: u32) {
        if self.ended.len() == MAX_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back((task, epoch));
    }
}

impl Asked {
    fn new((offer, trace): (TaskOffer, Option<TraceParent>), nonce: Uuid, now: Instant) -> Self {
        let forget_at = now + Duration::from_secs(u64::from(offer.grant_within_seconds));
        Self { offer: Box::new(offer), trace, nonce, since: Moment::now(), forget_at }
    }

    const fn pair(&self) -> (u32, u32) {
        (self.offer.epoch, self.offer.dispatch_seq)
    }

    fn is_granted_by(&self, grant: &TaskGrant) -> bool {
        self.pair() == (grant.epoch, grant.dispatch_seq) && grant.nonce == Some(self.nonce)
    }

    /// A newer offer takes this one's place. The same pair again keeps its nonce, so that the answer
    /// to either `started` begins it.
    fn make_way_for(&mut self, new: Self) -> OfferAnswer {
        match new.pair().cmp(&self.pair()) {
            Ordering::Less => return OfferAnswer::Stale,
            Ordering::Equal => self.forget_at = new.forget_at,
            Ordering::Greater => *self = new,
        }
        OfferAnswer::Ask(self.nonce)
    }

    fn put(place: &mut Option<Self>, new: Self) -> OfferAnswer {
        match place {
            Some(known) => known.make_way_for(new),
            None => OfferAnswer::Ask(place.insert(new).nonce),
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
