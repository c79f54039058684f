//! Notices: people are told by webhook, chat or mail what happened.
//!
//! A notice is a row, written in the transaction that it tells of, one for each receiver it is meant
//! for. Each receiver has a loop of its own, so one that is away or slow holds up no other; whichever
//! scheduler claims a row sends it, under the same delivery id at every try. It is tried with growing
//! pauses until it is taken or `give_up_after` is over, and then given up where everybody sees it:
//! `status`, `doctor`, `notify list`, the metric, the log.

pub(crate) mod compose;
mod late;
mod mail;
mod post;
mod send;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use ringvault_core::{
    ClusterName,
    api::NoticeState,
    job::JobKind,
    notice::{Happening, Notice},
};
use ringvault_fault::around;
use ringvault_state::{
    PgConnection, StateError, StateResult,
    notices::{self, Claimed},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Config, Context,
    config::{NotifierConfig, NotifyProblem, delta},
};
use send::Sender;

/// Notices to one receiver claimed at once.
const BATCH: i64 = 8;
/// Longest pause between two tries.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(15);
/// How much longer than a try a claim holds.
const CLAIM_SPARE: TimeDelta = TimeDelta::seconds(30);
/// Longest account of a failure that is kept, in bytes.
const LONGEST_ERROR: usize = 500;
/// After a pass that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Reads every receiver's files, so that what is wrong is said at the start.
pub fn check(config: &Config) -> Result<(), NotifyProblem> {
    for (name, notifier) in &config.notify {
        Sender::open(notifier).map_err(|why| NotifyProblem { name: name.clone(), why })?;
    }
    Ok(())
}

/// Runs until told to stop.
pub async fn run(ctx: &Context, stop: &CancellationToken) {
    if ctx.config.notify.is_empty() {
        return;
    }
    let receivers = ctx.config.notify.iter().map(|(name, notifier)| receiver(ctx, name, notifier, stop));
    tokio::join!(join_all(receivers), late::run(ctx, stop));
}

/// Sends to one receiver.
async fn receiver(ctx: &Context, name: &str, config: &NotifierConfig, stop: &CancellationToken) {
    let mut sender = None;
    while !stop.is_cancelled() {
        let pause = match pass(ctx, name, config, &mut sender).await {
            Ok(0) => ctx.config.timing.poll * 2,
            Ok(_) => continue,
            Err(error) => {
                tracing::error!(notifier = name, %error, "notices could not be looked for");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = ctx.wake.notices.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Sends what is due. How many notices that was.
async fn pass(
    ctx: &Context,
    name: &str,
    config: &NotifierConfig,
    sender: &mut Option<Sender>,
) -> StateResult<usize> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    let lease = delta(config.timeout) + CLAIM_SPARE;
    let claimed = around!("notices.claim").run(notices::claim(&mut conn, name, lease, BATCH)).await?;
    drop(conn);
    if claimed.is_empty() {
        return Ok(0);
    }
    let opened = match sender.take() {
        Some(opened) => Ok(opened),
        None => Sender::open(config),
    };
    let outcomes = match &opened {
        Ok(opened) => join_all(claimed.iter().map(|claimed| opened.send(config, claimed))).await,
        Err(why) => claimed.iter().map(|_| Err(send::Failure::because(why))).collect(),
    };
    // After a failure the files are read anew: a secret or address may have been changed.
    *sender = opened.ok().filter(|_| outcomes.iter().all(Result::is_ok));
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    for (claimed, outcome) in claimed.iter().zip(outcomes) {
        note(&mut conn, name, config, claimed, outcome).await?;
    }
    Ok(claimed.len())
}

/// Writes down what became of a try.
async fn note(
    conn: &mut PgConnection,
    name: &str,
    config: &NotifierConfig,
    claimed: &Claimed,
    outcome: Result<(), send::Failure>,
) -> StateResult<()> {
    let (id, kind) = (claimed.notice.delivery, config.kind.as_str());
    let failure = match outcome {
        Ok(()) => {
            tracing::info!(notifier = name, delivery = %id, title = claimed.notice.title, "notice sent");
            let ended = notices::end(conn, id, NoticeState::Sent, kind, None);
            return around!("notices.sent").run(ended).await;
        }
        Err(failure) => failure,
    };
    let mut error = failure.why;
    error.truncate(error.floor_char_boundary(LONGEST_ERROR));
    let left = delta(config.give_up_after) - claimed.age();
    if left <= TimeDelta::zero() {
        tracing::error!(notifier = name, delivery = %id, title = claimed.notice.title, error, "notice given up");
        let ended = notices::end(conn, id, NoticeState::GivenUp, kind, Some(&error));
        return around!("notices.given-up").run(ended).await;
    }
    // The last try is when its time is over, however long the pause would be.
    let pause = pause(config.backoff, claimed.attempts, rand::random()).max(failure.not_before).min(left);
    tracing::warn!(notifier = name, delivery = %id, attempts = claimed.attempts, error, "notice not sent");
    around!("notices.put-off").run(notices::put_off(conn, id, &error, pause)).await
}

/// Before the next try: `base` doubled with each try, of that from half to all by `chance` (0 to 1).
fn pause(base: Duration, attempts: u32, chance: f64) -> TimeDelta {
    let doubled = base.saturating_mul(1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
    let whole = doubled.min(LONGEST_PAUSE.to_std().unwrap_or_default());
    delta(whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0))
}

/// What is to be told.
pub(crate) struct Telling {
    pub(crate) event: Happening,
    pub(crate) cluster: Option<ClusterName>,
    pub(crate) job: Option<JobKind>,
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) data: Option<serde_json::Value>,
}

/// Writes a notice to everybody whom it is meant for, in the caller's transaction.
pub(crate) async fn tell(
    ctx: &Context,
    conn: &mut PgConnection,
    at: DateTime<Utc>,
    telling: &Telling,
) -> StateResult<()> {
    for (name, config) in &ctx.config.notify {
        if config.filter().passes(telling.event, telling.cluster.as_ref(), telling.job) {
            tell_one(ctx, conn, at, telling, name).await?;
        }
    }
    Ok(())
}

/// Writes a notice to one receiver. Its delivery id.
pub(crate) async fn tell_one(
    ctx: &Context,
    conn: &mut PgConnection,
    at: DateTime<Utc>,
    telling: &Telling,
    name: &str,
) -> StateResult<Uuid> {
    let delivery = Uuid::now_v7();
    let notice = Notice {
        schema_version: 1,
        delivery,
        event: telling.event,
        severity: telling.event.severity(),
        at,
        deployment: ctx.config.vault.deployment().to_owned(),
        cluster: telling.cluster.clone(),
        title: telling.title.clone(),
        text: telling.text.clone(),
        data: telling.data.clone(),
    };
    notices::insert(conn, name, &notice).await?;
    Ok(delivery)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_quarter_of_an_hour() {
        let seconds = |attempts, chance| pause(Duration::from_secs(10), attempts, chance).num_seconds();
        assert_eq!((seconds(1, 1.0), seconds(1, 0.0), seconds(2, 1.0), seconds(3, 1.0)), (10, 5, 20, 40));
        assert_eq!((seconds(20, 1.0), seconds(4_000_000, 1.0)), (900, 900));
    }
}
