//! The state machine of a task: dispatch, grant, lease, retry.
//!
//! Two numbers fence a task. `epoch` rises with every placement on a worker, `dispatch_seq` with
//! every repeated send of one placement. A worker touches nothing until its pair of both is
//! granted, and only the current pair ever is; whatever carries an older epoch changes nothing.
//! Late, repeated and lost messages are therefore legal here and have no effect.

use chrono::{DateTime, Duration, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ErrorClass, TaskError, WorkerId};

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// May be placed once `run_at` has come.
    Ready,
    /// Placed on a worker and sent; not yet granted.
    Dispatched,
    /// Granted; alive while its heartbeats keep the lease.
    Running,
    /// Done.
    Succeeded,
    /// Over, without success; a retry of the job sets it back to ready.
    Failed,
    /// Taken back before it was done, by a cancel.
    Cancelled,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Ready, Self::Dispatched, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The word used in tables, JSON, metrics and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Dispatched => "dispatched",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the barrier need not wait for it.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl std::str::FromStr for TaskState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("unknown task state {text:?}"))
    }
}

/// The part of a task that the state machine decides on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Where it is.
    pub state: TaskState,
    /// Placements so far; 0 before the first.
    pub epoch: u32,
    /// Sends of the current placement, beginning with 1.
    pub dispatch_seq: u32,
    /// Attempts that count against `RetryRules::max_attempts`.
    pub attempts: u32,
    /// Not to be placed before.
    pub run_at: DateTime<Utc>,
    /// While dispatched: send again after. While running: the lease's end.
    pub deadline: Option<DateTime<Utc>>,
    /// Since when it waits for its surroundings; bounded by `RetryRules::environment_patience`.
    pub waiting_since: Option<DateTime<Utc>>,
    /// Since when the present attempt runs.
    #[serde(default)]
    pub running_since: Option<DateTime<Utc>>,
    /// The worker it is placed on.
    pub worker: Option<WorkerId>,
    /// The last failure.
    pub error: Option<TaskError>,
}

impl Task {
    /// A task that may be placed at once.
    pub fn new(now: DateTime<Utc>) -> Self {
        Self {
            state: TaskState::Ready,
            epoch: 0,
            dispatch_seq: 0,
            attempts: 0,
            run_at: now,
            deadline: None,
            waiting_since: None,
            running_since: None,
            worker: None,
            error: None,
        }
    }
}

/// Code of the error with which a purge waits for backups that are neither sealed nor dead: not for
/// something to be mended, but for work that may rightly take days.
pub const PURGE_WAITS: &str = "RV-PURGE-WAITS";

/// How patient the scheduler is with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryRules {
    /// Attempts before a transient failure is final.
    pub max_attempts: u32,
    /// First backoff; doubles with each attempt.
    pub backoff_base: Duration,
    /// Longest backoff.
    pub backoff_cap: Duration,
    /// Between looks at whether the surroundings are mended.
    pub environment_interval: Duration,
    /// How long a task waits for its surroundings before it fails.
    pub environment_patience: Duration,
    /// Longest time between looks at whether the backups that a purge waits for are sealed or dead.
    pub purge_interval: Duration,
    /// How long a purge waits for them. Longer than a backup may run.
    pub purge_patience: Duration,
    /// From send to the worker's `started`.
    pub dispatch_timeout: Duration,
    /// Sends of one placement before another is tried.
    pub max_dispatches: u32,
    /// From one heartbeat to the loss of the lease.
    pub lease: Duration,
}

impl Default for RetryRules {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            backoff_base: Duration::seconds(2),
            backoff_cap: Duration::minutes(5),
            environment_interval: Duration::seconds(15),
            environment_patience: Duration::minutes(30),
            purge_interval: Duration::minutes(1),
            purge_patience: Duration::days(8),
            dispatch_timeout: Duration::seconds(15),
            max_dispatches: 3,
            lease: Duration::seconds(60),
        }
    }
}

impl RetryRules {
    /// An attempt that ran for so long did not fail for what it was waiting for before. Longer than
    /// the time-outs by which a worker finds its node or the store away.
    fn long_run(&self) -> Duration {
        self.environment_patience / 6
    }
}

