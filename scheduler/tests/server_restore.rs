//! Restores over a real Postgres: the point of no return, and who must wait for whom.

mod support;

use ringvault_core::{TaskError, job::JobState, restore::STREAM_CAPABILITY};
use ringvault_queue::Beat;
use ringvault_scheduler::jobs::{self, Action};
use serde_json::json;
use sqlx::PgPool;
use support::{Lab, backup, spec, worker::Worker};

/// A cluster of one node with a backup `b1`.
async fn backed_up(db: PgPool) -> (Lab, Vec<Worker>) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    lab.submit(backup("b1"), "b1").await;
    lab.run(&workers).await;
    (lab, workers)
}

fn restore() -> ringvault_core::job::JobSpec {
    spec(json!({
        "kind": "restore", "source": "c", "backup": "b1", "target": "c",
        "truncate": true, "confirm": "c",
    }))
}

#[sqlx::test(migrations = "../migrations")]
async fn past_its_truncate_a_restore_goes_on_and_never_truncates_again(db: PgPool) {
    let (lab, workers) = backed_up(db).await;
    let job = lab.submit(restore(), "r").await.job;
    let worker = &workers[0];
    let mut truncates = 0;
    let mut failed_once = false;
    while lab.state(job).await != JobState::Succeeded {
        for offer in lab.offers().await {
            lab.report(&worker.started(&offer)).await;
            truncates += u32::from(offer.stage.as_str() == "truncate");
            if offer.stage.as_str() == "apply" && !failed_once {
                failed_once = true;
                let error = TaskError::permanent("RV-IMPORT", "the import was refused");
                lab.report(&worker.failed(&offer, error)).await;
                assert_eq!(lab.state(job).await, JobState::Failed);
                jobs::control(&lab.ctx, job, Action::Retry, "tester").await.expect("retried");
                let refused = jobs::control(&lab.ctx, job, Action::Cancel, "tester").await;
                assert_eq!(refused.expect_err("past no return").code(), "RV-JOB-NO-RETURN");
            } else {
                lab.report(&worker.succeeded(&offer)).await;
            }
        }
    }
    assert_eq!((truncates, failed_once), (1, true));
    let held: i64 = sqlx::query_scalar("select count(*) from holds where released_at is null")
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the holds");
    assert_eq!(held, 0, "the backup is let go when it is over");
    lab.assert_replays(job).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn two_restores_that_truncate_the_same_cluster_come_one_after_the_other(db: PgPool) {
    let (lab, workers) = backed_up(db).await;
    let first = lab.submit(restore(), "r1").await.job;
    let second = lab.submit(restore(), "r2").await.job;
    let offer = lab.offers().await.remove(0);
    assert_eq!((offer.job, lab.state(second).await), (first, JobState::Queued));
    let error = TaskError::permanent("RV-PLAN", "no");
    lab.report(&workers[0].started(&offer)).await;
    lab.report(&workers[0].failed(&offer, error)).await;

    let next = lab.offers().await.remove(0);
    assert_eq!(next.job, second, "a failed one keeps nobody waiting");
    let retry = jobs::control(&lab.ctx, first, Action::Retry, "tester").await;
    assert_eq!(retry.expect_err("the other runs").code(), "RV-JOB-IN-THE-WAY");
    lab.report(&workers[0].started(&next)).await;
    lab.report(&workers[0].succeeded(&next)).await;
    lab.run(&workers).await;
    jobs::control(&lab.ctx, first, Action::Retry, "tester").await.expect("its turn");
    lab.run(&workers).await;
    assert_eq!(lab.state(first).await, JobState::Succeeded);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_plan_holds_up_nobody_and_changes_nothing(db: PgPool) {
    let (lab, workers) = backed_up(db).await;
    let plan = spec(json!({
        "kind": "restore", "source": "c", "backup": "b1", "target": "c",
        "truncate": true, "plan_only": true,
    }));
    let running = lab.submit(restore(), "r").await.job;
    lab.offers().await;
    let plan = lab.submit(plan, "p").await.job;
    let done = lab.run(&workers).await;
    assert_eq!(done, [("plan", 1), ("preflight", 1)].into());
    assert_eq!(lab.state(plan).await, JobState::Succeeded);
    assert_eq!(lab.state(running).await, JobState::Running);
}

/// A worker of an older release would not understand what it is asked for.
#[sqlx::test(migrations = "../migrations")]
async fn only_workers_that_can_stream_are_asked_to(db: PgPool) {
    let (lab, workers) = backed_up(db).await;
    let restore = |method: &str| {
        spec(json!({"kind": "restore", "source": "c", "backup": "b1", "target": "c", "method": method}))
    };
    let refused = lab.try_submit(restore("stream"), "r1").await.expect_err("the worker does not say it can");
    assert_eq!(refused.code(), "RV-WORKER-TOO-OLD");
    assert!(refused.to_string().starts_with("10.0.0.0 of c cannot be restored by streams"), "{refused}");
    let drill = spec(json!({"kind": "drill", "cluster": "c", "backup": "b1", "method": "stream"}));
    assert_eq!(lab.try_submit(drill, "d1").await.expect_err("nor that").code(), "RV-WORKER-TOO-OLD");
    lab.submit(restore("import"), "r2").await;
    lab.run(&workers).await;

    let Beat::Hello(mut hello) = workers[0].hello(&[workers[0].host]) else { panic!("a hello") };
    hello.capabilities.insert(STREAM_CAPABILITY.to_owned());
    lab.beat(&Beat::Hello(hello)).await;
    let job = lab.submit(restore("stream"), "r3").await.job;
    lab.run(&workers).await;
    assert_eq!(lab.state(job).await, JobState::Succeeded);
}
