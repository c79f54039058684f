//! Signing in at a real OpenID Connect provider, and everything that lets nobody in.
#![allow(clippy::large_futures)] // a test may hold what it likes

mod support;

use reqwest::{Method, Response, header};
use ringvault_queue::QueueConfig;
use serde_json::{Value, json};
use sqlx::PgPool;
use support::{
    Lab,
    authority::{Authority, GOOD},
    broker::until,
    http::{ADMIN, Answer, Http},
    openid::{BASE, Browser, Provider, SECRET},
};

const PENDING: &str = "__Host-ringvault_sign_in";
const SESSION: &str = "ringvault_session";

async fn scheduler(db: &PgPool, settings: &str) -> (Lab, Http) {
    let lab = Lab::with(db.clone(), "sched-1", &QueueConfig::from_url("amqp://127.0.0.1:1"), settings).await;
    let http = lab.http().await;
    (lab, http)
}

/// Another scheduler over the same database, with these settings.
async fn another(lab: &Lab, id: &str, settings: &str) -> Http {
    let (db, queue) = (lab.ctx.db.clone(), QueueConfig::from_url("amqp://127.0.0.1:1"));
    Lab::open(db, id, &queue, settings, lab.shared_folder()).await.http().await
}

/// What the page says, and that it is one.
async fn refusal(response: Response, status: u16) -> String {
    let headers = response.headers().clone();
    let seen = response.status().as_u16();
    let page = response.text().await.expect("a page");
    assert_eq!(seen, status, "{page}");
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    let policy = headers["content-security-policy"].to_str().expect("text");
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(headers["cache-control"], "no-store");
    page
}

async fn count(db: &PgPool, what: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {what}")))
        .fetch_one(db)
        .await
        .expect("a count")
}

async fn written(db: &PgPool) -> Vec<(String, String, Value)> {
    sqlx::query_as("select actor, action, details from audit where action like 'session.%' order by id")
        .fetch_all(db)
        .await
        .expect("the log")
}

async fn session(browser: &mut Browser) -> Answer {
    Answer::read(browser.page(Method::GET, "/v1/session").await).await
}

#[sqlx::test(migrations = "../migrations")]
async fn a_person_signs_in_with_the_role_of_their_groups_and_out_again(db: PgPool) {
    let provider = Provider::start(json!({}));
    let (lab, http) = scheduler(&db, &provider.section("session = \"3h\"\n")).await;
    let ways = http.bare(Method::GET, "/v1/sign-in").send().await.unwrap();
    assert_eq!(Answer::read(ways).await.json(200)["openid"], "Example");

    let mut anna = Browser::new(http.base());
    let callback = anna.reach_callback("anna").await;
    let pending = anna.cookie(PENDING).expect("what it has begun").to_owned();
    let answer = anna.get(&callback).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()[header::LOCATION]),
        (303, &"/ui/jobs".parse().unwrap())
    );
    assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
    let set: Vec<&str> =
        answer.headers().get_all(header::SET_COOKIE).iter().map(|set| set.to_str().unwrap()).collect();
    assert_eq!(set.len(), 2, "{set:?}");
    for wanted in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=10800", "; Secure"] {
        assert!(set[0].starts_with(SESSION) && set[0].contains(wanted), "{set:?}");
    }
    assert!(set[1].starts_with(PENDING) && set[1].contains("Max-Age=0"), "{set:?}");

    let seen = session(&mut anna).await.json(200);
    assert_eq!((&seen["name"], &seen["role"]), (&json!("anna@example.com"), &json!("operator")));
    lab.nodes(1).await;
    let made = anna.page(Method::DELETE, "/v1/tokens/none").await;
    assert_eq!(made.status(), 403, "an operator is no admin");
    let log = written(&db).await;
    let (actor, action, details) = &log[0];
    assert_eq!((actor.as_str(), action.as_str()), ("person anna@example.com", "session.begin"));
    assert_eq!(
        (&details["subject"], &details["issuer"], &details["role"], &details["address"]),
        (&json!("anna"), &json!(provider.issuer), &json!("operator"), &json!("127.0.0.1"))
    );
    let kept: String =
        sqlx::query_scalar("select string_agg(s::text, ' ') from sessions s").fetch_one(&db).await.unwrap();
    let cookie = anna.cookie(SESSION).unwrap();
    for secret in
        [cookie, &pending, SECRET, callback.split("code=").nth(1).unwrap().split('&').next().unwrap()]
    {
        assert!(!kept.contains(secret) && !format!("{log:?}").contains(secret));
    }

    assert_eq!(anna.page(Method::DELETE, "/v1/session").await.status(), 204);
    assert_eq!(session(&mut anna).await.status, 401);
    assert_eq!(count(&db, "sessions").await, 0);
    assert_eq!(written(&db).await[1].1, "session.end");

    // Who has other groups has another role from the next sign-in on. The provider knows her still.
    provider.tell("people", json!({"anna": {"email": "anna@example.com", "groups": ["lead"]}})).await;
    assert_eq!(anna.sign_in("anna").await.status(), 303);
    assert_eq!(session(&mut anna).await.json(200)["role"], "admin");
}

