//! How jobs end that do not end well, over a real Postgres: what the vault says counts, and nothing goes
//! round for ever.

mod support;

use std::time::Duration;

use ringvault_core::{
    TaskError,
    job::{JobState, StageKind},
    task::{FoundSealed, PURGE_WAITS, SealResult, TaskPayload, TaskResult},
};
use ringvault_queue::{
    Report,
    message::{StopReason, TaskOffer, TaskStopped, TaskSucceeded},
};
use ringvault_scheduler::{
    jobs::{self, Action},
    reaper,
};
use serde_json::json;
use sqlx::PgPool;
use support::{Lab, backup, spec, worker::Worker};

/// Runs a one-node backup up to its seal, which is granted.
async fn at_seal(lab: &Lab, worker: &Worker) -> TaskOffer {
    loop {
        let offer = lab.offers().await.remove(0);
        lab.report(&worker.started(&offer)).await;
        if offer.stage == StageKind::Seal {
            return offer;
        }
        lab.report(&worker.succeeded(&offer)).await;
    }
}

fn seal_of(worker: &Worker, offer: &TaskOffer) -> SealResult {
    match worker.result(&offer.payload) {
        TaskResult::Seal(seal) => seal,
        other => panic!("no seal: {other:?}"),
    }
}

fn brings(worker: &Worker, offer: &TaskOffer, result: TaskResult) -> Report {
    Report::Succeeded(TaskSucceeded { task: offer.task, epoch: offer.epoch, worker: worker.id, result })
}

async fn backup_state(lab: &Lab) -> (String, bool) {
    sqlx::query_as("select state, purged_at is not null from backups where name = 'b1'")
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the backup")
}