/// What happens to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TaskEvent {
    /// The scheduler places it on a worker: a new epoch.
    Place {
        /// The worker.
        worker: WorkerId,
    },
    /// There is no live worker that may do it: waits as for any other of its surroundings.
    NoWorker {
        /// Which worker is missing.
        error: TaskError,
    },
    /// No `started` came before the deadline.
    DispatchTimedOut,
    /// The broker returned the message: the worker has no queue.
    Unroutable {
        /// The epoch that was sent.
        epoch: u32,
    },
    /// The worker has it and asks for the grant.
    Started {
        /// Epoch of the offer it answers.
        epoch: u32,
        /// Sequence number of the offer it answers.
        dispatch_seq: u32,
    },
    /// The worker is alive and on it.
    Heartbeat {
        /// Its epoch.
        epoch: u32,
    },
    /// Heartbeats stopped for longer than the lease.
    LeaseExpired,
    /// The worker's process has ended, and another one is there in its place.
    WorkerStartedAnew,
    /// The worker did it.
    Succeeded {
        /// Its epoch.
        epoch: u32,
    },
    /// The worker could not do it.
    Failed {
        /// Its epoch.
        epoch: u32,
        /// Why.
        error: TaskError,
    },
    /// The worker let go of it unfinished (told to, or shutting down).
    Stopped {
        /// Its epoch.
        epoch: u32,
        /// Nobody told it to: the worker does not know the task any more.
        #[serde(default)]
        lost: bool,
    },
    /// The job is cancelled, abandoned or paused: an unfinished task is taken back. A running one
    /// is told to stop by the driver and is taken back when it says so or its lease ends.
    TakeBack {
        /// Whether the job may want it again (pause).
        keep: bool,
    },
    /// The job is retried, and this task had failed.
    Reopen,
}

impl TaskEvent {
    /// The word used in the transition log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Place { .. } => "place",
            Self::NoWorker { .. } => "no_worker",
            Self::DispatchTimedOut => "dispatch_timed_out",
            Self::Unroutable { .. } => "unroutable",
            Self::Started { .. } => "started",
            Self::Heartbeat { .. } => "heartbeat",
            Self::LeaseExpired => "lease_expired",
            Self::WorkerStartedAnew => "worker_started_anew",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Stopped { .. } => "stopped",
            Self::TakeBack { .. } => "take_back",
            Self::Reopen => "reopen",
        }
    }
}

/// What the driver must do in the same transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEffect {
    /// Send the offer with the current epoch and sequence number.
    SendOffer,
    /// Send the grant of the current pair.
    SendGrant,
    /// Close the open attempt in the history.
    CloseAttempt,
    /// The task is over: judge the stage's barrier.
    JudgeBarrier,
}

/// The event makes no sense in this state: a defect of the scheduler, not of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {state} cannot take the event {event}", state = state.as_str())]
pub struct IllegalTaskEvent {
    /// The state.
    pub state: TaskState,
    /// The event's word.
    pub event: &'static str,
}

/// Full-jitter backoff: a random part of `base * 2^(attempt - 1)`, capped. `jitter` is in `0.0..1.0`.
pub fn backoff(rules: &RetryRules, attempt: u32, jitter: f64) -> Duration {
    let doubled =
        rules.backoff_base.num_milliseconds().saturating_mul(1_i64 << attempt.saturating_sub(1).min(30));
    let ceiling = doubled.min(rules.backoff_cap.num_milliseconds());
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    // milliseconds of minutes
    let chosen = (ceiling as f64 * jitter.clamp(0.0, 1.0)) as i64;
    Duration::milliseconds(chosen)
}

