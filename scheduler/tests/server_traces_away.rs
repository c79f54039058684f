//! A collector that is not there changes nothing but that nothing is told to it.

mod support;

use std::time::{Duration, Instant};

use reqwest::Method;
use ringvault_core::job::JobState;
use ringvault_telemetry::{LogFormat, Program, TelemetryConfig};
use serde_json::json;
use sqlx::PgPool;
use support::{
    Lab,
    http::{ADMIN, Answer},
};
use tokio::net::TcpListener;

#[sqlx::test(migrations = "../migrations")]
async fn a_job_goes_its_way_without_a_collector(db: PgPool) {
    // Accepts, and never says a word: worse than nobody.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = TelemetryConfig {
        otlp_endpoint: Some(format!("http://{}", silent.local_addr().unwrap()).parse().unwrap()),
        ..TelemetryConfig::default()
    };
    let program = Program { name: "ringvault-test", version: "1", instance: "sched-1".to_owned() };
    let logs = LogFormat { filter: "warn", json: false, flat: false, target: true };
    let telemetry = ringvault_telemetry::start(&program, Some(&config), logs).unwrap();

    let lab = Lab::new(db).await;
    let workers = lab.nodes(2).await;
    let http = lab.http().await;
    // A traceparent that is none is none, and no reason to refuse anything.
    for (number, sent) in
        ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "nonsense"].iter().enumerate()
    {
        let ask = http.bare(Method::POST, "/v1/backups").bearer_auth(ADMIN).header("traceparent", *sent);
        let body = json!({"cluster": "c", "name": format!("b{number}")});
        let asked = Answer::read(ask.json(&body).send().await.unwrap()).await.json(202);
        let job = asked["job"].as_str().unwrap().parse().unwrap();
        lab.run(&workers).await;
        let row = lab.job(job).await;
        assert_eq!(row.machine.state, JobState::Succeeded);
        let trace = row.trace.expect("each job has a trace");
        assert_eq!(sent.contains(&trace.own.trace.to_string()), number == 0);
        assert_eq!((trace.own.sampled, trace.caller.is_some()), (number == 1, true));
    }
    // One that nobody asked for over HTTP has a trace of its own.
    let own = lab.submit(support::backup("b2"), "k").await.job;
    let trace = lab.job(own).await.trace.expect("a trace");
    assert!(trace.own.sampled && trace.caller.is_none());

    let began = Instant::now();
    telemetry.finish().await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
