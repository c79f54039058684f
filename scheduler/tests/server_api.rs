//! The API over a real Postgres: who may do what, probes, metrics, status, policies.
#![allow(clippy::collapsible_str_replace)]

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use support::{
    Lab, backup,
    http::{ADMIN, Answer, Http},
};

#[sqlx::test(migrations = "../migrations")]
async fn every_route_but_the_open_ones_refuses_who_has_no_token(db: PgPool) {
    let http = Lab::new(db).await.http().await;
    let description: Value = serde_json::from_str(
        &Answer::read(http.bare(Method::GET, "/openapi.json").send().await.unwrap()).await.text,
    )
    .unwrap();
    let (mut guarded, mut judged) = (0, 0);
    for (path, item) in description["paths"].as_object().unwrap() {
        let path = path.replace('{', "").replace('}', "");
        for (method, operation) in item.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let is_open = operation["security"].as_array().unwrap().is_empty();
            let answer = http.bare(method.clone(), &path).send().await.unwrap();
            assert_eq!(answer.status() == 401, !is_open, "{method} {path}");
            if !is_open {
                guarded += 1;
                let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
                assert!(challenge.starts_with("Bearer realm="), "{path}: {challenge}");
                let wrong = http.ask("rv_wrong", method.clone(), &path, None).await;
                // From one address only so many guesses are looked at.
                if wrong.status == 429 {
                    assert_eq!(wrong.refused(429), "RV-AUTH-OFTEN", "{method} {path}");
                } else {
                    assert_eq!(wrong.refused(401), "RV-AUTH-TOKEN", "{method} {path}");
                    judged += 1;
                }
            }
        }
    }
    assert!(guarded > 30 && judged >= 20, "{guarded} guarded routes, {judged} wrong tokens judged");
}

async fn token(http: &Http, name: &str, role: &str) -> String {
    let made = http.post("/v1/tokens", json!({"name": name, "role": role})).await.json(201);
    made["secret"].as_str().unwrap().to_owned()
}

