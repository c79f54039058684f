//! Jobs over the API and a real Postgres: asked for once, told in full, watched, steered, guarded.
#![allow(clippy::maybe_infinite_iter)] // ends with the stream of the server

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use support::{
    Lab, backup,
    http::{ADMIN, Answer, Http},
    spec,
};

async fn by_key(http: &Http, key: &str, body: Value) -> Answer {
    let request =
        http.bare(Method::POST, "/v1/backups").bearer_auth(ADMIN).header("Idempotency-Key", key).json(&body);
    Answer::read(request.send().await.unwrap()).await
}

#[sqlx::test(migrations = "../migrations")]
async fn a_backup_is_asked_for_once_and_told_in_full(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(3).await;
    let http = lab.http().await;
    let body = json!({"cluster": "c", "tags": {"why": "test"}});
    let first = by_key(&http, "k1", body.clone()).await.json(202);
    let again = by_key(&http, "k1", body).await.json(202);
    assert_eq!((&first["existing"], &again["existing"]), (&json!(false), &json!(true)));
    assert_eq!((&first["job"], &first["backup"]), (&again["job"], &again["backup"]));
    assert_eq!(by_key(&http, "k1", json!({"cluster": "c"})).await.refused(409), "RV-KEY-REUSED");
    let misspelt = by_key(&http, "k2", json!({"cluster": "c", "moed": "full"})).await;
    assert_eq!((misspelt.refused(400).as_str(), &misspelt.json(400)["field"]), ("RV-BODY", &json!("moed")));
    assert_eq!(by_key(&http, "k3", json!({"cluster": "none"})).await.refused(404), "RV-CLUSTER-UNKNOWN");

    lab.run(&workers).await;
    let id = first["job"].as_str().unwrap();
    let job = http.get(&format!("/v1/jobs/{}", &id[..18])).await.json(200);
    assert_eq!((&job["id"], &job["state"], &job["result"]), (&json!(id), &json!("succeeded"), &json!("ok")));
    assert_eq!((&job["spec"]["kind"], &job["requested_by"]), (&json!("backup"), &json!("token admin")));
    let stages: Vec<_> =
        job["stages"].as_array().unwrap().iter().map(|s| (&s["stage"], &s["state"], &s["tasks"])).collect();
    assert_eq!(stages[1], (&json!("upload"), &json!("done"), &json!(3)));
    let attempt = &job["tasks"][0]["attempts"][0];
    assert_eq!((&attempt["epoch"], &attempt["outcome"]), (&json!(1), &json!("succeeded")));
    assert!(attempt["started_at"].is_string() && attempt["ended_at"].is_string());
    assert_eq!(job["transitions"][0]["event"], "created");
    assert_eq!(job["outcome"]["seal"]["coverage"], "complete");

    let name = first["backup"].as_str().unwrap();
    let shown = http.get(&format!("/v1/clusters/c/backups/{name}")).await.json(200);
    assert_eq!((&shown["state"], &shown["tags"]["why"]), (&json!("complete"), &json!("test")));
    assert_eq!(shown["nodes"].as_array().unwrap().len(), 3);
    assert_eq!((&shown["nodes"][0]["held"], &shown["nodes"][0]["bytes"]), (&json!(true), &json!(1000)));
}

