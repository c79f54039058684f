//! The dashboard over a real Postgres: signing in, what its screens ask for, how long that takes with a
//! large fleet, and all of it in a real Chromium.
#![allow(clippy::large_futures)] // a test may hold what it likes

mod support;

use std::time::{Duration, Instant};

use reqwest::{Method, header};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, postgres::PgConnectOptions};
use support::{
    Lab, backup,
    broker::until,
    host,
    http::{ADMIN, Answer, Http},
    openid::Provider,
    running::Running,
    station::{Deed, Run},
    worker::Worker,
};

const FLEET: &str = include_str!("dashboard/fleet.sql");
const OPEN: &str = include_str!("dashboard/open.sql");

async fn fill(db: &PgPool, sql: &'static str) {
    sqlx::raw_sql(sql).execute(db).await.expect("the fleet");
}

/// Signs in as a page of ours does. The cookie, and what it was set with.
async fn sign_in(http: &Http, token: &str) -> (String, String) {
    let request = http.bare(Method::POST, "/v1/session").header("x-ringvault-page", "1");
    let response = request.json(&json!({"token": token})).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let set = response.headers()[header::SET_COOKIE].to_str().expect("text").to_owned();
    let cookie = set.split(';').next().expect("a cookie").to_owned();
    (cookie, set)
}

