//! The round trip on nodes that are steered with nodetool, without an agent.

use anyhow::Result;
use ringvault_core::job::RestoreMethod;
use ringvault_tests::{Lab, fault::Mend, ringvault::fresh, round_trip::RoundTrip};

#[tokio::test(flavor = "multi_thread")]
async fn everything_survives() -> Result<()> {
    let lab = Lab::from_env();
    let cluster = fresh("nodetool");
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
        "--control",
        "nodetool",
    ])
    .await?;
    RoundTrip::turn(&lab, &cluster).await?;
    let trip = RoundTrip::begin(&lab, &cluster).await?;
    trip.drop_and_restore_by(RestoreMethod::Stream).await?;
    trip.close().await
}
