//! Policy files and their schedules.

use chrono::{DateTime, Utc};
use ringvault_core::policy::{Schedule, parse_policies};

use super::Target;
use crate::{harness::told, mutate, seeds};

super::targets! {
    policies => Target {
        name: "policies",
        seeds: seeds::texts(&[NIGHTLY, OTHERS]),
        mutate: mutate::text,
        base: 1 << 20,
        factor: 256,
        parse: try_policies,
    };
    schedules => Target {
        name: "schedules",
        seeds: seeds::texts(&[
            "30 2 * * *\nEurope/Madrid",
            "*/15 0-6,22 1-7 JAN-MAR MON-FRI/2\nAustralia/Lord_Howe",
            "@daily\nPacific/Apia",
            "0 0 29 2 *\nUTC",
        ]),
        mutate: mutate::text,
        base: 1 << 20,
        factor: 256,
        parse: try_schedules,
    };
}

const NIGHTLY: &str = r#"# every night
[policy.nightly]
cluster = "orders-prod"
schedule = "0 2 * * *"
timezone = "Europe/Madrid"
action = "backup"
exclude = ["orders.cache"]
retention = { keep_last = 14, max_age = "35d", daily = 7, weekly = 5, monthly = 12, yearly = 3, min_restorable = 2 }
rpo = "24h"
rto = "2h 30m"
window = "22:00-06:00"
rate_limit = "100MiB"
request_limit = 200
max_parallel_nodes = 3
max_parallel_scope = "rack"
retries = 5
data_centers.dc2 = { rate_limit = "20MiB", request_limit = 0 }
"#;
const OTHERS: &str = r#"
[policy.weekly-verify]
cluster = "orders-prod"
schedule = "0 6 * * sun"
action = "verify"
level = "digest"
misfire = "skip"
on_conflict = "queue"

[policy."purge"]
cluster = "orders-prod"
schedule = "@daily"
action = 'purge'
retention.keep_last = 3
"#;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_600_000, 0).expect("a time")
}

fn try_policies(input: &[u8]) {
    let document = match parse_policies(&String::from_utf8_lossy(input)) {
        Ok(document) => document,
        Err(error) => return told(error),
    };
    for (name, policy) in document.policy.iter().take(4) {
        let _ = policy.job_spec(name);
        let _ = policy.may_work_at(now());
        let _ = policy.compiled_schedule().expect("it was checked").next_after(now());
        // As the database keeps it.
        let kept = serde_json::to_value(policy).expect("it has a JSON form");
        assert_eq!(serde_json::from_value(kept).ok().as_ref(), Some(policy));
    }
}

/// The first line is an expression, the second a zone.
fn try_schedules(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (expression, zone) = text.split_once('\n').unwrap_or((&text, "UTC"));
    let schedule = match Schedule::parse(expression, zone) {
        Ok(schedule) => schedule,
        Err(error) => return told(error),
    };
    let fires: Vec<_> = schedule.upcoming(now()).take(3).collect();
    assert!(
        fires.is_sorted_by(|a, b| a < b) && fires.first().is_none_or(|first| *first > now()),
        "{fires:?}"
    );
    assert_eq!(schedule.next_after(now()), fires.first().copied());
}
