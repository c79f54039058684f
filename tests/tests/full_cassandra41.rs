//! The round trip on Cassandra 4.1.

use anyhow::Result;
use ringvault_core::job::RestoreMethod;
use ringvault_tests::{Lab, fault::Mend, ringvault::fresh, round_trip::RoundTrip};

#[tokio::test(flavor = "multi_thread")]
async fn everything_survives() -> Result<()> {
    let lab = Lab::from_env();
    let cluster = fresh("old");
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
        "--cassandra",
        "4.1.10",
    ])
    .await?;
    RoundTrip::turn(&lab, &cluster).await?;
    let trip = RoundTrip::begin(&lab, &cluster).await?;
    trip.drop_and_restore_by(RestoreMethod::Stream).await?;
    trip.close().await
}
