//! People are told, over a real Postgres: by real HTTP and mail servers that fail in every way, by several
//! schedulers, after one has died; and what never arrives is given up where everybody sees it.
#![allow(clippy::large_futures)] // a test may hold what it likes

mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::TimeDelta;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ringvault_core::TaskError;
use ringvault_scheduler::{housekeeping, notify};
use ringvault_state::notices;
use serde_json::json;
use sha2::Sha256;
use sqlx::PgPool;
use support::{
    Lab,
    authority::{Authority, GOOD},
    backup,
    broker::until,
    http::{ADMIN, Http},
    receiver::{Answer, MailServer, Receiver, Seen},
};
use tokio_util::sync::CancellationToken;

/// A scheduler that does nothing but tell.
struct Telling {
    lab: Lab,
    stop: CancellationToken,
    at_work: Option<tokio::task::JoinHandle<()>>,
}

impl Telling {
    async fn with(db: PgPool, settings: &str) -> Self {
        let queue = ringvault_queue::QueueConfig::from_url("amqp://127.0.0.1:1");
        let lab = Lab::with(db, "sched-1", &queue, &format!("[timing]\npoll = \"30ms\"\n{settings}")).await;
        let mut telling = Self { lab, stop: CancellationToken::new(), at_work: None };
        telling.start();
        telling
    }

    fn start(&mut self) {
        let (ctx, stop) = (Arc::clone(&self.lab.ctx), self.stop.clone());
        self.at_work = Some(tokio::spawn(async move { notify::run(&ctx, &stop).await }));
    }

