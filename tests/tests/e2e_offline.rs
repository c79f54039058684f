//! Offline restores: a node that does not come up gets its data back, a machine that was lost is the same node
//! again, and so is every node of a cluster of which nothing is left but the vault.
//!
//! One cluster of its own for all three, as its nodes are stopped and wiped. A keyspace with one replica tells
//! what came from the backup: of others a read at ALL would be repaired from the other replicas.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ringvault_core::{
    api::{NodeState, NodeView, Page},
    job::JobState,
};
use ringvault_tests::{
    Content, Lab, Ringvault,
    cql::Cql,
    fault::Mend,
    own::{OwnProgram, section},
    ringvault::{exit, fresh},
    round_trip::RoundTrip,
    wait::until,
};
use toml::{Table, Value};

/// One replica of each row.
const SINGLE: &str = "e2e_single";
const ROWS: i32 = 600;
/// A worker that was killed counts as live for a minute and a half.
const SILENCE: Duration = Duration::from_secs(120);

/// What makes a node the one that it is.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    host_id: String,
    tokens: BTreeSet<String>,
}

struct World {
    lab: Lab,
    cluster: String,
    rv: Ringvault,
}

impl World {
    async fn identity(&self, node: u32) -> Result<Identity> {
        let text = self.lab.nodetool(&self.cluster, node, &["info", "-T"]).await?;
        let values = |name: &str| -> BTreeSet<String> {
            let lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned()).collect()
        };
        let tokens = values("Token");
        ensure!(!tokens.is_empty(), "{text}");
        Ok(Identity { host_id: values("ID").pop_first().context("no id")?, tokens })
    }

    async fn log(&self, node: u32) -> Result<PathBuf> {
        let nodes = self.lab.cluster(&self.cluster).await?.nodes;
        let node = nodes.into_iter().find(|entry| entry.index == node).context("no such node")?;
        let folder = node.data_dirs.first().and_then(|dir| dir.parent()).context("no data directory")?;
        Ok(folder.join("system.log"))
    }

    /// A worker on a machine that never had Cassandra, told which node it is to become.
    async fn stands_for(&self, node: u32, host_id: &str) -> Result<OwnProgram> {
        OwnProgram::worker(&self.lab, &self.cluster, node, |config| {
            section(config, "cassandra").insert("stands_for".to_owned(), host_id.into());
            section(config, "worker").insert("hello_seconds".to_owned(), Value::from(5_i64));
        })
        .await
    }

    async fn nodes(&self) -> Result<Vec<NodeView>> {
        Ok(self.rv.json::<Page<NodeView>>(exit::OK, &["node", "list", "-c", &self.cluster]).await?.items)
    }

    /// Every node has a live worker.
    async fn all_have_workers(&self, count: usize) -> Result<()> {
        until("live worker of each node", SILENCE, async || {
            let live = self.nodes().await?.iter().filter(|node| node.state == NodeState::Live).count();
            Ok((live == count).then_some(()))
        })
        .await
    }

    async fn compare(&self, trip: &RoundTrip, single: &Content) -> Result<()> {
        let cql = Cql::connect(&self.lab, &self.cluster).await?;
        trip.is_whole(&cql).await?;
        Content::read(&cql, SINGLE).await?.must_equal(single).context(SINGLE)
    }
}

