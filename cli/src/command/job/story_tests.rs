use serde_json::{Value, json};

use super::*;
use crate::output::Style;

const WORKER: &str = "22222222-2222-2222-2222-222222222222";

fn out() -> Output {
    let plain = Style { stdout: false, stderr: false, live: false };
    Output::new(false, plain, chrono_tz::Tz::UTC)
}

fn lost(epoch: u32) -> Value {
    json!({
        "epoch": epoch, "worker": WORKER,
        "placed_at": format!("2026-11-22T02:0{epoch}:00Z"),
        "started_at": format!("2026-11-22T02:0{epoch}:01Z"),
        "ended_at": format!("2026-11-22T02:0{epoch}:30Z"),
        "outcome": "lost",
        "error": {"class": "transient", "code": "RV-WORKER-LOST", "message": "heartbeats stopped"},
    })
}

fn failed_with(attempts: &[Value], transitions: &Value) -> JobDetail {
    let detail = json!({
        "id": "01939e3a-1b2c-7000-8000-000000000001",
        "kind": "backup", "cluster": "orders", "backup": "b1", "requested_by": "token ci",
        "state": "failed", "result": "failed",
        "created_at": "2026-11-22T02:00:00Z", "started_at": "2026-11-22T02:00:00Z",
        "ended_at": "2026-11-22T02:14:05Z", "retry_until": "2026-11-23T02:14:05Z",
        "spec": {"kind": "backup", "cluster": "orders", "name": "b1"},
        "stages": [],
        "tasks": [{
            "id": "01939e3a-1b2c-7000-8000-000000000002", "stage": "upload",
            "host_id": "11111111-1111-1111-1111-111111111111", "address": "10.0.0.7",
            "state": "failed", "epoch": attempts.len(), "run_at": "2026-11-22T02:00:00Z",
            "error": {"class": "transient", "code": "RV-WORKER-LOST", "message": "heartbeats stopped"},
            "attempts": attempts,
        }],
        "transitions": transitions,
        "outcome": {"objects": 0, "bytes": 0, "damaged": 0},
    });
    serde_json::from_value(detail).unwrap()
}

#[test]
fn a_task_that_failed_again_and_again_is_told_try_by_try() {
    let log = json!([
        {"at": "2026-11-22T02:00:30Z", "event": "pause", "from": "running", "to": "paused", "by": "window"},
        {"at": "2026-11-22T02:00:40Z", "event": "resume", "from": "paused", "to": "running",
         "by": "token admin"},
        {"at": "2026-11-22T02:00:50Z", "event": "stage_passed", "from": "running", "to": "running",
         "by": "worker x"},
    ]);
    let text = show(&out(), &failed_with(&[lost(1), lost(2), lost(3)], &log));
    for (try_, at) in [(1, "02:01:01"), (2, "02:02:01"), (3, "02:03:01")] {
        let line = text.lines().find(|line| line.contains(at)).unwrap_or_else(|| panic!("{try_}: {text}"));
        for word in ["upload", "10.0.0.7", WORKER, "lost", "heartbeats stopped"] {
            assert!(line.contains(word), "{word}: {line}");
        }
    }
    let resumed = text.lines().find(|line| line.contains("resume")).expect("the order");
    assert!(resumed.contains("token admin") && text.contains("window"), "{text}");
    assert!(!text.contains("stage_passed"), "{text}");
}

#[test]
fn many_tries_are_cut_and_the_rest_named() {
    let many: Vec<Value> = (0..60).map(|n| lost(n % 9)).collect();
    let text = show(&out(), &failed_with(&many, &json!([])));
    assert_eq!(text.lines().filter(|line| line.contains(WORKER)).count(), TRIES);
    assert!(text.contains("20 more: ringvault job logs 01939e3a"), "{text}");
}

#[test]
fn a_running_task_says_what_it_is_at() {
    let mut detail = failed_with(&[], &json!([]));
    let task = &mut detail.tasks[0];
    let doing = "building view shop.by_state";
    task.progress = serde_json::from_value(json!({
        "bytes_total": 0, "bytes_done": 0, "items_total": 1, "items_done": 0, "doing": doing,
    }))
    .unwrap();
    assert!(!show(&out(), &detail).contains(doing), "it ended");
    detail.tasks[0].state = TaskState::Running;
    let text = show(&out(), &detail);
    let line = text.lines().find(|line| line.contains(doing)).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("upload") && line.contains("10.0.0.7"), "{line}");
}

#[test]
fn a_job_s_trace_is_told_where_it_has_one() {
    let mut detail = failed_with(&[], &json!([]));
    assert!(!show(&out(), &detail).contains("Trace"));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    detail.trace_id = Some(trace.parse().unwrap());
    assert!(show(&out(), &detail).lines().any(|line| line.contains("Trace") && line.contains(trace)));
    assert_eq!(serde_json::to_value(&detail).unwrap()["trace_id"], trace);
}
