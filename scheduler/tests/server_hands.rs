//! An operator's hands on every kind of job, in every stage of it: cancel, pause and resume, retry after a
//! partial failure, abandon; with some of the stage's tasks done, some running, some offered and some
//! waiting. Each ends as it should, does nothing twice, and keeps the invariants.

#[path = "hands/mod.rs"]
mod hands;
mod support;

use hands::{Ground, Job, Kind, Scene};
use ringvault_core::{
    TaskError,
    job::{JobState, StageKind},
};
use ringvault_state::tasks::lease::Beat;
use serde_json::json;
use sqlx::PgPool;
use support::{backup, invariants::Moment, spec};

/// Every scene in which `kind` can be found, once for each of these variants.
async fn everywhere<F>(db: PgPool, kind: Kind, act: F)
where
    F: AsyncFn(&Ground, Job<'_>, Scene),
{
    let ground = Ground::new(db, kind).await;
    for index in 0..ground.stages().len() {
        for variant in 0..hands::VARIANTS {
            let mut job = ground.submit().await;
            let Some(scene) = job.drive_to(index, variant).await else { continue };
            act(&ground, job, scene).await;
            ground.lab.assert_invariants(Moment::Busy).await;
        }
    }
}

/// Cancels, and sees to it that nothing but the clearing up follows. `paused`: it is paused first.
async fn cancel(ground: &Ground, mut job: Job<'_>, mut scene: Scene, paused: bool) {
    let here = scene.name(ground);
    if paused {
        assert_eq!(job.order("pause").await.json(200)["state"], "paused", "{here}");
        job.stops_told(&scene, "pause").await;
    }
    if scene.past_no_return {
        let state = job.state().await;
        assert_eq!(job.order("cancel").await.refused(422), "RV-JOB-NO-RETURN", "{here}");
        assert_eq!(job.state().await, state, "{here}");
        assert!(ground.lab.outbox().await.is_empty(), "{here}: nothing was changed");
        job.finish_all(scene.running).await;
        if paused {
            job.order("resume").await.json(200);
        } else {
            job.take_up(scene.offered).await;
        }
        job.run_to_end().await;
        assert_eq!(job.state().await, JobState::Succeeded, "{here}");
        return;
    }
    let cancelled_before = ground.count_events("job.cancelled").await;
    let answer = job.order("cancel").await.json(200);
    job.stops_told(&scene, "cancel").await;
    if !scene.running.is_empty() {
        assert_eq!(answer["state"], "cancelling", "{here}");
        assert!(job.offers().await.is_empty(), "{here}: nothing begins while something still runs");
        assert_eq!(job.order("cancel").await.json(200)["state"], "cancelling", "{here}");
        for word in ["pause", "resume", "retry", "abandon"] {
            job.is_refused(word).await;
        }
    }
    // An offer that was taken back is never granted, and what runs is told again with each heartbeat.
    for offer in &scene.offered {
        job.asks_in_vain(offer).await;
    }
    for (nth, offer) in std::mem::take(&mut scene.running).into_iter().enumerate() {
        assert_eq!(job.heartbeat(&offer).await, Beat::Unwanted, "{here}");
        // One was done before the word came.
        if nth == 1 { job.finish(offer).await } else { job.stopped(offer).await }
    }
    let cleared = job.run_to_end().await;
    assert_eq!(cleared, scene.clearing_up(ground), "{here}");
    assert_eq!(job.state().await, JobState::Cancelled, "{here}");
    assert_eq!(ground.count_events("job.cancelled").await, cancelled_before + 1, "{here}");
    ground.ended_unfinished(&job, &scene).await;
    assert_eq!(job.order("cancel").await.json(200)["state"], "cancelled", "{here}");
    for word in ["pause", "resume", "retry", "abandon"] {
        job.is_refused(word).await;
    }
}

/// Pauses and lets go on: what is done stays done, and the job comes to its end.
async fn pause(ground: &Ground, mut job: Job<'_>, scene: Scene) {
    let here = scene.name(ground);
    assert_eq!(job.order("pause").await.json(200)["state"], "paused", "{here}");
    job.stops_told(&scene, "pause").await;
    assert!(job.offers().await.is_empty(), "{here}: it holds still");
    assert_eq!(job.order("pause").await.json(200)["state"], "paused", "{here}");
    for word in ["retry", "abandon"] {
        job.is_refused(word).await;
    }
    for offer in &scene.offered {
        job.asks_in_vain(offer).await;
    }
    let was_running = scene.running.len();
    for (nth, offer) in scene.running.into_iter().enumerate() {
        assert_eq!(job.heartbeat(&offer).await, Beat::Paused, "{here}");
        if nth == 1 { job.finish(offer).await } else { job.stopped(offer).await }
    }
    assert!(job.offers().await.is_empty(), "{here}: it holds still");
    assert_eq!(job.state().await, JobState::Paused, "{here}");
    assert_eq!(job.order("resume").await.json(200)["state"], "running", "{here}");
    let done = job.run_to_end().await;
    let again = scene.tasks - scene.done.len() - usize::from(was_running > 1);
    assert_eq!(done.get(scene.stage.as_str()).copied().unwrap_or_default(), again, "{here}: {done:?}");
    assert_eq!(job.state().await, JobState::Succeeded, "{here}");
    for word in ["cancel", "pause", "resume", "retry", "abandon"] {
        job.is_refused(word).await;
    }
}

/// Fails the scene's running tasks for good, and brings the stage to its end.
async fn fail(job: &mut Job<'_>, scene: &mut Scene) -> usize {
    let running = std::mem::take(&mut scene.running);
    let failed = running.len();
    for offer in running {
        job.failed(offer, TaskError::permanent("RV-DISK", "the disk is broken")).await;
    }
    job.take_up(std::mem::take(&mut scene.offered)).await;
    job.run_stage(scene.index).await;
    failed
}

/// A job of which a part has failed: retried, just that part runs again.
async fn retry(ground: &Ground, mut job: Job<'_>, mut scene: Scene) {
    let here = scene.name(ground);
    let failed = fail(&mut job, &mut scene).await;
    if scene.stage == StageKind::Release || failed == 0 {
        // Clearing leftovers never fails a job.
        job.run_to_end().await;
        assert_eq!(job.state().await, JobState::Succeeded, "{here}");
        return;
    }
    assert_eq!(job.state().await, JobState::Failed, "{here}");
    for word in ["cancel", "pause", "resume"] {
        job.is_refused(word).await;
    }
    assert!(job.offers().await.is_empty(), "{here}");
    assert_eq!(job.order("retry").await.json(200)["state"], "running", "{here}");
    let done = job.run_to_end().await;
    assert_eq!(done.get(scene.stage.as_str()), Some(&failed), "{here}");
    assert_eq!(job.state().await, JobState::Succeeded, "{here}");
}

/// A job of which a part has failed: given up, it clears up, and is over for good.
async fn abandon(ground: &Ground, mut job: Job<'_>, mut scene: Scene) {
    let here = scene.name(ground);
    job.is_refused("abandon").await;
    let failed = fail(&mut job, &mut scene).await;
    if scene.stage == StageKind::Release || failed == 0 {
        job.run_to_end().await;
        return;
    }
    let answer = job.order("abandon").await.json(200);
    assert!(["abandoning", "abandoned"].contains(&answer["state"].as_str().unwrap_or_default()), "{here}");
    assert_eq!(job.run_to_end().await, scene.clearing_up(ground), "{here}");
    assert_eq!(job.state().await, JobState::Abandoned, "{here}");
    ground.ended_unfinished(&job, &scene).await;
    assert_eq!(job.order("abandon").await.json(200)["state"], "abandoned", "{here}");
    for word in ["cancel", "pause", "resume", "retry"] {
        job.is_refused(word).await;
    }
}

macro_rules! on_every_kind {
    ($($name:ident: $kind:ident,)*) => {$(
        mod $name {
            use super::*;

            #[sqlx::test(migrations = "../migrations")]
            async fn is_cancelled(db: PgPool) {
                everywhere(db, Kind::$kind, async |ground, job, scene| cancel(ground, job, scene, false).await)
                    .await;
            }

            #[sqlx::test(migrations = "../migrations")]
            async fn is_paused_and_then_cancelled(db: PgPool) {
                everywhere(db, Kind::$kind, async |ground, job, scene| cancel(ground, job, scene, true).await)
                    .await;
            }

            #[sqlx::test(migrations = "../migrations")]
            async fn is_paused_and_goes_on(db: PgPool) {
                everywhere(db, Kind::$kind, pause).await;
            }

            #[sqlx::test(migrations = "../migrations")]
            async fn fails_in_part_and_is_retried(db: PgPool) {
                everywhere(db, Kind::$kind, retry).await;
            }

            #[sqlx::test(migrations = "../migrations")]
            async fn fails_in_part_and_is_abandoned(db: PgPool) {
                everywhere(db, Kind::$kind, abandon).await;
            }
        }
    )*};
}

on_every_kind! {
    a_backup: Backup,
    a_verify: Verify,
    a_restore: Restore,
    a_truncating_restore: TruncatingRestore,
    a_plan: Plan,
    a_purge: Purge,
}

#[sqlx::test(migrations = "../migrations")]
async fn a_queued_job_can_be_cancelled_and_nothing_else(db: PgPool) {
    let ground = Ground::new(db, Kind::Backup).await;
    let job = ground.submit().await;
    for word in ["pause", "resume", "retry", "abandon"] {
        job.is_refused(word).await;
    }
    assert_eq!(job.order("cancel").await.json(200)["state"], "cancelled");
    assert!(ground.lab.offers().await.is_empty());
    ground.lab.assert_invariants(Moment::Busy).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_purge_that_was_stopped_is_ended_by_the_next(db: PgPool) {
    let ground = Ground::new(db, Kind::Purge).await;
    let mut job = ground.submit().await;
    let scene = job.drive_to(1, 0).await.expect("sweeps");
    job.order("cancel").await.json(200);
    for offer in scene.running {
        job.stopped(offer).await;
    }
    assert_eq!(job.state().await, JobState::Cancelled);
    ground.lab.outbox().await;
    let expired = "select count(*) from backups where state = 'expired' and purged_at is null";
    assert_eq!(ground.count(expired).await, 1, "expiry is never taken back");
    let mut next = ground.submit_spec(spec(json!({"kind": "purge", "cluster": "c"}))).await;
    next.run_to_end().await;
    assert_eq!(ground.count(expired).await, 0);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_job_is_told_by_two_people_at_once_and_ends_in_one_way(db: PgPool) {
    let ground = Ground::new(db, Kind::Backup).await;
    for round in 0..6 {
        let mut job = ground.submit_spec(backup(&format!("twice{round}"))).await;
        let scene = job.drive_to(1, 0).await.expect("uploads");
        let (one, two, three) = tokio::join!(job.order("cancel"), job.order("pause"), job.order("cancel"));
        assert_eq!((one.status, three.status), (200, 200), "{} {}", one.text, three.text);
        assert!([200, 409].contains(&two.status), "{}", two.text);
        ground.lab.outbox().await;
        for offer in scene.running {
            job.stopped(offer).await;
        }
        job.run_to_end().await;
        assert_eq!(job.state().await, JobState::Cancelled);
    }
    ground.lab.assert_invariants(Moment::Busy).await;
}
