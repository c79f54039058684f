//! What workers report: asked-for grants, results, failures.
//!
//! Reports are taken as they lie in the queue, all together: one transaction under their jobs' locks, a
//! few statements whatever their number, acknowledged after the commit. The busier it is, the more lie
//! there. Those of a job that somebody else has locked stay, and go with the next that come; a job that
//! is never found free is waited for, beside the others. Where one report cannot be taken, each job's are
//! taken by themselves, and then each: it holds up no other. A report that comes twice, late, or from a
//! worker that the task is not placed on changes nothing: the state machine compares epochs, and here the
//! worker is compared.

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use ringvault_core::{JobId, TaskError, TaskId, WorkerId, task::TaskEvent};
use ringvault_fault::around;
use ringvault_queue::{Delivery, Report, message::StopReason, topology};
use ringvault_state::{
    StateError, Tx,
    tasks::{self, TaskRow},
};
use tokio::sync::mpsc;
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
/// How long after reports of a job that somebody else has locked are looked at again.
const LOCKED: Duration = Duration::from_millis(10);
/// How long they are looked at again, until the lock is waited for. Two schedulers that are busy with the
/// same jobs meet all the time; to wait for each lock would be a transaction a job.
const PATIENCE: Duration = Duration::from_millis(250);
/// Jobs that are waited for at once; those of one job wait for each other, and hold up no others.
const PARALLEL: usize = 4;

/// Runs until told to stop.
pub async fn run(ctx: &Context, stop: &CancellationToken) {
    let (set_apart, late) = mpsc::channel(PARALLEL);
    tokio::join!(take_as_they_come(ctx, stop, set_apart), take_set_apart(ctx, stop, late));
}

async fn take_as_they_come(ctx: &Context, stop: &CancellationToken, set_apart: mpsc::Sender<Late>) {
    let reports = ctx.queue.consume(topology::REPORTS, PREFETCH);
    let mut reports =
        pin!(tokio_stream::StreamExt::chunks_timeout(reports.take_until(stop.cancelled()), BATCH, LINGER));
    let mut waiting = Waiting::default();
    loop {
        let deliveries = tokio::select! {
            deliveries = reports.next() => match deliveries {
                Some(deliveries) => deliveries,
                None => return,
            },
            () = tokio::time::sleep(LOCKED), if !waiting.is_empty() => Vec::new(),
        };
        let mut late = waiting.add(ctx, deliveries).await;
        late.extend(waiting.take_free(ctx).await);
        for late in late {
            // The other end stays as long as this one.
            let _ = set_apart.send(late).await;
        }
    }
}

/// Reports about one job's tasks, in their order.
type Group = Vec<(Delivery, Report)>;

/// Reports that are taken beside the others, and their job where it is known.
type Late = (Option<JobId>, Group);

/// Reports that are not taken yet, and since when those of a job have been there.
#[derive(Default)]
struct Waiting(BTreeMap<JobId, (Instant, Group)>);

impl Waiting {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes in what has arrived. What cannot be read goes to the dead queue; those whose jobs are not
    /// known (the database does not answer, or has no such task) are given back.
    async fn add(&mut self, ctx: &Context, deliveries: Vec<Delivery>) -> Vec<Late> {
        let mut read = Vec::new();
        for delivery in deliveries {
            match delivery.parse::<Report>() {
                Ok(envelope) => read.push((delivery, envelope.body)),
                Err(error) => inlet::bury(delivery, error.code(), &error.to_string()).await,
            }
        }
        if read.is_empty() {
            return Vec::new();
        }
        let tasks: Vec<TaskId> = read.iter().map(|(_, report)| about(report).0).collect();
        let jobs = jobs_of(ctx, &tasks).await.unwrap_or_default();
        let now = Instant::now();
        let mut unknown = Vec::new();
        for (delivery, report) in read {
            match jobs.get(&about(&report).0) {
                Some(job) => {
                    self.0.entry(*job).or_insert_with(|| (now, Vec::new())).1.push((delivery, report));
                }
                None => unknown.push((None, vec![(delivery, report)])),
            }
        }
        unknown
    }

    /// Takes the reports of all jobs that are free, in one go. Gives back those that cannot stay: of jobs
    /// that were not free for too long, or all, if one could not be taken.
    async fn take_free(&mut self, ctx: &Context) -> Vec<Late> {
        if self.is_empty() {
            return Vec::new();
        }
        let late: BTreeMap<_, _> = match handle_free(ctx, &self.0).await {
            Ok(taken) => {
                for job in taken {
                    if let Some((_, group)) = self.0.remove(&job) {
                        acknowledge(group).await;
                    }
                }
                self.0.extract_if(.., |_, (since, _)| since.elapsed() >= PATIENCE).collect()
            }
            Err(error) => {
                tracing::debug!(jobs = self.0.len(), %error, "reports are taken job by job");
                std::mem::take(&mut self.0)
            }
        };
        late.into_iter().map(|(job, (_, group))| (Some(job), group)).collect()
    }
}

async fn take_set_apart(ctx: &Context, stop: &CancellationToken, mut late: mpsc::Receiver<Late>) {
    let mut at_work = FuturesUnordered::new();
    loop {
        tokio::select! {
            late = late.recv(), if at_work.len() < PARALLEL => match late {
                Some(late) => at_work.push(take_late(ctx, stop, late)),
                None => break,
            },
            Some(()) = at_work.next() => {}
        }
    }
    while at_work.next().await.is_some() {}
}

async fn take_late(ctx: &Context, stop: &CancellationToken, (job, group): Late) {
    if let Some(job) = job
        && group.len() > 1
    {
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

async fn jobs_of(ctx: &Context, tasks: &[TaskId]) -> Result<HashMap<TaskId, JobId>, StateError> {
    let mut conn = ctx.db.acquire().await?;
    tasks::jobs_of(&mut conn, tasks).await
}

/// Takes one report.
pub async fn handle(ctx: &Context, report: &Report) -> Result<(), DriveError> {
    let (task, worker) = about(report);
    match jobs_of(ctx, &[task]).await?.get(&task) {
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
async fn handle_free(
    ctx: &Context,
    groups: &BTreeMap<JobId, (Instant, Group)>,
) -> Result<Vec<JobId>, DriveError> {
    let reports = groups.iter().map(|(job, (_, group))| (*job, only_reports(group))).collect();
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
