//! Telling of a job's trace: its own span and those of its stages, once it has settled.
//!
//! A job takes hours and outlives schedulers, so nobody keeps its spans open. Their ids are stored with it or follow
//! from it, and what is told of them is read from its log by the scheduler that settles it, after the transaction
//! that did: no lock is held longer for it. A transaction that was rolled back leaves a job that has not settled, and
//! of that nothing is told. A scheduler that dies in between leaves the trace without these spans, and the work as it was.

mod story;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ringvault_core::{JobId, trace::SpanId};
use ringvault_state::{
    StateError, StateResult,
    jobs::{self, JobRow},
    log,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Context;

/// Between looks at whether a transaction is committed.
const LOOK: Duration = Duration::from_millis(200);
/// How long one may take; after that it was rolled back.
const PATIENCE: Duration = Duration::from_secs(60);
/// Spans that were told of lately, so that none is told of twice when a transaction is tried again.
const REMEMBERED: usize = 1024;

/// Jobs that have settled, or will have when a transaction is committed.
#[derive(Debug, Default)]
pub struct Settled {
    known: Mutex<Known>,
    some: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// Since when each is waited for.
    waiting: BTreeMap<JobId, Instant>,
    told: VecDeque<SpanId>,
}

impl Settled {
    /// A transaction settles this job.
    pub(crate) fn note(&self, job: &JobRow) {
        let is_told_of = job.trace.is_some_and(|trace| trace.own.sampled && trace.has_span());
        if is_told_of && ringvault_telemetry::is_exporting() {
            self.known().waiting.entry(job.id).or_insert_with(Instant::now);
            self.some.notify_one();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> Vec<JobId> {
        self.known().waiting.keys().copied().collect()
    }

    /// Not to be waited for any longer.
    fn leave(&self, job: JobId) {
        self.known().waiting.remove(&job);
    }

    /// Whether this span is told of for the first time.
    fn is_new(&self, span: SpanId) -> bool {
        let mut known = self.known();
        let is_new = !known.told.contains(&span);
        if is_new {
            known.told.truncate(REMEMBERED - 1);
            known.told.push_front(span);
        }
        is_new
    }

    fn drop_rolled_back(&self) {
        self.known().waiting.retain(|_, since| since.elapsed() < PATIENCE);
    }
}

/// Runs until told to stop. What is settled later than that [`pass`] tells of.
pub async fn run(ctx: &Context, stop: &CancellationToken) {
    loop {
        let waits = !ctx.settled.waiting().is_empty();
        tokio::select! {
            () = ctx.settled.some.notified() => {}
            () = tokio::time::sleep(LOOK), if waits => {}
            () = stop.cancelled() => return,
        }
        pass(ctx).await;
    }
}

/// Tells of every job whose settling is committed.
pub async fn pass(ctx: &Context) {
    for job in ctx.settled.waiting() {
        match tell(ctx, job).await {
            Ok(true) => ctx.settled.leave(job),
            Ok(false) => {}
            Err(error) => tracing::debug!(%job, %error, "a job's trace cannot be told of yet"),
        }
    }
    ctx.settled.drop_rolled_back();
}

/// Whether there is nothing to be waited for.
async fn tell(ctx: &Context, job: JobId) -> StateResult<bool> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let Some(row) = jobs::load(&mut conn, job).await? else { return Ok(true) };
    let Some(trace) = row.trace else { return Ok(true) };
    if !row.machine.state.is_settled() {
        return Ok(false);
    }
    let milestones = log::milestones(&mut conn, job).await?;
    if ctx.settled.is_new(trace.own.span) {
        story::spans_of(&row, &milestones).into_iter().for_each(ringvault_telemetry::tell);
    }
    Ok(true)
}
