//! Row digests over a real Postgres: who reads what, and what their digests come to.

mod support;

use std::collections::BTreeSet;

use ringvault_core::{
    api::{Document, RowDigests},
    job::{JobSpec, JobState},
    rows::{ColumnFacts, ENCODING, RANGES, ROWS_CAPABILITY, RangeHasher, TableDigest, Times, columns_hash},
    task::{DigestResult, TaskPayload, TaskResult},
};
use ringvault_queue::{Beat, Report, message::TaskOffer};
use serde_json::json;
use sqlx::PgPool;
use support::{Lab, backup, http::ADMIN, spec, worker::Worker};

fn digest() -> JobSpec {
    spec(json!({"kind": "digest", "cluster": "c", "selection": {"keyspaces": ["k"]}}))
}

/// A cluster whose workers can read rows.
async fn cluster_of(db: PgPool, nodes: usize) -> (Lab, Vec<Worker>) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(nodes).await;
    let hosts: Vec<_> = workers.iter().map(|worker| worker.host).collect();
    for worker in &workers {
        let Beat::Hello(mut hello) = worker.hello(&hosts) else { panic!("a hello") };
        hello.capabilities.insert(ROWS_CAPABILITY.to_owned());
        lab.beat(&Beat::Hello(hello)).await;
    }
    (lab, workers)
}

/// A table with one row in each of these ranges.
fn table(ranges: &[u16], key_type: &str) -> TableDigest {
    let row = |range: &u16| {
        let mut hasher = RangeHasher::default();
        hasher.row([ColumnFacts { value: Some(&[1]), times: Times::Untold }]);
        hasher.finish(*range)
    };
    TableDigest {
        table: "k.t".parse().expect("a name"),
        columns: columns_hash([("id", key_type, "partition_key")]),
        ranges: ranges.iter().filter_map(row).collect(),
    }
}

/// Does what is offered; what each task reads is what `read` makes of its ranges. The offers.
async fn run(lab: &Lab, workers: &[Worker], read: impl Fn(usize, &[u16]) -> TableDigest) -> Vec<TaskOffer> {
    let offers = lab.offers().await;
    for (place, offer) in offers.iter().enumerate() {
        let worker = lab.worker_of(workers, offer).await;
        lab.report(&worker.started(offer)).await;
        let mut report = worker.succeeded(offer);
        if let (TaskPayload::Digest(task), Report::Succeeded(told)) = (&offer.payload, &mut report) {
            let tables = vec![read(place, &task.ranges)];
            told.result =
                TaskResult::Digest(DigestResult { encoding: ENCODING, ranges: task.ranges.clone(), tables });
        }
        lab.report(&report).await;
    }
    offers
}

#[sqlx::test(migrations = "../migrations")]
async fn every_node_reads_its_share_and_together_they_have_all(db: PgPool) {
    let (lab, workers) = cluster_of(db, 3).await;
    let job = lab.submit(digest(), "d").await.job;
    let offers = run(&lab, &workers, |_, ranges| table(ranges, "int")).await;
    let mut hosts = BTreeSet::new();
    let mut ranges = BTreeSet::new();
    for offer in &offers {
        let TaskPayload::Digest(task) = &offer.payload else { panic!("{:?}", offer.payload) };
        assert_eq!(
            (offer.stage.as_str(), task.selection.keyspaces.as_slice()),
            ("digest", &["k".to_owned()][..])
        );
        hosts.insert(lab.worker_of(&workers, offer).await.host);
        ranges.extend(task.ranges.iter().copied());
    }
    assert_eq!((hosts.len(), ranges.len()), (3, usize::from(RANGES)));
    assert_eq!(lab.state(job).await, JobState::Succeeded);
    lab.assert_replays(job).await;

    let http = lab.http().await;
    let answer = http.get(&format!("/v1/jobs/{job}/rows")).await.json(200);
    let digests: Document<RowDigests> = serde_json::from_value(answer).expect("digests");
    assert_eq!(digests.body.tables, [table(&(0..RANGES).collect::<Vec<_>>(), "int")]);
    assert!(digests.body.began_at <= digests.body.ended_at && digests.body.ended_at.is_some());
    let story = http.get(&format!("/v1/jobs/{job}")).await.json(200);
    assert_eq!(story["outcome"]["rows"], json!({"tables": 1, "rows": 64}));
}

#[sqlx::test(migrations = "../migrations")]
async fn whoever_looks_may_see_digests_and_whoever_operates_asks_for_them(db: PgPool) {
    let (lab, workers) = cluster_of(db, 1).await;
    let http = lab.http().await;
    let token = async |role: &str| {
        let created = http.post("/v1/tokens", json!({"name": role, "role": role})).await.json(201);
        created["secret"].as_str().expect("a secret").to_owned()
    };
    let (viewer, operator) = (token("viewer").await, token("operator").await);
    let post = reqwest::Method::POST;
    let body = json!({"kind": "digest", "cluster": "c"});
    assert_eq!(
        http.ask(&viewer, post.clone(), "/v1/jobs", Some(body.clone())).await.refused(403),
        "RV-AUTH-ROLE"
    );
    let accepted = http.ask(&operator, post, "/v1/jobs", Some(body)).await.json(202);
    let path = format!("/v1/jobs/{}/rows", accepted["job"].as_str().expect("an id"));
    let get = reqwest::Method::GET;
    assert_eq!(http.ask(&viewer, get.clone(), &path, None).await.refused(409), "RV-ROWS-UNFINISHED");
    run(&lab, &workers, |_, ranges| table(ranges, "int")).await;
    assert_eq!(http.ask(&viewer, get, &path, None).await.json(200)["tables"][0]["table"], "k.t");
}

#[sqlx::test(migrations = "../migrations")]
async fn what_has_read_no_rows_or_two_schemas_says_so(db: PgPool) {
    let (lab, workers) = cluster_of(db, 2).await;
    let http = lab.http().await;
    let other = lab.submit(backup("b1"), "b").await.job;
    lab.run(&workers).await;
    assert_eq!(http.get(&format!("/v1/jobs/{other}/rows")).await.refused(409), "RV-ROWS-NONE");
    let torn = lab.submit(digest(), "d").await.job;
    let read = |place: usize, ranges: &[u16]| table(ranges, if place == 0 { "int" } else { "bigint" });
    run(&lab, &workers, read).await;
    let refused = http.ask(ADMIN, reqwest::Method::GET, &format!("/v1/jobs/{torn}/rows"), None).await;
    assert_eq!(refused.refused(409), "RV-ROWS-TORN");
    assert!(refused.text.contains("k.t was made, changed or dropped"), "{}", refused.text);
}

/// A worker of an older release would not understand what it is asked for; what is another on each node is
/// nothing to compare.
#[sqlx::test(migrations = "../migrations")]
async fn what_cannot_be_read_is_refused(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    let refused = lab.try_submit(digest(), "d1").await.expect_err("the worker does not say it can");
    assert_eq!(refused.code(), "RV-WORKER-TOO-OLD");
    assert!(refused.to_string().starts_with("10.0.0.0 of c cannot be read row by row"), "{refused}");
    let local = spec(json!({"kind": "digest", "cluster": "c", "selection": {"keyspaces": ["system"]}}));
    assert_eq!(lab.try_submit(local, "d2").await.expect_err("refused").code(), "RV-INVALID");
}
