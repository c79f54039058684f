//! The round trip on Cassandra 4.1.

use anyhow::Result;
use ringvault_core::job::RestoreMethod;
use ringvault_tests::{
    Lab,
    fault::Mend,
    ringvault::{exit, fresh},
    round_trip::{KEYSPACE, RoundTrip},
};

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
    let was = trip.rv.digest(&cluster, KEYSPACE).await?;
    trip.drop_and_restore_by(RestoreMethod::Stream).await?;
    // Of elements 4.1 tells no write times; of everything else it does.
    let is = trip.rv.digest(&cluster, KEYSPACE).await?;
    trip.rv.run(&["rows", "compare", &was, &is]).await?.expect(exit::OK)?.says(&["equal"])?;
    trip.close().await
}
