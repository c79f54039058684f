//! Telling a job what to do.

use ringvault_core::{
    JobId,
    job::{JobEvent, JobSpec, JobState},
};
use ringvault_fault::around;
use ringvault_state::{PgConnection, StateError, jobs, registry::clusters};

use super::ControlError;
use crate::{
    Context, audit,
    policies::window,
    workflow::{DriveError, Step},
};

/// What a job can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Stop for good and clear up.
    Cancel,
    /// Hold still.
    Pause,
    /// Go on.
    Resume,
    /// Run the failed tasks of a failed job again.
    Retry,
    /// Give a failed job up for good and clear up.
    Abandon,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Controlled {
    /// Where the job is now.
    pub state: JobState,
    /// Whether anything changed: to cancel what is being cancelled changes nothing.
    pub changed: bool,
}

impl Action {
    /// The order as a word: `cancel`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::Abandon => "abandon",
        }
    }

    /// What a job cannot be, where it is refused: `cancelled`.
    const fn participle(self) -> &'static str {
        match self {
            Self::Cancel => "cancelled",
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Retry => "retried",
            Self::Abandon => "abandoned",
        }
    }

    /// Why a job in this state is not told so, for people.
    pub(super) fn refusal(self, state: JobState) -> String {
        let why = match (self, state) {
            (_, JobState::Succeeded | JobState::Cancelled | JobState::Abandoned) => "it is over for good",
            (_, JobState::Cancelling | JobState::Abandoning) => {
                "it is being ended, and what it left is cleared"
            }
            (Self::Pause | Self::Resume, JobState::Queued) => "it has not begun",
            (Self::Retry | Self::Abandon, _) => "only one that has failed is",
            (_, JobState::Failed) => "it has stopped; it can be retried or abandoned",
            _ => "only one that is paused is",
        };
        format!("it is {} and cannot be {}: {why}", state.as_str(), self.participle())
    }

    /// Whether a job in this state already does what it is told.
    const fn is_done_in(self, state: JobState) -> bool {
        matches!(
            (self, state),
            (Self::Cancel, JobState::Cancelling | JobState::Cancelled)
                | (Self::Pause, JobState::Paused)
                | (Self::Resume, JobState::Running)
                | (Self::Abandon, JobState::Abandoning | JobState::Abandoned)
        )
    }
}

/// Tells a job what to do, on behalf of `actor`.
pub async fn control(
    ctx: &Context,
    job: JobId,
    action: Action,
    actor: &str,
) -> Result<Controlled, ControlError> {
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let controlled = control_in(ctx, &mut tx, job, action, actor).await?;
    ringvault_state::commit(tx, around!("job.control")).await?;
    ctx.wake.all();
    Ok(controlled)
}

/// What would come of it; the whole of it is done and rolled back, so that it is refused for every
/// reason that it would be.
pub async fn dry_control(
    ctx: &Context,
    job: JobId,
    action: Action,
    actor: &str,
) -> Result<Controlled, ControlError> {
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let controlled = control_in(ctx, &mut tx, job, action, actor).await?;
    tx.rollback().await.map_err(StateError::from)?;
    Ok(controlled)
}

/// As [`control`], in the caller's transaction, which must be rolled back on an error.
pub async fn control_in(
    ctx: &Context,
    conn: &mut PgConnection,
    job: JobId,
    action: Action,
    actor: &str,
) -> Result<Controlled, ControlError> {
    let known = jobs::load(conn, job).await?.ok_or(ControlError::UnknownJob { job })?;
    if action == Action::Retry {
        // As when a job starts: no two that exclude each other begin at once.
        clusters::lock(conn, known.cluster()).await?;
    }
    let step = Step::lock(ctx, conn, job, actor).await.map_err(ControlError::Drive)?;
    let mut step = step.ok_or(ControlError::UnknownJob { job })?;
    // What its window paused and a person pauses too does not go on with the next window.
    let takes_over = action == Action::Pause
        && step.job.machine.state == JobState::Paused
        && window::has_paused(step.conn, job).await?;
    if action.is_done_in(step.job.machine.state) && !takes_over {
        return Ok(Controlled { state: step.job.machine.state, changed: false });
    }
    if action == Action::Retry && step.job.machine.state == JobState::Failed {
        refuse_if_in_the_way(&mut step).await?;
    }
    if action == Action::Resume && step.job.machine.state == JobState::Paused {
        refuse_outside_window(&mut step).await?;
    }
    if action == Action::Retry {
        step.job.trace = step.job.trace.map(ringvault_telemetry::renew);
    }
    let event = match action {
        Action::Cancel => JobEvent::Cancel,
        Action::Pause => JobEvent::Pause,
        Action::Resume => JobEvent::Resume,
        Action::Retry => JobEvent::Retry { now: step.now },
        Action::Abandon => JobEvent::Abandon,
    };
    step.job_event(event).await.map_err(|error| match error {
        DriveError::Illegal(why) => ControlError::Refused { job, action, why },
        error => ControlError::Drive(error),
    })?;
    audit::job_told(step.conn, &step.job, actor, action.as_str()).await?;
    let state = step.job.machine.state;
    tracing::info!(%job, ?action, actor, state = state.as_str(), "job controlled");
    Ok(Controlled { state, changed: true })
}

/// Outside its policy's window the job would be paused again at once.
async fn refuse_outside_window(step: &mut Step<'_>) -> Result<(), ControlError> {
    match window::closed(step.conn, step.job.policy.as_ref(), step.now).await? {
        Some((policy, window)) => Err(ControlError::OutsideWindow { job: step.job.id, policy, window }),
        None => Ok(()),
    }
}

/// A retried job comes in line as if it began now: what runs must not be joined by it.
async fn refuse_if_in_the_way(step: &mut Step<'_>) -> Result<(), ControlError> {
    if matches!(step.job.spec, JobSpec::Verify(_)) {
        return Ok(());
    }
    let closed = window::all_closed(step.conn).await?;
    match jobs::in_the_way(step.conn, &step.job, &closed).await? {
        Some(other) => {
            Err(ControlError::InTheWay { job: step.job.id, other, cluster: step.job.cluster().clone() })
        }
        None => Ok(()),
    }
}