#[sqlx::test(migrations = "../migrations")]
async fn a_backup_that_was_sealed_before_its_cancel_is_a_backup(db: PgPool) {
    let lab = Lab::new(db).await;
    let worker = lab.nodes(1).await.remove(0);
    let job = lab.submit(backup("b1"), "k").await.job;
    let offer = at_seal(&lab, &worker).await;
    jobs::control(&lab.ctx, job, Action::Cancel, "tester").await.expect("cancelled");
    // It was sealed, and stopped while it healed.
    lab.report(&worker.stopped(&offer)).await;
    let release = lab.offers().await.remove(0);
    assert_eq!(release.stage, StageKind::Release);
    lab.report(&worker.started(&release)).await;
    let sealed = Some(Box::new(seal_of(&worker, &offer)));
    lab.report(&brings(&worker, &release, TaskResult::Release { cleared: 1, sealed })).await;
    assert_eq!(lab.state(job).await, JobState::Cancelled);
    assert_eq!(backup_state(&lab).await, ("complete".to_owned(), false));
    let events = lab.events().await;
    assert_eq!(events.iter().filter(|event| *event == "backup.sealed").count(), 1);
    lab.assert_replays(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_purge_finds_that_a_backup_taken_for_dead_is_sealed(db: PgPool) {
    let lab = Lab::new(db).await;
    let worker = lab.nodes(1).await.remove(0);
    let job = lab.submit(backup("b1"), "k").await.job;
    let offer = at_seal(&lab, &worker).await;
    let seal = seal_of(&worker, &offer);
    lab.report(&worker.failed(&offer, TaskError::permanent("RV-X", "its answer was lost"))).await;
    jobs::control(&lab.ctx, job, Action::Abandon, "tester").await.expect("abandoned");
    // Nobody comes to clear up, and the time for it is over.
    sqlx::query("update jobs set cleanup_until = now() - interval '1 second'")
        .execute(&lab.ctx.db)
        .await
        .expect("the job");
    reaper::pass(&lab.ctx, Duration::ZERO).await.expect("the reaper");
    assert_eq!(lab.state(job).await, JobState::Abandoned);
    assert_eq!(backup_state(&lab).await, ("dead".to_owned(), false));

    for round in 0..2 {
        lab.submit(spec(json!({"kind": "purge", "cluster": "c"})), &format!("p{round}")).await;
        let mark = lab.offers().await.remove(0);
        let TaskPayload::Mark(asked) = &mark.payload else { panic!("no mark: {mark:?}") };
        assert_eq!(asked.dead.len(), 1 - round, "it is taken for dead once");
        lab.report(&worker.started(&mark)).await;
        let mut found = match worker.result(&mark.payload) {
            TaskResult::Mark(found) => found,
            other => panic!("no mark: {other:?}"),
        };
        found.sealed =
            asked.dead.iter().map(|b| FoundSealed { backup: b.clone(), seal: seal.clone() }).collect();
        lab.report(&brings(&worker, &mark, TaskResult::Mark(found))).await;
        lab.run(std::slice::from_ref(&worker)).await;
        assert_eq!(backup_state(&lab).await, ("complete".to_owned(), false));
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_task_that_its_worker_keeps_forgetting_fails_in_the_end(db: PgPool) {
    let lab = Lab::new(db).await;
    let worker = lab.nodes(1).await.remove(0);
    let job = lab.submit(backup("b1"), "k").await.job;
    let stopped = |offer: &TaskOffer, draining| {
        let (task, epoch) = (offer.task, offer.epoch);
        Report::Stopped(TaskStopped { task, epoch, worker: worker.id, reason: StopReason::Gone, draining })
    };
    for _ in 0..8 {
        let offer = lab.offers().await.remove(0);
        lab.report(&worker.started(&offer)).await;
        lab.report(&stopped(&offer, true)).await;
    }
    assert_eq!(lab.state(job).await, JobState::Running, "a worker that is shut down hands it back");
    for _ in 0..5 {
        let offer = lab.offers().await.remove(0);
        lab.report(&worker.started(&offer)).await;
        lab.report(&stopped(&offer, false)).await;
    }
    let row = lab.job(job).await;
    assert_eq!(row.machine.state, JobState::Failed);
    assert_eq!(row.error.expect("why").code, "RV-WORKER-FORGOT");
    lab.assert_replays(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_backup_that_takes_too_long_is_given_up_so_that_purges_end_their_wait(db: PgPool) {
    let lab = Lab::new(db).await;
    let worker = lab.nodes(1).await.remove(0);
    let job = lab.submit(backup("b1"), "k").await.job;
    let offer = lab.offers().await.remove(0);
    lab.report(&worker.started(&offer)).await;
    let purge = lab.submit(spec(json!({"kind": "purge", "cluster": "c"})), "p").await.job;
    let mark = lab.offers().await.remove(0);
    lab.report(&worker.started(&mark)).await;
    lab.report(&worker.failed(&mark, TaskError::environment(PURGE_WAITS, "it waits"))).await;
    // Long beyond the patience with what must be mended.
    sqlx::query(
        "update tasks set waiting_since = now() - interval '2 hours', run_at = now() where kind = 'mark'",
    )
    .execute(&lab.ctx.db)
    .await
    .expect("the task");
    let mark = lab.offers().await.remove(0);
    lab.report(&worker.started(&mark)).await;
    lab.report(&worker.failed(&mark, TaskError::environment(PURGE_WAITS, "it waits"))).await;
    assert_eq!(lab.state(purge).await, JobState::Running);

    reaper::pass(&lab.ctx, Duration::ZERO).await.expect("the reaper");
    assert_eq!(lab.state(job).await, JobState::Running);
    sqlx::query("update jobs set started_at = now() - interval '8 days' where kind = 'backup'")
        .execute(&lab.ctx.db)
        .await
        .expect("the job");
    reaper::pass(&lab.ctx, Duration::ZERO).await.expect("the reaper");
    assert_eq!(lab.state(job).await, JobState::Abandoning);
    lab.report(&worker.stopped(&offer)).await;
    lab.run(std::slice::from_ref(&worker)).await;
    let row = lab.job(job).await;
    assert_eq!(row.machine.state, JobState::Abandoned);
    assert_eq!(row.error.expect("why").code, "RV-BACKUP-TOO-LONG");
    lab.assert_replays(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn restores_of_one_target_exclude_each_other_if_one_truncates(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    lab.submit(backup("b1"), "b").await;
    lab.run(&workers).await;
    let restore = |more: serde_json::Value| {
        let mut text = json!({"kind": "restore", "source": "c", "backup": "b1", "target": "c"});
        text.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
        spec(text)
    };
    let plain = || restore(json!({}));
    let truncating = || restore(json!({"truncate": true, "confirm": "c"}));
    let plan = || restore(json!({"truncate": true, "plan_only": true}));
    // (the first, the second, whether the second waits)
    let pairs = [
        (plain(), truncating(), true),
        (truncating(), plain(), true),
        (truncating(), truncating(), true),
        (plain(), plain(), false),
        (truncating(), plan(), false),
        (plan(), truncating(), false),
    ];
    for (round, (first, second, waits)) in pairs.into_iter().enumerate() {
        let first = lab.submit(first, &format!("first{round}")).await.job;
        let second = lab.submit(second, &format!("second{round}")).await.job;
        let _ = lab.offers().await;
        assert_eq!(lab.state(first).await, JobState::Running);
        assert_eq!(lab.state(second).await == JobState::Queued, waits, "round {round}");
        sqlx::query("update jobs set state = 'succeeded' where kind = 'restore'")
            .execute(&lab.ctx.db)
            .await
            .expect("the jobs");
        sqlx::query("delete from tasks where job = any($1)")
            .bind([first.0, second.0])
            .execute(&lab.ctx.db)
            .await
            .ok();
    }
}