/// Fails the first time, as a unit that is broken, and is the lab's own command from then on.
fn broken_once(config: &mut Table, flag: &str) {
    let offline = section(config, "cassandra").get_mut("offline").and_then(Value::as_table_mut);
    let offline = offline.expect("the lab's worker knows how to start its node");
    let start = offline["start_command"].as_array().expect("an array").clone();
    let script = format!("test -e {flag} || {{ touch {flag}; echo no such unit >&2; exit 5; }}; exec \"$@\"");
    let words = ["sh", "-c", &script, "sh"].map(|word| Value::from(word.to_owned()));
    offline.insert("start_command".to_owned(), Value::Array([&words[..], &start].concat()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: dev/test --full and --shapes run it"]
async fn nodes_become_again_what_they_were() -> Result<()> {
    let lab = Lab::from_env();
    let cluster = fresh("off");
    let _gone = Mend::with(&lab, &["down", "--cluster", &cluster, "--purge"]);
    let up =
        ["up", "--cluster", &cluster, "--nodes", "3", "--data-dirs", "2", "--heap", "512m", "--no-build"];
    lab.run(&up).await?;
    let cql = Cql::connect(&lab, &cluster).await?;
    cql.run_all(&[
        format!(
            "CREATE KEYSPACE {SINGLE} WITH replication = {{'class': 'NetworkTopologyStrategy', 'dc1': 1}}"
        ),
        format!("CREATE TABLE {SINGLE}.t (id int PRIMARY KEY, v text)"),
        format!("CREATE INDEX t_by_v ON {SINGLE}.t (v)"),
    ])
    .await?;
    for id in 0..ROWS {
        cql.run(&format!("INSERT INTO {SINGLE}.t (id, v) VALUES ({id}, 'v{}')", id % 10)).await?;
    }
    let single = Content::read(&cql, SINGLE).await?;
    let mut trip = RoundTrip::begin(&lab, &cluster).await?;
    let world = World { lab: lab.clone(), cluster, rv: trip.rv.clone() };
    a_node_that_does_not_come_up(&world, &trip, &single).await.context("a node that does not come up")?;
    a_lost_machine(&world, &trip, &single).await.context("a lost machine")?;
    a_lost_cluster(&world, &trip, &single).await.context("a lost cluster")?;
    // The driver's session is of nodes that have come and gone.
    trip.cql = Cql::connect(&lab, &world.cluster).await?;
    trip.close().await
}

/// The start command fails: the node runs again with what it had. Mended and retried, it comes up with what the
/// backup holds, and what it had is kept.
async fn a_node_that_does_not_come_up(world: &World, trip: &RoundTrip, single: &Content) -> Result<()> {
    let World { lab, cluster, rv } = world;
    let before = world.identity(2).await?;
    let flag = lab.dir().join(format!("{cluster}-broken"));
    let worker =
        OwnProgram::worker(lab, cluster, 2, |config| broken_once(config, &flag.display().to_string()))
            .await?;
    world.all_have_workers(3).await?;
    let what = ["--from", trip.name(), "--to", cluster, "--offline", "--node", &before.host_id, "--keep-old"];
    let plan = rv.run(&[&["restore", "plan"], &what[..]].concat()).await?.expect(exit::OK)?;
    plan.says(&["offline", "is stopped", "repair", &format!("{SINGLE} may have rows")])?;
    let unsaid = rv.run(&[&["restore", "run"], &what[..]].concat()).await?.expect(exit::REFUSED)?;
    unsaid.says(&["--confirm"])?;
    // A row that the backup does not have: on the node again after the way back, and gone after the restore.
    let cql = Cql::connect(lab, cluster).await?;
    cql.run_all(
        &(ROWS..ROWS + 60)
            .map(|id| format!("INSERT INTO {SINGLE}.t (id, v) VALUES ({id}, 'late')"))
            .collect::<Vec<_>>(),
    )
    .await?;
    let late = Content::read(&cql, SINGLE).await?;
    let run = [&["restore", "run"], &what[..], &["--confirm", cluster]].concat();
    let failed = rv.job(exit::FAILED, &run).await?;
    let error = failed.tasks.iter().find_map(|task| task.error.clone()).context("no error")?;
    ensure!(error.code == "RV-OFFLINE-BACK", "{error:?}");
    for word in ["has its old data again", "no such unit", "exit status: 5"] {
        ensure!(error.message.contains(word), "{error:?}");
    }
    ensure!(world.identity(2).await? == before, "it is the node that it was");
    let cql = Cql::connect(lab, cluster).await?;
    Content::read(&cql, SINGLE).await?.must_equal(&late).context("after the way back")?;

    let job = failed.summary.id.to_string();
    let done = rv.job(exit::OK, &["job", "retry", &job]).await?;
    ensure!(done.summary.state == JobState::Succeeded, "{:?}", done.summary);
    ensure!(world.identity(2).await? == before, "other host id or tokens");
    let kept = done.outcome.restored.context("an outcome")?.kept;
    ensure!(kept.len() == 4, "two data directories, the commit log, saved caches: {kept:?}");
    ensure!(kept.iter().any(|folder| PathBuf::from(folder).join(SINGLE).is_dir()), "{kept:?}");
    let cql = Cql::connect(lab, cluster).await?;
    let now = Content::read(&cql, SINGLE).await?;
    ensure!(now.rows("t") < late.rows("t"), "what was written since is gone from the node");
    cql.run_all(
        &(ROWS..ROWS + 60).map(|id| format!("DELETE FROM {SINGLE}.t WHERE id = {id}")).collect::<Vec<_>>(),
    )
    .await?;
    world.compare(trip, single).await?;
    for folder in kept {
        fs::remove_dir_all(folder)?;
    }
    drop(worker);
    Ok(())
}

/// Nothing is left of a node and its worker. While the lost worker is still taken for live, nobody takes its place.
async fn a_lost_machine(world: &World, trip: &RoundTrip, single: &Content) -> Result<()> {
    let World { lab, cluster, rv } = world;
    let before = world.identity(3).await?;
    world.all_have_workers(3).await?;
    lab.run(&["wipe-node", "3", "--cluster", cluster, "--worker"]).await?;
    let log = world.log(3).await?;
    let seen = fs::metadata(&log)?.len();
    let worker = world.stands_for(3, &before.host_id).await?;
    let refused = until("refused worker", SILENCE, async || {
        Ok(world.nodes().await?.into_iter().find(|node| node.state == NodeState::Refused))
    })
    .await?;
    let problem = refused.problem.unwrap_or_default();
    ensure!(problem.contains("stands for node") && problem.contains("stop that one first"), "{problem}");
    until("worker in the lost one's place", SILENCE, async || {
        let stands_in = |node: &NodeView| {
            node.state == NodeState::Live
                && node.problem.as_ref().is_some_and(|problem| problem.contains("stands for node"))
        };
        Ok(world.nodes().await?.iter().any(stands_in).then_some(()))
    })
    .await?;
    let what = ["--from", trip.name(), "--to", cluster, "--offline", "--node", &before.host_id];
    rv.job(exit::OK, &[&["restore", "run"], &what[..], &["--confirm", cluster]].concat()).await?;
    ensure!(world.identity(3).await? == before, "other host id or tokens");
    let text = fs::read(&log)?.split_off(usize::try_from(seen)?);
    let text = String::from_utf8_lossy(&text);
    ensure!(text.contains("Startup complete") || text.contains("NORMAL"), "this is the log of its start");
    for word in ["[Stream #", "Bootstrap"] {
        let line = text.lines().find(|line| line.contains(word));
        ensure!(line.is_none(), "it streamed from its peers: {line:?}");
    }
    let streams = lab.nodetool(cluster, 3, &["netstats"]).await?;
    ensure!(streams.contains("Not sending any streams"), "{streams}");
    world.compare(trip, single).await?;
    drop(worker);
    Ok(())
}

/// Nothing is left of any node.
async fn a_lost_cluster(world: &World, trip: &RoundTrip, single: &Content) -> Result<()> {
    let World { lab, cluster, rv } = world;
    world.all_have_workers(3).await?;
    let mut before = Vec::new();
    for node in 1..=3 {
        before.push(world.identity(node).await?);
    }
    // Rows that nobody backed up go with the rest.
    let cql = Cql::connect(lab, cluster).await?;
    cql.run(&format!("INSERT INTO {SINGLE}.t (id, v) VALUES (-1, 'late')")).await?;
    for node in ["1", "2", "3"] {
        lab.run(&["stop-worker", node, "--cluster", cluster]).await?;
        lab.run(&["wipe-node", node, "--cluster", cluster, "--worker"]).await?;
    }
    let mut workers = Vec::new();
    for (node, identity) in (1..=3).zip(&before) {
        workers.push(world.stands_for(node, &identity.host_id).await?);
    }
    world.all_have_workers(3).await?;
    let what = ["--from", trip.name(), "--to", cluster, "--offline"];
    let plan = rv.run(&[&["restore", "plan"], &what[..]].concat()).await?.expect(exit::OK)?;
    plan.says(&["no node of the cluster answers"])?;
    rv.job(exit::OK, &[&["restore", "run"], &what[..], &["--confirm", cluster]].concat()).await?;
    for (node, identity) in (1..=3).zip(&before) {
        ensure!(world.identity(node).await? == *identity, "node {node} has another host id or other tokens");
    }
    world.compare(trip, single).await?;
    drop(workers);
    Ok(())
}
