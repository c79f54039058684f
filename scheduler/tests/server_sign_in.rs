//! Who is wrong about a token too often waits, and every sign-in is in the audit log.
#![allow(clippy::large_futures)] // a test may hold what it likes

mod support;

use reqwest::{Method, header};
use serde_json::{Value, json};
use sqlx::PgPool;
use support::{
    Lab,
    http::{ADMIN, Answer, Http},
};

async fn sign_in(http: &Http, token: &str, client: Option<&str>) -> reqwest::Response {
    let mut request = http.bare(Method::POST, "/v1/session").header("x-ringvault-page", "1");
    if let Some(client) = client {
        request = request.header("x-forwarded-for", client);
    }
    request.json(&json!({"token": token})).send().await.expect("an answer")
}

async fn written(db: &PgPool) -> Vec<(String, String, Value)> {
    sqlx::query_as("select actor, action, details from audit where action like 'session.%' order by id")
        .fetch_all(db)
        .await
        .expect("the log")
}

#[sqlx::test(migrations = "../migrations")]
async fn every_sign_in_is_written_down_with_where_it_came_from(db: PgPool) {
    let lab = Lab::new(db.clone()).await;
    let http = lab.http().await;
    assert_eq!(sign_in(&http, "rv_wrong", None).await.status(), 401);
    let good = sign_in(&http, ADMIN, Some("1.2.3.4")).await;
    let cookie = good.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let out = http
        .bare(Method::DELETE, "/v1/session")
        .header(header::COOKIE, &cookie)
        .header("x-ringvault-page", "1");
    assert_eq!(out.send().await.unwrap().status(), 204);
    let log = written(&db).await;
    let deeds: Vec<_> = log.iter().map(|(actor, action, _)| (actor.as_str(), action.as_str())).collect();
    assert_eq!(
        deeds,
        [("somebody", "session.refuse"), ("token admin", "session.begin"), ("token admin", "session.end")]
    );
    assert!(
        log[..2].iter().all(|(_, _, details)| details["address"] == "127.0.0.1"),
        "no proxy is trusted: {log:?}"
    );
    let text = format!("{log:?}");
    assert!(
        !text.contains(ADMIN)
            && !text.contains("rv_wrong")
            && !text.contains(cookie.split('=').nth(1).unwrap())
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn who_guesses_tokens_waits_and_fills_no_log(db: PgPool) {
    let queue = ringvault_queue::QueueConfig::from_url("amqp://127.0.0.1:1");
    let more = "[http]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    let lab = Lab::with(db.clone(), "sched-1", &queue, more).await;
    let http = lab.http().await;
    let mut refused = Vec::new();
    for n in 0..30 {
        // By the door of browsers and by that of programs in turn: it is one bucket.
        let answer = if n % 2 == 0 {
            sign_in(&http, "rv_guess", Some("9.9.9.9, 1.2.3.4")).await
        } else {
            let request = http.bare(Method::GET, "/v1/jobs").header("x-forwarded-for", "8.8.8.8, 1.2.3.4");
            request.bearer_auth("rv_guess").send().await.unwrap()
        };
        refused.push(answer.status().as_u16());
        if answer.status() == 429 {
            let seconds: u64 = answer.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&seconds), "{seconds}");
            assert_eq!(Answer::read(answer).await.refused(429), "RV-AUTH-OFTEN");
        }
    }
    // A bucket of twenty, one of which is forgotten every three seconds.
    let judged = refused.iter().filter(|status| **status == 401).count();
    assert!((20..24).contains(&judged) && refused[29] == 429, "{refused:?}");
    assert_eq!(sign_in(&http, ADMIN, Some("1.2.3.4")).await.status(), 429, "not even with the right one");
    assert_eq!(sign_in(&http, ADMIN, Some("1.2.3.5")).await.status(), 200, "others are let in");
    assert_eq!(http.bare(Method::GET, "/healthz").send().await.unwrap().status(), 200);
    let log = written(&db).await;
    let failures = log.iter().filter(|(_, action, _)| action == "session.refuse").count();
    assert!((10..13).contains(&failures), "{failures}: those that were judged, and no more");
    assert_eq!(log[0].2["address"], "1.2.3.4");
}
