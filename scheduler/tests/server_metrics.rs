//! What Prometheus and people are given to watch Ringvault with, against what a scheduler really says.

#![allow(clippy::large_futures)] // a test may hold what it likes

mod support;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use sqlx::PgPool;
use support::{Lab, backup};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every name of a metric of ours in a text, as it is declared: without what a histogram appends.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.match_indices("ringvault_")
        .map(|(at, _)| text[at..].chars().take_while(|c| is_of_name(*c)).collect::<String>())
        .map(|name| {
            ["_bucket", "_sum", "_count"]
                .iter()
                .fold(name.clone(), |base, end| base.strip_suffix(end).map_or(base.clone(), str::to_owned))
        })
        .collect()
}

/// The names in the manual's table, of those that `by` tells.
fn in_the_manual(by: &str) -> BTreeSet<String> {
    let manual = read("docs/metrics.md");
    let rows = manual.lines().filter(|line| line.starts_with("| `ringvault_"));
    let told = rows.filter(|row| row.split('|').nth(2).is_some_and(|of| of.contains(by)));
    told.filter_map(|row| row.split('`').nth(1).map(str::to_owned)).collect()
}

fn promtool(arguments: &[&str], input: &str) {
    let program = std::env::var("RINGVAULT_TEST_PROMTOOL")
        .expect("RINGVAULT_TEST_PROMTOOL is not set: this test needs promtool, run it with dev/test");
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(root().join("deploy/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("written");
    let done = child.wait_with_output().expect("it ends");
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&said));
}

#[sqlx::test(migrations = "../migrations")]
async fn metrics_alerts_runbooks_and_dashboard_fit_together(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(3).await;
    let http = lab.http().await;
    lab.submit(backup("b1"), "k").await;
    lab.run(&workers).await;
    let page = http.get("/metrics").await.text;
    promtool(&["check", "metrics"], &page);
    assert!(page.contains("ringvault_nodes{cluster=\"c\",state=\"live\"} 3\n"), "{page}");
    assert!(page.contains("ringvault_nodes{cluster=\"c\",state=\"no_worker\"} 0\n"), "{page}");
    assert!(page.contains("ringvault_build_info{version=\""), "{page}");
    // Its own requests: a scheduler that opened its vault has read its record.
    let opened = "ringvault_store_requests_total{kind=\"get\",result=\"ok\"} ";
    let gets = page.lines().find_map(|line| line.strip_prefix(opened)).expect(opened);
    assert!(gets.parse::<u64>().expect("a count") > 0, "{gets}");
    assert!(page.contains("ringvault_store_request_seconds_bucket{kind=\"get\",le=\"+Inf\"} "), "{page}");

    let told: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .collect();
    // The worker's page is held to the same table, beside the worker.
    assert_eq!(told, in_the_manual("scheduler"), "docs/metrics.md");
    let all: BTreeSet<String> = told.union(&in_the_manual("worker")).cloned().collect();
    for file in
        ["deploy/prometheus/alerts.yml", "deploy/prometheus/alerts_test.yml", "deploy/grafana/ringvault.json"]
    {
        let asked = metrics_in(&read(file));
        assert!(asked.len() > 8, "{file} asks for {asked:?}");
        let unknown: Vec<_> = asked.difference(&all).collect();
        assert!(unknown.is_empty(), "{file} asks for what nobody tells: {unknown:?}");
    }
    // Whatever is told is on the dashboard.
    let shown = metrics_in(&read("deploy/grafana/ringvault.json"));
    let hidden: Vec<_> = all.difference(&shown).collect();
    assert!(hidden.is_empty(), "the dashboard does not show {hidden:?}");
}

/// Every query of a dashboard.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(query)) = fields.get("expr") {
                found.push(query.clone());
            }
            fields.values().for_each(|value| queries(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

#[test]
fn every_query_of_the_dashboard_is_understood() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/ringvault.json")).expect("JSON");
    let mut found = Vec::new();
    queries(&dashboard, &mut found);
    assert!(found.len() > 20, "{found:?}");
    // As rules, which promtool reads; a JSON string is one of YAML too.
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (n, query) in found.iter().enumerate() {
        let query = Value::from(query.replace("$cluster", ".*"));
        let _ = write!(rules, "      - record: query:{n}\n        expr: {query}\n");
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), rules).expect("written");
    promtool(&["check", "rules", file.path().to_str().expect("a plain path")], "");
}

#[test]
fn every_alert_is_tried_and_has_its_runbook() {
    promtool(&["check", "rules", "alerts.yml"], "");
    promtool(&["test", "rules", "alerts_test.yml"], "");
    let (rules, tests) = (read("deploy/prometheus/alerts.yml"), read("deploy/prometheus/alerts_test.yml"));
    let after = |text: &str, start: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.trim().strip_prefix(start).map(str::to_owned)).collect()
    };
    let alerts = after(&rules, "- alert: ");
    assert!(alerts.len() >= 10, "{alerts:?}");
    for alert in &alerts {
        let tried = tests.matches(&format!("alertname: {alert}\n")).count();
        assert_eq!(tried, 2, "{alert} is to be seen to fire, and to be quiet");
    }
    let runbooks = after(&rules, "runbook: ");
    assert_eq!(runbooks.len(), alerts.len(), "a runbook each");
    for (alert, runbook) in alerts.iter().zip(&runbooks) {
        assert!(read(runbook).contains(&format!("`{alert}`")), "{runbook} is about {alert}");
    }
    let written = std::fs::read_dir(root().join("docs/runbooks")).expect("runbooks").count();
    assert_eq!(written, runbooks.iter().collect::<BTreeSet<_>>().len(), "every runbook has its alert");
}
