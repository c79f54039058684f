//! The state machine of a job.
//!
//! [`transition`] is the only place that says which event is legal in which state. The driver loads
//! a job under a row lock, calls it, and writes the new state, the log line and the outbox rows of
//! its effects in one transaction. `succeeded`, `cancelled` and `abandoned` never change again.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{JobKind, StageKind};

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Accepted; waits for its start.
    Queued,
    /// A stage is open.
    Running,
    /// Told to hold still; tasks stop and wait.
    Paused,
    /// A task failed for good; can be retried until `retry_until`.
    Failed,
    /// Told to stop: tasks stop, then what they left is cleared; ends as cancelled.
    Cancelling,
    /// Given up after a failure: what it left is cleared; ends as abandoned.
    Abandoning,
    /// Done.
    Succeeded,
    /// Stopped on request, nothing left behind.
    Cancelled,
    /// Given up for good after a failure.
    Abandoned,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Running,
        Self::Paused,
        Self::Failed,
        Self::Cancelling,
        Self::Abandoning,
        Self::Succeeded,
        Self::Cancelled,
        Self::Abandoned,
    ];

    /// The word used in tables, JSON, metrics and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Cancelling => "cancelling",
            Self::Abandoning => "abandoning",
            Self::Succeeded => "succeeded",
            Self::Cancelled => "cancelled",
            Self::Abandoned => "abandoned",
        }
    }

    /// Whether it can never change again. Only then are the job's holds let go.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Cancelled | Self::Abandoned)
    }

    /// Whether it was cancelled or given up, and only what it left is cleared.
    pub const fn is_ending(self) -> bool {
        matches!(self, Self::Cancelling | Self::Abandoning)
    }

    /// Whether nobody works on it now: final, or failed and waiting for a retry.
    pub const fn is_settled(self) -> bool {
        self.is_final() || matches!(self, Self::Failed)
    }
}

impl std::str::FromStr for JobState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("unknown job state {text:?}"))
    }
}

/// The part of a job that the state machine decides on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its kind.
    pub kind: JobKind,
    /// Its stages, in order.
    pub stages: Vec<StageKind>,
    /// Where it is.
    pub state: JobState,
    /// Index into `stages` of the open (or last open) stage.
    pub stage: usize,
    /// A truncate was set off, or the swap of an offline restore: cancel is refused from here on.
    pub past_no_return: bool,
    /// Until when a failed job may be retried.
    pub retry_until: Option<DateTime<Utc>>,
}

impl Job {
    /// A new job that has not started.
    pub fn new(kind: JobKind, stages: Vec<StageKind>) -> Self {
        Self { kind, stages, state: JobState::Queued, stage: 0, past_no_return: false, retry_until: None }
    }

    /// The open (or last open) stage.
    pub fn current_stage(&self) -> Option<StageKind> {
        self.stages.get(self.stage).copied()
    }
}

/// What happens to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JobEvent {
    /// Nothing it must wait for is left.
    Start,
    /// All tasks of the open stage have ended and the verdict is to go on.
    StagePassed,
    /// All tasks of the open stage have ended and the verdict is failure.
    StageFailed {
        /// Until when it may be retried.
        retry_until: DateTime<Utc>,
    },
    /// Somebody wants it to hold still.
    Pause,
    /// Somebody wants it to go on.
    Resume,
    /// Somebody wants it stopped.
    Cancel,
    /// Somebody wants its failed tasks run again.
    Retry {
        /// Now, on the database's clock.
        now: DateTime<Utc>,
    },
    /// Somebody gives a failed job up.
    Abandon,
    /// Nobody retried it in time.
    RetryWindowOver,
    /// It takes longer than others can wait for it.
    TimeOver,
    /// Cancelling or abandoning: what it left on nodes is cleared (or its time for that is over).
    CleanedUp,
}

impl JobEvent {
    /// The word used in the transition log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::StagePassed => "stage_passed",
            Self::StageFailed { .. } => "stage_failed",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Retry { .. } => "retry",
            Self::Abandon => "abandon",
            Self::RetryWindowOver => "retry_window_over",
            Self::TimeOver => "time_over",
            Self::CleanedUp => "cleaned_up",
        }
    }
}

