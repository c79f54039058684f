//! Placing ready tasks: a few hundred of several jobs in one transaction, under the jobs' locks, then
//! the tasks', then the workers'.
//!
//! All of a kind are locked in the order of their ids, so schedulers that place tasks on the same
//! workers never wait for each other in a circle. Slots are counted under the workers' locks; what
//! another scheduler was quicker to take is left for the next pass. A job that stays locked, or of which
//! something cannot be placed, is placed by itself.

use std::{collections::BTreeMap, time::Duration};

use ringvault_core::{
    JobId, TaskError, TaskId, WorkerId,
    job::{JobSpec, JobState, Placement, StageKind},
    task::{TaskEvent, TaskState},
};
use ringvault_fault::around;
use ringvault_state::{
    StateError, Tx,
    registry::{forgotten, workers},
    tasks::{
        TaskRow,
        due::{self, Load, Ready},
    },
};

use super::fleet::{Choice, Fleet, Seat, take};
use crate::{
    Context,
    workflow::{DriveError, Step, Together},
};

/// Placements of one job in one transaction: a fraction of a second.
const CHUNK: usize = 50;
/// Placements of several jobs in one transaction.
const MANY: usize = 200;
/// How often jobs that somebody else has locked are looked for again, and how long after: a transaction
/// takes some milliseconds.
const TRIES: u32 = 8;
const LOCKED: Duration = Duration::from_millis(10);

/// A task, and what was chosen for it.
pub(super) struct Wish {
    task: Ready,
    place: Result<Seat, TaskError>,
}

/// Chooses for the ready tasks of one job; what can only wait is left out.
pub(super) fn choose(ready: Vec<Ready>, fleet: &mut Fleet) -> Vec<Wish> {
    let mut wishes: Vec<Wish> = ready
        .into_iter()
        .filter_map(|task| {
            let place = match fleet.choose(&task) {
                Choice::Place(seat) => Ok(seat),
                Choice::NoWorker(error) => Err(error),
                Choice::Wait => return None,
            };
            Some(Wish { task, place })
        })
        .collect();
    wishes.sort_by_key(|wish| wish.place.as_ref().ok().map(|seat| seat.worker));
    wishes
}

/// What was chosen for the tasks of one job, or for some of them.
pub(super) type Share = (JobId, Vec<Wish>);

/// Divides what was chosen into transactions.
pub(super) fn batches(shares: Vec<Share>) -> Vec<Vec<Share>> {
    let mut batches: Vec<Vec<Share>> = Vec::new();
    let mut room = 0;
    for (job, mut wishes) in shares {
        while !wishes.is_empty() {
            let rest = wishes.split_off(wishes.len().min(CHUNK));
            // A job has one share in a transaction.
            let is_there = |batch: &Vec<Share>| batch.iter().any(|(other, _)| *other == job);
            if room < wishes.len() || batches.last().is_none_or(is_there) {
                batches.push(Vec::new());
                room = MANY;
            }
            room = room.saturating_sub(wishes.len());
            if let Some(batch) = batches.last_mut() {
                batch.push((job, wishes));
            }
            wishes = rest;
        }
    }
    batches
}

/// Places what was chosen for several jobs. How many tasks were, and the jobs that were left, with why.
///
/// Jobs that somebody else has locked are looked at again a few times before their locks are waited for:
/// schedulers that are busy with the same jobs meet all the time.
pub(super) async fn place(ctx: &Context, mut batch: Vec<Share>) -> (usize, Vec<(JobId, DriveError)>) {
    let mut placed = 0;
    for go in 0..TRIES {
        if go > 0 {
            tokio::time::sleep(LOCKED).await;
        }
        match place_free(ctx, &batch).await {
            Ok((count, done)) => {
                placed += count;
                batch.retain(|(job, _)| !done.contains(job));
            }
            Err(error) => {
                tracing::debug!(jobs = batch.len(), %error, "tasks are placed job by job");
                break;
            }
        }
        if !batch.iter().any(can_be_together) {
            break;
        }
    }
    let mut failed = Vec::new();
    for (job, wishes) in batch {
        match place_job(ctx, job, &wishes).await {
            Ok(count) => placed += count,
            Err(error) => failed.push((job, error)),
        }
    }
    (placed, failed)
}

/// A task without a worker is an event of its own, which may end its stage.
fn can_be_together((_, wishes): &Share) -> bool {
    wishes.iter().all(|wish| wish.place.is_ok())
}

/// Places tasks of those jobs that nobody has locked. How many tasks, and of which jobs.
async fn place_free(ctx: &Context, batch: &[Share]) -> Result<(usize, Vec<JobId>), DriveError> {
    let shares: Vec<(JobId, &[Wish])> = batch
        .iter()
        .filter(|share| can_be_together(share))
        .map(|(job, wishes)| (*job, wishes.as_slice()))
        .collect();
    if shares.is_empty() {
        return Ok((0, Vec::new()));
    }
    let jobs: Vec<JobId> = shares.iter().map(|(job, _)| *job).collect();
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let mut together = Together::lock_free(ctx, &mut tx, &jobs).await?;
    let free = together.ids();
    // No worker is locked for a job that is not.
    let shares: Vec<_> = shares.into_iter().filter(|(job, _)| free.contains(job)).collect();
    let placed = place_on_workers(ctx, &mut together, &shares).await?;
    commit(tx).await?;
    Ok((placed, free))
}

/// Places what was chosen for one job. How many tasks were.
async fn place_job(ctx: &Context, job: JobId, wishes: &[Wish]) -> Result<usize, DriveError> {
    match place_some(ctx, job, wishes).await {
        Err(error) if !error.is_passing() && wishes.len() > 1 => place_each(ctx, job, wishes).await,
        outcome => outcome,
    }
}

