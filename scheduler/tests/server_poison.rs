//! Poison, on a real Postgres and a real RabbitMQ: messages that cannot be read, and tasks that kill their
//! worker each time. Both come to an end that can be seen, and block nobody.
#![allow(clippy::large_futures)] // a test may hold what it likes

mod support;

use std::time::Duration;

use chrono::Utc;
use ringvault_core::{TaskId, job::JobState};
use ringvault_queue::{
    Envelope, Publish, Report, Role, Session,
    message::{StopReason, TaskOffer, TaskStopped},
    topology,
};
use serde_json::{Value, json};
use sqlx::PgPool;
use support::{
    backup,
    broker::until,
    host,
    invariants::Moment,
    running::Running,
    spec,
    station::{Deed, Run},
    worker::Worker,
};

const PATIENCE: &str = "max_attempts = 3\nlease = \"2s\"\ndispatch_timeout = \"2s\"\n[timing]\nask_patience = \"300ms\"\npoll = \"100ms\"\n";

/// Queue, code and number of the dead messages.
async fn dead(running: &Running) -> Vec<(String, String, i64)> {
    let mut conn = running.lab.ctx.db.acquire().await.expect("a connection");
    let dead = ringvault_state::dead::list(&mut conn).await.expect("counted");
    dead.into_iter().map(|dead| (dead.queue, dead.code, dead.count)).collect()
}

/// A worker that is started anew whenever a task kills it.
fn work(
    running: &Running,
    worker: Worker,
    deed: impl Fn(&TaskOffer) -> Deed + Send + Sync + 'static,
) -> tokio::task::JoinHandle<()> {
    let (config, stop) = (running.broker.config(), running.stop.clone());
    tokio::spawn(async move {
        while !stop.is_cancelled() {
            let run = Run::start(&config, &worker, &[worker.host]).await;
            run.work(&deed, &stop).await;
        }
    })
}

