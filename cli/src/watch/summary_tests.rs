use super::*;
use crate::output::Style;
use serde_json::{Value, json};

const JOB: &str = "01939e3a-1b2c-7000-8000-000000000001";
const HOST: &str = "11111111-1111-1111-1111-111111111111";

fn out() -> Output {
    let plain = Style { stdout: false, stderr: false, live: false };
    Output::new(false, plain, chrono_tz::Tz::UTC)
}

/// A job that has ended, as the server tells it.
fn job(spec: &Value, state: &str, result: Option<&str>, outcome: &Value) -> JobDetail {
    let detail = json!({
        "id": JOB,
        "kind": spec["kind"],
        "cluster": "orders",
        "backup": "b1",
        "requested_by": "token ci",
        "state": state,
        "result": result,
        "created_at": "2026-11-22T02:00:00Z",
        "started_at": "2026-11-22T02:00:00Z",
        "ended_at": "2026-11-22T02:14:05Z",
        "retry_until": "2026-11-23T02:14:05Z",
        "spec": spec,
        "stages": [],
        "tasks": [],
        "transitions": [],
        "outcome": outcome,
    });
    serde_json::from_value(detail).unwrap()
}

fn counts() -> Value {
    json!({"objects": 0, "bytes": 0, "damaged": 0})
}

fn with(mut base: Value, name: &str, value: Value) -> Value {
    base[name] = value;
    base
}

fn restore(plan_only: bool) -> Value {
    json!({"kind": "restore", "source": "orders", "backup": "b1", "target": "drill",
           "plan_only": plan_only, "rate_limit": 471_859_200})
}

fn plan(blockers: &[&str]) -> Value {
    json!({
        "key": "k", "method": "import", "reason": "the rings differ", "source_nodes": 12,
        "nodes": [{"host_id": HOST, "address": "10.0.0.1", "sstables": 3, "files": 18204,
                   "bytes": 1_440_360_353_792_u64}],
        "tables": 7, "blockers": blockers, "warnings": ["data is older than gc_grace"],
        "checks": ["manifests 12/12", "schema ok"],
    })
}

fn preflight(free: u64) -> Value {
    json!([{"host_id": HOST, "disk_needed": 3000, "disk_free": free, "blockers": ["t is not empty"]}])
}

#[test]
fn a_plan_with_blockers_is_printed_as_published_and_ends_with_7() {
    let outcome = with(counts(), "plan", plan(&["t is not empty"]));
    let outcome = with(outcome, "preflight", preflight(2000));
    let detail = job(&restore(true), "succeeded", Some("ok"), &outcome);
    assert_eq!(
        plan_block(&detail),
        "Mode      12 to 1 nodes: import (the rings differ)\n\
         Download  1.31 TiB, 18204 files, 7 tables, about 50m at 450 MiB/s a node\n\
         Disk      needs 2.93 KiB, free 1.95 KiB: too small: 10.0.0.1 needs 2.93 KiB, has 1.95 KiB\n\
         Checks    manifests 12/12, schema ok\n\
         WARNING   data is older than gc_grace\n\
         BLOCKER   t is not empty\n"
    );
    assert_eq!(exit_of(&detail), Exit::Refused);
    let free = with(counts(), "plan", plan(&[]));
    assert_eq!(exit_of(&job(&restore(true), "succeeded", Some("ok"), &free)), Exit::Ok);
}

#[test]
fn a_plan_by_streams_says_what_goes_from_node_to_node() {
    let mut streamed = plan(&[]);
    streamed["method"] = json!("stream");
    streamed["nodes"][0]["receives"] = json!(3_u64 << 30);
    let detail = job(&restore(true), "succeeded", Some("ok"), &with(counts(), "plan", streamed));
    let block = plan_block(&detail);
    assert!(
        block.contains("\nStream    about 3.00 GiB from node to node, 3.00 GiB to one at most\n"),
        "{block}"
    );
    let detail = job(&restore(true), "succeeded", Some("ok"), &with(counts(), "plan", plan(&[])));
    assert!(!plan_block(&detail).contains("Stream"));
}

#[test]
fn the_servers_word_decides_the_exit_code() {
    let spec = json!({"kind": "verify", "cluster": "orders", "backup": "b1"});
    for (state, result, exit) in [
        ("succeeded", Some("ok"), Exit::Ok),
        ("succeeded", Some("partial"), Exit::Partial),
        ("succeeded", Some("problems"), Exit::Problems),
        ("failed", Some("failed"), Exit::Failed),
        ("cancelled", None, Exit::Failed),
    ] {
        let detail = job(&spec, state, result, &counts());
        assert_eq!(exit_of(&detail), exit, "{state} {result:?}");
    }
}

#[test]
fn a_finding_names_backup_node_table_and_file() {
    let finding = json!({"kind": "corrupt", "backup": "b1", "host_id": HOST, "table": "ks.t",
                         "file": "nb-1-big-Data.db", "key": "k", "detail": "another digest"});
    let outcome = json!({"objects": 120, "bytes": 4096, "damaged": 2, "findings": [finding]});
    let spec = json!({"kind": "verify", "cluster": "orders", "backup": "b1", "level": "digest"});
    let detail = job(&spec, "succeeded", Some("problems"), &outcome);
    let names = Names::from([(HOST.parse().unwrap(), "10.0.0.1".to_owned())]);
    assert_eq!(
        summary(&out(), &detail, &names),
        "verify b1  succeeded in 14m 05s\n\
         Checked  120 objects: every byte, 4.00 KiB read\n\
         Found    2 objects damaged or missing\n\
         FINDING  BACKUP  NODE      KEYSPACE  TABLE  FILE              DETAIL\n\
         corrupt  b1      10.0.0.1  ks        t      nb-1-big-Data.db  another digest\n\
         and 1 more\n"
    );
}

#[test]
fn a_failure_says_what_where_what_stands_and_what_is_next() {
    let task = |address: &str| {
        json!({
            "id": JOB, "stage": "upload", "address": address, "state": "failed", "epoch": 3,
            "run_at": "2026-11-22T02:00:00Z", "attempts": [],
            "error": {"class": "permanent", "code": "RV-STORE-403", "message": "PutObject denied",
                      "next": "ringvault doctor -c orders"},
        })
    };
    let spec = json!({"kind": "backup", "cluster": "orders"});
    let mut detail = job(&spec, "failed", Some("failed"), &counts());
    detail.tasks = [task("cass-02"), task("cass-05")]
        .into_iter()
        .map(|task| serde_json::from_value(task).unwrap())
        .collect();
    assert_eq!(
        failures(&out(), &detail).unwrap(),
        format!(
            "error[RV-STORE-403]: on 2 nodes (cass-02, cass-05): PutObject denied\n\
             The backup is not sealed and cannot be restored; other backups are as they were.\n\
             Next: ringvault doctor -c orders\n\
             Next: ringvault job retry {JOB} (until 2026-11-23T02:14:05Z), or ringvault job abandon {JOB}\n"
        )
    );
}
