//! A trace of a backup, from the message of another system over schedulers and workers down to an object in the store.

#[path = "../../shared/telemetry/tests/support/mod.rs"]
mod collector;

use anyhow::{Context as _, Result, ensure};
use chrono::Utc;
use collector::{Collector, Seen, way_up};
use ringvault_core::trace::TraceParent;
use ringvault_tests::{
    Lab, Ringvault,
    lab::T1,
    own::OwnProgram,
    requester::{Errand, Expected, request},
    ringvault::{exit, fresh},
    shop::Shop,
};
use serde_json::json;
use toml::{Table, Value};

const KEYSPACE: &str = "e2e_traces";

fn section(collector: &Collector) -> Table {
    [("otlp_endpoint".to_owned(), Value::from(collector.endpoint()))].into_iter().collect()
}

/// The way from a span of this name and service up to the caller: there is one that looks so.
fn has_way(spans: &[Seen], service: &str, names: &[&str], caller: &TraceParent) -> bool {
    spans.iter().filter(|span| span.service == service).any(|span| {
        let (way, above) = way_up(spans, span);
        way == names && above == caller.span.to_string() && span.trace == caller.trace.to_string()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_followed_from_the_message_that_asked_for_it() -> Result<()> {
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, 5, 20).await?;
    let collector = Collector::start().await;
    let settings = Table::from_iter([("telemetry".to_owned(), Value::from(section(&collector)))]);
    let scheduler = OwnProgram::scheduler(&lab, &settings.to_string()).await?;
    let worker = OwnProgram::worker(&lab, T1, 1, |config| config.extend(settings)).await?;

    let caller: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
    let (key, name) = (fresh("key"), fresh("traced"));
    let ask = json!({
        "id": "0193511c-9e00-7000-8000-0000000000aa",
        "type": "job.create",
        "version": 1,
        "source": "release-train",
        "created_at": Utc::now(),
        "idempotency_key": key,
        "traceparent": caller.to_string(),
        "payload": {"kind": "backup", "cluster": T1, "name": name, "selection": {"keyspaces": [KEYSPACE]}},
    });
    let errand = Errand {
        publish: vec![ask.to_string()],
        wait_for: vec![Expected::new("job.succeeded", [("request_key", key.as_str())])],
        seconds: 180,
    };
    let events = request(&lab, &errand).await?;
    let told = events.iter().find(|event| event.body["type"] == "job.succeeded").context("it is told")?;
    let place: TraceParent = told.body["traceparent"].as_str().context("a place in the trace")?.parse()?;
    ensure!(place.trace == caller.trace && place.span != caller.span, "{place}");

    let (by_scheduler, by_worker) = ("ringvault-scheduler", "ringvault-worker");
    let up = ["job backup", "job.create"];
    let way = |names: &[&'static str]| [names, &up[..]].concat();
    let ways = [
        (by_scheduler, way(&["stage snapshot"])),
        (by_worker, way(&["take_snapshot", "task snapshot", "stage snapshot"])),
        (by_worker, way(&["put", "upload snapshot", "task upload", "stage upload"])),
    ];
    let spans = collector
        .until("a backup from its request down to the store", |spans| {
            let all = ways.iter().all(|(service, names)| has_way(spans, service, names, &caller));
            all.then(|| spans.to_vec())
        })
        .await;
    let task = spans.iter().find(|span| span.name == "task upload").context("an upload")?;
    ensure!(
        ["job", "task", "node"].iter().all(|name| !task.attribute(name).is_empty())
            && (task.attribute("cluster"), task.attribute("backup")) == (T1, name.as_str()),
        "{task:?}"
    );
    ensure!(spans.iter().all(|span| span.trace == caller.trace.to_string()), "{spans:#?}");

    let rv = Ringvault::of(&lab).await?;
    let job = rv.show_job(task.attribute("job")).await?;
    ensure!(job.trace_id == Some(caller.trace), "{:?}", job.trace_id);
    let shown = rv.run(&["job", "show", task.attribute("job")]).await?.expect(exit::OK)?;
    shown.says(&["Trace", &caller.trace.to_string()])?;
    let log = worker.log()?;
    let line =
        log.lines().find(|line| line.contains("the node's manifest is stored")).context("a line of it")?;
    ensure!(
        ["job=", "task=", "node=", "backup=", &format!("trace_id={}", caller.trace)]
            .iter()
            .all(|field| line.contains(field)),
        "{line}"
    );
    drop((worker, scheduler));
    shop.close().await
}
