//! A cluster's name in the vault stands for one ring: another ring is refused before anything is brought.

use anyhow::{Context as _, Result, ensure};
use ringvault_core::job::JobState;
use ringvault_tests::{
    Lab, Ringvault,
    lab::T1,
    ringvault::{exit, fresh},
    shop::Shop,
    store::Store,
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_another_rings_is_refused() -> Result<()> {
    const KEYSPACE: &str = "e2e_bound";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, 5, 10).await?;
    let (rv, store) = (Ringvault::of(&lab).await?, Store::of(&lab).await?);
    rv.backup(T1, &fresh("bound"), &["--keyspace", KEYSPACE]).await?;
    let key = format!("clusters/{T1}/cluster.json");
    let record = store.read(&key)?;
    let mut other: Value = serde_json::from_slice(&record)?;
    let members = other.pointer_mut("/ring/host_ids").context("a record names its ring's members")?;
    *members = json!(["0198c1d2-0000-7000-8000-000000000001"]);

    store.write(&key, &serde_json::to_vec(&other)?)?;
    let name = fresh("bound-other");
    let create = ["backup", "create", "-c", T1, "--name", &name, "--keyspace", KEYSPACE];
    let job = rv.job(exit::FAILED, &create).await;
    store.write(&key, &record)?;
    let job = job?;
    ensure!(job.summary.state == JobState::Failed, "{:?}", job.summary);
    let error = job.summary.error.context("a failed job says why")?;
    ensure!(error.code == "RV-CLUSTER-BOUND", "{error:?}");
    let brought = store.data(T1, &name)?;
    ensure!(brought.is_empty(), "it brought {brought:?}");
    rv.run(&["job", "abandon", &job.summary.id.to_string(), "--wait"]).await?;
    let snapshots = lab.snapshots(T1).await?;
    ensure!(snapshots.is_empty(), "snapshots were left: {snapshots:?}");

    rv.backup(T1, &fresh("bound-again"), &["--keyspace", KEYSPACE]).await?;
    shop.close().await
}
