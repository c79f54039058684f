//! Restores by slices: into a cluster of another size, and into the first one with fewer replicas, so
//! that each node owns a part of every SSTable. Every cell with write time and expiry is compared,
//! deletions and indexes are tried, and Cassandra's own extended verify and a compaction look at the
//! files.

use anyhow::{Context as _, Result, ensure};
use ringvault_core::job::RestoreMethod;
use ringvault_tests::{
    Lab,
    cql::Cql,
    fault::Mend,
    faults::{Points, Supervisor},
    lab::T1,
    ringvault::fresh,
    round_trip::RoundTrip,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: dev/test --full and --shapes run it"]
async fn a_ring_of_another_size_gets_every_cell_in_slices() -> Result<()> {
    let lab = Lab::from_env();
    let trip = RoundTrip::begin(&lab, T1).await?;
    let target = fresh("slices");
    let _gone = Mend::with(&lab, &["down", "--cluster", &target, "--purge"]);
    lab.run(&["up", "--cluster", &target, "--nodes", "2", "--heap", "512m", "--no-build"]).await?;
    let cql = Cql::connect(&lab, &target).await?;
    trip.restore_by(RestoreMethod::Slice, &target, &cql).await.context("the other ring")?;
    trip.cassandra_finds_nothing_wrong(&target, &cql).await?;
    trip.is_whole(&trip.cql).await.context("the first ring, which nobody meant")?;
    trip.close().await
}

/// A worker dies when a slice is whole and has no name yet, another fails when it has one.
#[tokio::test(flavor = "multi_thread")]
async fn fewer_replicas_on_the_same_ring_are_sliced_whoever_dies() -> Result<()> {
    let lab = Lab::from_env();
    let trip = RoundTrip::begin(&lab, T1).await?;
    let (points, supervisor) = (Points::of(&lab)?, Supervisor::over(&lab));
    points.arm("slice.rename.before", "crash")?;
    points.arm("slice.rename.after", "error")?;
    trip.drop_and_restore_by(RestoreMethod::Slice).await?;
    let hit = points.hit()?;
    ensure!(hit.len() == 2 && supervisor.restarts() == 1, "{hit:?}, {} restarts", supervisor.restarts());
    points.disarm()?;
    trip.close().await
}
