//! An error at every point where a notice is claimed, sent, put off and ended, one at a time: it arrives
//! all the same. A process of its own: points are armed for the whole of it.
#![cfg(feature = "failpoints")]
#![allow(clippy::large_futures)] // a test may hold what it likes

mod support;

use std::{fs, path::Path, sync::Arc};

use ringvault_scheduler::notify;
use serde_json::json;
use sqlx::PgPool;
use support::{
    Lab,
    broker::until,
    receiver::{Answer, Receiver},
};
use tokio_util::sync::CancellationToken;

/// Points of what no notice passes on its way: a request's own, and conditions.
const ELSEWHERE: [&str; 4] =
    ["notices.test", "notices.condition", "notices.forget-condition", "notices.given-up"];

#[sqlx::test(migrations = "../migrations")]
async fn an_error_at_any_point_loses_no_notice(db: PgPool) {
    let points = tempfile::tempdir().expect("a folder");
    ringvault_fault::look_into(points.path());
    let pager = Receiver::start(&[]).await;
    let queue = ringvault_queue::QueueConfig::from_url("amqp://127.0.0.1:1");
    let settings = format!(
        "[timing]\npoll = \"20ms\"\n[notify.pager]\nkind = \"webhook\"\nurl = \"{}\"\nbackoff = \"10ms\"\n",
        pager.url()
    );
    let lab = Lab::with(db, "sched-1", &queue, &settings).await;
    let http = lab.http().await;
    let stop = CancellationToken::new();
    let telling = tokio::spawn({
        let (ctx, stop) = (Arc::clone(&lab.ctx), stop.clone());
        async move { notify::run(&ctx, &stop).await }
    });
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/notify");
    let every = ringvault_fault::names_in(&sources).expect("the sources");
    let passed: Vec<_> =
        every.iter().filter(|point| !ELSEWHERE.iter().any(|name| point.starts_with(name))).collect();
    assert!(passed.len() >= 6, "{passed:?}");
    for point in passed {
        // The first try is refused, so that it is put off.
        pager.answers(&[Answer::Status(500)]);
        fs::write(points.path().join(point), "error").expect("armed");
        let made = http.post("/v1/notifiers/pager/test", json!(null)).await.json(202);
        let id = made["id"].as_str().expect("an id").to_owned();
        until(&format!("{point} to be passed"), async || {
            // What failed to be written down is free when its claim is over; nobody waits for that here.
            sqlx::query("update notices set due_at = now() where state = 'pending' and due_at > now() + interval '1 s'")
                .execute(&lab.ctx.db)
                .await
                .expect("the notices");
            let sent = http.get(&format!("/v1/notices/{id}")).await.json(200)["state"] == "sent";
            (sent && points.path().join(format!("{point}.hit")).exists()).then_some(())
        })
        .await;
        let ids = pager.seen().into_iter().filter(|seen| seen.header("ringvault-delivery") == id).count();
        assert!(ids >= 2, "refused once, taken once at least");
    }
    stop.cancel();
    telling.await.expect("it stops in good order");
}
