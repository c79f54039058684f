//! Publishing on a real RabbitMQ: what `Ok` promises, and which error means what.

mod support;

use std::time::Duration;

use futures::future::join_all;
use ringvault_queue::{KeyRing, Publish, PublishError, Role, Session, topology};
use support::{Broker, a_grant, a_report, a_worker, to, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_away_makes_its_message_unroutable() {
    let broker = Broker::new();
    let scheduler = broker.connect(Role::Scheduler).await;
    let worker = a_worker();
    let away = scheduler.publish(&to(worker)).await;
    assert_eq!(
        away,
        Err(PublishError::Unroutable {
            exchange: topology::TASKS.to_owned(),
            routing_key: worker.to_string(),
        })
    );
    let present = broker.connect(Role::Worker(worker)).await;
    scheduler.publish(&to(worker)).await.expect("its queue is there");
    present.close().await;
    // A close waits for the broker only so long, and until the broker is done with it the queue of
    // the one that left still takes messages; what it took is lost, and sent again by its deadline.
    let away = within("the queue to go with its owner", async {
        loop {
            let published = scheduler.publish(&to(worker)).await;
            if published != Ok(()) {
                break published;
            }
        }
    });
    let away = away.await;
    assert!(matches!(away, Err(PublishError::Unroutable { .. })), "{away:?}");
    scheduler.close().await;
}

/// The client library hands a returned message to whichever confirm comes next. Every message must
/// get its own verdict all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_of_many_messages_in_flight_gets_its_own_verdict() {
    let broker = Broker::new();
    let scheduler = broker.connect(Role::Scheduler).await;
    let worker = a_worker();
    let worker_session = broker.connect(Role::Worker(worker)).await;
    let mut consumer = worker_session.consume(topology::worker_queue(worker), 1000);

    let publishes = (0..1200).map(|index| {
        let scheduler = scheduler.clone();
        // To a live worker, to nobody, and to a quorum queue, whose confirms come late.
        let message = match index % 3 {
            0 => to(worker),
            1 => to(a_worker()),
            _ => Publish::report(&a_report(worker)).expect("a small message"),
        };
        tokio::spawn(async move { (index, scheduler.publish(&message).await) })
    });
    for joined in within("1200 confirms", join_all(publishes)).await {
        let (index, result) = joined.expect("no panic");
        match index % 3 {
            1 => assert!(matches!(result, Err(PublishError::Unroutable { .. })), "{index}: {result:?}"),
            _ => assert_eq!(result, Ok(()), "{index}"),
        }
    }
    for _ in 0..400 {
        let delivery = within("a delivery", consumer.next()).await.expect("the session is open");
        delivery.ack().await.expect("a live connection");
    }
    worker_session.close().await;
    scheduler.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_arrives_signed_and_with_its_author() {
    let broker = Broker::new();
    let keys = KeyRing::from_secret(vec![7; 32]);
    let scheduler = broker.connect(Role::Scheduler).await;
    let worker = a_worker();
    let session = broker.connect(Role::Worker(worker)).await;
    let mut consumer = session.consume(topology::worker_queue(worker), 10);

    let grant = a_grant();
    let message = Publish::to_worker(worker, &grant).expect("a small message");
    scheduler.publish(&message.clone().sign(&keys)).await.expect("published");
    scheduler.publish(&message).await.expect("published");

    let signed = within("the signed message", consumer.next()).await.expect("open");
    assert_eq!(signed.verify(&keys), Ok(()));
    assert_eq!(signed.parse().as_ref(), Ok(&grant));
    assert_eq!(signed.message_type.as_deref(), Some("task.grant"));
    assert_eq!(signed.message_id, Some(grant.id.to_string()));
    let author = broker.url().username();
    assert_eq!(signed.user_id.as_deref(), Some(if author.is_empty() { "guest" } else { author }));
    signed.ack().await.expect("a live connection");

    let unsigned = within("the unsigned message", consumer.next()).await.expect("open");
    assert!(unsigned.verify(&keys).is_err());
    unsigned.ack().await.expect("a live connection");
    session.close().await;
    scheduler.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_is_missing_is_named_and_costs_only_its_own_message() {
    let broker = Broker::new();
    let scheduler = broker.connect(Role::Scheduler).await;
    let nowhere = Publish { exchange: "ringvault.nowhere".to_owned(), ..to(a_worker()) };
    let refused = scheduler.publish(&nowhere).await;
    let Err(PublishError::Refused { exchange, cause }) = refused else { panic!("{refused:?}") };
    assert_eq!(exchange, "ringvault.nowhere");
    assert!(cause.contains("no exchange 'ringvault.nowhere'"), "{cause}");
    let report = Publish::report(&a_report(a_worker())).expect("a small message");
    scheduler.publish_within(&report, Duration::from_secs(30)).await.expect("the session comes back");
    scheduler.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_publishing_fails_at_once_and_says_why() {
    let unreachable = ringvault_queue::QueueConfig::from_url("amqp://u:p@127.0.0.1:1/none");
    let session = Session::start(&unreachable, Role::Scheduler, "test").expect("a good configuration");
    until(&session, "a failed try", |state| state.problem().is_some()).await;
    let refused = session.publish(&to(a_worker())).await;
    let Err(PublishError::Disconnected { state }) = refused else { panic!("{refused:?}") };
    assert!(state.contains("127.0.0.1:1") && state.contains("refused"), "{state}");
    assert!(!state.contains("u:p"), "{state}");
    session.close().await;
    let closed = session.publish(&to(a_worker())).await;
    assert_eq!(closed, Err(PublishError::Disconnected { state: "closed".to_owned() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_harm_the_connection_is_refused_before_it_is_sent() {
    let broker = Broker::new();
    let session = broker.connect(Role::Scheduler).await;
    let good = to(a_worker());
    let mut headers = good.headers.clone();
    headers.insert("x-large".to_owned(), "x".repeat(4000));
    for bad in [
        Publish { routing_key: "x".repeat(256), ..good.clone() },
        Publish { message_type: "x".repeat(256), ..good.clone() },
        Publish { headers, ..good.clone() },
        Publish { body: vec![b' '; ringvault_queue::envelope::MAX_BYTES + 1], ..good.clone() },
    ] {
        let refused = session.publish(&bad).await;
        assert!(matches!(refused, Err(PublishError::Invalid { .. })), "{refused:?}");
    }
    assert!(session.state().borrow().is_connected());
    session.close().await;
}
