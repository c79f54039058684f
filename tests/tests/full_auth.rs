//! A node that asks for a login: the right one, a wrong one, and roles that come back.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
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

async fn logs_in(lab: &Lab, cluster: &str, user: &str, password: &str) -> Result<bool> {
    let node = lab.cluster(cluster).await?.nodes.into_iter().next().context("a node")?;
    let session =
        SessionBuilder::new().known_node(format!("{}:{}", node.address, node.cql_port)).user(user, password);
    Ok(session.build().await.is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_come_back_and_a_wrong_password_is_told() -> Result<()> {
    let lab = Lab::from_env();
    let cluster = fresh("auth");
    let _gone = Mend::with(&lab, &["down", "--cluster", &cluster, "--purge"]);
    lab.run(&["up", "--cluster", &cluster, "--nodes", "1", "--heap", "512m", "--no-build", "--auth"]).await?;
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
    let problem = until("problem of the node", Duration::from_secs(90), async || {
        let nodes: Page<NodeView> = rv.json(exit::OK, &["node", "list", "-c", &cluster]).await?;
        // The lab's own worker was stopped for this one.
        let mut problems = nodes.items.into_iter().filter_map(|node| node.problem);
        Ok(problems.find(|problem| !problem.contains("was stopped")))
    })
    .await?;
    ensure!(problem.to_lowercase().contains("credentials") || problem.contains("RV-"), "{problem}");
    ensure!(!own.log()?.contains("not-the-password"), "the password is in the log");
    drop(own);
    let again = fresh("auth-again");
    let job = rv.job(exit::OK, &["backup", "create", "-c", &cluster, "--name", &again]).await?;
    ensure!(job.summary.state == JobState::Succeeded, "{:?}", job.summary);
    Ok(())
}
