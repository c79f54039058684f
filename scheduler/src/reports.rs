//! What workers report: asked-for grants, results, failures.
//!
//! Reports are taken as they lie in the queue, all together: one transaction under their jobs' locks, a
//! few statements whatever their number, acknowledged after the commit. The busier it is, the more lie
//! there. Those of a job that somebody else has locked wait for it by themselves; where one report
//! cannot be taken, each job's are taken by themselves, and then each: it holds up no other. A report
//! that comes twice, late, or from a worker that the task is not placed on changes nothing: the state
//! machine compares epochs, and here the worker is compared.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use futures::{StreamExt, stream};
use ringvault_core::{JobId, TaskError, TaskId, WorkerId, task::TaskEvent};
use ringvault_fault::around;
use ringvault_queue::{Delivery, Report, message::StopReason, topology};
use ringvault_state::{
    StateError, Tx,
    tasks::{self, TaskRow},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Context, inlet,
    workflow::{DriveError, Step, Together, answers},
};

/// Unacknowledged at once.
const PREFETCH: u16 = 1024;
/// Taken from the queue in one go.
const BATCH: usize = 512;
/// How long a first report waits for others to be taken with it: what a busy scheduler saves by that is
/// many times what an idle one loses.
const LINGER: Duration = Duration::from_millis(5);
/// How often jobs that another scheduler has locked are looked for again, and how long after: its
/// transaction takes some milliseconds.
const TRIES: u32 = 4;
const LOCKED: Duration = Duration::from_millis(10);
/// Such goes at once: one that waits for something holds up as many reports as it has.
const GOES: usize = 2;
/// Jobs at once of each; those of one job wait for each other.
const PARALLEL: usize = 4;

/// Runs until told to stop.
pub async fn run(ctx: &Context, stop: &CancellationToken) {
    let reports = ctx.queue.consume(topology::REPORTS, PREFETCH);
    tokio_stream::StreamExt::chunks_timeout(reports.take_until(stop.cancelled()), BATCH, LINGER)
        .for_each_concurrent(GOES, |deliveries| receive(ctx, stop, deliveries))
        .await;
}

async fn receive(ctx: &Context, stop: &CancellationToken, deliveries: Vec<Delivery>) {
    let mut read = Vec::new();
    for delivery in deliveries {
        match delivery.parse::<Report>() {
            Ok(envelope) => read.push((delivery, envelope.body)),
            Err(error) => inlet::bury(delivery, error.code(), &error.to_string()).await,
        }
    }
    // Without an answer each is taken by itself, and waits for the database.
    let tasks = read.iter().map(|(_, report)| about(report).0);
    let jobs = jobs_of(ctx, tasks).await.unwrap_or_default();
    let mut groups: BTreeMap<JobId, Group> = BTreeMap::new();
    let mut alone = Vec::new();
    for (delivery, report) in read {
        match jobs.get(&about(&report).0) {
            Some(job) => groups.entry(*job).or_default().push((delivery, report)),
            None => alone.push((delivery, report)),
        }
    }
    let left = take_together(ctx, groups).await;
    stream::iter(left)
        .for_each_concurrent(PARALLEL, |(job, group)| async move { take_job(ctx, stop, job, group).await })
        .await;
    take_each(ctx, stop, alone).await;
}

/// Reports about one job's tasks, in their order.
type Group = Vec<(Delivery, Report)>;

/// Takes the reports of all jobs that are free, in one go, and then of those that have become so. Those
/// that are left: of jobs that somebody else keeps, or all, if one could not be taken.
async fn take_together(ctx: &Context, mut groups: BTreeMap<JobId, Group>) -> BTreeMap<JobId, Group> {
    for go in 0..TRIES {
        if groups.is_empty() {
            break;
        }
        if go > 0 {
            tokio::time::sleep(LOCKED).await;
        }
        match handle_free(ctx, &groups).await {
            Ok(taken) => {
                for job in taken {
                    acknowledge(groups.remove(&job).unwrap_or_default()).await;
                }
            }
            Err(error) => {
                tracing::debug!(jobs = groups.len(), %error, "reports are taken job by job");
                break;
            }
        }
    }
    groups
}

async fn take_job(ctx: &Context, stop: &CancellationToken, job: JobId, group: Group) {
    if group.len() > 1 {
        match handle_job(ctx, job, only_reports(&group)).await {
            Ok(()) => return acknowledge(group).await,
            Err(error) => {
                tracing::debug!(%job, reports = group.len(), %error, "reports are taken one by one");
            }
        }
    }
    take_each(ctx, stop, group).await;
}

