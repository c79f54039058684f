//! Restores from the lab's three nodes into rings of other shapes, and from rings of other shapes: every cell, with
//! write time and expiry, is compared at ALL, and each owner holds what the others do. At the end a table says what
//! each took. `dev/shapes` runs them with those that other tests try.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ringvault_core::{api::JobDetail, job::RestoreMethod};
use ringvault_tests::{
    Content, Lab, Ringvault,
    cql::Cql,
    fault::Mend,
    lab::T1,
    ringvault::fresh,
    round_trip::{CAMEL, KEYSPACE, RoundTrip},
    shop::Shop,
};

/// A cluster that the lab's backup is brought to.
struct Shape {
    name: &'static str,
    /// Options of `dev/lab up`.
    cluster: &'static [&'static str],
    /// The keyspaces are made with so many before; else as they were, with three.
    replicas: Option<u32>,
}

const SHAPES: [Shape; 6] = [
    Shape { name: "3 nodes to 1, RF 3 to 1", cluster: &["--nodes", "1"], replicas: Some(1) },
    Shape { name: "3 nodes to 5", cluster: &["--nodes", "5"], replicas: None },
    Shape { name: "RF 3 to 1, other tokens", cluster: &["--nodes", "3"], replicas: Some(1) },
    Shape { name: "1 rack to 3", cluster: &["--nodes", "3", "--racks", "3"], replicas: None },
    Shape { name: "16 vnodes to 4", cluster: &["--nodes", "3", "--vnodes", "4"], replicas: None },
    Shape {
        name: "BIG to BTI, RF 3 to 2",
        cluster: &["--nodes", "2", "--sstable", "bti"],
        replicas: Some(2),
    },
];

/// A cluster of the test's own, until it is dropped.
async fn cluster(lab: &Lab, options: &[&str]) -> Result<(String, Mend)> {
    let name = fresh("shape");
    let gone = Mend::with(lab, &["down", "--cluster", &name, "--purge"]);
    let up = ["up", "--cluster", &name, "--heap", "512m", "--no-build"];
    lab.run(&[&up[..], options].concat()).await?;
    Ok((name, gone))
}

/// A line of the table.
fn line(shape: &str, rows: usize, job: &JobDetail, took: Duration) -> Result<()> {
    let restored = job.outcome.restored.as_ref().context("an outcome")?;
    let plan = job.outcome.plan.as_ref().context("a plan")?;
    eprintln!(
        "[shape] {shape:<26} {:<7} {rows:>6} rows, {:>6} KiB fetched, {:>4.0} s",
        plan.method.as_str(),
        restored.bytes_downloaded >> 10,
        took.as_secs_f64()
    );
    Ok(())
}

/// How often a node has found, reading, that a replica held something else than another.
async fn mismatches(lab: &Lab, cluster: &str) -> Result<u64> {
    let mut found = 0;
    for node in lab.cluster(cluster).await?.nodes {
        let stats = lab.nodetool(cluster, node.index, &["netstats"]).await?;
        let counts = stats.lines().filter_map(|line| line.strip_prefix("Mismatch (")?.split_once(": "));
        for (_, count) in counts {
            found += count.trim().parse::<u64>().with_context(|| stats.clone())?;
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_gets_every_cell() -> Result<()> {
    let lab = Lab::from_env();
    let trip = RoundTrip::begin(&lab, T1).await?;
    for shape in SHAPES {
        into(&lab, &trip, &shape).await.context(shape.name)?;
    }
    trip.is_whole(&trip.cql).await.context("the first ring, which nobody meant")?;
    trip.close().await
}

async fn into(lab: &Lab, trip: &RoundTrip, shape: &Shape) -> Result<()> {
    let (target, _gone) = cluster(lab, shape.cluster).await?;
    let cql = Cql::connect(lab, &target).await?;
    let began = Instant::now();
    let job = trip.bring(&target, &cql, shape.replicas, RestoreMethod::Auto).await?;
    let took = began.elapsed();
    // Read at ALL, replicas that differ are made alike: so this is looked at first. Views follow by themselves.
    let before = mismatches(lab, &target).await?;
    for keyspace in [KEYSPACE, CAMEL] {
        Content::read_tables(&cql, keyspace).await?;
    }
    let differ = mismatches(lab, &target).await? - before;
    ensure!(differ == 0, "{differ} times a replica lacked what another held");
    trip.is_there_at_last(&cql).await?;
    line(shape.name, trip.variety.len() + trip.camel.len(), &job, took)
}

/// Each of its new owners gets what one node had.
#[tokio::test(flavor = "multi_thread")]
async fn one_replica_becomes_three() -> Result<()> {
    const ONE: &str = "shapes_one";
    let lab = Lab::from_env();
    let rv = Ringvault::of(&lab).await?;
    let shop = Shop::open_in(&lab, T1, ONE, 1).await?;
    shop.write(0, 100, 500).await?;
    let was = Content::read(shop.cql(), ONE).await?;
    let name = fresh("one");
    rv.backup(T1, &name, &["--keyspace", ONE]).await?;
    let create =
        format!("CREATE KEYSPACE {ONE} WITH replication = {{'class': 'NetworkTopologyStrategy', 'dc1': 3}}");
    shop.cql().run_all(&[format!("DROP KEYSPACE {ONE}"), create]).await?;
    let began = Instant::now();
    let job = rv.restore(&name, T1, &["--keyspace", ONE]).await?;
    let took = began.elapsed();
    let before = mismatches(&lab, T1).await?;
    Content::read(shop.cql(), ONE).await?.must_equal(&was)?;
    let differ = mismatches(&lab, T1).await? - before;
    ensure!(differ == 0, "{differ} times a replica lacked what another held");
    line("RF 1 to 3", was.len(), &job, took)?;
    shop.close().await
}

/// What the older release cannot tell, the write times inside a collection, is not compared.
#[tokio::test(flavor = "multi_thread")]
async fn cassandra_4_1_comes_to_5_0() -> Result<()> {
    let lab = Lab::from_env();
    let (old, _gone) = cluster(&lab, &["--nodes", "2", "--cassandra", "4.1.10"]).await?;
    let trip = RoundTrip::begin(&lab, &old).await?;
    let mut cql = Cql::connect(&lab, T1).await?;
    cql.is_five = false;
    let began = Instant::now();
    let job = trip.bring(T1, &cql, None, RestoreMethod::Auto).await?;
    let took = began.elapsed();
    trip.is_there_at_last(&cql).await?;
    trip.cassandra_finds_nothing_wrong(T1, &cql).await?;
    line("Cassandra 4.1 to 5.0", trip.variety.len() + trip.camel.len(), &job, took)?;
    cql.run_all(&[format!("DROP KEYSPACE {KEYSPACE}"), format!("DROP KEYSPACE \"{CAMEL}\"")]).await?;
    trip.close().await
}
