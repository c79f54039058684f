//! A restore into another cluster: as many nodes, other tokens, other host ids. And what happens
//! when that cluster calls itself by the first one's name.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ringvault_core::{
    api::{NodeState, NodeView, Page},
    job::RestoreMethod,
};
use ringvault_tests::{
    Lab,
    cql::Cql,
    fault::Mend,
    lab::T1,
    own::OwnProgram,
    ringvault::{exit, fresh},
    round_trip::{CAMEL, KEYSPACE, RoundTrip},
    wait::until,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: dev/test --full and --shapes run it"]
async fn another_ring_of_the_same_size_gets_every_cell() -> Result<()> {
    let lab = Lab::from_env();
    let trip = RoundTrip::begin(&lab, T1).await?;
    let target = fresh("ring");
    let _gone = Mend::with(&lab, &["down", "--cluster", &target, "--purge"]);
    lab.run(&["up", "--cluster", &target, "--nodes", "3", "--heap", "512m", "--no-build"]).await?;
    let options = ["--keyspace", KEYSPACE, "--keyspace", CAMEL];
    let job = trip.rv.restore(trip.name(), &target, &options).await?;
    let plan = job.outcome.plan.context("a restore has a plan")?;
    ensure!(plan.method == RestoreMethod::Import, "other tokens cannot be copied: {plan:?}");
    let cql = Cql::connect(&lab, &target).await?;
    trip.is_whole(&cql).await.context("the other ring")?;
    trip.is_whole(&trip.cql).await.context("the first ring, which nobody meant")?;
    under_a_false_name(&lab, &trip, &target).await?;
    trip.close().await
}

/// Its worker claims the first cluster's id: it is refused, and the first cluster goes on.
async fn under_a_false_name(lab: &Lab, trip: &RoundTrip, target: &str) -> Result<()> {
    let claims = |config: &mut toml::Table| {
        config.insert("cluster".to_owned(), T1.into());
    };
    let stranger = OwnProgram::worker(lab, target, 1, claims).await?;
    let list = ["node", "list", "-c", T1];
    let refused = until("refused worker", Duration::from_secs(60), async || {
        let nodes = trip.rv.json::<Page<NodeView>>(exit::OK, &list).await?;
        Ok(nodes.items.into_iter().find(|node| node.state == NodeState::Refused))
    })
    .await?;
    let problem = refused.problem.context("a refused worker says why")?;
    ensure!(problem.contains("another ring"), "{problem}");
    let backup = trip.rv.backup(T1, &fresh("beside-stranger"), &["--keyspace", CAMEL]).await?;
    ensure!(backup.summary.figures.nodes_held == 3, "{:?}", backup.summary.figures);
    drop(stranger);
    Ok(())
}
