//! Credentials and rights on a real RabbitMQ: what is refused is named, and a worker needs no more
//! than it is documented to need.

mod support;

use std::time::Duration;

use chrono::Utc;
use ringvault_core::ClusterName;
use ringvault_queue::{
    Beat, Envelope, Problem, Publish, PublishError, QueueConfig, Role, Session, SessionState,
    message::NodeGoodbye, topology,
};
use support::{Broker, a_report, a_worker, to, until, within};
use uuid::Uuid;

fn is_refused(state: &SessionState) -> bool {
    matches!(state.problem(), Some(Problem::AccessRefused { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_foreign_virtual_host_are_refusals() {
    let broker = Broker::new();
    let mut wrong_password = broker.url().clone();
    wrong_password.set_password(Some("wrong-password")).expect("a URL with a host");
    let mut no_such_vhost = broker.url().clone();
    no_such_vhost.set_path("no-such-vhost");
    for (url, word) in [(wrong_password, "ACCESS_REFUSED"), (no_such_vhost, "no-such-vhost")] {
        let config = QueueConfig::from_url(url.as_str());
        let session = Session::start(&config, Role::Scheduler, "test").expect("a good configuration");
        let state = until(&session, "a refusal", is_refused).await.to_string();
        assert!(state.contains(word), "{state}");
        assert!(!state.contains("wrong-password"), "{state}");
        session.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_works_with_a_worker_s_rights_and_can_do_no_more() {
    let mut broker = Broker::new();
    let config = broker.add_user(topology::WORKER_CONFIGURE, topology::WORKER_WRITE, topology::WORKER_READ);
    let scheduler = broker.connect(Role::Scheduler).await;
    let mut reports = scheduler.consume(topology::REPORTS, 10);
    let mut beats = scheduler.consume(topology::HEARTBEATS, 10);
    let mut dead = scheduler.consume(topology::DEAD, 10);

    let id = a_worker();
    let worker = Session::start(&config, Role::Worker(id), "test worker").expect("a good configuration");
    let mut tasks = worker.consume(topology::worker_queue(id), 10);
    within("the worker to connect", worker.connected()).await;

    let report = Publish::report(&a_report(id)).expect("a small message");
    worker.publish(&report).await.expect("it may report");
    let delivery = within("the report", reports.next()).await.expect("open");
    assert!(delivery.user_id.as_deref().is_some_and(|user| user.starts_with("user-")));
    delivery.ack().await.expect("a live connection");

    let goodbye = NodeGoodbye {
        worker: id,
        incarnation: Uuid::now_v7(),
        cluster: ClusterName::new("c").expect("a name"),
    };
    let beat = Envelope::new("worker/test", Utc::now(), Beat::Goodbye(goodbye));
    worker.publish(&Publish::beat(&beat).expect("small")).await.expect("it may beat");
    let delivery = within("the beat", beats.next()).await.expect("open");
    assert_eq!(delivery.parse().as_ref(), Ok(&beat));
    delivery.ack().await.expect("a live connection");

    scheduler.publish(&to(id)).await.expect("its queue is there");
    let task = within("the task", tasks.next()).await.expect("open");
    task.dead_letter("it is not signed").await.expect("it may dead-letter");
    let delivery = within("the dead message", dead.next()).await.expect("open");
    delivery.ack().await.expect("a live connection");

    // Neither to other workers, nor as another system.
    for forbidden in [
        to(a_worker()),
        Publish { exchange: topology::REQUESTS.to_owned(), ..to(id) },
        Publish { exchange: topology::EVENTS.to_owned(), ..to(id) },
    ] {
        let exchange = forbidden.exchange.clone();
        let refused = worker.publish_within(&forbidden, Duration::from_secs(30)).await;
        let Err(PublishError::Refused { cause, .. }) = refused else { panic!("{exchange}: {refused:?}") };
        assert!(cause.contains(&exchange), "{cause}");
    }
    // Nor read what others say.
    let mut spying = worker.consume(topology::REPORTS, 1);
    let state = until(&worker, "a refusal", is_refused).await.to_string();
    assert!(state.contains("consume the queue ringvault.reports"), "{state}");
    assert!(tokio::time::timeout(Duration::from_millis(100), spying.next()).await.is_err());
    drop(spying);
    within("the worker to be back", worker.connected()).await;
    worker.close().await;
    scheduler.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_without_rights_says_what_it_could_not_declare() {
    let mut broker = Broker::new();
    let config = broker.add_user("^$", ".*", ".*");
    let session = Session::start(&config, Role::Scheduler, "test").expect("a good configuration");
    let state = until(&session, "a refusal", is_refused).await.to_string();
    assert!(state.contains("declare the exchange ringvault.requests"), "{state}");
    session.close().await;
}
