//! Events for other systems, in the outbox with what they announce.

use chrono::{DateTime, Utc};
use ringvault_core::{
    BackupName, ClusterName,
    api::JobResult,
    job::{JobEvent as Happened, JobState},
    task::SealResult,
    trace::TraceParent,
};
use ringvault_queue::{
    Envelope, Event, Publish,
    message::{BackupEvent, JobEvent, RequestRejected},
};
use ringvault_state::{PgConnection, jobs::JobRow, outbox};

use super::{DriveError, Step, send::as_row};
use crate::{Context, audit, notify};

/// A job exists.
pub async fn job_created(ctx: &Context, conn: &mut PgConnection, job: &JobRow) -> Result<(), DriveError> {
    audit::job_created(conn, job).await?;
    let event = Event::JobCreated(job_event(job));
    publish(ctx, conn, (job.created_at, place_of(job)), event, None).await
}

/// A request was refused. Nothing else was written.
pub async fn request_rejected(
    ctx: &Context,
    conn: &mut PgConnection,
    rejected: RequestRejected,
) -> Result<(), DriveError> {
    let now = ringvault_state::now(conn).await?;
    let place = ringvault_telemetry::current();
    publish(ctx, conn, (now, place), Event::RequestRejected(rejected), None).await
}

/// A job has come to another state. Pauses, resumes and retries are nobody else's business.
pub(super) async fn job_changed(step: &mut Step<'_>, event: &Happened) -> Result<(), DriveError> {
    if matches!(
        step.job.machine.state,
        JobState::Succeeded | JobState::Failed | JobState::Cancelled | JobState::Abandoned
    ) {
        audit::job_ended(step.conn, &step.job, &step.actor).await?;
    }
    let about = job_event(&step.job);
    let event = match (step.job.machine.state, event) {
        (JobState::Running, Happened::Start) => Event::JobStarted(about),
        (JobState::Succeeded, _) => Event::JobSucceeded(about),
        (JobState::Failed, _) => Event::JobFailed(about),
        (JobState::Cancelled, _) => Event::JobCancelled(about),
        (JobState::Abandoned, _) => Event::JobAbandoned(about),
        _ => return Ok(()),
    };
    emit(step, event).await
}

/// The job's backup is sealed.
pub(super) async fn backup_sealed(
    step: &mut Step<'_>,
    (cluster, backup): (&ClusterName, &BackupName),
    seal: &SealResult,
) -> Result<(), DriveError> {
    let mut about = backup_event(step, cluster, backup);
    about.coverage = Some(seal.coverage);
    emit(step, Event::BackupSealed(about)).await
}

/// A purge has taken the backup away.
pub(super) async fn backup_expired(
    step: &mut Step<'_>,
    (cluster, backup): (&ClusterName, &BackupName),
) -> Result<(), DriveError> {
    let about = backup_event(step, cluster, backup);
    emit(step, Event::BackupExpired(about)).await
}

/// A verify has found damage.
pub(super) async fn backup_damaged(
    step: &mut Step<'_>,
    (cluster, backup): (&ClusterName, &BackupName),
    damaged: u64,
) -> Result<(), DriveError> {
    let mut about = backup_event(step, cluster, backup);
    about.detail = Some(format!("{damaged} objects are damaged or missing"));
    emit(step, Event::BackupDamaged(about)).await
}

async fn emit(step: &mut Step<'_>, event: Event) -> Result<(), DriveError> {
    let place = place_of(&step.job);
    publish(step.ctx, step.conn, (step.now, place), event, step.job.outcome).await
}

fn place_of(job: &JobRow) -> Option<TraceParent> {
    job.trace.map(|trace| trace.own)
}

/// Writes an event for other systems, with its place in a trace, and the notices of it for people.
async fn publish(
    ctx: &Context,
    conn: &mut PgConnection,
    (at, place): (DateTime<Utc>, Option<TraceParent>),
    event: Event,
    outcome: Option<JobResult>,
) -> Result<(), DriveError> {
    let telling = notify::compose::of_event(&event, outcome);
    notify::tell(ctx, conn, at, &telling).await?;
    let traceparent = place.map(|place| place.to_string());
    let envelope = Envelope { traceparent, ..Envelope::new(ctx.source(), at, event) };
    outbox::insert(conn, &[as_row(Publish::event(&envelope)?)]).await?;
    Ok(())
}

fn backup_event(step: &Step<'_>, cluster: &ClusterName, backup: &BackupName) -> BackupEvent {
    BackupEvent {
        cluster: cluster.clone(),
        backup: backup.clone(),
        job: Some(step.job.id),
        coverage: None,
        detail: None,
    }
}

/// The source as the asker wrote it: that of a request over the queue is kept under its user.
fn asker_s_own(source: &str) -> &str {
    let of_user = source.strip_prefix("amqp/").and_then(|rest| rest.split_once('/'));
    of_user.map_or(source, |(_, own)| own)
}

fn job_event(job: &JobRow) -> JobEvent {
    JobEvent {
        job: job.id,
        kind: job.machine.kind,
        cluster: job.cluster().clone(),
        backup: job.backup().map(|(_, name)| name.clone()),
        policy: job.policy.clone(),
        request_source: Some(asker_s_own(&job.source).to_owned()),
        request_key: Some(job.idempotency_key.clone()),
        error: job.error.clone(),
    }
}
