//! The audit log over a real Postgres: what is done is in it and nothing else, and whoever changes it,
//! cuts it off or writes it anew is found out.

mod support;

use reqwest::Method;
use ringvault_core::{
    api::{AuditAnchor, AuditEntry},
    audit::{Broken, Checker, hash_of},
};
use ringvault_scheduler::housekeeping;
use serde_json::{Value, json};
use sqlx::PgPool;
use support::{Lab, backup, http::Http};

async fn pages<T: serde::de::DeserializeOwned>(http: &Http, path: &str, limit: u32) -> Vec<T> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = http.get(&format!("{path}?limit={limit}{cursor}")).await.json(200);
        items.extend(page["items"].as_array().expect("items").iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return serde_json::from_value(Value::Array(items)).expect("the items"),
        }
    }
}

async fn log(http: &Http) -> Vec<AuditEntry> {
    pages(http, "/v1/audit/chain", 3).await
}

fn faults(entries: &[AuditEntry]) -> Vec<Broken> {
    let mut checker = Checker::default();
    entries.iter().filter_map(|entry| checker.take(entry).err()).collect()
}

async fn chained(lab: &Lab) {
    housekeeping::pass(&lab.ctx).await.expect("housekeeping");
}

async fn run(lab: &Lab, statement: &'static str) {
    sqlx::query(statement).execute(&lab.ctx.db).await.expect(statement);
}

/// One of each thing that people do, and refusals and dry runs beside them.
async fn doings(lab: &Lab, http: &Http) -> String {
    lab.nodes(1).await;
    let job = lab.submit(backup("b1"), "key").await.job.to_string();
    lab.submit(backup("b1"), "key").await;
    http.order(&job, "cancel?dry_run=1").await.json(200);
    http.order(&job, "retry").await.refused(409);
    let made = http.post("/v1/tokens", json!({"name": "ci", "role": "operator"})).await.json(201);
    let secret = made["secret"].as_str().expect("a secret").to_owned();
    let hold = json!({"cluster": "c", "backup": "b1", "name": "LIT-7", "reason": "court é"});
    http.ask(&secret, Method::POST, "/v1/holds", Some(hold.clone())).await.json(200);
    http.ask(&secret, Method::DELETE, "/v1/holds", Some(hold.clone())).await.refused(403);
    let released = http.delete("/v1/holds", Some(hold)).await;
    assert_eq!(released.status, 204, "{}", released.text);
    let policy =
        json!({"policy": {"nightly": {"cluster": "c", "schedule": "0 2 * * *", "action": "backup"}}});
    let put = |path| http.ask(support::http::ADMIN, Method::PUT, path, Some(policy.clone()));
    put("/v1/policies?dry_run=1").await.json(200);
    put("/v1/policies").await.json(200);
    put("/v1/policies").await.json(200);
    http.post("/v1/policies/nightly/pause", json!({})).await.json(200);
    let deleted = http.delete("/v1/policies/nightly", None).await;
    assert_eq!(deleted.status, 204, "{}", deleted.text);
    http.delete("/v1/tokens/ci", None).await.json(200);
    http.order(&job, "cancel").await.json(200);
    secret
}

