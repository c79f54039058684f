//! A scheduler says that it is there, and the leader among them sweeps up: messages that were sent,
//! and history that is older than it must be. All in small pieces, so that nobody waits for it.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use ringvault_fault::around;
use ringvault_state::{
    Connection, PgConnection, StateError, StateResult, counters,
    history::{self, Keep},
    notices, outbox, schedulers,
};
use tokio_util::sync::CancellationToken;

use crate::{Context, api::DURATION_BOUNDS, audit, catalog, config::delta};

/// Between two signs of life.
const PAUSE: Duration = Duration::from_secs(5);
/// How long leadership lasts without a sign of life.
const LEADERSHIP: TimeDelta = TimeDelta::seconds(20);
/// Sent messages deleted at once.
const BATCH: i64 = 5_000;
/// Jobs booked at once; one of ten thousand nodes has thirty thousand tasks.
const BOOKED: i64 = 20;
/// Jobs looked up at once to be forgotten.
const FORGOTTEN: i64 = 100;
/// Holds told to the vault at once.
const HOLDS: i64 = 50;
/// How long notices are kept that were taken or given up.
const NOTICES: TimeDelta = TimeDelta::days(30);
/// Between two times that the vault is told where the audit log ends.
const ANCHORS: TimeDelta = TimeDelta::minutes(10);
/// Work done between two signs of life, longest.
const SPELL: Duration = Duration::from_secs(4);

/// Runs until told to stop; then says that it is leaving.
pub async fn run(ctx: &Context, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = pass(ctx).await {
            tracing::error!(%error, "housekeeping failed");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => {}
        }
    }
    if let Err(error) = leave(ctx).await {
        tracing::warn!(%error, "could not say goodbye");
    }
}

/// One sign of life, and the leader's work.
pub async fn pass(ctx: &Context) -> StateResult<()> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let id = &ctx.config.id;
    schedulers::announce(&mut conn, id, ctx.incarnation, env!("CARGO_PKG_VERSION")).await?;
    if schedulers::lead(&mut conn, id, LEADERSHIP).await? {
        sweep(ctx, &mut conn).await?;
        drop(conn);
        audit::chain(ctx).await?;
        // What the vault cannot be told now is told later.
        if let Err(error) = audit::anchor(ctx, ANCHORS).await {
            tracing::warn!(%error, "the vault could not be told of the audit log");
        }
        if let Err(error) = catalog::record_missing_holds(ctx, HOLDS).await {
            tracing::warn!(%error, "the vault could not be told of holds");
        }
    }
    Ok(())
}

async fn sweep(ctx: &Context, conn: &mut PgConnection) -> StateResult<()> {
    let until = Instant::now() + SPELL;
    let full = u64::try_from(BATCH).unwrap_or(u64::MAX);
    let kept = delta(ctx.config.timing.keep_sent);
    while around!("housekeeping.prune").run(outbox::prune(conn, kept, BATCH)).await? == full
        && Instant::now() < until
    {}
    while around!("housekeeping.prune-notices").run(notices::prune(conn, NOTICES, BATCH)).await? == full
        && Instant::now() < until
    {}
    while book(conn).await? > 0 && Instant::now() < until {}

    let keep = Keep { age: delta(ctx.config.history.keep), newest: i64::from(ctx.config.history.keep_last) };
    for job in history::forgettable(conn, keep, FORGOTTEN).await? {
        let mut tx = conn.begin().await?;
        history::forget(&mut tx, job).await?;
        ringvault_state::commit(tx, around!("housekeeping.forget")).await?;
        tracing::debug!(%job, "forgotten");
        if Instant::now() >= until {
            break;
        }
    }
    // A worker that is not even silent is no history, however little of that is kept.
    let age = keep.age.max(delta(ctx.config.timing.worker_silence));
    around!("housekeeping.forget-rest").run(history::forget_rest(conn, age, BATCH)).await?;
    Ok(())
}

async fn book(conn: &mut PgConnection) -> StateResult<u64> {
    let mut tx = conn.begin().await?;
    let booked = counters::book(&mut tx, &DURATION_BOUNDS, BOOKED).await?;
    ringvault_state::commit(tx, around!("housekeeping.book")).await?;
    Ok(booked)
}

async fn leave(ctx: &Context) -> StateResult<()> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    schedulers::leave(&mut conn, &ctx.config.id, ctx.incarnation).await
}