/// Applies `event` to `task` at `now`. An unchanged task with no effects means the event was late,
/// repeated or forged. `jitter` in `0.0..1.0` spreads retries.
pub fn transition(
    task: &Task,
    event: &TaskEvent,
    rules: &RetryRules,
    now: DateTime<Utc>,
    jitter: f64,
) -> Result<(Task, Vec<TaskEffect>), IllegalTaskEvent> {
    use TaskState::{Cancelled, Dispatched, Failed, Ready, Running, Succeeded};
    let mut next = task.clone();
    let ignore = |task: &Task| Ok((task.clone(), Vec::new()));
    let effects = match (task.state, event) {
        (Ready, TaskEvent::Place { worker }) => {
            next.state = Dispatched;
            next.epoch += 1;
            next.dispatch_seq = 1;
            next.worker = Some(*worker);
            next.deadline = Some(now + rules.dispatch_timeout);
            vec![TaskEffect::SendOffer]
        }
        (Ready, TaskEvent::NoWorker { error }) => {
            wait_for_environment(&mut next, rules, now, error.clone());
            if next.state.is_over() { vec![TaskEffect::JudgeBarrier] } else { Vec::new() }
        }
        (Dispatched, TaskEvent::DispatchTimedOut) if task.dispatch_seq < rules.max_dispatches => {
            next.dispatch_seq += 1;
            next.deadline = Some(now + rules.dispatch_timeout);
            vec![TaskEffect::SendOffer]
        }
        (Dispatched, TaskEvent::DispatchTimedOut) => {
            wait_for_environment(&mut next, rules, now, no_answer(task));
            over_or_waiting(&next)
        }
        (Dispatched, TaskEvent::Unroutable { epoch }) if *epoch == task.epoch => {
            wait_for_environment(&mut next, rules, now, unreachable(task));
            over_or_waiting(&next)
        }
        (Dispatched, TaskEvent::Started { epoch, dispatch_seq })
            if (*epoch, *dispatch_seq) == (task.epoch, task.dispatch_seq) =>
        {
            next.state = Running;
            next.running_since = Some(now);
            next.deadline = Some(now + rules.lease);
            vec![TaskEffect::SendGrant]
        }
        // A grant that was lost on its way is asked for again with the same pair.
        (Running, TaskEvent::Started { epoch, dispatch_seq })
            if (*epoch, *dispatch_seq) == (task.epoch, task.dispatch_seq) =>
        {
            next.deadline = Some(now + rules.lease);
            vec![TaskEffect::SendGrant]
        }
        (Running, TaskEvent::Heartbeat { epoch }) if *epoch == task.epoch => {
            next.deadline = Some(now + rules.lease);
            return Ok((next, Vec::new()));
        }
        (Running, TaskEvent::WorkerStartedAnew) => {
            let died = died(task);
            fail(&mut next, rules, now, jitter, died);
            over_or_waiting(&next)
        }
        (Running, TaskEvent::LeaseExpired) => {
            let lost = lost(task);
            fail(&mut next, rules, now, jitter, lost);
            over_or_waiting(&next)
        }
        (Running, TaskEvent::Succeeded { epoch }) if *epoch == task.epoch => {
            next.state = Succeeded;
            next.deadline = None;
            next.waiting_since = None;
            next.running_since = None;
            next.error = None;
            vec![TaskEffect::CloseAttempt, TaskEffect::JudgeBarrier]
        }
        (Running, TaskEvent::Failed { epoch, error }) if *epoch == task.epoch => {
            fail(&mut next, rules, now, jitter, error.clone());
            over_or_waiting(&next)
        }
        // What it did may be lost, and the next try may end in the same way: counted, or it would
        // go round for ever.
        (Running, TaskEvent::Stopped { epoch, lost: true }) if *epoch == task.epoch => {
            fail(&mut next, rules, now, jitter, forgotten(task));
            over_or_waiting(&next)
        }
        (Dispatched | Running, TaskEvent::Stopped { epoch, .. }) if *epoch == task.epoch => {
            release(&mut next, now);
            next.waiting_since = None;
            vec![TaskEffect::CloseAttempt]
        }
        (Ready | Dispatched | Running, TaskEvent::TakeBack { keep }) => {
            release(&mut next, now);
            // A pause is no wait for anything to be mended.
            next.waiting_since = None;
            if !keep {
                next.state = Cancelled;
            }
            let was_sent = task.state != Ready;
            let mut effects = Vec::new();
            if was_sent {
                effects.push(TaskEffect::CloseAttempt);
            }
            if !keep {
                effects.push(TaskEffect::JudgeBarrier);
            }
            effects
        }
        (Failed, TaskEvent::Reopen) => {
            release(&mut next, now);
            next.attempts = 0;
            next.waiting_since = None;
            Vec::new()
        }
        // Messages and timers that come late or twice.
        (
            _,
            TaskEvent::Unroutable { .. }
            | TaskEvent::Started { .. }
            | TaskEvent::Heartbeat { .. }
            | TaskEvent::Succeeded { .. }
            | TaskEvent::Failed { .. }
            | TaskEvent::Stopped { .. }
            | TaskEvent::NoWorker { .. }
            | TaskEvent::DispatchTimedOut
            | TaskEvent::LeaseExpired
            | TaskEvent::WorkerStartedAnew,
        )
        | (Succeeded | Failed | Cancelled, TaskEvent::TakeBack { .. }) => return ignore(task),
        (state, event @ (TaskEvent::Place { .. } | TaskEvent::Reopen)) => {
            return Err(IllegalTaskEvent { state, event: event.as_str() });
        }
    };
    Ok((next, effects))
}

