//! What workers report: asked-for grants, results, failures.
//!
//! Reports are taken as they lie in the queue, those of one job together: one transaction under the
//! job's lock, a few statements whatever their number, acknowledged after the commit. The busier it
//! is, the more lie there. Where one of them cannot be taken, each is taken by itself, so that it
//! holds up no other. A report that comes twice, late, or from a worker that the task is not placed
//! on changes nothing: the state machine compares epochs, and here the worker is compared.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, stream};
use ringvault_core::{JobId, TaskError, TaskId, WorkerId, task::TaskEvent};
use ringvault_fault::around;
use ringvault_queue::{Delivery, Report, message::StopReason, topology};
use ringvault_state::{
    StateError,
    tasks::{self, TaskRow},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Context, inlet,
    workflow::{DriveError, Step, answers},
};

/// Unacknowledged at once.
const PREFETCH: u16 = 1024;
/// Taken from the queue in one go.
const BATCH: usize = 512;
/// Such goes at once: one that waits for something holds up as many reports as it has.
const GOES: usize = 2;
/// Jobs at once of each; those of one job wait for each other.
const PARALLEL: usize = 4;

/// Runs until told to stop.
pub async fn run(ctx: &Context, stop: &CancellationToken) {
    let reports = ctx.queue.consume(topology::REPORTS, PREFETCH);
    reports
        .take_until(stop.cancelled())
        .ready_chunks(BATCH)
        .for_each_concurrent(GOES, |deliveries| receive(ctx, stop, deliveries))
        .await;
}

async fn receive(ctx: &Context, stop: &CancellationToken, deliveries: Vec<Delivery>) {
    let mut read = Vec::new();
    for delivery in deliveries {
        match delivery.parse::<Report>() {
            Ok(envelope) => read.push((delivery, envelope.body)),
            Err(error) => inlet::bury(ctx, delivery, error.code(), &error.to_string()).await,
        }
    }
    // Without an answer each is taken by itself, and waits for the database.
    let tasks = read.iter().map(|(_, report)| about(report).0);
    let jobs = jobs_of(ctx, tasks).await.unwrap_or_default();
    let mut groups: BTreeMap<Option<JobId>, Vec<(Delivery, Report)>> = BTreeMap::new();
    for (delivery, report) in read {
        groups.entry(jobs.get(&about(&report).0).copied()).or_default().push((delivery, report));
    }
    stream::iter(groups)
        .for_each_concurrent(PARALLEL, |(job, group)| async move {
            match job {
                Some(job) if group.len() > 1 => take_together(ctx, stop, job, group).await,
                _ => take_each(ctx, stop, group).await,
            }
        })
        .await;
}

async fn jobs_of(
    ctx: &Context,
    tasks: impl Iterator<Item = TaskId>,
) -> Result<HashMap<TaskId, JobId>, StateError> {
    let mut conn = ctx.db.acquire().await?;
    tasks::jobs_of(&mut conn, &tasks.collect::<Vec<_>>()).await
}

async fn take_together(ctx: &Context, stop: &CancellationToken, job: JobId, group: Vec<(Delivery, Report)>) {
    let reports: Vec<&Report> = group.iter().map(|(_, report)| report).collect();
    if let Err(error) = handle_together(ctx, job, &reports).await {
        tracing::debug!(%job, reports = reports.len(), %error, "reports are taken one by one");
        return take_each(ctx, stop, group).await;
    }
    for (delivery, _) in group {
        inlet::acknowledge(delivery).await;
    }
}

async fn take_each(ctx: &Context, stop: &CancellationToken, group: Vec<(Delivery, Report)>) {
    for (delivery, report) in group {
        inlet::take(ctx, stop, delivery, || handle(ctx, &report)).await;
    }
}

/// Takes one report.
pub async fn handle(ctx: &Context, report: &Report) -> Result<(), DriveError> {
    let (task, worker) = about(report);
    match jobs_of(ctx, std::iter::once(task)).await?.get(&task) {
        Some(job) => handle_together(ctx, *job, &[report]).await,
        None => {
            tracing::warn!(%task, %worker, "a report about a task that does not exist");
            Ok(())
        }
    }
}

/// Takes reports about tasks of one job, in their order.
async fn handle_together(ctx: &Context, job: JobId, reports: &[&Report]) -> Result<(), DriveError> {
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let Some(mut step) = Step::lock(ctx, &mut tx, job, String::new()).await? else { return Ok(()) };
    let ids: Vec<TaskId> = reports.iter().map(|report| about(report).0).collect();
    let rows = step.tasks(&ids).await?;
    let mut rows: HashMap<TaskId, TaskRow> = rows.into_iter().map(|row| (row.id, row)).collect();
    let (mut changed, mut over) = (false, false);
    for report in reports {
        let (task, worker) = about(report);
        let Some(task) = rows.get_mut(&task) else { continue };
        if task.machine.worker != Some(worker) {
            tracing::debug!(task = %task.id, %worker, "a report of a worker that the task is not placed on");
            continue;
        }
        step.actor = format!("worker {worker}");
        if apply(&mut step, task, report).await? {
            changed = true;
            over |= task.machine.state.is_over();
        }
    }
    if over {
        step.judge().await?;
    }
    step.flush().await?;
    ringvault_state::commit(tx, around!("report.handle")).await?;
    if changed {
        ctx.wake.all();
    }
    Ok(())
}

async fn apply(step: &mut Step<'_>, task: &mut TaskRow, report: &Report) -> Result<bool, DriveError> {
    match report {
        Report::Started(started) => {
            let (epoch, dispatch_seq) = (started.epoch, started.dispatch_seq);
            step.asked_with = started.nonce;
            step.apply_to_task(task, &TaskEvent::Started { epoch, dispatch_seq })
        }
        Report::Succeeded(done) if answers(task.kind, &done.result) => {
            step.task_succeeded(task, done.epoch, &done.result).await
        }
        Report::Succeeded(done) => {
            let message = format!("the worker's result does not answer a {} task", task.kind.as_str());
            let error = TaskError::permanent("RV-RESULT", message)
                .with_next("run the same version on schedulers and workers");
            step.apply_to_task(task, &TaskEvent::Failed { epoch: done.epoch, error })
        }
        Report::Failed(failed) => {
            let (epoch, error) = (failed.epoch, failed.error.clone());
            step.apply_to_task(task, &TaskEvent::Failed { epoch, error })
        }
        Report::Stopped(stopped) => {
            let lost = stopped.reason == StopReason::Gone && !stopped.draining;
            step.apply_to_task(task, &TaskEvent::Stopped { epoch: stopped.epoch, lost })
        }
    }
}

const fn about(report: &Report) -> (TaskId, WorkerId) {
    match report {
        Report::Started(report) => (report.task, report.worker),
        Report::Succeeded(report) => (report.task, report.worker),
        Report::Failed(report) => (report.task, report.worker),
        Report::Stopped(report) => (report.task, report.worker),
    }
}
