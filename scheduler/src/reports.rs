//! What workers report: asked-for grants, results, failures.
//!
//! Each report is one transaction under its job's lock, acknowledged after the commit. A report
//! that comes twice, late, or from a worker that the task is not placed on changes nothing: the
//! state machine compares epochs, and here the worker is compared.

use futures::StreamExt;
use ringvault_core::{TaskError, TaskId, WorkerId, task::TaskEvent};
use ringvault_fault::around;
use ringvault_queue::{Delivery, Report, message::StopReason, topology};
use ringvault_state::{StateError, tasks, tasks::TaskRow};
use tokio_util::sync::CancellationToken;

use crate::{
    Context, inlet,
    workflow::{DriveError, Step, answers},
};

/// Unacknowledged at once.
const PREFETCH: u16 = 64;
/// Handled at once; those of one job wait for each other.
const PARALLEL: usize = 8;

/// Runs until told to stop.
pub async fn run(ctx: &Context, stop: &CancellationToken) {
    let reports = ctx.queue.consume(topology::REPORTS, PREFETCH);
    reports
        .take_until(stop.cancelled())
        .for_each_concurrent(PARALLEL, |delivery| receive(ctx, stop, delivery))
        .await;
}

async fn receive(ctx: &Context, stop: &CancellationToken, delivery: Delivery) {
    match delivery.parse::<Report>() {
        Ok(envelope) => {
            inlet::take(ctx, stop, delivery, || handle(ctx, &envelope.body)).await;
        }
        Err(error) => inlet::bury(ctx, delivery, error.code(), &error.to_string()).await,
    }
}

/// Takes one report.
pub async fn handle(ctx: &Context, report: &Report) -> Result<(), DriveError> {
    let (task, worker) = about(report);
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let Some(job) = tasks::job_of(&mut tx, task).await? else {
        tracing::warn!(%task, %worker, "a report about a task that does not exist");
        return Ok(());
    };
    let actor = format!("worker {worker}");
    let Some(mut step) = Step::lock(ctx, &mut tx, job, actor).await? else { return Ok(()) };
    let Some(mut task) = step.task(task).await? else { return Ok(()) };
    if task.machine.worker != Some(worker) {
        tracing::debug!(task = %task.id, %worker, "a report of a worker that the task is not placed on");
        return Ok(());
    }
    let changed = apply(&mut step, &mut task, report).await?;
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
            step.task_event(task, &TaskEvent::Started { epoch, dispatch_seq }).await
        }
        Report::Succeeded(done) if answers(task.kind, &done.result) => {
            step.task_succeeded(task, done.epoch, done.result.clone()).await
        }
        Report::Succeeded(done) => {
            let message = format!("the worker's result does not answer a {} task", task.kind.as_str());
            let error = TaskError::permanent("RV-RESULT", message)
                .with_next("run the same version on schedulers and workers");
            step.task_event(task, &TaskEvent::Failed { epoch: done.epoch, error }).await
        }
        Report::Failed(failed) => {
            let (epoch, error) = (failed.epoch, failed.error.clone());
            step.task_event(task, &TaskEvent::Failed { epoch, error }).await
        }
        Report::Stopped(stopped) => {
            let lost = stopped.reason == StopReason::Gone && !stopped.draining;
            step.task_event(task, &TaskEvent::Stopped { epoch: stopped.epoch, lost }).await
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
