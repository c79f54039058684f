//! An error at every failpoint of the scheduler, one at a time, over a real Postgres and a real
//! RabbitMQ: each backup ends as it would have, and its log replays. (Crashes, workers and Cassandra:
//! `tests/tests/full_faults.rs`.)
#![cfg(feature = "failpoints")]
#![allow(clippy::large_futures)] // a test may hold what it likes

mod support;

use std::{collections::BTreeSet, fs, path::Path};

use chrono::Utc;
use ringvault_core::{JobId, job::JobState};
use ringvault_queue::{Envelope, Publish, Request, Role, Session, TaskMessage, message::TaskOffer, topology};
use sqlx::PgPool;
use support::{backup, broker::until, host, running::Running, worker::Worker};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What no backup over the queue passes: the HTTP API, policies, housekeeping, notices (which have a test
/// of their own), and what takes a silent worker.
const ELSEWHERE: [&str; 22] = [
    "audit.",
    "catalog.rebuild",
    "cluster.rebind",
    "hold.",
    "housekeeping.",
    "intake.answer",
    "intake.control",
    "job.control",
    "job.rate",
    "node.forget",
    "notices.",
    "policy.apply",
    "policy.delete",
    "policy.fire",
    "policy.pause",
    "reaper.ask",
    "reaper.overdue-job",
    "reaper.time-out",
    "registry.lost-with-its-run",
    "relay.give-back",
    "session.",
    "token.",
];

/// A worker over the queue: asks for the grant of each offer, and is done at once when it has it.
async fn work(session: Session, worker: Worker, stop: CancellationToken) {
    let mut messages = session.consume(topology::worker_queue(worker.id), 8);
    let mut offers: Vec<TaskOffer> = Vec::new();
    loop {
        let delivery = tokio::select! {
            delivery = messages.next() => delivery.expect("the session is open"),
            () = stop.cancelled() => break,
        };
        let answer = match delivery.parse::<TaskMessage>().expect("a message to a worker").body {
            TaskMessage::Offer(offer) => {
                let started = worker.started(&offer);
                offers.push(offer);
                Some(started)
            }
            TaskMessage::Grant(grant) => offers
                .iter()
                .find(|offer| offer.task == grant.task && offer.epoch == grant.epoch)
                .map(|offer| worker.succeeded(offer)),
            // It has nothing in hand that it could be asked about.
            TaskMessage::Control(_) | TaskMessage::Describe(_) => None,
        };
        if let Some(answer) = answer {
            let report = Envelope::new("worker", Utc::now(), answer);
            session.publish(&Publish::report(&report).expect("a small message")).await.expect("sent");
        }
        delivery.ack().await.expect("acknowledged");
    }
    session.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn an_error_at_any_point_costs_time_and_nothing_else(db: PgPool) {
    let points = tempfile::tempdir().expect("a folder");
    ringvault_fault::look_into(points.path());
    let patience = "dispatch_timeout = \"1s\"\nlease = \"5s\"\n[timing]\nask_patience = \"300ms\"\n";
    let running = Running::start(db, patience).await;
    let lab = &running.lab;
    let hosts = [host(1), host(2)];
    let mut at_work = Vec::new();
    for worker in hosts.map(Worker::beside) {
        let role = Role::Worker(worker.id);
        let session = Session::start(&running.broker.config(), role, "worker").expect("a good URL");
        assert!(session.connected().await);
        fs::write(points.path().join("registry.hello.before"), "error").expect("armed");
        let hello = Envelope::new("worker", Utc::now(), worker.hello(&hosts));
        session.publish(&Publish::beat(&hello).expect("a small message")).await.expect("sent");
        at_work.push(tokio::spawn(work(session, worker, running.stop.clone())));
    }
    lab.live_workers(2).await;

    let client = running.broker.client().await;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut reached = BTreeSet::new();
    let every = ringvault_fault::names_in(&sources).expect("the sources");
    for (round, point) in every.iter().enumerate() {
        if ELSEWHERE.iter().any(|name| point.starts_with(name)) || point.starts_with("registry.") {
            continue;
        }
        fs::write(points.path().join(point), "error").expect("armed");
        let mut request =
            Envelope::new("faults", Utc::now(), Request::CreateJob(backup(&format!("b{round}"))));
        request.idempotency_key = Some(point.clone());
        client.publish(&Publish::request(&request).expect("a small message")).await.expect("sent");
        let job = until(&format!("the backup with an error at {point}"), async || {
            let ended = "select id from jobs where idempotency_key = $1 and state = 'succeeded'";
            let id: Option<Uuid> =
                sqlx::query_scalar(ended).bind(point).fetch_optional(&lab.ctx.db).await.expect("the jobs");
            id.map(JobId)
        })
        .await;
        assert_eq!(lab.state(job).await, JobState::Succeeded);
        lab.assert_replays(job).await;
        if points.path().join(format!("{point}.hit")).exists() {
            reached.insert(point.clone());
        }
        // Not reached: it must not hit the next job.
        fs::remove_file(points.path().join(point)).ok();
    }
    let missed: Vec<_> = every
        .iter()
        .filter(|point| {
            !ELSEWHERE.iter().any(|name| point.starts_with(name)) && !point.starts_with("registry.")
        })
        .filter(|point| !reached.contains(*point))
        .collect();
    assert!(missed.is_empty(), "not reached by a backup: {missed:?}");
    assert!(points.path().join("registry.hello.before.hit").exists());
    let twice: i64 = sqlx::query_scalar(
        "select count(*) from (select 1 from attempts where outcome = 'succeeded' group by task having count(*) > 1) t",
    )
    .fetch_one(&lab.ctx.db)
    .await
    .expect("the attempts");
    assert_eq!(twice, 0, "a task succeeds once");
    client.close().await;
    running.end().await;
    for worker in at_work {
        worker.await.expect("the worker ends");
    }
}