#[sqlx::test(migrations = "../migrations")]
async fn lists_page_without_gaps_or_repeats(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    let http = lab.http().await;
    for n in 0..5 {
        lab.submit(backup(&format!("b{n}")), &format!("k{n}")).await;
    }
    // All five began at the same instant, so that only their names tell them apart.
    sqlx::query("update backups set started_at = now()").execute(&lab.ctx.db).await.unwrap();
    for (path, field) in [("/v1/jobs?kind=backup&", "id"), ("/v1/backups?cluster=c&", "name")] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = http.get(&format!("{path}limit=2{cursor}")).await.json(200);
            let items = page["items"].as_array().unwrap();
            seen.extend(items.iter().map(|item| item[field].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), 5, "{path}");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5, "{path}");
    }
    let open = http.get("/v1/jobs?state=open").await.json(200);
    assert_eq!(open["items"].as_array().unwrap().len(), 5);
    let none = http.get("/v1/jobs?state=succeeded,failed").await.json(200);
    assert_eq!(none["items"], json!([]));
    let one = http.get("/v1/backups?name=b3&state=running").await.json(200);
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_job_is_told_what_to_do_by_the_beginning_of_its_id(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    let http = lab.http().await;
    let job = lab.submit(backup("b1"), "k1").await.job.to_string();
    let other = lab.submit(backup("b2"), "k2").await.job.to_string();
    let ambiguous = http.order(&job[..4], "cancel").await;
    assert_eq!(ambiguous.refused(409), "RV-JOB-AMBIGUOUS");
    assert_eq!(ambiguous.json(409)["candidates"].as_array().unwrap().len(), 2);
    assert_eq!(http.order("zz", "cancel").await.refused(400), "RV-JOB-ID");
    assert_eq!(http.order("ffff", "cancel").await.refused(404), "RV-JOB-UNKNOWN");
    let unique = (1..).find(|n| job[..*n] != other[..*n]).unwrap();
    let cancelled = http.order(&job[..unique], "cancel").await.json(200);
    assert_eq!((&cancelled["id"], &cancelled["state"]), (&json!(job), &json!("cancelled")));
    assert_eq!(http.order(&job, "retry").await.refused(409), "RV-JOB-STATE");
    assert_eq!(http.order(&job, "cancel").await.json(200)["state"], "cancelled");
    let by: String = sqlx::query_scalar("select actor from transitions where to_state = 'cancelled'")
        .fetch_one(&lab.ctx.db)
        .await
        .unwrap();
    assert_eq!(by, "token admin");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_watcher_sees_every_stage_and_the_end(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(3).await;
    let http = lab.http().await;
    let job = lab.submit(backup("b1"), "k1").await.job;
    let request = http.bare(Method::GET, &format!("/v1/jobs/{job}/events")).bearer_auth(ADMIN);
    let mut stream = request.send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let first = String::from_utf8(stream.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(first.contains("event: progress") && first.contains("\"state\":\"queued\""), "{first}");
    lab.run(&workers).await;
    let mut rest = String::new();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        rest.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let last = rest.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.starts_with("event: end\n"), "{rest}");
    let data: Value = serde_json::from_str(last.split_once("data: ").unwrap().1).unwrap();
    assert_eq!(
        (&data["state"], &data["result"], &data["schema_version"]),
        (&json!("succeeded"), &json!("ok"), &json!(1))
    );
    // Who comes late is told the end at once.
    let late = http.get(&format!("/v1/jobs/{job}/events")).await;
    assert!(late.text.starts_with("event: end\n"), "{}", late.text);
    let progress = http.get(&format!("/v1/jobs/{job}/progress")).await.json(200);
    assert_eq!((progress["stages"].as_array().unwrap().len(), &progress["percent"]), (4, &json!(100)));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_server_that_stops_lets_its_watchers_go(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    let http = lab.http().await;
    let job = lab.submit(backup("b1"), "k1").await.job;
    let request = http.bare(Method::GET, &format!("/v1/jobs/{job}/events")).bearer_auth(ADMIN);
    let stream = request.send().await.unwrap();
    http.stop.cancel();
    let text = tokio::time::timeout(std::time::Duration::from_secs(60), stream.text()).await;
    assert!(text.expect("the stream ends").unwrap().contains("event: progress"));
}

#[sqlx::test(migrations = "../migrations")]
async fn guards_refuse_what_would_lose_data(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(3).await;
    let http = lab.http().await;
    lab.submit(backup("b1"), "k1").await;
    lab.run(&workers).await;
    let restore = json!({"source": "c", "backup": "b1", "target": "c", "truncate": true});
    assert_eq!(http.post("/v1/restores", restore).await.refused(422), "RV-NOT-CONFIRMED");
    let locked = http.post("/v1/backups", json!({"cluster": "c", "lock_seconds": 86_400})).await;
    assert_eq!(locked.refused(400), "RV-INVALID");
    assert!(locked.text.contains("lock_seconds") && locked.text.contains("[vault.lock]"), "{}", locked.text);
    let unknown = json!({"cluster": "c", "backup": "none"});
    assert_eq!(http.post("/v1/verifications", unknown).await.refused(404), "RV-BACKUP-UNKNOWN");

    let hold = json!({"cluster": "c", "backup": "b1", "name": "LIT-7", "reason": "a court asks"});
    assert_eq!(http.post("/v1/holds", hold.clone()).await.json(200)["kind"], "legal");
    assert_eq!(http.post("/v1/holds", hold.clone()).await.json(200)["name"], "LIT-7");
    let other = json!({"cluster": "c", "backup": "b1", "name": "LIT-7", "reason": "another"});
    assert_eq!(http.post("/v1/holds", other).await.refused(409), "RV-HOLD-EXISTS");
    assert_eq!(http.get("/v1/backups?cluster=c").await.json(200)["items"][0]["holds"], json!(["LIT-7"]));
    let held = http.delete("/v1/clusters/c/backups/b1", None).await;
    assert_eq!(held.refused(422), "RV-BACKUP-HELD");
    let by_name = json!({"cluster": "c", "backups": ["b1", "none"]});
    let preview = http.post("/v1/purges/preview", by_name.clone()).await.json(200);
    assert_eq!(
        (preview["expire"].as_array().unwrap().len(), preview["refused"].as_array().unwrap().len()),
        (0, 2)
    );
    assert_eq!(http.delete("/v1/holds", Some(hold.clone())).await.status, 204);
    assert_eq!(http.delete("/v1/holds", Some(hold.clone())).await.refused(404), "RV-HOLD-UNKNOWN");
    let preview = http.post("/v1/purges/preview", by_name).await.json(200);
    assert_eq!(preview["expire"][0]["backup"], "b1");
    let by_age = json!({"cluster": "c", "retention": {"keep_last": 1}});
    let preview = http.post("/v1/purges/preview", by_age).await.json(200);
    assert_eq!((&preview["expire"], &preview["keep"][0]["backup"]), (&json!([]), &json!("b1")));

    let purge = http.delete("/v1/clusters/c/backups/b1", None).await.json(202);
    lab.run(&workers).await;
    let job = http.get(&format!("/v1/jobs/{}", purge["job"].as_str().unwrap())).await.json(200);
    assert_eq!((&job["state"], &job["outcome"]["purge"]["expired"]), (&json!("succeeded"), &json!(["b1"])));
    assert_eq!(http.post("/v1/holds", hold).await.refused(422), "RV-HOLD-LATE");
}

#[sqlx::test(migrations = "../migrations")]
async fn the_generic_route_takes_a_specification_with_its_kind(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    let http = lab.http().await;
    let backup = json!({"kind": "backup", "cluster": "c", "name": "b1"});
    let made = http.post("/v1/jobs", backup.clone()).await.json(202);
    assert_eq!(made["backup"], "b1");
    assert_eq!(http.post("/v1/jobs", backup.clone()).await.refused(409), "RV-BACKUP-EXISTS");
    let row = lab.job(made["job"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!(row.spec, spec(backup));
    let wrong = http.post("/v1/jobs", json!({"kind": "backpu", "cluster": "c"})).await;
    assert_eq!((wrong.refused(400).as_str(), &wrong.json(400)["field"]), ("RV-BODY", &json!("kind")));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_dry_run_is_refused_as_the_thing_itself_and_changes_nothing(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(2).await;
    let http = lab.http().await;
    let dry = "/v1/jobs?dry_run=1";
    let body = |more: Value| {
        let mut body = json!({"kind": "backup", "cluster": "c"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let would = http.post(dry, body(json!({"name": "b1", "dc": "dc1"}))).await.json(200);
    assert_eq!(would["backup"], "b1");
    assert_eq!(http.post(dry, body(json!({"dc": "dc9"}))).await.refused(400), "RV-INVALID");
    let no_keyspace = body(json!({"selection": {"tables": ["none.t"]}}));
    assert_eq!(http.post(dry, no_keyspace).await.refused(400), "RV-INVALID");
    assert_eq!(http.get("/v1/jobs").await.json(200)["items"], json!([]), "nothing was created");

    let job = lab.submit(backup("b1"), "k1").await.job.to_string();
    assert_eq!(http.post(dry, body(json!({"name": "b1"}))).await.refused(409), "RV-BACKUP-EXISTS");
    let order = async |word: &str| {
        http.ask(ADMIN, Method::POST, &format!("/v1/jobs/{job}/{word}?dry_run=1"), None).await
    };
    for word in ["retry", "pause", "resume", "abandon"] {
        assert_eq!(order(word).await.refused(409), "RV-JOB-STATE", "{word} of a queued job");
    }
    assert_eq!(order("cancel").await.json(200)["state"], "queued", "nothing was changed");
    lab.run(&workers).await;
    assert_eq!(order("cancel").await.refused(409), "RV-JOB-STATE");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_cluster_s_id_and_a_node_are_given_up_by_their_owner(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(2).await;
    let http = lab.http().await;
    let rebind = async |body: Value| http.post("/v1/clusters/c/rebind", body).await;
    let forget = async |host: &str, query: &str| {
        let path = format!("/v1/clusters/c/nodes/{host}/forget{query}");
        http.ask(ADMIN, Method::POST, &path, None).await
    };
    let host = workers[1].host.to_string();
    assert_eq!(rebind(json!({})).await.json(422)["code"], "RV-NOT-CONFIRMED");
    assert_eq!(rebind(json!({"confirm": "c"})).await.refused(409), "RV-CLUSTER-ALIVE");
    assert_eq!(forget(&host, "").await.refused(409), "RV-NODE-ALIVE");
    assert_eq!(forget("nothing", "").await.refused(404), "RV-NODE-UNKNOWN");
    sqlx::query("update workers set last_seen = now() - interval '1 day'")
        .execute(&lab.ctx.db)
        .await
        .unwrap();
    assert_eq!(forget(&host, "?dry_run=1").await.json(200)["already"], false);
    assert_eq!(forget(&host, "").await.json(200)["already"], false);
    assert_eq!(forget(&host, "").await.json(200)["already"], true);
    let nodes = http.get("/v1/clusters/c/nodes").await.json(200);
    assert_eq!(nodes["items"].as_array().unwrap().len(), 1);
    let would = rebind(json!({"dry_run": true})).await.json(200);
    assert_eq!(would["was"].as_array().unwrap().len(), 2);
    rebind(json!({"confirm": "c"})).await.json(200);
    assert_eq!(rebind(json!({"dry_run": true})).await.json(200)["was"], json!([]), "it is free");
}