#[sqlx::test(migrations = "../migrations")]
async fn what_cannot_be_read_blocks_nothing_behind_it_in_any_queue_of_the_scheduler(db: PgPool) {
    let running = Running::start(db, PATIENCE).await;
    let worker = Worker::beside(host(1));
    let client = running.broker.client().await;
    let good = Envelope::new("worker", Utc::now(), worker.hello(&[worker.host]));
    let good = Publish::beat(&good).expect("a small message");
    let text = String::from_utf8(good.body.clone()).expect("JSON");
    let bad_bodies = [
        "{oops".to_owned(),
        "\u{0}\u{1}".to_owned(),
        "{}".to_owned(),
        text.replace("\"version\":1,", "\"version\":7,"),
        text.replace("\"slots\":4", "\"slots\":\"many\""),
    ];
    let report = Report::Stopped(TaskStopped {
        task: TaskId::generate(),
        epoch: 1,
        worker: worker.id,
        reason: StopReason::Gone,
        draining: false,
    });
    let report = Publish::report(&Envelope::new("worker", Utc::now(), report)).expect("a small message");
    for like in [good, report] {
        for body in &bad_bodies {
            let bad = Publish { body: body.clone().into_bytes(), ..like.clone() };
            client.publish(&bad).await.expect("sent");
        }
    }
    let at_work = work(&running, worker.clone(), |_| Deed::DoneIn(Duration::ZERO));
    running.lab.live_workers(1).await;
    let job = running.lab.submit(backup("b1"), "k1").await.job;
    running.comes_to(job, JobState::Succeeded).await;
    let dead = until("all of them to be counted", async || {
        let dead = dead(&running).await;
        (dead.iter().map(|dead| dead.2).sum::<i64>() == 10).then_some(dead)
    })
    .await;
    for queue in [topology::HEARTBEATS, topology::REPORTS] {
        let of_it: i64 = dead.iter().filter(|dead| dead.0 == queue).map(|dead| dead.2).sum();
        assert_eq!(of_it, 5, "{dead:?}");
    }
    let mut buried = running.lab.ctx.queue.consume(topology::DEAD, 1);
    for _ in 0..10 {
        let delivery = buried.next().await.expect("a dead message");
        let reason = delivery.headers.get(ringvault_queue::session::REASON_HEADER).expect("a reason");
        assert!(reason.starts_with("RV-MSG-"), "{reason}");
        delivery.ack().await.expect("acknowledged");
    }
    client.close().await;
    running.stop.cancel();
    at_work.await.expect("the worker ends");
    running.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_a_worker_cannot_read_is_counted_under_one_name_for_all_workers(db: PgPool) {
    let running = Running::start(db, PATIENCE).await;
    for n in 1..=2 {
        let worker = Worker::beside(host(n)).id;
        let session =
            Session::start(&running.broker.config(), Role::Worker(worker), "worker").expect("a URL");
        assert!(session.connected().await);
        let mut inbox = session.consume(topology::worker_queue(worker), 1);
        let beat = Envelope::new("worker", Utc::now(), Worker::beside(host(n)).hello(&[host(n)]));
        let beat = Publish::beat(&beat).expect("a small message");
        let to_it =
            Publish { exchange: topology::TASKS.to_owned(), routing_key: worker.to_string(), ..beat.clone() };
        running.lab.ctx.queue.publish(&to_it).await.expect("sent");
        let delivery = inbox.next().await.expect("a message");
        // The database takes no NUL, and a message that cannot be counted must not come again for ever.
        delivery.dead_letter("RV-MSG-TYPE: not for \0 workers").await.expect("dead-lettered");
        session.close().await;
    }
    let counted = until("both to be counted", async || {
        let dead = dead(&running).await;
        (dead.iter().map(|dead| dead.2).sum::<i64>() == 2).then_some(dead)
    })
    .await;
    assert_eq!(counted, [("ringvault.worker".to_owned(), "RV-MSG-TYPE".to_owned(), 2)]);
    running.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_task_that_kills_its_worker_ends_failed_and_takes_nobody_with_it(db: PgPool) {
    let running = Running::start(db, PATIENCE).await;
    let worker = Worker::beside(host(1));
    // The upload of b1 kills whoever does it. A check takes long: it is there each time that happens.
    let at_work = work(&running, worker.clone(), |offer| match offer.stage.as_str() {
        "upload" if format!("{:?}", offer.payload).contains("poison") => Deed::Dies,
        "check" => Deed::DoneIn(Duration::from_secs(3)),
        _ => Deed::DoneIn(Duration::ZERO),
    });
    running.lab.live_workers(1).await;
    let base = running.lab.submit(backup("base"), "base").await.job;
    running.comes_to(base, JobState::Succeeded).await;

    let verify = || spec(json!({"kind": "verify", "cluster": "c", "backup": "base"}));
    let beside = [running.lab.submit(verify(), "v1").await.job, running.lab.submit(verify(), "v2").await.job];
    let poison = running.lab.submit(backup("poison"), "poison").await.job;
    let behind = running.lab.submit(backup("behind"), "behind").await.job;
    running.comes_to(poison, JobState::Failed).await;
    for job in beside {
        running.comes_to(job, JobState::Succeeded).await;
    }
    running.comes_to(behind, JobState::Succeeded).await;

    let http = running.lab.http().await;
    let story = http.get(&format!("/v1/jobs/{poison}")).await.json(200);
    assert_eq!(story["error"]["code"], "RV-WORKER-LOST");
    let tasks = story["tasks"].as_array().expect("tasks");
    let upload = tasks.iter().find(|task| task["stage"] == "upload").expect("an upload");
    assert_eq!(upload["state"], "failed");
    let attempts = upload["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 3, "as many as the policy allows: {attempts:#?}");
    for attempt in attempts {
        assert_eq!(attempt["worker"], json!(worker.id));
        let why = attempt["error"]["message"].as_str().expect("why");
        assert!(why.contains("the worker's process ended"), "{why}");
        assert!(attempt["started_at"].is_string() && attempt["ended_at"].is_string(), "{attempt}");
        assert_eq!(
            (&attempt["outcome"], &attempt["error"]["code"]),
            (&json!("lost"), &json!("RV-WORKER-LOST"))
        );
    }
    http.order(&poison.to_string(), "abandon").await.json(200);
    running.comes_to(poison, JobState::Abandoned).await;
    running.lab.assert_invariants(Moment::Busy).await;
    if let Ok(file) = std::env::var("RINGVAULT_TEST_STORY") {
        std::fs::write(file, serde_json::to_string_pretty::<Value>(&story).expect("JSON")).expect("written");
    }
    running.stop.cancel();
    at_work.await.expect("the worker ends");
    running.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_worker_that_vanishes_with_its_task_and_comes_back_late_is_no_other_s_loss(db: PgPool) {
    let running = Running::start(db, PATIENCE).await;
    let workers = [Worker::beside(host(1)), Worker::beside(host(2))];
    let hosts = [host(1), host(2)];
    let good = tokio::spawn({
        let (config, stop, worker) = (running.broker.config(), running.stop.clone(), workers[0].clone());
        async move {
            let run = Run::start(&config, &worker, &hosts).await;
            run.work(|_| Deed::DoneIn(Duration::ZERO), &stop).await
        }
    });
    let config = running.broker.config();
    let run = Run::start(&config, &workers[1], &hosts).await;
    running.lab.live_workers(2).await;
    let job = running.lab.submit(backup("b1"), "k1").await.job;
    assert!(run.work(|_| Deed::Dies, &running.stop).await, "it dies of its snapshot");
    // Its lease runs out, its offers come back from the broker, and the task waits for it.
    until("the task to be taken from it", async || {
        let lost = "select count(*) from attempts where outcome in ('lost', 'unreachable')";
        let lost: i64 = sqlx::query_scalar(lost).fetch_one(&running.lab.ctx.db).await.expect("the attempts");
        (lost > 1).then_some(())
    })
    .await;
    assert_eq!(running.lab.state(job).await, JobState::Running);
    let run = Run::start(&config, &workers[1], &hosts).await;
    let stop = running.stop.clone();
    let back = tokio::spawn(async move { run.work(|_| Deed::DoneIn(Duration::ZERO), &stop).await });
    running.comes_to(job, JobState::Succeeded).await;
    running.lab.assert_invariants(Moment::Busy).await;
    running.stop.cancel();
    for at_work in [good, back] {
        assert!(!at_work.await.expect("the worker ends"));
    }
    running.end().await;
}
