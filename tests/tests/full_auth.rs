//! A node that asks for a login, and over TLS for a certificate: the right ones, wrong ones, and roles that
//! come back.

#[path = "../../shared/tls/tests/support/mod.rs"]
mod authority;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use authority::{Authority, Files, GOOD};
use ringvault_core::{
    api::{NodeView, Page},
    job::JobState,
};
use ringvault_tests::{
    Lab, Ringvault,
    fault::Mend,
    own::{OwnProgram, section},
    ringvault::{exit, fresh},
    wait::until,
};
use scylla::client::session_builder::SessionBuilder;
use serde_json::json;
use toml::{Table, Value};

async fn logs_in(lab: &Lab, cluster: &str, user: &str, password: &str) -> Result<bool> {
    let node = lab.cluster(cluster).await?.nodes.into_iter().next().context("a node")?;
    let session =
        SessionBuilder::new().known_node(format!("{}:{}", node.address, node.cql_port)).user(user, password);
    Ok(session.build().await.is_ok())
}

/// What the node calls itself in its certificate, which has no address.
const NODE: &str = "node-1.cassandra.example";

/// cassandra.yaml's: TLS for whoever asks for it, with a certificate of the client's. (The lab's own tools
/// do not ask.)
fn client_encryption(authority: &Authority) -> Result<String> {
    let Files { certificate, key } = authority.issue(NODE, GOOD);
    let keystore = authority.file("keystore.pem");
    fs::write(&keystore, fs::read_to_string(&key)? + &fs::read_to_string(&certificate)?)?;
    let options = json!({
        "enabled": true, "optional": true, "require_client_auth": true, "protocol": "TLS",
        "keystore": keystore, "truststore": authority.ca(),
        "ssl_context_factory": {"class_name": "org.apache.cassandra.security.PEMBasedSslContextFactory"},
    });
    Ok(format!("client_encryption_options={options}"))
}

/// The worker's `[cassandra.tls]`.
fn tls(ca: &Path, client: Option<&Files>, name: Option<&str>) -> Table {
    let mut section = Table::new();
    let path = |path: &Path| Value::from(path.display().to_string());
    section.insert("ca_file".to_owned(), path(ca));
    if let Some(Files { certificate, key }) = client {
        section.insert("certificate_file".to_owned(), path(certificate));
        section.insert("key_file".to_owned(), path(key));
    }
    match name {
        Some(name) => section.insert("server_name".to_owned(), name.into()),
        None => section.insert("check_name".to_owned(), false.into()),
    };
    section
}

