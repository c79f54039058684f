//! The round trip on Cassandra 5.0 with its newer SSTable format.

use anyhow::Result;
use ringvault_core::job::RestoreMethod;
use ringvault_tests::{Lab, fault::Mend, ringvault::fresh, round_trip::RoundTrip};

#[tokio::test(flavor = "multi_thread")]
async fn everything_survives() -> Result<()> {
    let lab = Lab::from_env();
    let cluster = fresh("bti");
    let _gone = Mend::with(&lab, &["down", "--cluster", &cluster, "--purge"]);
    lab.run(&[
        "up",
        "--cluster",
        &cluster,
        "--nodes",
        "2",
        "--heap",
        "512m",
        "--no-build",
        "--sstable",
        "bti",
    ])
    .await?;
    RoundTrip::turn(&lab, &cluster).await?;
    // Tries are cut too; what comes of it is of format oa.
    let trip = RoundTrip::begin(&lab, &cluster).await?;
    trip.drop_and_restore_by(RestoreMethod::Slice).await?;
    trip.close().await?;
    // And sent as they are.
    let trip = RoundTrip::begin(&lab, &cluster).await?;
    trip.drop_and_restore_by(RestoreMethod::Stream).await?;
    trip.close().await
}
