//! Requests of another system over RabbitMQ, in another language, and the events it gets back.

use anyhow::{Context as _, Result, ensure};
use chrono::{TimeDelta, Utc};
use ringvault_core::{
    api::{JobSummary, Page},
    backup::BackupState,
};
use ringvault_tests::{
    Lab, Ringvault,
    lab::T1,
    requester::{Errand, Expected, ask, dead, request},
    ringvault::{exit, fresh},
    shop::Shop,
};
use serde_json::{Value, json};

const KEYSPACE: &str = "e2e_requests";
const SOURCE: &str = "release-train";

/// A `job.create` for a backup.
fn create(id: u32, key: &str, name: &str) -> Value {
    json!({
        "id": format!("0193511c-9e00-7000-8000-{id:012}"),
        "type": "job.create",
        "version": 1,
        "source": SOURCE,
        "created_at": Utc::now(),
        "idempotency_key": key,
        "requested_by": "ana@example.com",
        "payload": {
            "kind": "backup",
            "cluster": T1,
            "name": name,
            "selection": {"keyspaces": [KEYSPACE]},
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_happens_once_and_bad_ones_block_nothing() -> Result<()> {
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, 5, 20).await?;
    let rv = Ringvault::of(&lab).await?;
    let (key, name) = (fresh("key"), fresh("requested"));
    let other_name = fresh("other");

    let asked = create(1, &key, &name);
    let mut newer = create(2, &fresh("key"), &other_name);
    newer["version"] = json!(99);
    let mut expired = create(3, &fresh("key"), &other_name);
    expired["expires_at"] = json!(Utc::now() - TimeDelta::minutes(1));
    let unknown_cluster = {
        let mut request = create(4, &fresh("key"), &other_name);
        request["payload"]["cluster"] = json!("nowhere");
        request
    };
    let garbage = format!("{{\"type\": \"job.create\", this is not JSON {key}");
    let errand = Errand {
        publish: vec![
            garbage.clone(),
            newer.to_string(),
            asked.to_string(),
            // Sent twice, as any client may; unknown fields mean nothing.
            {
                let mut again = asked.clone();
                again["colour"] = json!("green");
                again.to_string()
            },
            expired.to_string(),
            unknown_cluster.to_string(),
        ],
        wait_for: vec![
            Expected::new("job.created", [("request_source", SOURCE), ("request_key", &key)]),
            Expected::new("backup.sealed", [("cluster", T1), ("backup", &name)]),
            Expected::new("job.succeeded", [("request_key", &key)]),
            Expected::new("request.rejected", [("code", "RV-REQUEST-EXPIRED")]),
            Expected::new("request.rejected", [("code", "RV-MSG-JSON")]),
            Expected::new("request.rejected", [("code", "RV-MSG-VERSION")]),
            Expected::new("request.rejected", [("cluster", "nowhere")]),
        ],
        seconds: 120,
    };
    let events = request(&lab, &errand).await?;
    let sealed = events.iter().find(|event| event.body["type"] == "backup.sealed");
    let sealed = sealed.context("the seal is told")?;
    ensure!(sealed.routing_key == "backup.sealed.t1", "{}", sealed.routing_key);
    ensure!(sealed.body["payload"]["coverage"] == "complete", "{}", sealed.body);
    let created = events.iter().filter(|event| {
        event.body["type"] == "job.created" && event.body["payload"]["request_key"] == key.as_str()
    });
    ensure!(created.count() == 1, "one request, one job");

    // Only now: two schedulers take from the queue, whichever of two requests with one key is first has it.
    let reuse = Errand {
        publish: vec![create(5, &key, &other_name).to_string()],
        wait_for: vec![Expected::new("request.rejected", [("code", "RV-KEY-REUSED"), ("request_key", &key)])],
        seconds: 60,
    };
    request(&lab, &reuse).await?;

    let backup = rv.show_backup(T1, &name).await?;
    ensure!(backup.summary.state == BackupState::Complete, "{:?}", backup.summary);
    rv.run(&["backup", "show", &other_name, "-c", T1]).await?.expect(exit::NOT_FOUND)?;
    let jobs = rv.json::<Page<JobSummary>>(exit::OK, &["job", "list", "-c", T1, "--kind", "backup"]).await?;
    let of_it: Vec<_> = jobs
        .items
        .iter()
        .filter(|job| job.backup.as_ref().is_some_and(|backup| backup.as_str() == name))
        .collect();
    ensure!(of_it.len() == 1, "{of_it:?}");
    ensure!(of_it[0].requested_by.contains("ana@example.com"), "{}", of_it[0].requested_by);

    // What could not be read lies in the dead queue with its reason.
    let dead = dead(&lab).await?;
    let of_garbage = dead.iter().find(|message| message.body == garbage).context("garbage is dead")?;
    ensure!(of_garbage.queue == "ringvault.requests" && !of_garbage.reason.is_empty(), "{of_garbage:?}");
    let of_newer = dead.iter().find(|message| message.body.contains(id_of(&newer).unwrap_or("?")));
    let of_newer = of_newer.context("an unknown version is dead")?;
    ensure!(of_newer.reason.contains("version") && of_newer.reason.contains("99"), "{of_newer:?}");
    shop.close().await
}

fn id_of(request: &Value) -> Result<&str> {
    request["id"].as_str().context("a request has an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_in_go_and_java_get_their_backup_and_hear_why_not() -> Result<()> {
    const KEYSPACE: &str = "e2e_languages";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, 5, 20).await?;
    let rv = Ringvault::of(&lab).await?;
    for client in ["ask-go", "ask-java"] {
        let (name, key) = (fresh(client), fresh("key"));
        let done = ask(&lab, client, [T1, KEYSPACE, &name, &key]).await?.expect(0)?;
        done.says(&["job.created", "job.succeeded"])?;
        let backup = rv.show_backup(T1, &name).await?.summary;
        ensure!(backup.state == BackupState::Complete, "{backup:?}");
        // The key is taken, by a request for another backup.
        let refused = ask(&lab, client, [T1, KEYSPACE, &fresh(client), &key]).await?.expect(1)?;
        refused.says(&["request.rejected", "RV-KEY-REUSED"])?;
        let refused = ask(&lab, client, ["nowhere", KEYSPACE, &name, &fresh("key")]).await?.expect(1)?;
        refused.says(&["request.rejected", "RV-CLUSTER-UNKNOWN", "nowhere"])?;
    }
    shop.close().await
}