#[sqlx::test(migrations = "../migrations")]
async fn what_was_done_is_in_the_log_and_nothing_else(db: PgPool) {
    let lab = Lab::new(db).await;
    let http = lab.http().await;
    let secret = doings(&lab, &http).await;
    assert!(log(&http).await.is_empty(), "nothing has its place yet");
    chained(&lab).await;
    let entries = log(&http).await;
    let told: Vec<(&str, &str)> =
        entries.iter().map(|entry| (entry.actor.as_str(), entry.action.as_str())).collect();
    let (admin, ci) = ("token admin", "token ci");
    let expected = [
        (told[0].0, "job.create"),
        (admin, "token.create"),
        (ci, "hold.set"),
        (admin, "hold.release"),
        (admin, "policy.apply"),
        (admin, "policy.pause"),
        (admin, "policy.delete"),
        (admin, "token.revoke"),
    ];
    assert_eq!(told[..expected.len()], expected, "{told:?}");
    let rest: Vec<&str> = told[expected.len()..].iter().map(|(_, action)| *action).collect();
    assert!(rest == ["job.cancel"] || rest == ["job.cancelled", "job.cancel"], "{rest:?}");
    assert_eq!(faults(&entries), []);
    let text = serde_json::to_string(&entries).expect("JSON");
    assert!(!text.contains(&secret), "a secret in the log");
    assert_eq!(entries[2].details, json!({"name": "LIT-7", "reason": "court é"}));

    let newest: Vec<AuditEntry> = pages(&http, "/v1/audit", 2).await;
    assert!(newest.iter().rev().eq(entries.iter()), "the same the other way round");
    let only = |query: &str| {
        let path = format!("/v1/audit?{query}");
        let http = &http;
        async move { http.get(&path).await.json(200)["items"].as_array().expect("items").len() }
    };
    assert_eq!(only("actor=token%20ci").await, 1);
    assert_eq!(only("action=hold.").await, 2);
    assert_eq!(only("cluster=other").await, 0);
}

#[sqlx::test(migrations = "../migrations")]
async fn whoever_changes_the_log_is_found_out(db: PgPool) {
    let lab = Lab::new(db).await;
    let http = lab.http().await;
    doings(&lab, &http).await;
    chained(&lab).await;
    let whole = log(&http).await;
    let anchors: Vec<AuditAnchor> = pages(&http, "/v1/audit/anchors", 1).await;
    let last = whole.last().expect("entries");
    assert_eq!(anchors.len(), 1);
    assert_eq!((anchors[0].seq, &anchors[0].hash), (last.seq, &last.hash), "the vault knows the end");

    run(&lab, "update audit set actor = 'token nobody' where seq = 3").await;
    assert_eq!(faults(&log(&http).await), [Broken::Changed(3)]);
    run(&lab, "delete from audit where seq = 3").await;
    assert_eq!(faults(&log(&http).await)[0], Broken::Gap { expected: 3, found: 4 });

    // Written anew from there on, with every hash right: only the vault knows better.
    let mut anew = whole.clone();
    anew.remove(2);
    let mut prev = anew[1].hash.clone();
    for (place, entry) in anew.iter_mut().enumerate().skip(2) {
        entry.seq = place as u64 + 1;
        entry.prev = prev;
        entry.hash = hex::encode(hash_of(entry));
        prev = entry.hash.clone();
    }
    assert_eq!(faults(&anew), []);
    assert!(anew.iter().all(|entry| entry.seq < anchors[0].seq), "its end is cut off");

    // What comes later goes on from the end that is in the database, and the vault is not told at once again.
    http.post("/v1/tokens", json!({"name": "later", "role": "viewer"})).await.json(201);
    chained(&lab).await;
    assert_eq!(log(&http).await.last().expect("entries").seq, last.seq + 1);
    assert_eq!(pages::<AuditAnchor>(&http, "/v1/audit/anchors", 1).await, anchors);
    run(&lab, "update audit_head set anchored_at = now() - interval '1 day'").await;
    chained(&lab).await;
    assert_eq!(pages::<AuditAnchor>(&http, "/v1/audit/anchors", 1).await.len(), 2);
}

#[sqlx::test(migrations = "../migrations")]
async fn two_schedulers_make_one_chain(db: PgPool) {
    let lab = Lab::new(db).await;
    let other = lab.another("sched-2").await;
    let http = lab.http().await;
    for round in 0..5 {
        for number in 0..4 {
            let name = format!("t{round}-{number}");
            http.post("/v1/tokens", json!({"name": name, "role": "viewer"})).await.json(201);
        }
        let both = tokio::join!(
            ringvault_scheduler::audit::chain(&lab.ctx),
            ringvault_scheduler::audit::chain(&other.ctx)
        );
        both.0.and(both.1).expect("both chain");
    }
    let entries = log(&http).await;
    assert_eq!(entries.len(), 20);
    assert_eq!(faults(&entries), []);
}
