//! How fast a job's nodes may go, said while it is under way.

mod support;

use ringvault_core::{api::RateLimit, job::JobState, task::TaskPayload};
use ringvault_queue::{
    TaskMessage,
    message::{Control, TaskOffer},
};
use ringvault_scheduler::jobs::{self, Action};
use serde_json::json;
use sqlx::PgPool;
use support::{Lab, backup, spec};

/// The rate that an offered upload is to keep to.
fn rate(offer: &TaskOffer) -> Option<u64> {
    match &offer.payload {
        TaskPayload::Upload(task) => task.rate_limit,
        other => panic!("no upload: {other:?}"),
    }
}

fn bytes(a_second: u64) -> RateLimit {
    RateLimit { bytes_per_second: Some(a_second), ..RateLimit::default() }
}

/// What running tasks were told of a rate since the last look.
async fn told(lab: &Lab) -> Vec<Option<u64>> {
    let messages = lab.outbox().await;
    let rates = messages.into_iter().filter_map(|message| match message {
        TaskMessage::Control(control) => match control.action {
            Control::SetRateLimit { bytes_per_second, .. } => Some(bytes_per_second),
            _ => None,
        },
        _ => None,
    });
    rates.collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn what_runs_is_told_and_what_begins_later_begins_with_it(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(3).await;
    let slow = json!({"kind": "backup", "cluster": "c", "name": "b1", "rate_limit": 7});
    let job = lab.submit(spec(slow), "k").await.job;
    for offer in lab.offers().await {
        let worker = lab.worker_of(&workers, &offer).await;
        lab.report(&worker.started(&offer)).await;
        lab.report(&worker.succeeded(&offer)).await;
    }
    let offers = lab.offers().await;
    assert_eq!(offers.iter().map(rate).collect::<Vec<_>>(), [Some(7); 3]);
    let [running, waiting, failing] = &offers[..] else { panic!("three uploads") };
    for offer in [running, failing] {
        lab.report(&lab.worker_of(&workers, offer).await.started(offer)).await;
    }
    assert!(told(&lab).await.is_empty(), "nobody has said anything");

    jobs::set_limits(&lab.ctx, job, &bytes(50), "tester").await.expect("set");
    assert_eq!(told(&lab).await, [Some(50); 2], "those that run");
    lab.report(&lab.worker_of(&workers, waiting).await.started(waiting)).await;
    assert_eq!(told(&lab).await, [Some(50)], "it was offered with the former rate");
    let error = ringvault_core::TaskError::permanent("RV-DISK", "the disk is broken");
    lab.report(&lab.worker_of(&workers, failing).await.failed(failing, error)).await;
    for offer in [running, waiting] {
        lab.report(&lab.worker_of(&workers, offer).await.succeeded(offer)).await;
    }
    assert_eq!(lab.state(job).await, JobState::Failed);

    jobs::set_limits(&lab.ctx, job, &bytes(0), "tester").await.expect("set");
    jobs::control(&lab.ctx, job, Action::Retry, "tester").await.expect("retried");
    let again = lab.offers().await;
    assert_eq!(again.iter().map(rate).collect::<Vec<_>>(), [Some(0)], "no limit, also for a retry");
    lab.report(&lab.worker_of(&workers, &again[0]).await.started(&again[0])).await;
    lab.report(&lab.worker_of(&workers, &again[0]).await.succeeded(&again[0])).await;
    lab.run(&workers).await;
    assert_eq!(lab.state(job).await, JobState::Succeeded);
    lab.assert_replays(job).await;
    let over = jobs::set_limits(&lab.ctx, job, &bytes(9), "tester").await.expect_err("it is over");
    assert_eq!(over.code(), "RV-JOB-RATE");
    assert!(over.to_string().contains("it is succeeded"), "{over}");
    let deeds: i64 = sqlx::query_scalar("select count(*) from audit where action = 'job.rate'")
        .fetch_one(&lab.ctx.db)
        .await
        .expect("the audit log");
    assert_eq!(deeds, 2);
}

#[sqlx::test(migrations = "../migrations")]
async fn what_moves_at_no_rate_is_refused(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    lab.submit(backup("b1"), "b").await;
    lab.run(&workers).await;
    let verify = lab.submit(spec(json!({"kind": "verify", "cluster": "c", "backup": "b1"})), "v").await.job;
    let refused = jobs::set_limits(&lab.ctx, verify, &bytes(9), "tester").await.expect_err("a verify");
    assert!(refused.is_refusal() && refused.to_string().contains("a verify has no rate"), "{refused}");
}
