//! Placing a job's ready tasks: a few dozen in one transaction, under the job's lock, then the
//! tasks', then the workers'.
//!
//! Tasks are taken in the order of their workers' ids, so schedulers that place different jobs on
//! the same workers never wait for each other in a circle. Slots are counted under the workers'
//! locks; what another scheduler was quicker to take is left for the next pass.

use std::collections::BTreeMap;

use ringvault_core::{
    JobId, TaskError, TaskId,
    job::{JobSpec, JobState, Placement, StageKind},
    task::{TaskEvent, TaskState},
};
use ringvault_fault::around;
use ringvault_state::{
    StateError,
    registry::{forgotten, workers},
    tasks::{
        self, TaskRow,
        due::{self, Ready},
    },
};

use super::fleet::{Choice, Fleet, Seat, take};
use crate::{
    Context,
    workflow::{DriveError, Step},
};

/// Placements in one transaction: a fraction of a second.
const CHUNK: usize = 50;

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

/// Places what was chosen for one job. How many tasks were.
pub(super) async fn place(ctx: &Context, job: JobId, wishes: &[Wish]) -> Result<usize, DriveError> {
    let mut placed = 0;
    for chunk in wishes.chunks(CHUNK) {
        match place_some(ctx, job, chunk).await {
            Ok(count) => placed += count,
            Err(error) if error.is_passing() || chunk.len() == 1 => return Err(error),
            Err(_) => placed += place_each(ctx, job, chunk).await?,
        }
    }
    Ok(placed)
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
    let actor = format!("scheduler {}", ctx.config.id);
    let Some(mut step) = Step::lock(ctx, &mut tx, job, actor).await? else { return Ok(0) };
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
    let placed = place_on_workers(&mut step, wishes).await?;
    ringvault_state::commit(tx, around!("dispatch.place")).await?;
    Ok(placed)
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

async fn place_on_workers(step: &mut Step<'_>, wishes: &[Wish]) -> Result<usize, DriveError> {
    let seated: Vec<(&Wish, Seat)> =
        wishes.iter().filter_map(|wish| Some((wish, *wish.place.as_ref().ok()?))).collect();
    if seated.is_empty() {
        return Ok(0);
    }
    let ids: Vec<TaskId> = seated.iter().map(|(wish, _)| wish.task.id).collect();
    let rows = tasks::lock_some(step.conn, step.job.id, &ids).await?;
    let mut rows: BTreeMap<TaskId, TaskRow> = rows.into_iter().map(|row| (row.id, row)).collect();
    let workers: Vec<_> = seated.iter().map(|(_, seat)| seat.worker).collect();
    workers::lock(step.conn, &workers).await?;
    let mut loads = due::loads_of(step.conn, &workers, step.ctx.config.retry.max_attempts).await?;
    let mut uploads = due::upload_room(step.conn, step.job.id).await?;
    let mut placed = 0;
    for (Wish { task: Ready { id, kind, on_trial, .. }, .. }, seat) in seated {
        let (kind, on_trial) = (*kind, *on_trial);
        let Some(mut task) = rows.remove(id).filter(|task| is_wanted(step, task)) else { continue };
        let load = loads.entry(seat.worker).or_default();
        let throttled = kind == StageKind::Upload && uploads == Some(0);
        if throttled || !seat.has_room(kind, *load, on_trial) {
            continue;
        }
        if step.apply_to_task(&mut task, &TaskEvent::Place { worker: seat.worker })? {
            placed += 1;
            take(load, kind, on_trial);
            if kind == StageKind::Upload {
                uploads = uploads.map(|room| room.saturating_sub(1));
            }
        }
    }
    step.flush().await?;
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
