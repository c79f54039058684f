//! Windows: a job of a policy works inside its policy's window only. Outside it is paused as by a person,
//! begins only when the window opens, and goes on with the next one; one that a person paused stays
//! paused. Without its window or policy nothing holds it any more.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use ringvault_core::{JobId, PolicyName, job::JobState, policy::Window};
use ringvault_state::{
    PgConnection, StateError, StateResult,
    policies::{self, PolicyRow},
    windows,
};

use crate::{
    Context,
    isolate::Isolated,
    jobs::{Action, ControlError, control},
    workflow::DriveError,
};

/// Who pauses and resumes for the window, in the log.
const ACTOR: &str = "window";

/// What the window wants of a job.
const fn wanted(state: JobState, paused_by_window: bool, open: bool) -> Option<Action> {
    match (state, open) {
        (JobState::Running, false) => Some(Action::Pause),
        (JobState::Paused, true) if paused_by_window => Some(Action::Resume),
        _ => None,
    }
}

/// Pauses and resumes the jobs of `policies` as their windows have it at `now`.
pub(super) async fn keep(
    ctx: &Context,
    policies: &[PolicyRow],
    now: DateTime<Utc>,
) -> Result<(), DriveError> {
    let by_name: BTreeMap<&PolicyName, &PolicyRow> = policies.iter().map(|row| (&row.name, row)).collect();
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let jobs = windows::under_way(&mut conn, ACTOR).await?;
    drop(conn);
    let mut isolated = Isolated::default();
    for job in jobs {
        let open = match by_name.get(&job.policy) {
            Some(row) => row.policy.may_work_at(now),
            // It is there and cannot be read: nobody knows what it wants.
            None if job.policy_is_there => continue,
            None => true,
        };
        let Some(action) = wanted(job.state, job.paused_by_window, open) else { continue };
        match control(ctx, job.id, action, ACTOR).await.map_err(ControlError::into_failure) {
            Ok(_) => {}
            Err(Ok(failure)) => isolated.note("a job outside its window", job.id, failure)?,
            // It came to another state in between.
            Err(Err(refusal)) => tracing::debug!(job = %job.id, %refusal, "the window changed nothing"),
        }
    }
    Ok(())
}

/// The window that a job of this policy is outside of at `now`.
pub(crate) async fn closed(
    conn: &mut PgConnection,
    policy: Option<&PolicyName>,
    now: DateTime<Utc>,
) -> StateResult<Option<(PolicyName, Window)>> {
    let Some(name) = policy else { return Ok(None) };
    // What cannot be read holds nobody up.
    Ok(policies::find_readable(conn, name)
        .await?
        .filter(|row| !row.policy.may_work_at(now))
        .and_then(|row| Some((row.name, row.policy.window?))))
}

/// Policies that have queued jobs and a window that is closed now.
pub(crate) async fn all_closed(conn: &mut PgConnection) -> StateResult<Vec<PolicyName>> {
    let mut found = Vec::new();
    let waiting = windows::waiting(conn).await?;
    if waiting.is_empty() {
        return Ok(found);
    }
    let now = ringvault_state::now(conn).await?;
    for policy in waiting {
        found.extend(closed(conn, Some(&policy), now).await?.map(|(policy, _)| policy));
    }
    Ok(found)
}

/// Whether it is its window, and no person, that a paused job waits for.
pub(crate) async fn has_paused(conn: &mut PgConnection, job: JobId) -> StateResult<bool> {
    windows::is_paused_by(conn, job, ACTOR).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_paused_stays_paused() {
        use JobState::{Cancelling, Paused, Running};
        for (state, by_window, open, expect) in [
            (Running, false, true, None),
            (Running, false, false, Some(Action::Pause)),
            (Paused, true, true, Some(Action::Resume)),
            (Paused, true, false, None),
            (Paused, false, true, None),
            (Paused, false, false, None),
            (Cancelling, false, false, None),
        ] {
            assert_eq!(wanted(state, by_window, open), expect, "{state:?} {by_window} {open}");
        }
    }
}