#[sqlx::test(migrations = "../migrations")]
async fn what_a_person_does_is_done_in_their_name(db: PgPool) {
    let provider = Provider::start(json!({}));
    let (lab, http) = scheduler(&db, &provider.section("")).await;
    lab.nodes(1).await;
    let mut anna = Browser::new(http.base());
    anna.sign_in("anna").await;
    let cookie = format!("{SESSION}={}", anna.cookie(SESSION).unwrap());
    let ask = |path: &str, body: Value| {
        let request =
            http.bare(Method::POST, path).header(header::COOKIE, &cookie).header("x-ringvault-page", "1");
        request.json(&body).send()
    };
    let job = Answer::read(ask("/v1/backups", json!({"cluster": "c", "name": "b1"})).await.unwrap())
        .await
        .json(202);
    let job = job["job"].as_str().unwrap();
    assert_eq!(
        http.get(&format!("/v1/jobs/{job}")).await.json(200)["requested_by"],
        "person anna@example.com"
    );
    assert_eq!(ask(&format!("/v1/jobs/{job}/cancel"), json!({})).await.unwrap().status(), 200);
    let evidence = http.get("/v1/evidence?kind=ordered").await.json(200);
    assert_eq!(evidence["items"][0]["by"], "person anna@example.com");
    let own = http.bare(Method::GET, "/v1/tokens/self").header(header::COOKIE, &cookie);
    assert_eq!(Answer::read(own.send().await.unwrap()).await.refused(404), "RV-TOKEN-UNKNOWN");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_token_that_is_not_what_it_must_be_lets_nobody_in(db: PgPool) {
    let provider = Provider::start(json!({}));
    let (_lab, http) = scheduler(&db, &provider.section("")).await;
    let now = chrono::Utc::now().timestamp();
    for (fault, says) in [
        (json!({"claims": {"nonce": "another"}}), "belongs to another sign-in"),
        (json!({"claims": {"nonce": null}}), "belongs to another sign-in"),
        (json!({"claims": {"aud": "another"}}), "made out to another audience"),
        (json!({"claims": {"aud": ["ringvault", "another"]}}), "made out to another audience"),
        (json!({"claims": {"azp": "another"}}), "made out to another audience"),
        (json!({"claims": {"iss": "https://evil.example"}}), "of another issuer"),
        (json!({"claims": {"exp": now - 120}}), "has expired"),
        (json!({"claims": {"exp": null}}), "has expired"),
        (json!({"claims": {"iat": now + 600}}), "not valid yet"),
        (json!({"key": "another"}), "signature is wrong"),
        (json!({"key": "another", "header": {"kid": "unknown"}}), "a key that the provider does not publish"),
        (json!({"header": {"typ": "at+jwt"}}), "of a kind that nobody signs in with"),
        // {"alg":"none"} and {"alg":"HS256"}
        (json!({"raw": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm5hIn0."}), "not signed with a key pair"),
        (json!({"raw": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm5hIn0.c2ln"}), "not signed with a key pair"),
        (json!({"raw": "nonsense"}), "no signed token"),
    ] {
        provider.tell("fault", fault.clone()).await;
        let mut browser = Browser::new(http.base());
        let page = refusal(browser.sign_in("anna").await, 401).await;
        assert!(page.contains(says) && page.contains("RV-OIDC-TOKEN"), "{fault}: {page}");
        assert!(browser.cookie(SESSION).is_none() && browser.cookie(PENDING).is_none());
    }
    assert_eq!(count(&db, "sessions").await, 0);
    let log = written(&db).await;
    assert_eq!(log.len(), 15);
    assert!(log.iter().all(|(actor, action, details)| {
        actor == "somebody" && action == "session.refuse" && details["code"] == "RV-OIDC-TOKEN"
    }));
    // The fault was for one token alone.
    assert_eq!(Browser::new(http.base()).sign_in("anna").await.status(), 303);
}

#[sqlx::test(migrations = "../migrations")]
async fn an_answer_is_taken_once_and_from_the_browser_that_began_alone(db: PgPool) {
    let provider = Provider::start(json!({}));
    let (_lab, http) = scheduler(&db, &provider.section("")).await;
    let (mut anna, mut thief) = (Browser::new(http.base()), Browser::new(http.base()));
    let callback = anna.reach_callback("anna").await;

    // Another browser: without a sign-in of its own, and with one.
    let page = refusal(thief.get(&callback).await, 400).await;
    assert!(page.contains("RV-OIDC-STATE"), "{page}");
    thief.reach_callback("ben").await;
    assert!(refusal(thief.get(&callback).await, 400).await.contains("RV-OIDC-STATE"));
    // A stolen code beside the thief's own state: PKCE binds the code to the browser that began.
    let own = thief.reach_callback("ben").await;
    let part = |url: &str, name: &str| {
        let url = reqwest::Url::parse(url).unwrap();
        url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
    };
    let mixed = own.replace(&part(&own, "code"), &part(&callback, "code"));
    assert_ne!(mixed, own);
    let page = refusal(thief.get(&mixed).await, 401).await;
    assert!(page.contains("RV-OIDC-DECLINED") && page.contains("invalid_grant"), "{page}");

    // Altered on the way.
    let mut anna = Browser::new(http.base());
    let callback = anna.reach_callback("anna").await;
    let pending = (PENDING, anna.cookie(PENDING).unwrap().to_owned());
    let state = part(&callback, "state");
    for altered in [
        callback.replace(&state, "another"),
        callback.replace(&format!("state={state}"), ""),
        format!("{BASE}/v1/sign-in/openid/callback"),
    ] {
        assert!(refusal(anna.get(&altered).await, 400).await.contains("RV-OIDC-STATE"), "{altered}");
        assert!(anna.cookie(PENDING).is_none(), "and what was begun is over");
        set(&mut anna, &pending);
    }
    let mixed_up = callback.replace(
        &part(&callback, "iss").replace(':', "%3A").replace('/', "%2F"),
        "https%3A%2F%2Fevil.example",
    );
    assert_ne!(mixed_up, callback);
    assert!(refusal(anna.get(&mixed_up).await, 401).await.contains("of another issuer"));
    set(&mut anna, &pending);
    let denied = format!(
        "{BASE}/v1/sign-in/openid/callback?state={state}&error=access_denied&error_description=%3Cb%3E"
    );
    let page = refusal(anna.get(&denied).await, 401).await;
    assert!(page.contains("access_denied") && !page.contains("<b>"), "{page}");
    set(&mut anna, &pending);
    let odd = format!("{BASE}/v1/sign-in/openid/callback?state={state}&error=Call+0800+now");
    assert!(!refusal(anna.get(&odd).await, 401).await.contains("0800"), "nobody writes on our pages");

    // Once, and not again with the same cookie.
    set(&mut anna, &pending);
    assert_eq!(anna.get(&callback).await.status(), 303);
    set(&mut anna, &pending);
    assert!(refusal(anna.get(&callback).await, 401).await.contains("invalid_grant"));
}

fn set(browser: &mut Browser, (name, value): &(&str, String)) {
    let key = ("ringvault.test".to_owned(), (*name).to_owned());
    browser.cookies.insert(key, (value.clone(), "/".to_owned()));
}

#[sqlx::test(migrations = "../migrations")]
async fn who_is_in_no_group_is_told_so_and_written_down(db: PgPool) {
    let provider = Provider::start(json!({}));
    let (_lab, http) = scheduler(&db, &provider.section("[oidc.users]\n\"dora\" = \"viewer\"\n")).await;
    let mut carl = Browser::new(http.base());
    let page = refusal(carl.sign_in("carl").await, 403).await;
    assert!(page.contains("carl@example.com is in no group") && page.contains("RV-OIDC-ROLE"), "{page}");
    assert!(page.contains("Back to signing in") && carl.cookie(SESSION).is_none());
    let log = written(&db).await;
    assert_eq!((log[0].0.as_str(), log[0].1.as_str()), ("person carl@example.com", "session.refuse"));
    // A single person, by `sub`; a name that somebody chose is none to be known by.
    provider
        .tell(
            "people",
            json!({
                "dora": {"email": "d@example.com", "groups": []},
                "eve": {"preferred_username": "dora", "groups": []},
            }),
        )
        .await;
    let mut dora = Browser::new(http.base());
    assert_eq!(dora.sign_in("dora").await.status(), 303);
    assert_eq!(session(&mut dora).await.json(200)["role"], "viewer");
    assert!(
        refusal(Browser::new(http.base()).sign_in("eve").await, 403).await.contains("dora is in no group")
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn one_scheduler_begins_and_another_ends(db: PgPool) {
    let provider = Provider::start(json!({}));
    let settings = provider.section("");
    let (lab, one) = scheduler(&db, &settings).await;
    let other = another(&lab, "sched-2", &settings).await;
    let mut ben = Browser::new(one.base());
    let callback = ben.reach_callback("ben").await;
    other.base().clone_into(&mut ben.scheduler);
    assert_eq!(ben.get(&callback).await.status(), 303);
    assert_eq!(session(&mut ben).await.json(200)["scheduler"], "sched-2");
    one.base().clone_into(&mut ben.scheduler);
    let seen = session(&mut ben).await.json(200);
    assert_eq!(
        (&seen["scheduler"], &seen["name"], &seen["role"]),
        (&json!("sched-1"), &json!("ben"), &json!("viewer"))
    );
    assert_eq!(ben.page(Method::DELETE, "/v1/session").await.status(), 204);
    other.base().clone_into(&mut ben.scheduler);
    assert_eq!(session(&mut ben).await.status, 401);
}

#[sqlx::test(migrations = "../migrations")]
async fn an_administrator_signs_people_out_and_so_does_another_provider(db: PgPool) {
    let provider = Provider::start(json!({}));
    let (lab, http) = scheduler(&db, &provider.section("")).await;
    let (mut anna, mut anna_too, mut ben) =
        (Browser::new(http.base()), Browser::new(http.base()), Browser::new(http.base()));
    for (browser, name) in [(&mut anna, "anna"), (&mut anna_too, "anna"), (&mut ben, "ben")] {
        assert_eq!(browser.sign_in(name).await.status(), 303);
    }
    let listed = http.get("/v1/sessions").await.json(200);
    let names: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ben", "anna@example.com", "anna@example.com"]);
    assert_eq!(
        (&listed["items"][0]["kind"], &listed["items"][0]["issuer"]),
        (&json!("person"), &json!(provider.issuer))
    );
    let page = http.get("/v1/sessions?limit=1").await.json(200);
    let next = page["next_cursor"].as_str().unwrap();
    let page = http.get(&format!("/v1/sessions?limit=1&cursor={next}")).await.json(200);
    assert_eq!(page["items"][0]["name"], "anna@example.com");
    assert_eq!(anna.page(Method::GET, "/v1/sessions").await.status(), 403);

    let ended = http.delete("/v1/sessions/anna@example.com", None).await.json(200);
    assert_eq!(ended["ended"], 2);
    assert_eq!((session(&mut anna).await.status, session(&mut anna_too).await.status), (401, 401));
    assert_eq!(session(&mut ben).await.status, 200);
    assert_eq!(http.delete("/v1/sessions/anna@example.com", None).await.refused(404), "RV-SESSION-UNKNOWN");
    assert_eq!(written(&db).await.last().unwrap().1, "session.revoke");

    // Sessions are worth what the provider's word is worth: without it in the configuration, nothing.
    let without = another(&lab, "sched-2", "").await;
    without.base().clone_into(&mut ben.scheduler);
    assert_eq!(session(&mut ben).await.status, 401);
    let ways = without.bare(Method::GET, "/v1/sign-in").send().await.unwrap();
    assert!(Answer::read(ways).await.json(200)["openid"].is_null());
    assert!(refusal(ben.get(&format!("{BASE}/v1/sign-in/openid")).await, 404).await.contains("RV-OIDC-NONE"));
    assert!(
        refusal(ben.get(&format!("{BASE}/v1/sign-in/openid/callback?code=x")).await, 404)
            .await
            .contains("RV-OIDC-NONE")
    );
    let id = http.get("/v1/sessions").await.json(200)["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(http.delete(&format!("/v1/sessions/{id}"), None).await.json(200)["ended"], 1);
    assert_eq!(count(&db, "sessions").await, 0);
}

#[sqlx::test(migrations = "../migrations")]
async fn while_the_provider_is_away_tokens_are_a_way_in(db: PgPool) {
    let mut provider = Provider::start(json!({}));
    let settings = provider.section("");
    provider.stop();
    let (_lab, http) = scheduler(&db, &settings).await;
    let mut anna = Browser::new(http.base());
    let begin = format!("{BASE}/v1/sign-in/openid");
    let page = refusal(anna.get(&begin).await, 503).await;
    assert!(page.contains("RV-OIDC-UNREACHABLE") && page.contains("sign in with a token"), "{page}");
    assert!(!page.contains(&provider.issuer), "what went wrong is not for everybody");
    let check = http.get("/v1/sign-in/check").await.json(200);
    assert_eq!(check["openid"]["state"], "down");
    assert!(check["openid"]["detail"].as_str().unwrap().contains(&provider.issuer), "{check}");
    let token = http.bare(Method::POST, "/v1/session").header("x-ringvault-page", "1");
    assert_eq!(token.json(&json!({"token": ADMIN})).send().await.unwrap().status(), 200);

    provider.again();
    until("the provider to be asked again", async || (anna.get(&begin).await.status() == 303).then_some(()))
        .await;
    assert_eq!(http.get("/v1/sign-in/check").await.json(200)["openid"]["state"], "ok");
    let callback = anna.reach_callback("anna").await;
    provider.stop();
    assert!(refusal(anna.get(&callback).await, 503).await.contains("RV-OIDC-UNREACHABLE"));
    assert_eq!(
        written(&db).await.len(),
        1,
        "nobody was refused but by what is broken: {:?}",
        written(&db).await
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn keys_may_be_renewed_at_any_time(db: PgPool) {
    let provider = Provider::start(json!({}));
    let (_lab, http) = scheduler(&db, &provider.section("")).await;
    assert_eq!(Browser::new(http.base()).sign_in("anna").await.status(), 303);
    provider.tell("keys", json!({"kid": "second"})).await;
    // What is new is asked for once in some seconds, so that made-up keys flood nobody.
    until("the new key to be known", async || {
        (Browser::new(http.base()).sign_in("anna").await.status() == 303).then_some(())
    })
    .await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_provider_that_is_another_or_does_not_know_us_is_said_to_be(db: PgPool) {
    let provider = Provider::start(json!({}));
    let settings = provider.section("");
    let (lab, http) = scheduler(&db, &settings).await;
    // It calls itself by another name than it was asked by.
    let issuer = provider.issuer.replace("localhost", "127.0.0.1");
    let renamed = another(&lab, "sched-2", &settings.replace(&provider.issuer, &issuer)).await;
    let mut anna = Browser::new(renamed.base());
    refusal(anna.get(&format!("{BASE}/v1/sign-in/openid")).await, 503).await;
    let detail =
        renamed.get("/v1/sign-in/check").await.json(200)["openid"]["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("letter by letter") && detail.contains(&provider.issuer), "{detail}");

    provider.secret_file("not the secret");
    let (mut anna, callback) = {
        let mut anna = Browser::new(http.base());
        let callback = anna.reach_callback("anna").await;
        (anna, callback)
    };
    let page = refusal(anna.get(&callback).await, 502).await;
    assert!(page.contains("RV-OIDC-CLIENT") && !page.contains("not the secret"), "{page}");
    // A renewed secret needs no restart.
    provider.secret_file(SECRET);
    assert_eq!(anna.sign_in("anna").await.status(), 303);
    // A public client has none.
    let secret_line = settings.lines().find(|line| line.starts_with("client_secret_file")).unwrap();
    let public = settings.replace(secret_line, "").replace("\"ringvault\"", "\"public\"");
    let public = another(&lab, "sched-3", &public).await;
    assert_eq!(Browser::new(public.base()).sign_in("anna").await.status(), 303);
}

#[sqlx::test(migrations = "../migrations")]
async fn an_id_token_may_name_nobody_but_the_subject(db: PgPool) {
    let provider = Provider::start(json!({"thin": true}));
    let (_lab, http) = scheduler(&db, &provider.section("")).await;
    let mut anna = Browser::new(http.base());
    assert_eq!(anna.sign_in("anna").await.status(), 303);
    let seen = session(&mut anna).await.json(200);
    assert_eq!((&seen["name"], &seen["role"]), (&json!("anna@example.com"), &json!("operator")));
}

#[sqlx::test(migrations = "../migrations")]
async fn the_providers_certificate_is_judged(db: PgPool) {
    let authority = Authority::new();
    let provider = Provider::over_tls(&authority.issue_for("provider", &["localhost"], GOOD));
    let (lab, http) = scheduler(&db, &provider.section("")).await;
    let detail =
        http.get("/v1/sign-in/check").await.json(200)["openid"]["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("signed by nobody that is trusted here"), "{detail}");
    let trusting = provider.section(&format!("ca_file = \"{}\"\n", authority.ca().display()));
    let trusting = another(&lab, "sched-2", &trusting).await;
    assert_eq!(trusting.get("/v1/sign-in/check").await.json(200)["openid"]["state"], "ok");
}

#[sqlx::test(migrations = "../migrations")]
async fn the_providers_tokens_are_taken_at_the_api_where_it_is_said(db: PgPool) {
    let provider = Provider::start(json!({}));
    let (lab, deaf) = scheduler(&db, &provider.section("")).await;
    let taking = another(&lab, "sched-2", &provider.section("api_audience = \"urn:ringvault:api\"\n")).await;
    // A real access token of a machine's (RFC 9068).
    let secret: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    let asked = reqwest::Client::new()
        .post(format!("{}/token", provider.issuer))
        .basic_auth("cli", Some(secret))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials&scope=api");
    let granted: Value = asked.send().await.unwrap().json().await.unwrap();
    let machine = granted["access_token"].as_str().unwrap().to_owned();
    let look = async |http: &Http, token: &str| http.ask(token, Method::GET, "/v1/session", None).await;
    let seen = look(&taking, &machine).await.json(200);
    assert_eq!((&seen["name"], &seen["role"]), (&json!("cli"), &json!("viewer")));
    assert!(seen["expires_at"].is_null());
    assert_eq!(look(&deaf, &machine).await.refused(401), "RV-AUTH-TOKEN");
    // It is no way to a session that lasts longer than itself.
    let session = taking.bare(Method::POST, "/v1/session").header("x-ringvault-page", "1");
    assert_eq!(session.json(&json!({"token": machine})).send().await.unwrap().status(), 401);

    let now = chrono::Utc::now().timestamp();
    let good = json!({
        "iss": provider.issuer, "aud": "urn:ringvault:api", "sub": "anna", "email": "anna@example.com",
        "groups": ["sre"], "iat": now, "exp": now + 600,
    });
    let sign = async |change: Value| {
        let mut claims = good.clone();
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let told = provider.tell("sign", json!({"claims": claims})).await;
        told["token"].as_str().unwrap().to_owned()
    };
    let anna = sign(json!({})).await;
    assert_eq!(look(&taking, &anna).await.json(200)["role"], "operator");
    assert_eq!(taking.ask(&anna, Method::GET, "/v1/tokens", None).await.refused(403), "RV-AUTH-ROLE");
    for (change, status, code) in [
        (json!({"aud": "ringvault"}), 401, "RV-OIDC-TOKEN"),
        (json!({"exp": now - 120}), 401, "RV-OIDC-TOKEN"),
        (json!({"iss": "https://evil.example"}), 401, "RV-OIDC-TOKEN"),
        (json!({"groups": ["cooks"]}), 403, "RV-OIDC-ROLE"),
    ] {
        let token = sign(change.clone()).await;
        assert_eq!(look(&taking, &token).await.refused(status), code, "{change}");
    }
    let (signed, signature) = anna.rsplit_once('.').unwrap();
    let torn = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    assert_eq!(look(&taking, &torn).await.refused(401), "RV-OIDC-TOKEN");
    // Ours are taken as ever.
    assert_eq!(look(&taking, ADMIN).await.json(200)["role"], "admin");
}
