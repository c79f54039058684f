//! Restores between rings of one data center and of two: a keyspace is made with other data centers than
//! it had, and every cell is on each replica that it is to be on.

use anyhow::{Context as _, Result, ensure};
use ringvault_tests::{
    Lab,
    content::Content,
    cql::Cql,
    fault::Mend,
    lab::T1,
    ringvault::{Ringvault, exit, fresh},
    shop::Shop,
};

const ONE: &str = "dcs_one";
const BACK: &str = "dcs_back";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: dev/test --full and --shapes run it"]
async fn one_data_center_becomes_two_and_two_become_one() -> Result<()> {
    let lab = Lab::from_env();
    let rv = Ringvault::of(&lab).await?;
    let shop = Shop::open_in(&lab, T1, ONE, 1).await?;
    shop.write(0, 60, 200).await?;
    let was = Content::read(shop.cql(), ONE).await?;
    let first = fresh("one-dc");
    rv.backup(T1, &first, &["--keyspace", ONE]).await?;

    let two = fresh("dcs");
    let _gone = Mend::with(&lab, &["down", "--cluster", &two, "--purge"]);
    lab.run(&["up", "--cluster", &two, "--nodes", "2", "--dcs", "2", "--heap", "512m", "--no-build"]).await?;
    let both = ["--keyspace", ONE, "--dc-map", "dc1=dc1", "--dc-map", "dc1=dc2"];
    rv.restore(&first, &two, &[&["-c", T1], &both[..]].concat()).await?;
    let cql = Cql::connect(&lab, &two).await?;
    let made = data_centers(&cql, ONE).await?;
    ensure!(made == ["'dc1': '1'", "'dc2': '1'"], "{made:?}");
    Content::read(&cql, ONE).await?.must_equal(&was).context("at ALL, so from both data centers")?;

    let second = fresh("two-dcs");
    rv.backup(&two, &second, &["--keyspace", ONE]).await?;
    let renamed = format!("{ONE}={BACK}");
    let back = ["--rename", &renamed, "-c", &two];
    let plan = ["restore", "plan", "--from", &second, "--to", T1];
    let plan = rv.run(&[&plan, &back[..]].concat()).await?.expect(exit::REFUSED)?;
    plan.says(&["BLOCKER", "data center dc2", "--dc-map dc2=OTHER"])?;
    rv.restore(&second, T1, &[&back[..], &["--dc-map", "dc2=dc1"]].concat()).await?;
    let made = data_centers(shop.cql(), BACK).await?;
    ensure!(made == ["'dc1': '1'"], "{made:?}");
    Content::read(shop.cql(), BACK).await?.must_equal(&was).context("two data centers into one")?;
    Content::read(shop.cql(), ONE).await?.must_equal(&was).context("what nobody meant")?;

    shop.cql().run(&format!("DROP KEYSPACE {BACK}")).await?;
    shop.close().await
}

/// The data centers that a keyspace is replicated to, as its own statement says, in order.
async fn data_centers(cql: &Cql, keyspace: &str) -> Result<Vec<String>> {
    let statements = cql.describe(keyspace).await?;
    let made = statements.first().context("CREATE KEYSPACE")?;
    let (_, map) = made.split_once("NetworkTopologyStrategy', ").with_context(|| made.clone())?;
    let map = map.split('}').next().unwrap_or_default();
    let mut factors: Vec<String> = map.split(", ").map(|factor| factor.trim().to_owned()).collect();
    factors.sort();
    Ok(factors)
}
