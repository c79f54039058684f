//! One session on a real RabbitMQ, through all that can happen to it.

mod support;

use std::{collections::HashSet, time::Duration};

use ringvault_queue::{Delivery, Problem, Publish, Role, Session, SessionState, Stale, topology};
use support::{Broker, a_report, a_worker, rabbitmqctl, to, until, within};

async fn next(consumer: &mut ringvault_queue::Consumer) -> Delivery {
    within("a delivery", consumer.next()).await.expect("the session is open")
}

async fn report(session: &Session, patience: u64) -> String {
    let envelope = a_report(a_worker());
    let message = Publish::report(&envelope).expect("a small message");
    session.publish_within(&message, Duration::from_secs(patience)).await.expect("published");
    envelope.id.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_with_the_same_id_is_told_so_until_the_first_leaves() {
    let broker = Broker::new();
    let scheduler = broker.connect(Role::Scheduler).await;
    let worker = a_worker();
    let first = broker.connect(Role::Worker(worker)).await;
    let second = broker.start(Role::Worker(worker));
    let locked = |state: &SessionState| matches!(state.problem(), Some(Problem::LockedByOther { .. }));
    let state = until(&second, "the second to be refused", locked).await;
    assert!(state.to_string().contains(&topology::worker_queue(worker)), "{state}");
    // It keeps saying so while it tries again, and the first is not disturbed.
    let again = |state: &SessionState| {
        matches!(
            state,
            SessionState::Reconnecting { attempts: 3.., because: Problem::LockedByOther { .. }, .. }
        )
    };
    until(&second, "further tries", again).await;
    assert!(first.state().borrow().is_connected());
    first.close().await;
    within("the second to take its place", second.connected()).await;
    second.close().await;
    scheduler.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_connection_is_rebuilt_and_what_was_unacknowledged_comes_again() {
    let broker = Broker::new();
    let session = broker.connect(Role::Scheduler).await;
    let mut consumer = session.consume(topology::REPORTS, 10);
    let acked = report(&session, 0).await;
    let unacked = report(&session, 0).await;
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.message_id.as_ref(), Some(&acked));
    delivery.ack().await.expect("a live connection");
    let held = next(&mut consumer).await;
    assert_eq!(held.message_id.as_ref(), Some(&unacked));

    broker.kill_connections().await;
    until(&session, "the loss to be seen", |_| held.is_stale()).await;
    assert_eq!(held.ack().await, Err(Stale));

    let after = report(&session, 60).await;
    let mut seen = HashSet::new();
    while seen.len() < 2 {
        let delivery = next(&mut consumer).await;
        let id = delivery.message_id.clone().expect("messages have ids");
        assert_ne!(id, acked, "what was acknowledged must not come again");
        if id == unacked {
            assert!(delivery.redelivered);
        }
        seen.insert(id);
        delivery.ack().await.expect("a live connection");
    }
    assert_eq!(seen, HashSet::from([unacked, after]));
    session.close().await;
    assert!(within("the stream's end", consumer.next()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_connection_is_killed_gets_its_queue_back() {
    let broker = Broker::new();
    let scheduler = broker.connect(Role::Scheduler).await;
    let worker = a_worker();
    let session = broker.connect(Role::Worker(worker)).await;
    let mut consumer = session.consume(topology::worker_queue(worker), 10);
    for _ in 0..3 {
        broker.kill_connections().await;
        within("the worker to be back", async {
            // Unroutable until it is; the scheduler's own connection was killed too.
            while scheduler.publish(&to(worker)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        next(&mut consumer).await.ack().await.expect("a live connection");
    }
    session.close().await;
    scheduler.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_cancelled_by_the_broker_goes_on() {
    let broker = Broker::new();
    let session = broker.connect(Role::Scheduler).await;
    let mut consumer = session.consume(topology::REPORTS, 10);
    report(&session, 0).await;
    next(&mut consumer).await.ack().await.expect("a live connection");
    broker.delete_queue(topology::REPORTS).await;
    until(&session, "the cancel to be seen", |state| {
        state.problem().is_some_and(|problem| problem.to_string().contains("cancelled"))
    })
    .await;
    let id = report(&session, 60).await;
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.message_id, Some(id));
    delivery.ack().await.expect("a live connection");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_dropped_gives_back_what_it_held() {
    let broker = Broker::new();
    let session = broker.connect(Role::Scheduler).await;
    let mut first = session.consume(topology::REPORTS, 10);
    let id = report(&session, 0).await;
    let held = next(&mut first).await;
    drop(first);
    let mut second = session.consume(topology::REPORTS, 10);
    let again = next(&mut second).await;
    assert_eq!(again.message_id, Some(id));
    assert_eq!(held.ack().await, Err(Stale));
    again.ack().await.expect("a live connection");
    assert!(session.state().borrow().is_connected(), "one consumer's end is not the session's");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prefetch_bounds_what_is_in_hand() {
    let broker = Broker::new();
    let session = broker.connect(Role::Scheduler).await;
    for _ in 0..5 {
        report(&session, 0).await;
    }
    let mut consumer = session.consume(topology::REPORTS, 2);
    let (first, second) = (next(&mut consumer).await, next(&mut consumer).await);
    let third = tokio::time::timeout(Duration::from_millis(500), consumer.next()).await;
    assert!(third.is_err(), "a third was delivered");
    first.ack().await.expect("a live connection");
    next(&mut consumer).await.ack().await.expect("a live connection");
    second.requeue().await.expect("a live connection");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_starts_before_any_scheduler_waits_for_one() {
    let broker = Broker::new();
    let worker = broker.start(Role::Worker(a_worker()));
    let missing = |state: &SessionState| matches!(state.problem(), Some(Problem::Missing { .. }));
    let state = until(&worker, "the exchange to be missed", missing).await;
    assert!(state.to_string().contains("is a scheduler running?"), "{state}");
    let scheduler = broker.connect(Role::Scheduler).await;
    within("the worker to connect", worker.connected()).await;
    worker.close().await;
    scheduler.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_named() {
    let broker = Broker::new();
    let stranger = lapin::Connection::connect(broker.url().as_str(), lapin::ConnectionProperties::default())
        .await
        .expect("a connection");
    let channel = stranger.create_channel().await.expect("a channel");
    let durable = lapin::options::QueueDeclareOptions { durable: true, ..Default::default() };
    channel
        .queue_declare(topology::REPORTS.into(), durable, lapin::types::FieldTable::default())
        .await
        .expect("a classic queue in the place of a quorum queue");
    let session = broker.start(Role::Scheduler);
    let state = until(&session, "the mismatch to be seen", |state| {
        matches!(state.problem(), Some(Problem::Mismatch { .. }))
    })
    .await;
    assert!(state.to_string().contains("declare the queue ringvault.reports"), "{state}");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_closes_from_every_state() {
    let broker = Broker::new();
    let connected = broker.connect(Role::Scheduler).await;
    let connecting = broker.start(Role::Scheduler);
    let locked = broker.connect(Role::Worker(a_worker())).await;
    for session in [&connected, &connecting, &locked] {
        within("the session to close", session.close()).await;
        assert_eq!(*session.state().borrow(), SessionState::Closed);
        within("a second close", session.close()).await;
        assert!(!within("an answer", session.connected()).await);
    }
    assert!(within("the end", connected.consume(topology::REPORTS, 1).next()).await.is_none());
    // A close waits for the broker's answer only so long; the broker ends the connection all the same.
    within("the broker to list no connection", async {
        while rabbitmqctl(&["list_connections", "--quiet", "vhost"]).contains(broker.vhost()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
