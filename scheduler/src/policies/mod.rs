//! Policies fire: every scheduler computes what is due, and whoever claims the fire's row first
//! makes the job, in the same transaction. So n schedulers make one job of one instant.

mod due;
pub(crate) mod window;

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use ringvault_core::{
    JobId,
    job::{JobKind, JobSpec, VerifySpec},
    policy::{OnConflict, PolicyAction},
};
use ringvault_fault::around;
use ringvault_state::{
    Connection, PgConnection, StateError, backups, fires, jobs as job_rows,
    policies::{self, PolicyRow},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Context,
    config::delta,
    jobs::{self, Prepared, Submission, SubmitError},
    workflow::DriveError,
};
use due::{Due, due_fire};

/// Fires at once: while the vault is slow to answer for some, others go on.
const AT_ONCE: usize = 32;
/// How long one fire may take before the next look tries it again.
const FIRE_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs until told to stop.
pub async fn run(ctx: &Context, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = pass(ctx).await {
            tracing::error!(%error, "policies could not be looked at");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Fires what is due; policies do not wait for each other.
pub async fn pass(ctx: &Context) -> Result<(), DriveError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let now = ringvault_state::now(&mut conn).await?;
    let policies = policies::list(&mut conn).await?;
    drop(conn);
    // A paused policy fires nothing; its jobs keep to its window all the same.
    if let Err(error) = window::keep(ctx, &policies, now).await {
        tracing::error!(%error, "the policies' windows could not be kept");
    }
    let due =
        policies.iter().filter(|row| !row.paused).filter_map(|row| Some((row, what_is_due(ctx, row, now)?)));
    stream::iter(due)
        .for_each_concurrent(AT_ONCE, |(row, due)| async move {
            // On a failure the fire stays due.
            match tokio::time::timeout(FIRE_LIMIT, fire(ctx, row, due)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(policy = %row.name, %error, "the policy could not fire"),
                Err(_) => {
                    tracing::error!(policy = %row.name, "the policy could not fire within {FIRE_LIMIT:?}");
                }
            }
        })
        .await;
    Ok(())
}

fn what_is_due(ctx: &Context, row: &PolicyRow, now: DateTime<Utc>) -> Option<Due> {
    let schedule = match row.policy.compiled_schedule() {
        Ok(schedule) => schedule,
        Err(error) => {
            tracing::error!(policy = %row.name, %error, "the policy cannot fire");
            return None;
        }
    };
    let since = row.last_fire.map_or(row.fires_after, |last| last.max(row.fires_after));
    due_fire(&schedule, since, now, row.policy.misfire, delta(ctx.config.timing.misfire_grace))
}

async fn fire(ctx: &Context, row: &PolicyRow, due: Due) -> Result<(), DriveError> {
    let (at, wanted) = match due {
        Due::Fire(at) => (at, prepare(ctx, row, at).await?),
        Due::Missed(at) => {
            let grace = ctx.config.timing.misfire_grace.as_secs();
            let why = format!(
                "missed: not fired within {grace} s of its time (no scheduler was running, or the vault or \
                 the database did not answer), and the policy skips what was missed"
            );
            (at, Err(why))
        }
    };
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    if !fires::claim(&mut tx, &row.name, at, &ctx.config.id).await? {
        return Ok(());
    }
    let result = match wanted {
        Ok(prepared) => match make_job(ctx, &mut tx, row, &prepared).await? {
            Made::Job(job) => Ok(job),
            Made::Nothing(why) => Err(why),
            // The claim is rolled back with the transaction, so the fire is due again at once.
            Made::LostItsName => return Ok(()),
        },
        Err(why) => Err(why),
    };
    match &result {
        Ok(job) => tracing::info!(policy = %row.name, fire = %at, %job, "policy fired"),
        Err(why) => tracing::warn!(policy = %row.name, fire = %at, why, "policy fired nothing"),
    }
    let settled = result.as_ref().map(|job| *job).map_err(String::as_str);
    fires::settle(&mut tx, &row.name, at, settled).await?;
    ringvault_state::commit(tx, around!("policy.fire")).await?;
    ctx.wake.all();
    Ok(())
}

/// The job that a fire asks for, with what the vault has to say about it; the inner error says why
/// there is none. While the vault cannot be asked the fire stays due.
async fn prepare(
    ctx: &Context,
    row: &PolicyRow,
    at: DateTime<Utc>,
) -> Result<Result<Prepared, String>, DriveError> {
    let spec = match row.policy.job_spec(&row.name) {
        Some(spec) => Some(spec),
        None => verify_spec(ctx, row).await?,
    };
    let Some(spec) = spec else {
        return Ok(Err("there is no restorable backup to verify".to_owned()));
    };
    let submission = Submission {
        spec,
        source: jobs::POLICY_SOURCE.to_owned(),
        idempotency_key: format!("{}/{}", row.name, at.format("%Y%m%dT%H%M%SZ")),
        requested_by: format!("policy {}", row.name),
        max_attempts: row.policy.retries,
        trace: None,
    };
    match jobs::prepare(ctx, submission).await.map_err(SubmitError::into_failure) {
        Ok(prepared) => Ok(Ok(prepared)),
        Err(Ok(failure)) => Err(failure),
        Err(Err(refusal)) => Ok(Err(refusal.to_string())),
    }
}

/// What came of a claimed fire.
enum Made {
    Job(JobId),
    /// Nothing, and why.
    Nothing(String),
    /// Nothing yet: another backup took the name chosen for this one. To be tried again.
    LostItsName,
}

/// Makes the job of a claimed fire.
async fn make_job(
    ctx: &Context,
    conn: &mut PgConnection,
    row: &PolicyRow,
    prepared: &Prepared,
) -> Result<Made, DriveError> {
    let kind = kind_of(row.policy.action);
    if row.policy.on_conflict == OnConflict::Skip
        && let Some(other) = job_rows::unsettled_of_policy(conn, &row.name, kind).await?
    {
        return Ok(Made::Nothing(format!("job {other} of the same policy is still under way")));
    }
    // In a savepoint: a job that is refused leaves the claim standing, with the reason.
    let mut inner = conn.begin().await.map_err(StateError::from)?;
    let inserted = jobs::insert(ctx, &mut inner, prepared).await;
    match inserted {
        Ok(submitted) => {
            inner.commit().await.map_err(StateError::from)?;
            Ok(Made::Job(submitted.job))
        }
        Err(error) if prepared.lost_its_name(&error) => Ok(Made::LostItsName),
        Err(error) => {
            let refusal = match error.into_failure() {
                Ok(failure) => return Err(failure),
                Err(refusal) => refusal,
            };
            inner.rollback().await.map_err(StateError::from)?;
            Ok(Made::Nothing(refusal.to_string()))
        }
    }
}

async fn verify_spec(ctx: &Context, row: &PolicyRow) -> Result<Option<JobSpec>, DriveError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let newest = backups::newest_restorable(&mut conn, &row.policy.cluster).await?;
    Ok(newest.map(|backup| {
        JobSpec::Verify(VerifySpec {
            cluster: row.policy.cluster.clone(),
            backup,
            level: row.policy.level,
            policy: Some(row.name.clone()),
        })
    }))
}

const fn kind_of(action: PolicyAction) -> JobKind {
    match action {
        PolicyAction::Backup => JobKind::Backup,
        PolicyAction::Verify => JobKind::Verify,
        PolicyAction::Purge => JobKind::Purge,
        PolicyAction::Drill => JobKind::Drill,
    }
}