/// What the driver must do in the same transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEffect {
    /// Plan the open stage and insert its tasks.
    OpenStage(StageKind),
    /// Tell every running task to stop, and take back every task that is not running.
    StopTasks,
    /// Let tasks that were taken back be dispatched again, and judge the open stage's barrier.
    ResumeTasks,
    /// Set the failed tasks of the open stage back to ready.
    ReopenFailedTasks,
    /// Once no task runs any more, insert the tasks that clear what it left on nodes.
    OpenCleanup,
    /// The job is over for good: let its holds go.
    ReleaseHolds,
    /// Tell other systems.
    Announce,
}

/// The event makes no sense in this state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalTransition {
    /// No such pair of state and event.
    #[error("a job that is {state} cannot take the event {event}", state = state.as_str())]
    Pair {
        /// The state.
        state: JobState,
        /// The event's word.
        event: &'static str,
    },
    /// A truncate was set off, or the swap of an offline restore.
    #[error(
        "the restore is past its point of no return (what tables or nodes held was taken away): stopping now would leave them without it"
    )]
    PastNoReturn,
    /// The retry window is over.
    #[error("the job could be retried until {0}")]
    RetryWindowOver(DateTime<Utc>),
}

/// Applies `event` to `job`.
pub fn transition(job: &Job, event: &JobEvent) -> Result<(Job, Vec<JobEffect>), IllegalTransition> {
    use JobEffect::{
        Announce, OpenCleanup, OpenStage, ReleaseHolds, ReopenFailedTasks, ResumeTasks, StopTasks,
    };
    use JobState::{
        Abandoned, Abandoning, Cancelled, Cancelling, Failed, Paused, Queued, Running, Succeeded,
    };
    let mut next = job.clone();
    let effects = match (job.state, event) {
        (Queued, JobEvent::Start) => {
            next.state = Running;
            let mut effects = vec![Announce];
            effects.extend(open(&mut next, 0).map(OpenStage));
            effects
        }
        (Running, JobEvent::StagePassed) => match open(&mut next, job.stage + 1) {
            Some(stage) => vec![OpenStage(stage)],
            None => {
                next.state = Succeeded;
                vec![ReleaseHolds, Announce]
            }
        },
        (Running, JobEvent::StageFailed { retry_until }) => {
            next.state = Failed;
            next.retry_until = Some(*retry_until);
            vec![Announce]
        }
        (Running, JobEvent::Pause) => {
            next.state = Paused;
            vec![StopTasks, Announce]
        }
        // Nothing more to stop; who wanted it last is in the log.
        (Paused, JobEvent::Pause) => Vec::new(),
        (Paused, JobEvent::Resume) => {
            next.state = Running;
            vec![ResumeTasks, Announce]
        }
        (Queued, JobEvent::Cancel) => {
            next.state = Cancelled;
            vec![ReleaseHolds, Announce]
        }
        (Running | Paused, JobEvent::Cancel) => {
            if job.past_no_return {
                return Err(IllegalTransition::PastNoReturn);
            }
            next.state = Cancelling;
            vec![StopTasks, OpenCleanup]
        }
        (Failed, JobEvent::Retry { now }) => {
            if let Some(until) = job.retry_until.filter(|until| now > until) {
                return Err(IllegalTransition::RetryWindowOver(until));
            }
            next.state = Running;
            next.retry_until = None;
            vec![ReopenFailedTasks, Announce]
        }
        (Failed, JobEvent::Abandon | JobEvent::RetryWindowOver) => {
            next.state = Abandoning;
            vec![StopTasks, OpenCleanup]
        }
        (Running | Paused, JobEvent::TimeOver) => {
            if job.past_no_return {
                return Err(IllegalTransition::PastNoReturn);
            }
            next.state = Abandoning;
            vec![StopTasks, OpenCleanup]
        }
        (Cancelling, JobEvent::CleanedUp) => {
            next.state = Cancelled;
            vec![ReleaseHolds, Announce]
        }
        (Abandoning, JobEvent::CleanedUp) => {
            next.state = Abandoned;
            vec![ReleaseHolds, Announce]
        }
        (state, event) => {
            return Err(IllegalTransition::Pair { state, event: event.as_str() });
        }
    };
    Ok((next, effects))
}

