//! One trace, from a caller's request over HTTP to the object that is put into S3 for it: through Postgres and
//! RabbitMQ, and told of by the scheduler that settles the job.

#[path = "../../shared/vault/tests/support/bucket.rs"]
mod bucket;
#[path = "../../shared/telemetry/tests/support/mod.rs"]
mod collector;
mod support;

use std::collections::HashMap;

use chrono::Utc;
use collector::{Collector, way_up};
use reqwest::Method;
use ringvault_core::{JobId, TaskId, job::JobState, trace::TraceParent};
use ringvault_queue::{
    Envelope, Event, Publish, Report, Role, Session, TaskMessage,
    message::{TaskOffer, TaskSucceeded},
    topology,
};
use ringvault_telemetry::{Entry, LogFormat, Program, TelemetryConfig, enters};
use ringvault_vault::Vault;
use serde_json::json;
use sqlx::PgPool;
use support::{
    http::{ADMIN, Answer},
    running::Running,
    vault_hands::Hands,
    worker::Worker,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, field::Empty, info_span};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What a worker was offered, and where in a trace.
type Offers = HashMap<TaskId, (TaskOffer, Option<TraceParent>)>;

/// A worker over the queue, whose work in the vault is real.
struct Station<'a> {
    session: Session,
    worker: &'a Worker,
    hands: Hands<'a>,
}

impl Station<'_> {
    async fn report(&self, report: Report) {
        let message = Publish::report(&Envelope::new("worker", Utc::now(), report)).expect("a small message");
        self.session.publish(&message).await.expect("published");
    }

    async fn work(&self, stop: &CancellationToken) {
        let mut messages = self.session.consume(topology::worker_queue(self.worker.id), 8);
        let mut offers = Offers::new();
        loop {
            let delivery = tokio::select! {
                delivery = messages.next() => delivery.expect("the session is open"),
                () = stop.cancelled() => return,
            };
            let envelope = delivery.parse::<TaskMessage>().expect("a message to a worker");
            match envelope.body {
                TaskMessage::Offer(offer) => {
                    let trace = envelope.traceparent.map(|text| text.parse().expect("a traceparent"));
                    self.report(self.worker.started(&offer)).await;
                    offers.insert(offer.task, (offer, trace));
                }
                TaskMessage::Grant(grant) => {
                    let (offer, trace) = offers.remove(&grant.task).expect("it was offered");
                    self.execute(&offer, trace).await;
                }
                TaskMessage::Control(_) | TaskMessage::Describe(_) => {}
            }
            delivery.ack().await.expect("acknowledged");
        }
    }

    /// As a worker's executor does.
    async fn execute(&self, offer: &TaskOffer, trace: Option<TraceParent>) {
        let span = info_span!(target: "ringvault_test", "task", task = %offer.task, trace_id = Empty);
        enters(&span, Some(Entry::Message), format!("task {}", offer.stage.as_str()), trace);
        let result = Box::pin(self.hands.work(self.worker, offer)).instrument(span).await;
        let (task, epoch, worker) = (offer.task, offer.epoch, self.worker.id);
        self.report(Report::Succeeded(TaskSucceeded { task, epoch, worker, result })).await;
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_request_is_followed_down_to_the_object_that_is_put(db: PgPool) {
    let collector = Collector::start().await;
    let config = TelemetryConfig {
        otlp_endpoint: Some(collector.endpoint().parse().unwrap()),
        ..TelemetryConfig::default()
    };
    let program = Program { name: "ringvault-test", version: "1", instance: "sched-1".to_owned() };
    let logs = LogFormat { filter: "warn", json: false, flat: false, target: true };
    let telemetry = ringvault_telemetry::start(&program, Some(&config), logs).unwrap();

    let running = Running::start(db, "").await;
    let (lab, caller) = (&running.lab, CALLER.parse::<TraceParent>().unwrap());
    let workers = lab.nodes(1).await;
    let http = lab.http().await;
    let (s3, _files) = bucket::config().await;
    let vault = Vault::init(&s3, "test").await.unwrap();
    let session = Session::start(&running.broker.config(), Role::Worker(workers[0].id), "worker").unwrap();
    assert!(session.connected().await);
    let hands = Hands { vault: &vault, folder: lab.folder(), nodes: 1, content: "a".to_owned() };
    let station = Station { session: session.clone(), worker: &workers[0], hands };

    // Reading begins no trace, and the leader's own looks into the store begin none.
    http.get("/v1/jobs").await.json(200);
    let ask = http.bare(Method::POST, "/v1/backups").bearer_auth(ADMIN).header("traceparent", CALLER);
    let asked = Answer::read(ask.json(&json!({"cluster": "c"})).send().await.unwrap()).await.json(202);
    let job: JobId = asked["job"].as_str().unwrap().parse().unwrap();
    let done = CancellationToken::new();
    let ((), ()) = tokio::join!(station.work(&done), async {
        running.comes_to(job, JobState::Succeeded).await;
        done.cancel();
    });

    let shown = http.get(&format!("/v1/jobs/{job}")).await.json(200);
    assert_eq!(shown["trace_id"], caller.trace.to_string());
    let spans = collector
        .until("the job and all that was done for it", |spans| {
            let has = |name: &str| spans.iter().any(|span| span.name == name);
            (has("job backup") && has("task seal") && has("POST")).then(|| spans.to_vec())
        })
        .await;
    let put = spans.iter().find(|span| span.name == "put" && span.attribute("object").contains("/data/"));
    let put = put.unwrap_or_else(|| panic!("an object of data in {spans:#?}"));
    let (names, above) = way_up(&spans, put);
    assert_eq!(
        names,
        ["put", "upload snapshot", "task upload", "stage upload", "job backup", "POST"],
        "{put:?}"
    );
    assert_eq!(above, caller.span.to_string());
    assert_eq!(put.attribute("result"), "ok");
    assert!(put.attribute("bytes").parse::<u64>().unwrap() > 0, "{put:?}");
    for span in &spans {
        assert_eq!(span.trace, caller.trace.to_string(), "{span:?}");
        assert_eq!(way_up(&spans, span).1, caller.span.to_string(), "{span:?}");
        assert!(!span.failed || span.name == "head", "{span:?}");
    }
    let told = spans.iter().find(|span| span.name == "job backup").unwrap();
    assert_eq!((told.attribute("job"), told.attribute("cluster")), (job.to_string().as_str(), "c"));

    // Other systems hear of the job where it is in the trace.
    let event: Vec<u8> = sqlx::query_scalar("select body from outbox where message_type = 'job.succeeded'")
        .fetch_one(&lab.ctx.db)
        .await
        .unwrap();
    let envelope = Envelope::<Event>::parse(&event).unwrap();
    let heard: TraceParent = envelope.traceparent.unwrap().parse().unwrap();
    assert_eq!((heard.trace, heard.span.to_string()), (caller.trace, told.id.clone()));

    session.close().await;
    running.end().await;
    telemetry.finish().await;
}