fn over_or_waiting(next: &Task) -> Vec<TaskEffect> {
    if next.state.is_over() {
        vec![TaskEffect::CloseAttempt, TaskEffect::JudgeBarrier]
    } else {
        vec![TaskEffect::CloseAttempt]
    }
}

fn release(task: &mut Task, now: DateTime<Utc>) {
    task.state = TaskState::Ready;
    task.run_at = now;
    task.deadline = None;
    task.running_since = None;
    task.worker = None;
}

/// An attempt that ran for long has shown that what it once waited for is well.
fn fail(task: &mut Task, rules: &RetryRules, now: DateTime<Utc>, jitter: f64, error: TaskError) {
    if task.running_since.is_some_and(|since| now - since >= rules.long_run()) {
        task.waiting_since = None;
    }
    match error.class {
        ErrorClass::Permanent => {
            task.attempts += 1;
            task.state = TaskState::Failed;
            task.deadline = None;
            task.running_since = None;
            task.error = Some(error);
        }
        ErrorClass::Environment => wait_for_environment(task, rules, now, error),
        ErrorClass::Transient => {
            task.attempts += 1;
            let wait = backoff(rules, task.attempts, jitter);
            release(task, now + wait);
            if task.attempts >= rules.max_attempts {
                task.state = TaskState::Failed;
            }
            task.error = Some(error);
        }
    }
}

/// Waits, under the patience that the cause deserves; another kind of cause is another wait.
fn wait_for_environment(task: &mut Task, rules: &RetryRules, now: DateTime<Utc>, error: TaskError) {
    let waits_for_backups = error.code == PURGE_WAITS;
    let was_waiting_for_backups = task.error.as_ref().is_some_and(|error| error.code == PURGE_WAITS);
    if waits_for_backups != was_waiting_for_backups {
        task.waiting_since = None;
    }
    let since = *task.waiting_since.get_or_insert(now);
    let (interval, patience) = if waits_for_backups {
        // Often at first, as the backup may be about to end. In milliseconds: the database keeps no
        // finer time, and what it keeps must be what the log replays to.
        let shortest = rules.environment_interval.min(rules.purge_interval);
        let quarter = Duration::milliseconds((now - since).num_milliseconds() / 4);
        (quarter.clamp(shortest, rules.purge_interval), rules.purge_patience)
    } else {
        (rules.environment_interval, rules.environment_patience)
    };
    release(task, now + interval);
    if now - since >= patience {
        task.state = TaskState::Failed;
    }
    task.error = Some(error);
}

fn no_answer(task: &Task) -> TaskError {
    TaskError::environment(
        "RV-WORKER-SILENT",
        format!("the worker did not answer {} sends of the task", task.dispatch_seq),
    )
}

fn unreachable(task: &Task) -> TaskError {
    let worker = task.worker.map_or_else(|| "it".to_owned(), |worker| worker.to_string());
    TaskError::environment(
        "RV-WORKER-UNREACHABLE",
        format!("the broker has no queue of worker {worker}: it is not running or not connected"),
    )
}

fn forgotten(task: &Task) -> TaskError {
    TaskError::transient(
        "RV-WORKER-FORGOT",
        format!(
            "the worker does not know attempt {} any more: it started anew, or could not send the result",
            task.epoch
        ),
    )
}

fn died(task: &Task) -> TaskError {
    TaskError::transient(
        "RV-WORKER-LOST",
        format!("the worker's process ended during attempt {} and was started anew", task.epoch),
    )
    .with_next("look into the worker's log of that time, and into the kernel's for want of memory")
}

fn lost(task: &Task) -> TaskError {
    TaskError::transient(
        "RV-WORKER-LOST",
        format!("heartbeats of attempt {} stopped for longer than its lease", task.epoch),
    )
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