fn open(job: &mut Job, index: usize) -> Option<StageKind> {
    let stage = job.stages.get(index).copied()?;
    job.stage = index;
    job.past_no_return |= is_point_of_no_return(&job.stages, stage);
    Some(stage)
}

/// Whether a stage takes away what the target holds: a truncate, or what an offline restore does, which is the one
/// that has no stage for the schema.
pub(super) fn is_point_of_no_return(stages: &[StageKind], stage: StageKind) -> bool {
    match stage {
        StageKind::Truncate => true,
        StageKind::Apply => !stages.contains(&StageKind::Schema),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn restore() -> Job {
        use StageKind::{Apply, Plan, Schema, Truncate};
        Job::new(JobKind::Restore, vec![Plan, Schema, Truncate, Apply])
    }

    fn run(job: &Job, events: &[JobEvent]) -> Job {
        events.iter().fold(job.clone(), |job, event| transition(&job, event).unwrap().0)
    }

    #[test]
    fn a_job_goes_through_its_stages_in_order() {
        let mut job = restore();
        let mut opened = Vec::new();
        let mut event = JobEvent::Start;
        while job.state != JobState::Succeeded {
            let (next, effects) = transition(&job, &event).unwrap();
            opened.extend(effects.into_iter().filter_map(|effect| match effect {
                JobEffect::OpenStage(stage) => Some(stage),
                _ => None,
            }));
            job = next;
            event = JobEvent::StagePassed;
        }
        assert_eq!(opened, job.stages);
    }

    #[test]
    fn cancel_is_refused_after_the_truncate_and_a_retry_never_opens_it_again() {
        let at_truncate = run(&restore(), &[JobEvent::Start, JobEvent::StagePassed, JobEvent::StagePassed]);
        assert_eq!(at_truncate.current_stage(), Some(StageKind::Truncate));
        assert_eq!(transition(&at_truncate, &JobEvent::Cancel), Err(IllegalTransition::PastNoReturn));
        let now = Utc::now();
        let failed = run(&at_truncate, &[JobEvent::StagePassed, JobEvent::StageFailed { retry_until: now }]);
        let (retried, effects) = transition(&failed, &JobEvent::Retry { now }).unwrap();
        assert_eq!(retried.current_stage(), Some(StageKind::Apply));
        assert!(!effects.iter().any(|effect| matches!(effect, JobEffect::OpenStage(_))));
        let late = now + chrono::Duration::seconds(1);
        assert!(transition(&failed, &JobEvent::Retry { now: late }).is_err());
    }

    fn any_event() -> impl Strategy<Value = JobEvent> {
        let now = DateTime::UNIX_EPOCH;
        prop_oneof![
            Just(JobEvent::Start),
            Just(JobEvent::StagePassed),
            Just(JobEvent::StageFailed { retry_until: now }),
            Just(JobEvent::Pause),
            Just(JobEvent::Resume),
            Just(JobEvent::Cancel),
            Just(JobEvent::Retry { now }),
            Just(JobEvent::Abandon),
            Just(JobEvent::RetryWindowOver),
            Just(JobEvent::TimeOver),
            Just(JobEvent::CleanedUp),
        ]
    }

    proptest! {
        #[test]
        fn final_states_never_change_and_stages_open_once(
            events in proptest::collection::vec(any_event(), 0..60),
        ) {
            let mut job = restore();
            let mut opened = Vec::new();
            let mut released = 0;
            for event in events {
                let was_final = job.state.is_final();
                if let Ok((next, effects)) = transition(&job, &event) {
                        prop_assert!(!was_final);
                        for effect in effects {
                            match effect {
                                JobEffect::OpenStage(stage) => opened.push(stage),
                                JobEffect::ReleaseHolds => released += 1,
                                _ => {}
                            }
                        }
                        job = next;
                }
            }
            prop_assert_eq!(&opened[..], &job.stages[..opened.len()]);
            prop_assert_eq!(released, i32::from(job.state.is_final()));
            if job.state == JobState::Cancelled {
                prop_assert!(!job.past_no_return);
            }
        }
    }
}