/// Waits until the scheduler is told, of a node that the worker cannot speak to, something with all of `words`:
/// what the worker before told stays until then.
async fn problem_with(rv: &Ringvault, cluster: &str, words: &[&str]) -> Result<()> {
    let mut last = Vec::new();
    let found = until("problem of the node", Duration::from_secs(30), async || {
        let nodes: Page<NodeView> = rv.json(exit::OK, &["node", "list", "-c", cluster]).await?;
        last = nodes.items.into_iter().filter_map(|node| node.problem).collect();
        let says_all = |problem: &String| words.iter().all(|word| problem.contains(word));
        Ok(last.iter().any(says_all).then_some(()))
    })
    .await;
    found.with_context(|| format!("{words:?} in {last:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_come_back_and_a_wrong_password_is_told() -> Result<()> {
    let lab = Lab::from_env();
    let cluster = fresh("auth");
    let _gone = Mend::with(&lab, &["down", "--cluster", &cluster, "--purge"]);
    let ours = Authority::new();
    let up = ["up", "--cluster", &cluster, "--nodes", "1", "--heap", "512m", "--no-build", "--auth"];
    let encryption = client_encryption(&ours)?;
    lab.run(&[&up[..], &["--node-option", &encryption]].concat()).await?;
    let cql = async |statement: &str| lab.run(&["cql", "--cluster", &cluster, "-e", statement]).await;
    cql("CREATE KEYSPACE k WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}").await?;
    cql("CREATE TABLE k.t (p int PRIMARY KEY, v text)").await?;
    cql("INSERT INTO k.t (p, v) VALUES (1, 'one')").await?;
    cql("CREATE ROLE alice WITH PASSWORD = 'hers' AND LOGIN = true").await?;
    cql("GRANT SELECT ON k.t TO alice").await?;
    cql("CREATE ROLE mallory WITH PASSWORD = 'old' AND LOGIN = true").await?;
    let rv = Ringvault::of(&lab).await?;
    let backup = fresh("auth");
    rv.backup(&cluster, &backup, &[]).await?;

    cql("DROP ROLE alice").await?;
    cql("CREATE ROLE bob").await?;
    cql("ALTER ROLE mallory WITH PASSWORD = 'new'").await?;
    cql("DROP KEYSPACE k").await?;
    // The target's own roles stay unless asked.
    rv.restore(&backup, &cluster, &["--keyspace", "k"]).await?;
    cql("SELECT v FROM k.t WHERE p = 1").await?.says(&["one"])?;
    let roles = cql("LIST ROLES").await?;
    ensure!(!roles.stdout.contains("alice"), "{}", roles.stdout);
    let with_auth = ["--with-auth", "--truncate", "--confirm", &cluster];
    rv.restore(&backup, &cluster, &with_auth).await?;
    let roles = cql("LIST ROLES").await?;
    roles.says(&["alice", "cassandra", "mallory"])?;
    ensure!(!roles.stdout.contains("bob"), "{}", roles.stdout);
    // Nodes keep what they know of a role for two seconds.
    until("login of alice", Duration::from_secs(30), async || {
        Ok(logs_in(&lab, &cluster, "alice", "hers").await?.then_some(()))
    })
    .await?;
    ensure!(logs_in(&lab, &cluster, "mallory", "old").await?, "the backup's password");
    ensure!(!logs_in(&lab, &cluster, "mallory", "new").await?, "a password given since");
    cql("LIST ALL PERMISSIONS OF alice").await?.says(&["SELECT"])?;

    let folder = tempfile::tempdir()?;
    let wrong = folder.path().join("password");
    fs::write(&wrong, "not-the-password")?;
    let own = OwnProgram::worker(&lab, &cluster, 1, |config| {
        section(config, "cassandra").insert("password_file".to_owned(), wrong.display().to_string().into());
    })
    .await?;
    // Cassandra's own word, in the node's line; nothing crashes, and nothing is lost.
    problem_with(&rv, &cluster, &["credentials"]).await?;
    ensure!(!own.log()?.contains("not-the-password"), "the password is in the log");
    drop(own);
    over_tls(&lab, &rv, &cluster, &ours).await
}

/// With the right certificates all goes on as it did; a wrong one is told by what is wrong with it.
async fn over_tls(lab: &Lab, rv: &Ringvault, cluster: &str, ours: &Authority) -> Result<()> {
    let theirs = Authority::new();
    let (client, stranger) = (ours.issue("worker", GOOD), theirs.issue("worker", GOOD));
    let worker_with = async |tls: Table| {
        let change = |config: &mut Table| {
            section(config, "cassandra").insert("tls".to_owned(), tls.into());
        };
        OwnProgram::worker(lab, cluster, 1, change).await
    };
    for (tls, words) in [
        (tls(&theirs.ca(), Some(&client), Some(NODE)), "signed by nobody"),
        (tls(&ours.ca(), Some(&client), Some("node-2.cassandra.example")), "node-2.cassandra.example"),
        (tls(&ours.ca(), Some(&stranger), Some(NODE)), "authority that signed the client certificate"),
        (tls(&ours.ca(), None, None), "without a client certificate"),
    ] {
        let own = worker_with(tls).await?;
        problem_with(rv, cluster, &["TLS", words]).await.with_context(|| own.log().unwrap_or_default())?;
    }
    for name in [Some(NODE), None] {
        let _own = worker_with(tls(&ours.ca(), Some(&client), name)).await?;
        let again = fresh("auth-again");
        let job = rv.job(exit::OK, &["backup", "create", "-c", cluster, "--name", &again]).await?;
        ensure!(job.summary.state == JobState::Succeeded, "{:?}", job.summary);
    }
    Ok(())
}
