//! A whole scheduler over a real Postgres and a real RabbitMQ, with workers of the test's own.
#![allow(clippy::large_futures)] // a test may hold what it likes

mod support;

use std::time::Duration;

use chrono::Utc;
use ringvault_core::job::JobState;
use ringvault_queue::{
    Beat, Envelope, Publish, Request, Role, Session, TaskMessage,
    message::{NodeDescribe, NodeHello, TaskOffer},
    topology,
};
use sqlx::PgPool;
use support::{backup, broker::until, host, running::Running, worker::Worker};
use tokio_util::sync::CancellationToken;

const PATIENCE: &str = "environment_patience = \"2s\"\n";

async fn request(client: &Session, key: &str, request: Request) {
    let mut envelope = Envelope::new("billing", Utc::now(), request);
    envelope.idempotency_key = Some(key.to_owned());
    client.publish(&Publish::request(&envelope).expect("a small message")).await.expect("sent");
}

/// The only job's state, once there is one.
async fn job_state(running: &Running) -> Option<JobState> {
    let state: Option<String> = sqlx::query_scalar("select state from jobs")
        .fetch_optional(&running.lab.ctx.db)
        .await
        .expect("the jobs");
    state.map(|state| state.parse().expect("a state"))
}

/// A worker over the queue: asks for the grant of each offer, and is done at once when it has it.
async fn work(session: Session, worker: Worker, stop: CancellationToken) {
    let mut messages = session.consume(topology::worker_queue(worker.id), 8);
    let mut offers: Vec<TaskOffer> = Vec::new();
    loop {
        let delivery = tokio::select! {
            delivery = messages.next() => delivery.expect("the session is open"),
            () = stop.cancelled() => break,
        };
        let message = delivery.parse::<TaskMessage>().expect("a message to a worker").body;
        let answer = match message {
            TaskMessage::Offer(offer) => {
                let started = worker.started(&offer);
                offers.push(offer);
                started
            }
            TaskMessage::Grant(grant) => {
                let offer =
                    offers.iter().find(|offer| offer.task == grant.task && offer.epoch == grant.epoch);
                worker.succeeded(offer.expect("a grant of what was offered"))
            }
            other => panic!("nothing is to be stopped, and all is known: {other:?}"),
        };
        let report = Envelope::new("worker", Utc::now(), answer);
        session.publish(&Publish::report(&report).expect("a small message")).await.expect("sent");
        delivery.ack().await.expect("acknowledged");
    }
    session.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_request_over_the_queue_becomes_a_backup_and_events(db: PgPool) {
    let running = Running::start(db, PATIENCE).await;
    let hosts = [host(1), host(2)];
    let end = CancellationToken::new();
    let mut at_work = Vec::new();
    for worker in hosts.map(Worker::beside) {
        let role = Role::Worker(worker.id);
        let session = Session::start(&running.broker.config(), role, "worker").expect("a good URL");
        assert!(session.connected().await);
        let hello = Envelope::new("worker", Utc::now(), worker.hello(&hosts));
        session.publish(&Publish::beat(&hello).expect("a small message")).await.expect("sent");
        at_work.push(tokio::spawn(work(session, worker, end.clone())));
    }
    running.lab.live_workers(2).await;
    let client = running.broker.client().await;
    request(&client, "r1", Request::CreateJob(backup("b1"))).await;
    request(&client, "r1", Request::CreateJob(backup("b1"))).await;
    request(&client, "r1", Request::CreateJob(backup("b2"))).await;
    until("the backup", async || job_state(&running).await.filter(|state| *state == JobState::Succeeded))
        .await;
    until("the events", async || {
        let events = running.lab.events().await;
        let has = |event: &str| events.iter().any(|other| other == event);
        (has("job.succeeded") && has("request.rejected")).then_some(())
    })
    .await;
    let jobs: i64 = sqlx::query_scalar("select count(*) from jobs")
        .fetch_one(&running.lab.ctx.db)
        .await
        .expect("the jobs");
    assert_eq!(jobs, 1);
    until("the outbox to be empty", async || {
        let mut conn = running.lab.ctx.db.acquire().await.expect("a connection");
        let pending = ringvault_state::outbox::pending(&mut conn).await.expect("counted");
        (pending.count == 0).then_some(())
    })
    .await;
    end.cancel();
    for worker in at_work {
        worker.await.expect("a worker that stops");
    }
    client.close().await;
    running.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_worker_whose_last_word_is_not_known_is_asked_to_say_it_all(db: PgPool) {
    let running = Running::start(db, PATIENCE).await;
    let worker = Worker::beside(host(1));
    let session = Session::start(&running.broker.config(), Role::Worker(worker.id), "worker").expect("a URL");
    let mut messages = session.consume(topology::worker_queue(worker.id), 8);
    assert!(session.connected().await);
    let say = async |beat: Beat| {
        let beat = Envelope::new("worker", Utc::now(), beat);
        session.publish(&Publish::beat(&beat).expect("a small message")).await.expect("sent");
    };
    say(worker.still(7)).await;
    let asked = tokio::time::timeout(Duration::from_secs(30), messages.next()).await.expect("in time");
    let asked = asked.expect("the session is open");
    asked.verify(&running.lab.ctx.keys).expect("signed");
    let wanted = NodeDescribe { worker: worker.id, edition: 7 };
    assert_eq!(asked.parse::<TaskMessage>().expect("readable").body, TaskMessage::Describe(wanted));
    asked.ack().await.expect("acknowledged");
    let Beat::Hello(hello) = worker.hello(&[worker.host]) else { unreachable!("a hello") };
    say(Beat::Hello(NodeHello { edition: Some(7), ..hello })).await;
    running.lab.live_workers(1).await;
    say(worker.still(7)).await;
    let more = tokio::time::timeout(Duration::from_secs(2), messages.next()).await;
    assert!(more.is_err(), "what it said is known");
    session.close().await;
    running.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn what_cannot_be_read_goes_to_the_dead_queue_and_blocks_nothing(db: PgPool) {
    let running = Running::start(db, PATIENCE).await;
    running.lab.nodes(1).await;
    let client = running.broker.client().await;
    let good = Envelope {
        idempotency_key: Some("k".to_owned()),
        ..Envelope::new("billing", Utc::now(), Request::CreateJob(backup("b1")))
    };
    let good = Publish::request(&good).expect("a small message");
    let text = String::from_utf8(good.body.clone()).expect("JSON");
    for bad in [
        "{oops".to_owned(),
        text.replace("\"version\":1", "\"version\":2"),
        text.replace("\"kind\":\"backup\"", "\"kind\":\"backups\""),
        text.replace("\"cluster\":\"c\"", "\"cluster\":\"../c\""),
    ] {
        let bad = Publish { body: bad.into_bytes(), ..good.clone() };
        client.publish(&bad).await.expect("sent");
    }
    client.publish(&good).await.expect("sent");
    until("the good one", async || job_state(&running).await).await;
    until("the bad ones to be counted", async || {
        let mut conn = running.lab.ctx.db.acquire().await.expect("a connection");
        let dead = ringvault_state::dead::list(&mut conn).await.expect("counted");
        let codes: Vec<_> = dead.iter().map(|dead| (dead.code.as_str(), dead.count)).collect();
        (codes == [("RV-MSG-JSON", 1), ("RV-MSG-PAYLOAD", 2), ("RV-MSG-VERSION", 1)]).then_some(())
    })
    .await;
    let mut dead = running.lab.ctx.queue.consume(topology::DEAD, 8);
    for _ in 0..4 {
        let delivery = dead.next().await.expect("a dead message");
        delivery.ack().await.expect("acknowledged");
    }
    let events = running.lab.events().await;
    assert_eq!(events.iter().filter(|event| *event == "request.rejected").count(), 4);
    client.close().await;
    running.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_task_for_a_worker_without_a_queue_waits_and_then_fails(db: PgPool) {
    let running = Running::start(db, PATIENCE).await;
    running.lab.nodes(1).await;
    let job = running.lab.submit(backup("b1"), "k").await.job;
    until("the job to fail", async || job_state(&running).await.filter(|state| *state == JobState::Failed))
        .await;
    let error = running.lab.job(job).await.error.expect("why");
    assert_eq!(error.code, "RV-WORKER-UNREACHABLE");
    running.lab.assert_replays(job).await;
    tokio::time::timeout(Duration::from_secs(60), running.end()).await.expect("it stops in time");
}
