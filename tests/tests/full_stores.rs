//! The round trip with other stores: `MinIO`, a plain folder, and an encrypted vault. Each in a lab of its own.

use anyhow::Result;
use ringvault_tests::{Lab, fault::Mend, round_trip::RoundTrip};

async fn everything_survives_in(name: &str, store: &[&str]) -> Result<()> {
    let lab = Lab::from_env().beside(name);
    let _gone = Mend::with(&lab, &["down", "--purge"]);
    let cluster = ["up", "--cluster", name, "--nodes", "1", "--heap", "512m", "--no-build"];
    lab.run(&[&cluster, store].concat()).await?;
    RoundTrip::turn(&lab, name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_survives_in_minio() -> Result<()> {
    everything_survives_in("minio", &["--s3", "minio"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_survives_encrypted() -> Result<()> {
    everything_survives_in("encrypted", &["--encrypt"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_survives_in_a_folder() -> Result<()> {
    everything_survives_in("folder", &["--store", "folder"]).await
}
