//! Spans of `tracing`, and those that are told of afterwards, come to a collector linked as they happened.

mod support;

use std::time::{Duration, SystemTime};

use ringvault_core::trace::{JobTrace, TraceParent};
use ringvault_telemetry::{
    Entry, Finished, LogFormat, Program, TelemetryConfig, begin_job, current, enters, fails, is_exporting,
    renew, start, tell,
};
use support::{Collector, Seen};
use tracing::{Instrument as _, Span, debug_span, field::Empty, info_span};

const LOGS: LogFormat = LogFormat { filter: "info", json: true, flat: true, target: false };

/// As a program opens it.
fn request(parent: Option<TraceParent>, entry: Option<Entry>) -> Span {
    let span = info_span!(target: "ringvault_test", "http", path = "/v1/jobs", trace_id = Empty);
    enters(&span, entry, "POST", parent);
    span
}

fn named<'a>(spans: &'a [Seen], name: &str) -> &'a Seen {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name} in {spans:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_exported_as_it_hangs_together() {
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let headers_file = folder.path().join("headers");
    std::fs::write(&headers_file, "authorization: Bearer told\n").unwrap();
    let config = TelemetryConfig {
        otlp_endpoint: Some(collector.endpoint().parse().unwrap()),
        headers_file: Some(headers_file),
        ..TelemetryConfig::default()
    };
    assert!(!is_exporting());
    let given: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    assert_eq!(
        begin_job(Some(given)),
        Some(JobTrace::passed_on(given)),
        "nobody would tell of the job's span"
    );
    assert_eq!(begin_job(None), None);

    let program = Program { name: "ringvault-test", version: "1", instance: "one".to_owned() };
    let telemetry = start(&program, Some(&config), LOGS).unwrap();
    assert!(is_exporting() && current().is_none());

    // As sqlx does before each query: it asks whether it may log, and then does not.
    let foreign = info_span!(target: "sqlx", "query").metadata().unwrap();
    assert!(tracing::dispatcher::get_default(|dispatch| dispatch.enabled(foreign)));
    // From a caller's request to the store.
    let span = request(Some(given), Some(Entry::Request));
    let job = async {
        let job = begin_job(current()).unwrap();
        let store =
            debug_span!(target: "ringvault_test", "store", otel.name = "put", otel.status_code = Empty);
        store.record("otel.status_code", "ERROR");
        async {}.instrument(store).await;
        // Of a library, and nobody's business here.
        async {}.instrument(info_span!(target: "hyper", "connect")).await;
        job
    };
    let job = job.instrument(span.clone()).await;
    fails(&span, &"the disk is full");
    drop(span);
    tell(Finished {
        name: "job backup".to_owned(),
        place: job.own,
        parent: job.caller,
        began: SystemTime::now(),
        took: Duration::from_secs(7200),
        attributes: vec![("job", "j".to_owned())],
        error: None,
    });
    let again = renew(job);
    assert!(again.own.span != job.own.span && again.own.trace == job.own.trace && again.caller == job.caller);

    // What its beginning does not want kept, and what begins no trace.
    for (parent, entry) in
        [(Some(TraceParent { sampled: false, ..given }), Some(Entry::Request)), (None, None)]
    {
        let span = request(parent, entry);
        async { assert!(current().is_none_or(|place| !place.sampled)) }.instrument(span).await;
    }
    let fresh = begin_job(None).unwrap();
    assert!(fresh.own.sampled && fresh.caller.is_none() && fresh.own.trace != given.trace);
    telemetry.finish().await;

    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "{spans:#?}");
    let (http, put, told) = (named(&spans, "POST"), named(&spans, "put"), named(&spans, "job backup"));
    assert!(
        spans.iter().all(|span| span.trace == given.trace.to_string() && span.service == "ringvault-test")
    );
    assert_eq!(http.parent, given.span.to_string());
    assert_eq!((&put.parent, &told.parent), (&http.id, &http.id));
    assert_eq!(told.id, job.own.span.to_string());
    assert_eq!((http.failed, put.failed, told.failed), (true, true, false));
    assert_eq!((http.attribute("path"), told.attribute("job")), ("/v1/jobs", "j"));
    assert!(http.attributes.keys().all(|name| !name.starts_with("ringvault")), "{http:?}");
    assert!(collector.headers().iter().all(|headers| headers["authorization"] == "Bearer told"));
}