/// One by one: a task that cannot be placed keeps no other from it.
async fn place_each(ctx: &Context, job: JobId, wishes: &[Wish]) -> Result<usize, DriveError> {
    let mut placed = 0;
    for wish in wishes {
        match place_some(ctx, job, std::slice::from_ref(wish)).await {
            Ok(count) => placed += count,
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => tracing::error!(%job, task = %wish.task.id, %error, "a task cannot be placed"),
        }
    }
    Ok(placed)
}

async fn place_some(ctx: &Context, job: JobId, wishes: &[Wish]) -> Result<usize, DriveError> {
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    let mut together = Together::wait_for(ctx, &mut tx, job).await?;
    let Some(mut step) = together.step(job, actor(ctx)) else { return Ok(0) };
    // Each by itself: the last one that is given up may end the stage and change all that follows.
    for wish in wishes {
        if let Err(error) = &wish.place
            && let Some(mut task) = step.task(wish.task.id).await?
            && is_wanted(&step, &task)
        {
            match given_up(&mut step, &task).await? {
                Some(why) => step.give_up(&mut task, why).await?,
                None => {
                    step.task_event(&mut task, &TaskEvent::NoWorker { error: error.clone() }).await?;
                }
            }
        }
    }
    let done = step.done();
    together.keep(done);
    let share = (job, wishes);
    let placed = place_on_workers(ctx, &mut together, &[share]).await?;
    commit(tx).await?;
    Ok(placed)
}

async fn commit(tx: Tx<'_>) -> Result<(), DriveError> {
    Ok(ringvault_state::commit(tx, around!("dispatch.place")).await?)
}

fn actor(ctx: &Context) -> String {
    format!("scheduler {}", ctx.config.id)
}

/// Why nobody waits for the worker of this task any more: its node is gone for good, and the job can do
/// without. A backup says what it lacks, and clearing up needs no node that is not there; a restore
/// that leaves a node out would not bring everything back.
async fn given_up(step: &mut Step<'_>, task: &TaskRow) -> Result<Option<TaskError>, DriveError> {
    let Placement::Node(host) = task.placement else { return Ok(None) };
    let can_do_without = task.cleanup || matches!(step.job.spec, JobSpec::Backup(_));
    if !can_do_without || !forgotten::is_forgotten(step.conn, &task.cluster, host).await? {
        return Ok(None);
    }
    let message = format!("node {host} was given up (`node forget`): the job goes on without it");
    Ok(Some(TaskError::environment("RV-NODE-FORGOTTEN", message)))
}

async fn place_on_workers(
    ctx: &Context,
    together: &mut Together<'_>,
    shares: &[(JobId, &[Wish])],
) -> Result<usize, DriveError> {
    let wishes = || shares.iter().flat_map(|(_, wishes)| wishes.iter());
    let workers: Vec<WorkerId> = wishes().filter_map(|wish| Some(wish.place.as_ref().ok()?.worker)).collect();
    if workers.is_empty() {
        return Ok(0);
    }
    let ids: Vec<TaskId> = wishes().filter(|wish| wish.place.is_ok()).map(|wish| wish.task.id).collect();
    let rows = together.tasks(&ids).await?;
    let mut rows: BTreeMap<TaskId, TaskRow> = rows.into_iter().map(|row| (row.id, row)).collect();
    workers::lock(together.conn, &workers).await?;
    let mut loads = due::loads_of(together.conn, &workers, ctx.config.retry.max_attempts).await?;
    let mut placed = 0;
    for (job, wishes) in shares {
        let Some(mut step) = together.step(*job, actor(ctx)) else { continue };
        placed += place_share(&mut step, wishes, &mut rows, &mut loads).await?;
        let done = step.done();
        together.keep(done);
    }
    together.flush().await?;
    Ok(placed)
}

/// Places one job's tasks where there is still room.
async fn place_share(
    step: &mut Step<'_>,
    wishes: &[Wish],
    rows: &mut BTreeMap<TaskId, TaskRow>,
    loads: &mut BTreeMap<WorkerId, Load>,
) -> Result<usize, DriveError> {
    let mut uploads = due::upload_room(step.conn, &step.job).await?;
    let mut placed = 0;
    for Wish { task: Ready { id, kind, on_trial, .. }, place } in wishes {
        let Ok(seat) = place else { continue };
        let (kind, on_trial) = (*kind, *on_trial);
        let Some(mut task) = rows.remove(id).filter(|task| is_wanted(step, task)) else { continue };
        let load = loads.entry(seat.worker).or_default();
        let mut uploads = uploads.as_mut().filter(|_| kind == StageKind::Upload);
        let is_full = uploads.as_ref().is_some_and(|room| !room.has_room(&task.parallel_group));
        if is_full || !seat.has_room(kind, *load, on_trial) {
            continue;
        }
        if step.apply_to_task(&mut task, &TaskEvent::Place { worker: seat.worker })? {
            placed += 1;
            take(load, kind, on_trial);
            if let Some(room) = &mut uploads {
                room.take(&task.parallel_group);
            }
        }
    }
    Ok(placed)
}

/// Whether the task is still what it was when it was read.
fn is_wanted(step: &Step<'_>, task: &TaskRow) -> bool {
    let wanted = if task.cleanup {
        matches!(step.job.machine.state, JobState::Cancelling | JobState::Abandoning)
    } else {
        step.job.machine.state == JobState::Running
    };
    wanted && task.machine.state == TaskState::Ready && task.machine.run_at <= step.now
}