    /// As when its machine is gone.
    async fn dies(&mut self) {
        let telling = self.at_work.take().expect("at work");
        telling.abort();
        let _ = telling.await;
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn receiver(name: &str, url: &str, more: &str) -> String {
    format!("[notify.{name}]\nkind = \"webhook\"\nurl = \"{url}\"\nbackoff = \"20ms\"\n{more}\n")
}

async fn arrives(receiver: &Receiver, count: usize) -> Vec<Seen> {
    until(&format!("{count} requests"), async || {
        let seen = receiver.seen();
        (seen.len() >= count).then_some(seen)
    })
    .await
}

/// Brings a backup to its failure.
async fn fail(lab: &Lab, name: &str) {
    let workers = lab.nodes(1).await;
    lab.submit(backup(name), name).await;
    let offers = lab.offers().await;
    lab.report(&workers[0].started(&offers[0])).await;
    let error = TaskError::permanent("RV-DISK", "the disk is <broken>");
    lab.report(&workers[0].failed(&offers[0], error)).await;
}

async fn test_notice(http: &Http, name: &str) -> String {
    let made = http.post(&format!("/v1/notifiers/{name}/test"), json!(null)).await.json(202);
    made["id"].as_str().expect("an id").to_owned()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_failure_is_told_signed_to_whom_it_is_meant_for(db: PgPool) {
    let (pager, other, chat) =
        (Receiver::start(&[]).await, Receiver::start(&[]).await, Receiver::start(&[]).await);
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "hush\n").unwrap();
    let settings = [
        receiver("pager", &pager.url(), &format!("secret_file = {secret:?}")),
        receiver("other", &other.url(), "events = [\"failed\", \"created\"]\nclusters = [\"elsewhere\"]"),
        receiver("chat", &chat.url(), "").replace("webhook", "slack"),
    ];
    let telling = Telling::with(db, &settings.concat()).await;
    fail(&telling.lab, "b1").await;

    let seen = arrives(&pager, 1).await;
    let told = seen[0].json();
    assert_eq!(
        (&told["event"], &told["severity"], &told["cluster"]),
        (&json!("failed"), &json!("error"), &json!("c"))
    );
    assert_eq!((&told["title"], &told["schema_version"]), (&json!("backup of c, b1, failed"), &json!(1)));
    assert_eq!(told["data"]["type"], "job.failed");
    assert_eq!(told["data"]["payload"]["error"]["code"], "RV-DISK");
    let text = told["text"].as_str().unwrap();
    assert!(text.contains("RV-DISK") && text.contains("Next: ringvault job retry"), "{text}");
    assert_eq!(
        (seen[0].header("ringvault-event"), seen[0].header("content-type")),
        ("failed", "application/json")
    );
    assert_eq!(told["delivery"], seen[0].header("ringvault-delivery"));
    // As the manual tells receivers to check it.
    let mut mac = Hmac::<Sha256>::new_from_slice(b"hush").unwrap();
    mac.update(format!("{}.{}", seen[0].header("ringvault-timestamp"), seen[0].body).as_bytes());
    let expected = format!("v1={}", hex::encode(mac.finalize().into_bytes()));
    assert_eq!(seen[0].header("ringvault-signature"), expected);

    let chat = arrives(&chat, 1).await;
    let words = chat[0].json()["text"].as_str().unwrap().to_owned();
    assert!(words.starts_with("*[error] backup of c, b1, failed*\n"), "{words}");
    assert!(words.contains("the disk is &lt;broken&gt;"), "{words}");
    assert_eq!(chat[0].header("ringvault-delivery"), "", "a chat knows none of our headers");
    // What was not asked for was not told: the job's creation to nobody but by `other`, which is elsewhere's.
    let written: i64 =
        sqlx::query_scalar("select count(*) from notices").fetch_one(&telling.lab.ctx.db).await.unwrap();
    assert_eq!((written, other.seen().len(), pager.seen().len()), (2, 0, 1));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_receiver_that_fails_is_tried_until_it_takes_it_under_one_id(db: PgPool) {
    use Answer::{Later, Never, Status};
    let pager = Receiver::start(&[Status(500), Later(1), Never, Status(302)]).await;
    let telling = Telling::with(db, &receiver("pager", &pager.url(), "timeout = \"300ms\"")).await;
    let http = telling.lab.http().await;
    let id = test_notice(&http, "pager").await;
    let seen = arrives(&pager, 5).await;
    let ids: BTreeSet<&str> = seen.iter().map(|seen| seen.header("ringvault-delivery")).collect();
    assert_eq!(ids, BTreeSet::from([id.as_str()]));
    let waited = seen[2].at - seen[1].at;
    assert!(waited >= Duration::from_secs(1), "429 said when: {waited:?}");
    let view = until("it to be sent", async || {
        let view = http.get(&format!("/v1/notices/{id}")).await.json(200);
        (view["state"] == "sent").then_some(view)
    })
    .await;
    assert_eq!((&view["attempts"], view.get("error")), (&json!(5), None));
    let metrics = http.get("/metrics").await.text;
    assert!(metrics.contains("ringvault_notices_total{result=\"sent\",kind=\"webhook\"} 1\n"), "{metrics}");
    assert!(metrics.contains("ringvault_notices_pending 0\n"), "{metrics}");
    assert_eq!(http.get("/v1/status").await.json(200).get("notices"), None);
}

#[sqlx::test(migrations = "../migrations")]
async fn what_never_arrives_is_given_up_where_everybody_sees_it(db: PgPool) {
    let pager = Receiver::start(&[Answer::Status(500); 500]).await;
    let good = Receiver::start(&[]).await;
    let nobody = "http://127.0.0.1:1/secret-path";
    let settings = [
        receiver("pager", &pager.url(), "give_up_after = \"1s\""),
        receiver("nobody", nobody, "give_up_after = \"1h\""),
        receiver("good", &good.url(), ""),
    ];
    let telling = Telling::with(db, &settings.concat()).await;
    let http = telling.lab.http().await;
    let id = test_notice(&http, "pager").await;
    let away = test_notice(&http, "nobody").await;
    test_notice(&http, "good").await;
    arrives(&good, 1).await;
    let view = until("it to be given up", async || {
        let view = http.get(&format!("/v1/notices/{id}")).await.json(200);
        (view["state"] == "given_up").then_some(view)
    })
    .await;
    assert!(view["attempts"].as_u64().unwrap() > 2, "{view}");
    assert_eq!(view["error"], "it answered 500 Internal Server Error");
    let view = http.get(&format!("/v1/notices/{away}")).await.json(200);
    assert_eq!(view["state"], "pending");
    assert!(!view["error"].as_str().unwrap().contains("secret-path"), "{view}");

    let status = http.get("/v1/status").await.json(200);
    let names: Vec<_> =
        status["notices"].as_array().unwrap().iter().map(|it| it["notifier"].clone()).collect();
    assert_eq!(
        (names, &status["next"]),
        (vec![json!("nobody"), json!("pager")], &json!("ringvault notify list"))
    );
    assert_eq!(status["notices"][1]["given_up"], 1);
    let list = http.get("/v1/notifiers").await;
    assert!(!list.text.contains("secret-path"), "{}", list.text);
    assert_eq!(list.json(200)["items"][2]["error"], "it answered 500 Internal Server Error");
    let metrics = http.get("/metrics").await.text;
    assert!(
        metrics.contains("ringvault_notices_total{result=\"given_up\",kind=\"webhook\"} 1\n"),
        "{metrics}"
    );

    // Mended, and tried: nothing is wrong with it any more.
    pager.answers(&[]);
    let id = test_notice(&http, "pager").await;
    until("it to be sent", async || {
        (http.get(&format!("/v1/notices/{id}")).await.json(200)["state"] == "sent").then_some(())
    })
    .await;
    let status = http.get("/v1/status").await.json(200);
    assert_eq!(status["notices"].as_array().unwrap().len(), 1, "{status}");
    assert_eq!(http.post("/v1/notifiers/none/test", json!(null)).await.refused(404), "RV-NOTIFIER-UNKNOWN");
    let viewer = http.post("/v1/tokens", json!({"name": "v", "role": "viewer"})).await.json(201);
    let viewer = viewer["secret"].as_str().unwrap().to_owned();
    let refused = http.ask(&viewer, reqwest::Method::POST, "/v1/notifiers/good/test", None).await;
    assert_eq!(refused.refused(403), "RV-AUTH-ROLE");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_death_loses_nothing_and_two_schedulers_tell_it_once(db: PgPool) {
    const NOTICES: usize = 40;
    let pager = Receiver::start(&[Answer::Never]).await;
    let settings = receiver("pager", &pager.url(), "timeout = \"100s\"");
    let mut telling = Telling::with(db.clone(), &settings).await;
    let http = telling.lab.http().await;
    let first = test_notice(&http, "pager").await;
    arrives(&pager, 1).await;
    telling.dies().await;
    for _ in 1..NOTICES {
        test_notice(&http, "pager").await;
    }
    let mut conn = db.acquire().await.unwrap();
    assert_eq!(notices::find(&mut conn, first.parse().unwrap()).await.unwrap().unwrap().attempts, 1);
    // What the dead one had in hand is free when its claim is over.
    sqlx::query("update notices set due_at = now() where id = $1::uuid")
        .bind(&first)
        .execute(&db)
        .await
        .unwrap();
    let other = Telling::with(db.clone(), &settings).await;
    telling.start();
    arrives(&pager, NOTICES + 1).await;
    until("all to be sent", async || {
        let open = "select count(*) from notices where state <> 'sent'";
        (sqlx::query_scalar::<_, i64>(open).fetch_one(&db).await.unwrap() == 0).then_some(())
    })
    .await;
    let seen = pager.seen();
    let ids: BTreeSet<&str> = seen.iter().map(|seen| seen.header("ringvault-delivery")).collect();
    assert_eq!(
        (seen.len(), ids.len()),
        (NOTICES + 1, NOTICES),
        "each once, but the one that somebody died of"
    );
    drop(other);
    // One that has ended is not told again, whoever believes it to be in his hand.
    let claimed = notices::claim(&mut conn, "pager", TimeDelta::seconds(1), 10).await.unwrap();
    assert!(claimed.is_empty());
}

#[sqlx::test(migrations = "../migrations")]
async fn a_mail_is_sent_over_tls_and_to_nobody_who_is_not_trusted(db: PgPool) {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = MailServer::start(Some(&ours.issue("localhost", GOOD)));
    let plain = MailServer::start(None);
    let mail = |name: &str, port: u16, more: &str| {
        format!(
            "[notify.{name}]\nkind = \"smtp\"\nurl = \"smtp://localhost:{port}{more}\"\nbackoff = \"20ms\"\n\
             from = \"Ringvault <vault@db.example>\"\nto = [\"dba@db.example\", \"On Call <oncall@db.example>\"]\n"
        )
    };
    let settings = [
        format!("{}ca_file = {:?}\n", mail("mail", server.port, ""), ours.ca()),
        format!("{}ca_file = {:?}\n", mail("stranger", server.port, ""), theirs.ca()),
        mail("plain", plain.port, ""),
        mail("clear", plain.port, "?tls=none"),
    ];
    let telling = Telling::with(db, &settings.concat()).await;
    let http = telling.lab.http().await;
    let id = test_notice(&http, "mail").await;
    let mails = until("a mail", async || Some(server.mails()).filter(|mails| !mails.is_empty())).await;
    let mail = mails[0].replace("\r\n", "\n");
    for wanted in [
        "From: Ringvault <vault@db.example>",
        "dba@db.example",
        "oncall@db.example",
        "Subject: [ringvault] a test",
        &format!("Message-ID: <{id}@db.example>"),
        "tries whether notices of scheduler sched-1 arrive",
    ] {
        assert!(mail.contains(wanted), "{wanted:?} is not in\n{mail}");
    }
    for (name, says) in [("stranger", "signed by nobody that is trusted here"), ("plain", "STARTTLS")] {
        let id = test_notice(&http, name).await;
        let error = until("its refusal", async || {
            let view = http.get(&format!("/v1/notices/{id}")).await.json(200);
            view["error"].as_str().map(str::to_owned)
        })
        .await;
        assert!(error.contains(says), "{says:?} is not in {error:?}");
    }
    assert_eq!(plain.mails().len(), 0, "nothing goes out in the clear unasked");
    test_notice(&http, "clear").await;
    until("a mail in the clear", async || (!plain.mails().is_empty()).then_some(())).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_cluster_that_is_late_is_told_of_once_and_so_is_its_recovery(db: PgPool) {
    let pager = Receiver::start(&[]).await;
    let telling = Telling::with(db, &receiver("pager", &pager.url(), "")).await;
    let http = telling.lab.http().await;
    let workers = telling.lab.nodes(2).await;
    let policy = json!({"policy": {"nightly":
        {"cluster": "c", "schedule": "0 2 * * *", "action": "backup", "rpo": "24h"}}});
    http.ask(ADMIN, reqwest::Method::PUT, "/v1/policies", Some(policy)).await.json(200);
    // Who leads looks.
    housekeeping::pass(&telling.lab.ctx).await.unwrap();
    let late = arrives(&pager, 1).await[0].json();
    assert_eq!((&late["event"], &late["cluster"]), (&json!("late"), &json!("c")));
    assert!(late["text"].as_str().unwrap().contains("there is no good backup"), "{late}");
    telling.lab.submit(backup("b1"), "k").await;
    telling.lab.run(&workers).await;
    housekeeping::pass(&telling.lab.ctx).await.unwrap();
    let seen = arrives(&pager, 2).await;
    assert_eq!(seen[1].json()["event"], "recovered");
    // Two more looks tell nothing new.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(pager.seen().len(), 2);
}
