//! The round trip with the newest BIG format, oa, and SSTables named by UUIDs.

use anyhow::Result;
use ringvault_tests::{Lab, fault::Mend, ringvault::fresh, round_trip::RoundTrip};

#[tokio::test(flavor = "multi_thread")]
async fn everything_survives() -> Result<()> {
    let lab = Lab::from_env();
    let cluster = fresh("oa");
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
        "--node-option",
        "storage_compatibility_mode=NONE",
        "--node-option",
        "uuid_sstable_identifiers_enabled=true",
    ])
    .await?;
    RoundTrip::turn(&lab, &cluster).await
}