#[sqlx::test(migrations = "../migrations")]
async fn tokens_have_roles_and_end_when_they_are_revoked_or_expire(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    let http = lab.http().await;
    let viewer = token(&http, "dashboard", "viewer").await;
    let operator = token(&http, "deploy", "operator").await;
    let backup = json!({"cluster": "c"});
    let ask = |token: String, method, path: &'static str, body| {
        let http = &http;
        async move { http.ask(&token, method, path, body).await }
    };
    ask(viewer.clone(), Method::GET, "/v1/jobs", None).await.json(200);
    let refused = ask(viewer.clone(), Method::POST, "/v1/backups", Some(backup.clone())).await;
    assert_eq!(refused.refused(403), "RV-AUTH-ROLE");
    ask(operator.clone(), Method::POST, "/v1/backups", Some(backup)).await.json(202);
    let purge = json!({"kind": "purge", "cluster": "c"});
    let refused = ask(operator.clone(), Method::POST, "/v1/jobs", Some(purge)).await;
    assert_eq!(refused.refused(403), "RV-AUTH-ROLE", "a purge by the generic route");
    assert_eq!(ask(operator.clone(), Method::GET, "/v1/tokens", None).await.refused(403), "RV-AUTH-ROLE");

    let own = ask(operator.clone(), Method::GET, "/v1/tokens/self", None).await.json(200);
    assert_eq!((&own["name"], &own["role"]), (&json!("deploy"), &json!("operator")));
    let rows: String = sqlx::query_scalar("select string_agg(t::text, ' ') from tokens t")
        .fetch_one(&lab.ctx.db)
        .await
        .unwrap();
    assert!(rows.contains("deploy") && !rows.contains(&operator), "{rows}");
    let again = http.post("/v1/tokens", json!({"name": "deploy", "role": "admin"})).await;
    assert_eq!(again.refused(409), "RV-TOKEN-EXISTS");
    http.delete("/v1/tokens/deploy", None).await.json(200);
    assert_eq!(ask(operator, Method::GET, "/v1/jobs", None).await.refused(401), "RV-AUTH-TOKEN");
    assert_eq!(http.delete("/v1/tokens/deploy", None).await.refused(404), "RV-TOKEN-UNKNOWN");

    sqlx::query("update tokens set expires_at = now() where name = 'dashboard'")
        .execute(&lab.ctx.db)
        .await
        .unwrap();
    assert_eq!(ask(viewer, Method::GET, "/v1/jobs", None).await.refused(401), "RV-AUTH-TOKEN");
    let list = http.get("/v1/tokens").await.json(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert!(list["items"][0].get("secret").is_none());
    let past = json!({"name": "old", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"});
    assert_eq!(http.post("/v1/tokens", past).await.json(400)["field"], "expires_at");
}

#[sqlx::test(migrations = "../migrations")]
async fn probes_say_which_server_is_away_and_nothing_else(db: PgPool) {
    let lab = Lab::new(db).await;
    let http = lab.http().await;
    let alive = http.bare(Method::GET, "/healthz").send().await.unwrap();
    assert_eq!(alive.status(), 200);
    // The lab has no broker.
    let ready = Answer::read(http.bare(Method::GET, "/readyz").send().await.unwrap()).await;
    let json: Value = serde_json::from_str(&ready.text).unwrap();
    assert_eq!(ready.status, 503);
    assert_eq!((&json["ready"], &json["rabbitmq"]["state"]), (&json!(false), &json!("down")));
    assert_eq!((&json["postgres"]["state"], &json["store"]["state"]), (&json!("ok"), &json!("ok")));
    assert!(json["rabbitmq"].get("detail").is_none(), "addresses are not for everybody");
}

#[sqlx::test(migrations = "../migrations")]
async fn the_status_says_that_the_database_is_away(db: PgPool) {
    let lab = Lab::new(db).await;
    let http = lab.http().await;
    lab.ctx.db.close().await;
    let status = http.get("/v1/status").await.json(200);
    assert_eq!(
        (&status["servers"]["postgres"]["state"], &status["servers"]["store"]["state"]),
        (&json!("down"), &json!("ok"))
    );
    assert_eq!((&status["clusters"], &status["next"]), (&json!([]), &json!("ringvault doctor")));
    assert_eq!(http.get("/v1/jobs").await.refused(503), "RV-DB-UNAVAILABLE");
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_not_there_and_what_cannot_be_done_are_problems(db: PgPool) {
    let http = Lab::new(db).await.http().await;
    assert_eq!(http.get("/v1/nothing").await.refused(404), "RV-PATH");
    assert_eq!(http.post("/v1/status", json!({})).await.refused(405), "RV-METHOD");
    assert_eq!(http.get("/v1/jobs?limit=0").await.refused(400), "RV-LIMIT");
    assert_eq!(http.get("/v1/jobs?colour=red").await.refused(400), "RV-QUERY");
    assert_eq!(http.get("/v1/jobs?cursor=x").await.refused(400), "RV-CURSOR");
    assert_eq!(http.get("/v1/clusters/none").await.refused(404), "RV-CLUSTER-UNKNOWN");
    assert_eq!(http.get("/v1/clusters/..%2Fx").await.refused(400), "RV-NAME");
    let large = http.post("/v1/backups", json!({"cluster": "c", "name": "x".repeat(2 << 20)})).await;
    assert_eq!(large.refused(400), "RV-BODY");
}

#[sqlx::test(migrations = "../migrations")]
async fn clusters_nodes_and_schema_are_told_as_workers_announced_them(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(3).await;
    let http = lab.http().await;
    let list = http.get("/v1/clusters").await.json(200);
    let first = &list["items"][0];
    assert_eq!(
        (&first["cluster"], &first["nodes"], &first["workers_live"]),
        (&json!("c"), &json!(3), &json!(3))
    );
    sqlx::query("update workers set last_seen = now() - interval '1 hour' where id = $1")
        .bind(workers[0].id.0)
        .execute(&lab.ctx.db)
        .await
        .unwrap();
    sqlx::query("delete from workers where id = $1")
        .bind(workers[1].id.0)
        .execute(&lab.ctx.db)
        .await
        .unwrap();
    let mut states = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = http.get(&format!("/v1/clusters/c/nodes?limit=2{cursor}")).await.json(200);
        states.extend(page["items"].as_array().unwrap().iter().map(|node| node["state"].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(states, ["silent", "no_worker", "live"]);
    let now = http.get("/v1/clusters/c/topology").await.json(200);
    assert_eq!(now["topology"]["nodes"].as_array().unwrap().len(), 3);
    let before = http.get("/v1/clusters/c/topology?at=2020-01-01T00:00:00Z").await;
    assert_eq!(before.refused(404), "RV-TOPOLOGY-UNKNOWN");
    assert_eq!(http.get("/v1/clusters/c/schema").await.json(200)["keyspaces"], json!(["k"]));
    assert_eq!(http.get("/v1/clusters/c").await.json(200)["members"].as_array().unwrap().len(), 3);
}

const NIGHTLY: &str = "[policy.nightly]\ncluster = 'c'\nschedule = '0 2 * * *'\ntimezone = 'Europe/Madrid'\n\
    action = 'backup'\nrpo = '24h'\n";

async fn put(http: &Http, query: &str, text: &str) -> Answer {
    let request = http
        .bare(Method::PUT, &format!("/v1/policies{query}"))
        .bearer_auth(ADMIN)
        .header("content-type", "application/toml")
        .body(text.to_owned());
    Answer::read(request.send().await.unwrap()).await
}

#[sqlx::test(migrations = "../migrations")]
async fn a_policy_file_is_applied_whole_or_not_at_all(db: PgPool) {
    let http = Lab::new(db).await.http().await;
    let dry = put(&http, "?dry_run=1", NIGHTLY).await.json(200);
    assert_eq!((&dry["dry_run"], &dry["added"]), (&json!(true), &json!(["nightly"])));
    assert_eq!(http.get("/v1/policies/nightly").await.refused(404), "RV-POLICY-UNKNOWN");
    put(&http, "", NIGHTLY).await.json(200);
    let wrong = format!("{NIGHTLY}[policy.other]\ncluster = 'c'\nschedul = 'x'\n");
    let refused = put(&http, "", &wrong).await;
    assert_eq!(refused.refused(400), "RV-POLICY");
    assert!(refused.text.contains("line 9") && refused.text.contains("schedul"), "{}", refused.text);
    let never = put(&http, "", &NIGHTLY.replace("0 2 * * *", "0 2 30 2 *")).await;
    assert_eq!(never.refused(400), "RV-POLICY", "the 30th of February");
    let locked = put(&http, "", &NIGHTLY.replace("rpo", "lock = '400d'\nrpo")).await;
    assert_eq!(locked.refused(400), "RV-POLICY", "the vault has no locks");
    assert!(
        locked.text.contains("policy.nightly.lock") && locked.text.contains("[vault.lock]"),
        "{}",
        locked.text
    );
    let changed = put(&http, "", &NIGHTLY.replace("24h", "12h")).await.json(200);
    assert_eq!(changed["changed"][0]["fields"][0]["field"], "rpo");
    let next = http.get("/v1/policies/nightly/next?count=3").await.json(200);
    assert_eq!(next["fires"].as_array().unwrap().len(), 3);
    let paused = http.post("/v1/policies/nightly/pause", json!(null)).await.json(200);
    assert_eq!((&paused["paused"], paused.get("next_fire")), (&json!(true), None));
    http.post("/v1/policies/nightly/resume", json!(null)).await.json(200);
    let other = NIGHTLY.replace("nightly", "other");
    assert_eq!(put(&http, "", &other).await.json(200)["removed"], json!([]));
    assert_eq!(put(&http, "?prune=1", &other).await.json(200)["removed"], json!(["nightly"]));
    assert_eq!(http.delete("/v1/policies/other", None).await.status, 204);
    assert_eq!(http.get("/v1/policies").await.json(200)["items"], json!([]));
}

#[sqlx::test(migrations = "../migrations")]
async fn the_fleet_is_told_as_json_and_as_metrics(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(3).await;
    let http = lab.http().await;
    put(&http, "", NIGHTLY).await.json(200);
    let late = http.get("/v1/status").await.json(200);
    assert_eq!(
        (&late["clusters"][0]["rpo"], &late["clusters"][0]["problem"]),
        (&json!("late"), &json!("no backup yet"))
    );
    lab.submit(backup("b1"), "k").await;
    lab.run(&workers).await;
    let good = http.get("/v1/status").await.json(200);
    assert_eq!(good["clusters"][0]["last_good"]["backup"], "b1");
    assert_eq!(
        (&good["clusters"][0]["rpo"], &good["clusters"][0]["workers_live"]),
        (&json!("ok"), &json!(3))
    );
    let jobs = http.bare(Method::GET, "/v1/jobs").basic_auth("anyone", Some(ADMIN)).send().await.unwrap();
    assert_eq!(jobs.status(), 401, "a password is no token");

    let metrics = http.get("/metrics").await;
    assert!(metrics.media.starts_with("text/plain; version=0.0.4"));
    for line in [
        "ringvault_backup_runs_total{cluster=\"c\",result=\"ok\"} 1\n",
        "ringvault_jobs{cluster=\"c\",state=\"succeeded\",kind=\"backup\"} 1\n",
        "ringvault_tasks{cluster=\"c\",state=\"succeeded\",kind=\"upload\"} 3\n",
        "ringvault_rpo_target_seconds{cluster=\"c\",policy=\"nightly\"} 86400\n",
        "ringvault_backup_nodes{cluster=\"c\",state=\"held\"} 3\n",
        "ringvault_backup_duration_seconds_count{cluster=\"c\"} 1\n",
        "ringvault_worker_last_heartbeat_timestamp_seconds{cluster=\"c\",node=\"10.0.0.0\"} ",
        "ringvault_last_backup_success_timestamp_seconds{cluster=\"c\"} ",
    ] {
        assert!(metrics.text.contains(line), "{line} is not in\n{}", metrics.text);
    }
}
