//! Everything over TLS, with real servers: a scheduler whose API, database and broker speak nothing else
//! and want certificates, and everything that must be refused.
#![allow(clippy::large_futures)] // a test may hold what it likes
#![allow(clippy::unnecessary_debug_formatting)] // as a string in quotes, for TOML

mod support;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use reqwest::{Certificate, Client, Identity};
use ringvault_core::job::JobState;
use ringvault_queue::QueueConfig;
use ringvault_scheduler::{
    Config, Context,
    api::Server,
    probe::{self, Probe},
    startup,
};
use ringvault_tls::ClientTls;
use ringvault_vault::Vault;
use serde_json::{Value, json};
use support::{
    authority::{Authority, Files, GOOD, OVER},
    broker::{Broker, until},
    host,
    http::ADMIN,
    station::{Deed, Run},
    tls::{Postgres, TlsListener},
    worker::Worker,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// The files of one scheduler: a configuration that says TLS everywhere.
struct Ground {
    folder: TempDir,
    ours: Authority,
    theirs: Authority,
    broker: Broker,
    listener: TlsListener,
    postgres: Postgres,
}

impl Ground {
    fn new() -> Self {
        let (ours, theirs) = (Authority::new(), Authority::new());
        let server = ours.issue_for("server", &["localhost", "127.0.0.1"], GOOD);
        ours.issue("client", GOOD);
        let listener = TlsListener::start(&server, &ours.ca(), true);
        let postgres = Postgres::start(&server, &ours.ca());
        let ground =
            Self { folder: TempDir::new().unwrap(), ours, theirs, broker: Broker::new(), listener, postgres };
        std::fs::write(ground.file("key"), "ab".repeat(32)).unwrap();
        std::fs::write(ground.file("token"), ADMIN).unwrap();
        ground
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn client_files(&self) -> Files {
        Files { certificate: self.ours.file("client.pem"), key: self.ours.file("client.key") }
    }

    fn client_tls(&self) -> ClientTls {
        let Files { certificate, key } = self.client_files();
        ClientTls { ca_file: Some(self.ours.ca()), certificate_file: Some(certificate), key_file: Some(key) }
    }

    fn queue(&self) -> QueueConfig {
        let url = self.broker.url_by_tls("localhost", self.listener.port);
        QueueConfig { tls: Some(self.client_tls()), ..QueueConfig::from_url(url) }
    }

    /// The configuration, with everything right.
    fn text(&self) -> String {
        let Files { certificate, key } = self.client_files();
        let us = format!(
            "ca_file = {:?}\ncertificate_file = {certificate:?}\nkey_file = {key:?}\n",
            self.ours.ca()
        );
        format!(
            "id = \"sched-1\"\nlisten = \"127.0.0.1:0\"\n\
             [http.tls]\ncertificate_file = {:?}\nkey_file = {:?}\nclient_ca_file = {:?}\n\
             [postgres]\nurl = \"postgres://postgres@localhost:{}/postgres\"\n[postgres.tls]\n{us}\
             [rabbitmq]\nurl = {:?}\n[rabbitmq.tls]\n{us}\
             [vault]\nurl = \"file://{}\"\n[signing]\nkey_file = {:?}\n[api]\nadmin_token_file = {:?}\n\
             [retry]\nbackoff_base = \"0s\"\nenvironment_interval = \"100ms\"\n[timing]\npoll = \"50ms\"\n",
            self.ours.file("server.pem"),
            self.ours.file("server.key"),
            self.ours.ca(),
            self.postgres.port,
            self.broker.url_by_tls("localhost", self.listener.port),
            self.file("vault").display(),
            self.file("key"),
            self.file("token"),
        )
    }

    /// What the program says and ends with on a configuration that it cannot start with.
    fn refused(&self, text: &str) -> (Option<i32>, String) {
        let file = self.file("scheduler.toml");
        std::fs::write(&file, text).unwrap();
        let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_ringvault-scheduler"))
            .arg("--config")
            .arg(file)
            .output()
            .unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    }
}

/// A browser or command line that trusts `ca` and shows `identity`.
fn client(ca: &Path, identity: Option<&Files>) -> Client {
    let ca = Certificate::from_pem(&std::fs::read(ca).unwrap()).unwrap();
    let mut builder = Client::builder().tls_certs_only([ca]);
    if let Some(Files { certificate, key }) = identity {
        let pem = [std::fs::read(certificate).unwrap(), std::fs::read(key).unwrap()].concat();
        builder = builder.identity(Identity::from_pem(&pem).unwrap());
    }
    builder.build().unwrap()
}

fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_job_goes_through_with_tls_everywhere() {
    let ground = Ground::new();
    let config = Config::parse(&ground.text(), Path::new("s.toml")).unwrap();
    Vault::init(&config.vault, config.vault.deployment()).await.unwrap();
    let ctx = Arc::new(Context::open(config).await.expect("every server is reached over TLS"));
    let stop = CancellationToken::new();
    let server = Server::bind(Arc::clone(&ctx)).await.unwrap();
    let server_address = server.address();
    let base = format!("https://localhost:{}", server_address.port());
    let serving = tokio::spawn(server.run(stop.clone()));
    let working = tokio::spawn({
        let (ctx, stop) = (Arc::clone(&ctx), stop.clone());
        async move { startup::work(&ctx, &stop).await }
    });
    let in_use: bool = sqlx::query_scalar("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        .fetch_one(&ctx.db)
        .await
        .unwrap();
    assert!(in_use, "the database is reached over TLS");

    let mut workers = Vec::new();
    let hosts = [host(1), host(2)];
    for worker in hosts.map(Worker::beside) {
        let run = Run::start(&ground.queue(), &worker, &hosts).await;
        let stop = stop.clone();
        workers.push(tokio::spawn(async move { run.work(|_| Deed::DoneIn(Duration::ZERO), &stop).await }));
    }
    let files = ground.client_files();
    let known = client(&ground.ours.ca(), Some(&files));
    let ask = async |path: &str| -> Value {
        known.get(format!("{base}{path}")).bearer_auth(ADMIN).send().await.unwrap().json().await.unwrap()
    };
    until("two workers", async || (ask("/v1/clusters").await["items"][0]["workers_live"] == 2).then_some(()))
        .await;
    let asked = known
        .post(format!("{base}/v1/backups"))
        .bearer_auth(ADMIN)
        .json(&json!({"cluster": "c", "name": "b1"}))
        .send()
        .await
        .unwrap();
    assert_eq!(asked.status(), 202);
    let job = asked.json::<Value>().await.unwrap()["job"].as_str().unwrap().to_owned();
    let wanted = JobState::Succeeded.as_str();
    until("the backup", async || (ask(&format!("/v1/jobs/{job}")).await["state"] == wanted).then_some(()))
        .await;

    // The dashboard's cookie is for TLS alone, and Prometheus is told when the certificate ends.
    let signed_in = known
        .post(format!("{base}/v1/session"))
        .header("x-ringvault-page", "1")
        .json(&json!({"token": ADMIN}))
        .send()
        .await
        .unwrap();
    assert!(signed_in.headers()["set-cookie"].to_str().unwrap().ends_with("; Secure"));
    let metrics =
        known.get(format!("{base}/metrics")).bearer_auth(ADMIN).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("ringvault_certificate_expiry_timestamp_seconds 4070908800\n"), "{metrics}");

    // Who has no certificate, or a stranger's, or trusts somebody else, gets no answer.
    let health = format!("{base}/healthz");
    for (who, says) in [
        (client(&ground.ours.ca(), None), "CertificateRequired"),
        (client(&ground.ours.ca(), Some(&ground.theirs.issue("stranger", GOOD))), "fatal alert"),
        (client(&ground.theirs.ca(), Some(&files)), "UnknownIssuer"),
    ] {
        // With TLS 1.3 the server judges a client's certificate when the client holds the handshake for done: a
        // request that is on its way by then fails, at times before the alert is read.
        let mut met = Vec::new();
        while !met.iter().any(|error: &String| error.contains(says)) {
            assert!(met.len() < 30, "{says} is not in {met:?}");
            met.push(words(&who.get(&health).send().await.expect_err("nobody is let in")));
        }
    }
    let tls = ctx.config.http.tls.as_ref();
    probe::ask(server_address, tls, Probe::Live).await.expect("its own program finds it well");
    let plain = Client::new().get(health.replace("https", "http")).send().await;
    assert!(plain.is_err(), "nothing is served in the clear");

    stop.cancel();
    for worker in workers {
        worker.await.unwrap();
    }
    working.await.unwrap();
    serving.await.unwrap().unwrap();
    ctx.queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_at_the_start_with_its_file_and_cause() {
    let ground = Ground::new();
    let good = ground.text();
    let config = Config::parse(&good, Path::new("s.toml")).unwrap();
    Vault::init(&config.vault, config.vault.deployment()).await.unwrap();
    let path = |file: PathBuf| file.display().to_string();
    let ours = path(ground.ours.ca());
    let section = |name: &str, from: &str, to: &str| {
        let (before, rest) = good.split_once(name).expect("the section");
        format!("{before}{name}{}", rest.replacen(from, to, 1))
    };
    let server_key = path(ground.ours.file("server.key"));
    let client_key = path(ground.ours.file("client.key"));
    let old = ground.ours.issue_for("old", &["localhost"], OVER);
    let wrong_ca = path(ground.theirs.ca());
    let stranger = ground.theirs.issue("client", GOOD);
    let elsewhere = TlsListener::start(&ground.ours.issue("other.example", GOOD), &ground.ours.ca(), false);
    let expired = TlsListener::start(&old, &ground.ours.ca(), false);
    let at = |port: u16| {
        good.replacen(&format!("localhost:{}", ground.listener.port), &format!("localhost:{port}"), 1)
    };
    let us = |text: String| {
        let client = path(ground.ours.file("client.pem"));
        text.replace(&client, &path(stranger.certificate.clone()))
            .replace(&client_key, &path(stranger.key.clone()))
    };
    let without_identity = |name: &str| {
        let (before, rest) = good.split_once(name).expect("the section");
        let (tls, after) = rest.split_once("\n[").expect("another section");
        let kept: Vec<&str> = tls
            .lines()
            .filter(|line| !line.starts_with("certificate_file") && !line.starts_with("key_file"))
            .collect();
        format!("{before}{name}{}\n[{after}", kept.join("\n"))
    };
    for (text, exit, code, says) in [
        (
            section("[http.tls]", &server_key, &client_key),
            2,
            "RV-CONFIG",
            "client.key does not belong to the certificate",
        ),
        (
            section("[http.tls]", &server_key, "/nowhere"),
            2,
            "RV-CONFIG",
            "http.tls: key_file /nowhere cannot be read",
        ),
        (
            section("[http.tls]", "server.pem", "old.pem").replacen("server.key", "old.key", 1),
            2,
            "RV-CONFIG",
            "old.pem expired on 2021-01-01",
        ),
        (
            section("[postgres.tls]", &ours, &wrong_ca),
            9,
            "RV-POSTGRES-TLS",
            "signed by nobody that is trusted here",
        ),
        (section("[postgres.tls]", &ours, "/nowhere"), 2, "RV-CONFIG", "postgres.tls: ca_file /nowhere"),
        (without_identity("[postgres.tls]"), 8, "RV-POSTGRES-AUTH", "certificate"),
        (
            section("[rabbitmq.tls]", &ours, &wrong_ca),
            9,
            "RV-RABBITMQ-TLS",
            "signed by nobody that is trusted here",
        ),
        (section("[rabbitmq.tls]", &client_key, &server_key), 2, "RV-CONFIG", "server.key does not belong"),
        (without_identity("[rabbitmq.tls]"), 8, "RV-RABBITMQ-AUTH", "without a client certificate"),
        (good.replace("amqps://", "amqp://"), 2, "RV-CONFIG", "write amqps://"),
        (
            at(elsewhere.port),
            9,
            "RV-RABBITMQ-TLS",
            "its certificate is for DnsName(\"other.example\"), not for \"localhost\"",
        ),
        (at(expired.port), 9, "RV-RABBITMQ-TLS", "its certificate expired on 2021-01-01"),
        (us(good.clone()), 8, "RV-POSTGRES-AUTH", "does not know the authority"),
    ] {
        let (ended, told) = ground.refused(&text);
        let told = told.lines().find(|line| line.starts_with("error[")).unwrap_or(&told).to_owned();
        assert!(
            told.starts_with(&format!("error[{code}]")) && told.contains(says),
            "{says:?} is not in {told:?}"
        );
        assert_eq!(ended, Some(exit), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_certificates_are_taken_up_and_no_connection_is_dropped() {
    let ground = Ground::new();
    // No client certificates: what is renewed here is the server's.
    let text = ground.text().replacen(&format!("client_ca_file = {:?}\n", ground.ours.ca()), "", 1);
    let config = Config::parse(&text, Path::new("s.toml")).unwrap();
    Vault::init(&config.vault, config.vault.deployment()).await.unwrap();
    let ctx = Arc::new(Context::open(config).await.unwrap());
    let stop = CancellationToken::new();
    let server = Server::bind(Arc::clone(&ctx)).await.unwrap();
    let health = format!("https://localhost:{}/healthz", server.address().port());
    let serving = tokio::spawn(server.run(stop.clone()));
    // Its one connection stays open between requests.
    let before = client(&ground.ours.ca(), None);
    let answers =
        async |who: &Client| who.get(&health).send().await.is_ok_and(|answer| answer.status() == 200);
    assert!(answers(&before).await);

    let server = Files { certificate: ground.ours.file("server.pem"), key: ground.ours.file("server.key") };
    let new = ground.theirs.issue_for("server", &["localhost"], GOOD);
    // Half a renewal changes nothing.
    std::fs::copy(&new.certificate, &server.certificate).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(answers(&client(&ground.ours.ca(), None)).await, "the former pair goes on");
    std::fs::copy(&new.key, &server.key).unwrap();
    let after = client(&ground.theirs.ca(), None);
    until("the new certificate", async || answers(&after).await.then_some(())).await;
    assert!(answers(&before).await, "the connection that stood goes on");
    assert!(!answers(&client(&ground.ours.ca(), None)).await, "a new one meets the new certificate");
    stop.cancel();
    drop((before, after));
    serving.await.unwrap().unwrap();
    ctx.queue.close().await;
}