async fn take_each(ctx: &Context, stop: &CancellationToken, group: Group) {
    for (delivery, report) in group {
        inlet::take(stop, delivery, || handle(ctx, &report)).await;
    }
}

fn only_reports(group: &Group) -> Vec<&Report> {
    group.iter().map(|(_, report)| report).collect()
}

async fn acknowledge(group: Group) {
    for (delivery, _) in group {
        inlet::acknowledge(delivery).await;
    }
}

async fn jobs_of(
    ctx: &Context,
    tasks: impl Iterator<Item = TaskId>,
) -> Result<HashMap<TaskId, JobId>, StateError> {
    let mut conn = ctx.db.acquire().await?;
    tasks::jobs_of(&mut conn, &tasks.collect::<Vec<_>>()).await
}

/// Takes one report.
pub async fn handle(ctx: &Context, report: &Report) -> Result<(), DriveError> {
    let (task, worker) = about(report);
    match jobs_of(ctx, std::iter::once(task)).await?.get(&task) {
        Some(job) => handle_job(ctx, *job, vec![report]).await,
        None => {
            tracing::warn!(%task, %worker, "a report about a task that does not exist");
            Ok(())
        }
    }
}

/// Takes reports about tasks of one job, in their order.
async fn handle_job(ctx: &Context, job: JobId, reports: Vec<&Report>) -> Result<(), DriveError> {
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let mut together = Together::wait_for(ctx, &mut tx, job).await?;
    let changed = apply_all(&mut together, &BTreeMap::from([(job, reports)])).await?;
    commit(tx).await?;
    changed.wake(ctx);
    Ok(())
}

/// Takes reports about tasks of those of these jobs that are free. Which they were.
async fn handle_free(ctx: &Context, groups: &BTreeMap<JobId, Group>) -> Result<Vec<JobId>, DriveError> {
    let reports = groups.iter().map(|(job, group)| (*job, only_reports(group))).collect();
    let jobs: Vec<JobId> = groups.keys().copied().collect();
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let mut together = Together::lock_free(ctx, &mut tx, &jobs).await?;
    let taken = together.ids();
    let changed = apply_all(&mut together, &reports).await?;
    commit(tx).await?;
    changed.wake(ctx);
    Ok(taken)
}

async fn commit(tx: Tx<'_>) -> Result<(), DriveError> {
    Ok(ringvault_state::commit(tx, around!("report.handle")).await?)
}

/// What reports changed.
#[derive(Debug, Clone, Copy, Default)]
struct Changed {
    /// There is something to be sent.
    any: bool,
    /// A slot is free again, a task waits for one, or a stage has opened.
    placing: bool,
}

impl Changed {
    fn wake(self, ctx: &Context) {
        match self {
            Self { placing: true, .. } => ctx.wake.all(),
            Self { any: true, .. } => {
                ctx.wake.relay.notify_one();
                ctx.wake.notices.notify_waiters();
            }
            Self { .. } => {}
        }
    }
}

async fn apply_all(
    together: &mut Together<'_>,
    reports: &BTreeMap<JobId, Vec<&Report>>,
) -> Result<Changed, DriveError> {
    let ids: Vec<TaskId> = together
        .ids()
        .iter()
        .filter_map(|job| reports.get(job))
        .flatten()
        .map(|report| about(report).0)
        .collect();
    let rows = together.tasks(&ids).await?;
    let mut rows: HashMap<TaskId, TaskRow> = rows.into_iter().map(|row| (row.id, row)).collect();
    let mut changed = Changed::default();
    let mut over = BTreeMap::new();
    for (job, reports) in reports {
        let Some(mut step) = together.step(*job, "") else { continue };
        for report in reports {
            let (task, worker) = about(report);
            let Some(task) = rows.get_mut(&task) else { continue };
            if task.machine.worker != Some(worker) {
                tracing::debug!(task = %task.id, %worker, "a report of a worker that the task is not placed on");
                continue;
            }
            step.actor = format!("worker {worker}");
            if apply(&mut step, task, report).await? {
                changed.any = true;
                changed.placing |= !matches!(report, Report::Started(_));
                if task.machine.state.is_over() {
                    over.insert(*job, step.actor.clone());
                }
            }
        }
        let done = step.done();
        together.keep(done);
    }
    together.judge(&over).await?;
    together.flush().await?;
    Ok(changed)
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
