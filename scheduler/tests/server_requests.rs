//! Requests of other systems over a real Postgres: who may ask for what, and that each happens once.

mod support;

use chrono::Utc;
use ringvault_core::job::{JobSpec, JobState};
use ringvault_queue::{
    Envelope, Request,
    message::{JobCancel, JobRetry},
};
use ringvault_scheduler::intake;
use serde_json::json;
use sqlx::PgPool;
use support::{Lab, backup, spec};

async fn ask(lab: &Lab, user: Option<&str>, key: &str, request: Request) {
    let envelope =
        Envelope { idempotency_key: Some(key.to_owned()), ..Envelope::new("policy", Utc::now(), request) };
    intake::handle(&lab.ctx, envelope, user.map(str::to_owned)).await.expect("taken or answered");
}

/// Codes of the rejections so far.
async fn rejections(lab: &Lab) -> Vec<String> {
    sqlx::query_scalar(
        "select convert_from(body, 'UTF8')::jsonb -> 'payload' ->> 'code' from outbox
         where message_type = 'request.rejected' order by id",
    )
    .fetch_all(&lab.ctx.db)
    .await
    .expect("the outbox")
}

async fn sources(lab: &Lab) -> Vec<String> {
    sqlx::query_scalar("select source from jobs order by created_at")
        .fetch_all(&lab.ctx.db)
        .await
        .expect("the jobs")
}

#[sqlx::test(migrations = "../migrations")]
async fn who_asks_is_known_and_may(db: PgPool) {
    let queue = ringvault_queue::QueueConfig::from_url("amqp://127.0.0.1:1");
    let lab = Lab::with(
        db,
        "sched-1",
        &queue,
        "[requests]\n\"\" = \"viewer\"\nreader = \"viewer\"\ndba = \"admin\"\n",
    )
    .await;
    lab.nodes(1).await;
    let create = |spec: JobSpec| Request::CreateJob(spec);
    let purge = || create(spec(json!({"kind": "purge", "cluster": "c"})));
    ask(&lab, None, "k1", create(backup("b1"))).await;
    ask(&lab, Some("reader"), "k2", create(backup("b1"))).await;
    ask(&lab, Some("billing"), "k3", purge()).await;
    ask(&lab, Some("billing"), "k4", create(spec(json!({"kind": "backup", "cluster": "c", "policy": "p"}))))
        .await;
    assert_eq!(
        rejections(&lab).await,
        ["RV-REQUEST-FORBIDDEN", "RV-REQUEST-FORBIDDEN", "RV-REQUEST-FORBIDDEN", "RV-INVALID"]
    );
    assert!(sources(&lab).await.is_empty(), "nothing was done");
    ask(&lab, Some("billing"), "k5", create(backup("b1"))).await;
    ask(&lab, Some("dba"), "k5", purge()).await;
    assert_eq!(rejections(&lab).await.len(), 4, "a key of one user is not the key of another");
    assert_eq!(sources(&lab).await, ["amqp/billing/policy", "amqp/dba/policy"], "nobody passes for a policy");
    let told: Vec<String> = sqlx::query_scalar(
        "select convert_from(body, 'UTF8')::jsonb -> 'payload' ->> 'request_source' from outbox
         where message_type = 'job.created'",
    )
    .fetch_all(&lab.ctx.db)
    .await
    .expect("the outbox");
    assert_eq!(told, ["policy", "policy"], "events speak of what the asker wrote");
}

#[sqlx::test(migrations = "../migrations")]
async fn who_does_not_say_who_it_is_may_do_what_everybody_may(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    ask(&lab, None, "k1", Request::CreateJob(backup("b1"))).await;
    ask(&lab, None, "k2", Request::CreateJob(spec(json!({"kind": "purge", "cluster": "c"})))).await;
    assert_eq!(rejections(&lab).await, ["RV-REQUEST-FORBIDDEN"]);
    assert_eq!(sources(&lab).await, ["amqp//policy"]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_control_request_is_done_once_and_answered_once(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    let job = lab.submit(backup("b1"), "k").await.job;
    let offer = lab.offers().await.remove(0);
    lab.report(&workers[0].started(&offer)).await;
    let cancel = || Request::CancelJob(JobCancel { job });
    let retry = || Request::RetryJob(JobRetry { job });
    ask(&lab, Some("u"), "r1", retry()).await;
    ask(&lab, Some("u"), "r1", retry()).await;
    assert_eq!(rejections(&lab).await, ["RV-JOB-STATE"], "a repeat is not answered again");
    ask(&lab, Some("u"), "r1", cancel()).await;
    assert_eq!(rejections(&lab).await, ["RV-JOB-STATE", "RV-KEY-REUSED"]);
    assert_eq!(lab.state(job).await, JobState::Running);
    let (one, two) = tokio::join!(
        intake::handle(&lab.ctx, keyed(cancel(), "c1"), Some("u".to_owned())),
        intake::handle(&lab.ctx, keyed(cancel(), "c1"), Some("u".to_owned()))
    );
    one.and(two).expect("both are taken");
    assert_eq!(lab.state(job).await, JobState::Cancelling);
    let cancels: i64 = sqlx::query_scalar(
        "select count(*) from transitions where task is null and event ->> 'event' = 'cancel'",
    )
    .fetch_one(&lab.ctx.db)
    .await
    .expect("the log");
    assert_eq!(cancels, 1);
    assert_eq!(rejections(&lab).await.len(), 2);
}

fn keyed(request: Request, key: &str) -> Envelope<Request> {
    Envelope { idempotency_key: Some(key.to_owned()), ..Envelope::new("policy", Utc::now(), request) }
}
