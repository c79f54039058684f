//! The dead queue on a real RabbitMQ.

mod support;

use ringvault_queue::{
    Publish, Report, Request, Role,
    session::{QUEUE_HEADER, REASON_HEADER, ROUTING_KEY_HEADER},
    topology,
};
use support::{Broker, a_report, a_worker, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_message_goes_to_the_dead_queue_with_its_reason_and_blocks_nothing() {
    let broker = Broker::new();
    let session = broker.connect(Role::Scheduler).await;
    let mut requests = session.consume(topology::REQUESTS, 1);
    let mut dead = session.consume(topology::DEAD, 1);
    let template = Publish::report(&a_report(a_worker())).expect("a small message");
    let malformed = Publish {
        exchange: topology::REQUESTS.to_owned(),
        routing_key: "job.create".to_owned(),
        message_type: "job.create".to_owned(),
        body: b"{\"version\": 1, oops".to_vec(),
        ..template.clone()
    };
    let next = Publish { body: b"{}".to_vec(), ..malformed.clone() };
    session.publish(&malformed).await.expect("published");
    session.publish(&next).await.expect("published");

    let delivery = within("the malformed message", requests.next()).await.expect("open");
    let reason = delivery.parse::<Request>().expect_err("it is malformed").to_string();
    delivery.dead_letter(&reason).await.expect("dead-lettered");

    let delivery = within("the next message", requests.next()).await.expect("open");
    assert_eq!(delivery.body, next.body, "the malformed one must not come again");
    delivery.ack().await.expect("a live connection");

    let delivery = within("the dead message", dead.next()).await.expect("open");
    assert_eq!(delivery.body, malformed.body);
    assert_eq!(delivery.headers.get(REASON_HEADER), Some(&reason));
    assert!(reason.contains("not JSON") && reason.contains("line 1"), "{reason}");
    assert_eq!(delivery.headers.get(QUEUE_HEADER).map(String::as_str), Some(topology::REQUESTS));
    assert_eq!(delivery.headers.get(ROUTING_KEY_HEADER).map(String::as_str), Some("job.create"));
    assert_eq!(delivery.message_type.as_deref(), Some("job.create"));
    delivery.ack().await.expect("a live connection");
    session.close().await;
}

/// A report that kills its reader each time must not do so for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_given_back_too_often_dies() {
    let broker = Broker::new();
    let session = broker.connect(Role::Scheduler).await;
    let mut reports = session.consume(topology::REPORTS, 1);
    let mut dead = session.consume(topology::DEAD, 1);
    let envelope = a_report(a_worker());
    session.publish(&Publish::report(&envelope).expect("small")).await.expect("published");
    let mut given_back = 0;
    let died = loop {
        tokio::select! {
            delivery = reports.next() => {
                delivery.expect("open").requeue().await.expect("a live connection");
                given_back += 1;
                assert!(given_back <= 200, "it never died");
            }
            delivery = within("the dead message", dead.next()) => break delivery.expect("open"),
        }
    };
    assert!(given_back > 50, "it died after {given_back}");
    assert_eq!(died.parse::<Report>(), Ok(envelope));
    let obituary = died.obituary();
    assert_eq!((obituary.queue.as_str(), obituary.code.as_str()), (topology::REPORTS, "RV-UNREADABLE"));
    died.ack().await.expect("a live connection");
    session.close().await;
}
