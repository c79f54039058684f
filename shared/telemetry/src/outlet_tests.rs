use std::net::SocketAddr;

use opentelemetry::{
    InstrumentationScope, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanEvents, SpanLinks},
};
use tokio::net::TcpListener;

use super::*;
use crate::TelemetryConfig;

#[path = "../tests/support/mod.rs"]
mod support;

fn span() -> SpanData {
    let (trace, id) = (TraceId::from_bytes([1; 16]), SpanId::from_bytes([2; 8]));
    let now = std::time::SystemTime::now();
    SpanData {
        span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::default()),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "put".into(),
        start_time: now,
        end_time: now,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("test").build(),
    }
}

fn outlet(address: SocketAddr) -> Outlet {
    let endpoint = format!("http://{address}/v1/traces").parse().unwrap();
    let resource = Resource::builder_empty().build();
    Outlet::open(Collector::open(endpoint, &TelemetryConfig::default(), &resource).unwrap())
}

/// Where nobody listens.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_a_full_queue_and_no_time() {
    // One that nobody listens at, and one that accepts and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for address in [nowhere().await, silent.local_addr().unwrap()] {
        let outlet = outlet(address);
        let many = 4 * QUEUE;
        for _ in 0..many {
            outlet.take(span());
        }
        let kept = many as u64 - outlet.lost();
        assert!(kept <= (QUEUE + 2 * BATCH) as u64, "{kept} are kept");
        let began = Instant::now();
        outlet.drain().await;
        assert!(began.elapsed() < DRAIN + Duration::from_secs(2), "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_is_sent_when_the_collector_is_back() {
    let address = nowhere().await;
    let outlet = outlet(address);
    for _ in 0..10 {
        outlet.take(span());
    }
    // It has been tried in vain by then.
    tokio::time::sleep(LINGER + Duration::from_millis(500)).await;
    let collector = support::Collector::at(address).await;
    collector.until("the spans that waited", |spans| (spans.len() == 10).then_some(())).await;
    assert_eq!(outlet.lost(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_sent_when_it_is_full_and_the_rest_at_the_end() {
    let collector = support::Collector::start().await;
    let outlet = outlet(collector.address);
    for _ in 0..=BATCH {
        outlet.take(span());
    }
    outlet.drain().await;
    assert_eq!(collector.spans().len(), BATCH + 1);
}

#[test]
fn each_trouble_is_told_once_and_its_end() {
    let mut trouble = Trouble::default();
    let heard = [
        (false, 0),
        (true, 0),
        (true, 30),
        (true, 70),
        (false, 70),
        (false, 70),
        (true, 70),
        (false, 75),
        (false, 80),
        (false, 90),
    ];
    let told: Vec<_> = heard.into_iter().map(|(is_wrong, lost)| trouble.heard(is_wrong, lost)).collect();
    assert_eq!(
        told,
        [
            None,
            Some(Told::Begun),
            None,
            None,
            Some(Told::Over { lost: 70 }),
            None,
            Some(Told::Begun),
            Some(Told::Over { lost: 5 }),
            Some(Told::Crowded),
            None,
        ]
    );
}