async fn with(
    http: &Http,
    cookie: &str,
    method: Method,
    path: &str,
    is_page: bool,
    body: Option<Value>,
) -> Answer {
    let mut request = http.bare(method, path).header(header::COOKIE, cookie);
    if is_page {
        request = request.header("x-ringvault-page", "1").header("sec-fetch-site", "same-origin");
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    Answer::read(request.send().await.expect("an answer")).await
}

async fn token(http: &Http, name: &str, role: &str) -> String {
    let made = http.post("/v1/tokens", json!({"name": name, "role": role})).await.json(201);
    made["secret"].as_str().expect("a secret").to_owned()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_browser_signs_in_with_a_token_and_out_again(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    let http = lab.http().await;
    let wrong = http.bare(Method::POST, "/v1/session").header("x-ringvault-page", "1");
    let wrong = Answer::read(wrong.json(&json!({"token": "rv_wrong"})).send().await.unwrap()).await;
    assert_eq!(wrong.refused(401), "RV-AUTH-TOKEN");
    let operator = token(&http, "sre", "operator").await;
    let elsewhere = http.bare(Method::POST, "/v1/session").json(&json!({"token": operator}));
    assert_eq!(Answer::read(elsewhere.send().await.unwrap()).await.refused(403), "RV-AUTH-ROLE");

    let (cookie, set) = sign_in(&http, &operator).await;
    for wanted in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(set.contains(wanted), "{set}");
    }
    assert!(!set.contains(&operator));
    let session = with(&http, &cookie, Method::GET, "/v1/session", false, None).await.json(200);
    assert_eq!((&session["name"], &session["role"]), (&json!("sre"), &json!("operator")));

    // What changes something must come from a page of ours, and is done in the token's name and role.
    let body = || Some(json!({"cluster": "c", "name": "b1"}));
    let forged = with(&http, &cookie, Method::POST, "/v1/backups", false, body()).await;
    assert_eq!(forged.refused(403), "RV-AUTH-ROLE");
    let job = with(&http, &cookie, Method::POST, "/v1/backups", true, body()).await.json(202);
    let job = http.get(&format!("/v1/jobs/{}", job["job"].as_str().unwrap())).await.json(200);
    assert_eq!(job["requested_by"], "token sre");
    let purge = Some(json!({"cluster": "c"}));
    assert_eq!(
        with(&http, &cookie, Method::POST, "/v1/purges", true, purge).await.refused(403),
        "RV-AUTH-ROLE"
    );

    let kept: String = sqlx::query_scalar("select string_agg(s::text, ' ') from sessions s")
        .fetch_one(&lab.ctx.db)
        .await
        .unwrap();
    let secret = cookie.split_once('=').unwrap().1;
    assert!(!kept.contains(secret) && !kept.contains(&operator), "{kept}");

    let out = with(&http, &cookie, Method::DELETE, "/v1/session", true, None).await;
    assert_eq!(out.status, 204);
    assert_eq!(
        with(&http, &cookie, Method::GET, "/v1/jobs", false, None).await.refused(401),
        "RV-AUTH-TOKEN"
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn a_session_ends_with_its_time_and_with_its_token(db: PgPool) {
    let lab = Lab::new(db).await;
    let http = lab.http().await;
    let viewer = token(&http, "wall", "viewer").await;
    let (of_viewer, _) = sign_in(&http, &viewer).await;
    let (of_admin, _) = sign_in(&http, ADMIN).await;
    let look = async |cookie: &str| with(&http, cookie, Method::GET, "/v1/status", false, None).await.status;
    assert_eq!((look(&of_viewer).await, look(&of_admin).await), (200, 200));
    http.delete("/v1/tokens/wall", None).await.json(200);
    assert_eq!((look(&of_viewer).await, look(&of_admin).await), (401, 200), "revoked");
    sqlx::query("update sessions set bound = sha256('another token') where bound is not null")
        .execute(&lab.ctx.db)
        .await
        .unwrap();
    assert_eq!(look(&of_admin).await, 401, "the configuration has another token now");
    let (again, _) = sign_in(&http, ADMIN).await;
    sqlx::query("update sessions set expires_at = now()").execute(&lab.ctx.db).await.unwrap();
    assert_eq!(look(&again).await, 401, "over");
}

#[sqlx::test(migrations = "../migrations")]
async fn pages_may_run_our_own_files_alone(db: PgPool) {
    let http = Lab::new(db).await.http().await;
    let page = http.bare(Method::GET, "/").send().await.unwrap();
    assert_eq!((page.status().as_u16(), page.url().path()), (200, "/ui/fleet"), "led to the dashboard");
    for path in ["/ui/fleet", "/ui/jobs/01", "/ui/assets/main.js", "/ui/assets/style.css"] {
        let answer = http.bare(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    }
    assert_eq!(
        Answer::read(http.bare(Method::GET, "/ui/assets/none.js").send().await.unwrap()).await.status,
        404
    );
    let private = http.bare(Method::GET, "/v1/status").bearer_auth(ADMIN).send().await.unwrap();
    assert_eq!(private.headers()["cache-control"], "no-store");
}

#[sqlx::test(migrations = "../migrations")]
async fn the_calendar_and_the_coverage_say_what_can_be_restored(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(3).await;
    let http = lab.http().await;
    for name in ["b1", "b2"] {
        lab.submit(backup(name), name).await;
        lab.run(&workers).await;
    }
    sqlx::query("update backups set started_at = started_at - interval '2 days' where name = 'b1'")
        .execute(&lab.ctx.db)
        .await
        .unwrap();
    let calendar = http.get("/v1/clusters/c/calendar").await.json(200);
    let days = calendar["days"].as_array().unwrap();
    assert_eq!((days.len(), &days[0]["restorable"], &calendar["cut"]), (2, &json!(1), &json!(false)));
    assert_eq!(
        (&days[0]["points"][0]["backup"], &days[1]["points"][0]["backup"]),
        (&json!("b1"), &json!("b2"))
    );
    let from = days[1]["points"][0]["at"].as_str().unwrap();
    let later = http.get(&format!("/v1/clusters/c/calendar?from={from}")).await.json(200);
    assert_eq!(later["days"].as_array().unwrap().len(), 1);
    assert_eq!(
        http.get("/v1/clusters/c/calendar?from=2020-01-01T00:00:00Z").await.json(400)["field"],
        "from"
    );
    assert_eq!(http.get("/v1/clusters/none/calendar").await.refused(404), "RV-CLUSTER-UNKNOWN");

    sqlx::query("update tasks set state = 'failed' where kind = 'upload' and host_id = $1 and job = (select job from backups where name = 'b2')")
        .bind(host(2).0)
        .execute(&lab.ctx.db)
        .await
        .unwrap();
    let coverage = http.get("/v1/clusters/c/coverage").await.json(200);
    assert_eq!(
        (&coverage["backups"][0]["backup"], &coverage["backups"][0]["known"]),
        (&json!("b2"), &json!(true))
    );
    let held: Vec<_> =
        coverage["nodes"].as_array().unwrap().iter().map(|node| node["held"].clone()).collect();
    assert_eq!(held, [json!([true, true]), json!([false, true]), json!([true, true])]);
    assert_eq!(http.get("/v1/clusters/c/coverage?backups=0").await.refused(400), "RV-QUERY");
}

#[sqlx::test(migrations = "../migrations")]
async fn open_jobs_say_what_they_wait_for(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(2).await;
    let http = lab.http().await;
    let job = lab.submit(backup("b1"), "k1").await.job;
    let offers = lab.offers().await;
    for offer in &offers {
        let worker = lab.worker_of(&workers, offer).await;
        lab.report(&worker.started(offer)).await;
    }
    let worker = lab.worker_of(&workers, &offers[0]).await;
    let error = ringvault_core::TaskError::environment("RV-CASSANDRA-DOWN", "the node does not answer");
    lab.report(&worker.failed(&offers[0], error)).await;
    let open = http.get("/v1/jobs/open").await.json(200);
    let told = &open["items"][0];
    assert_eq!((&told["id"], &told["tasks"], &told["tasks_running"]), (&json!(job), &json!(2), &json!(1)));
    assert_eq!(
        (&told["tasks_retrying"], &told["stages"], &told["stage_number"]),
        (&json!(1), &json!(4), &json!(1))
    );
    assert_eq!(told["waiting_for"]["code"], "RV-CASSANDRA-DOWN");
    assert!(
        told["waiting_since"].is_string() && !told["waiting_node"].as_str().unwrap().is_empty(),
        "{told}"
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn evidence_is_told_from_every_source_without_gaps_or_repeats(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes(1).await;
    let http = lab.http().await;
    lab.submit(backup("b1"), "b1").await;
    lab.run(&workers).await;
    let hold = json!({"cluster": "c", "backup": "b1", "name": "LIT-7", "reason": "a case"});
    http.post("/v1/holds", hold.clone()).await.json(200);
    let over = json!({"cluster": "c", "backup": "b1", "name": "LIT-7", "reason": "closed"});
    assert_eq!(http.delete("/v1/holds", Some(over)).await.status, 204);
    http.post("/v1/verifications", json!({"cluster": "c", "backup": "b1"})).await.json(202);
    lab.run(&workers).await;
    let restore = json!({"source": "c", "backup": "b1", "target": "c"});
    http.post("/v1/restores", restore).await.json(202);
    lab.run(&workers).await;
    let cancelled = http.post("/v1/backups", json!({"cluster": "c", "name": "b2"})).await.json(202);
    http.order(cancelled["job"].as_str().unwrap(), "cancel").await.json(200);
    lab.run(&workers).await;
    let policy = json!({"policy": {"p": {"cluster": "c", "schedule": "0 2 * * *", "action": "backup",
        "retention": {"keep_last": 3}}}});
    http.ask(ADMIN, Method::PUT, "/v1/policies", Some(policy)).await.json(200);

    let whole = http.get("/v1/evidence").await.json(200);
    let kinds: Vec<_> =
        whole["items"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["policy", "ordered", "restored", "verified", "released", "held"]);
    let of = |kind: &str| {
        let items = whole["items"].as_array().unwrap();
        items.iter().find(|item| item["kind"] == kind).unwrap().clone()
    };
    assert_eq!((&of("ordered")["detail"], &of("ordered")["by"]), (&json!("cancel"), &json!("token admin")));
    assert_eq!((&of("restored")["result"], &of("restored")["count"]), (&json!("ok"), &json!(1)));
    assert_eq!((&of("verified")["level"], &of("verified")["count"]), (&json!("presence"), &json!(0)));
    assert_eq!((&of("released")["by"], &of("released")["detail"]), (&json!("token admin"), &json!("closed")));

    // All at one instant, so that only their keys tell them apart.
    for (table, column) in [
        ("holds", "created_at"),
        ("holds", "released_at"),
        ("jobs", "ended_at"),
        ("verifications", "at"),
        ("transitions", "at"),
        ("policies", "updated_at"),
    ] {
        let sql = format!("update {table} set {column} = '2026-01-01' where {column} is not null");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&lab.ctx.db).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = http.get(&format!("/v1/evidence?cluster=c&limit=1{cursor}")).await.json(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["kind"].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    seen.sort_by_key(ToString::to_string);
    assert_eq!(seen, ["held", "ordered", "policy", "released", "restored", "verified"]);
    let held = http.get("/v1/evidence?kind=held").await.json(200);
    assert_eq!(held["items"].as_array().unwrap().len(), 1);

    let storage = http.get("/v1/storage").await.json(200);
    let c = &storage["clusters"][0];
    assert_eq!((&c["cluster"], &c["kept"], &c["restorable"]), (&json!("c"), &json!(1), &json!(1)));
    assert_eq!(c["retentions"][0]["policy"], "p");
    let expiring = http.get("/v1/clusters/c/expiring").await.json(200);
    assert_eq!((&expiring["rules"][0]["policy"], &expiring["rules"][0]["expire"]), (&json!("p"), &json!([])));
}

/// What the screens ask for first.
const SCREENS: &[(&str, &[&str])] = &[
    ("fleet", &["/v1/status"]),
    (
        "cluster",
        &[
            "/v1/clusters/orders-prod",
            "/v1/clusters/orders-prod/calendar",
            "/v1/clusters/orders-prod/coverage",
            "/v1/policies?limit=1000",
        ],
    ),
    ("jobs", &["/v1/jobs/open?limit=200", "/v1/jobs?limit=50"]),
    (
        "restore",
        &["/v1/jobs?kind=restore&limit=25", "/v1/clusters?limit=1000", "/v1/clusters/orders-prod/calendar"],
    ),
    ("storage", &["/v1/storage", "/v1/clusters/orders-prod/expiring"]),
    ("evidence", &["/v1/evidence?limit=50", "/v1/status"]),
];

/// The aim is 100 ms a request on a quiet machine; tests run unoptimised, and beside each other.
const LIMIT: Duration = Duration::from_millis(1000);

#[sqlx::test(migrations = "../migrations")]
async fn every_screen_is_answered_in_time_with_a_hundred_clusters_and_ten_thousand_backups(db: PgPool) {
    // As a scheduler connects.
    let options = PgConnectOptions::clone(&db.connect_options()).options([("jit", "off")]);
    let lab = Lab::new(PgPool::connect_with(options).await.expect("a connection")).await;
    fill(&lab.ctx.db, FLEET).await;
    fill(&lab.ctx.db, OPEN).await;
    let http = lab.http().await;
    for (screen, paths) in SCREENS {
        for path in *paths {
            let bytes = http.get(path).await.text.len();
            let mut took = Vec::new();
            for _ in 0..5 {
                let began = Instant::now();
                let answer = http.get(path).await;
                took.push(began.elapsed());
                assert_eq!(answer.status, 200);
            }
            took.sort();
            println!("{screen:9} {path:42} {bytes:>7} bytes in {:?}", took[2]);
            assert!(took[0] < LIMIT, "{path} took {took:?}");
        }
    }
    let status = http.get("/v1/status").await.json(200);
    assert_eq!(status["clusters"].as_array().unwrap().len(), 100);
    let lines = format!("export RINGVAULT_URL={} RINGVAULT_ADMIN={ADMIN}\n", http.base());
    stay("fleet", &lines).await;
}

/// With `RINGVAULT_TEST_STAY` a test leaves what it has made for somebody to look at: the file named there
/// gets what a shell must know, and the test goes on once the file is gone.
async fn stay(name: &str, lines: &str) {
    let Ok(file) = std::env::var("RINGVAULT_TEST_STAY") else { return };
    let file = format!("{file}.{name}");
    std::fs::write(&file, lines).expect("the file");
    while std::path::Path::new(&file).exists() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

const PATIENCE: &str =
    "max_attempts = 3\nlease = \"20s\"\ndispatch_timeout = \"5s\"\n[timing]\npoll = \"100ms\"\n";

#[sqlx::test(migrations = "../migrations")]
async fn the_dashboard_works_in_chromium(db: PgPool) {
    let python = std::env::var("RINGVAULT_TEST_BROWSER").unwrap_or_else(|_| {
        panic!("RINGVAULT_TEST_BROWSER is not set: this test needs a browser, run it with dev/test")
    });
    fill(&db, FLEET).await;
    // The provider must know where a browser comes back to before the scheduler listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let provider = Provider::start(json!({"base": format!("http://{address}")}));
    let settings = format!("listen = \"{address}\"\n{PATIENCE}{}", provider.section(""));
    let running = Running::start(db, &settings).await;
    let hosts = [host(1), host(2), host(3)];
    let workers: Vec<_> = hosts
        .iter()
        .map(|host| {
            let (config, stop) = (running.broker.config(), running.stop.clone());
            let worker = Worker::beside(*host);
            tokio::spawn(async move {
                let run = Run::start(&config, &worker, &hosts).await;
                // Long enough to be seen, and to be cancelled.
                let deed = |offer: &ringvault_queue::message::TaskOffer| {
                    Deed::DoneIn(match offer.stage.as_str() {
                        "upload" => Duration::from_secs(10),
                        "download" => Duration::from_secs(3),
                        _ => Duration::from_millis(300),
                    })
                };
                run.work(deed, &stop).await;
            })
        })
        .collect();
    let known = "select count(*) from workers where cluster = 'c' and state = 'live'";
    until("three workers", async || {
        let count: i64 = sqlx::query_scalar(known).fetch_one(&running.lab.ctx.db).await.expect("the workers");
        (count == 3).then_some(())
    })
    .await;
    let http = running.lab.http().await;
    let viewer = token(&http, "wall", "viewer").await;
    let operator = token(&http, "sre", "operator").await;
    let lines = format!(
        "export RINGVAULT_URL={} RINGVAULT_ADMIN={ADMIN} RINGVAULT_OPERATOR={operator} RINGVAULT_VIEWER={viewer} RINGVAULT_PROVIDER={}\n",
        http.base(),
        provider.issuer
    );
    stay("work", &lines).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dashboard");
    let browser = tokio::process::Command::new(python)
        .args(["-B", script])
        .env("RINGVAULT_URL", http.base())
        .env("RINGVAULT_ADMIN", ADMIN)
        .env("RINGVAULT_OPERATOR", operator)
        .env("RINGVAULT_VIEWER", viewer)
        .env("RINGVAULT_PROVIDER", &provider.issuer)
        .kill_on_drop(true)
        .output();
    let browser =
        tokio::time::timeout(Duration::from_secs(900), browser).await.expect("an end").expect("Python");
    let told =
        format!("{}{}", String::from_utf8_lossy(&browser.stdout), String::from_utf8_lossy(&browser.stderr));
    println!("{told}");
    assert!(browser.status.success(), "{told}");
    running.stop.cancel();
    for worker in workers {
        worker.await.expect("the worker ends");
    }
    running.end().await;
}
