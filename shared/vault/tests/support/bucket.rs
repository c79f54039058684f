//! A folder of its own in the tests' bucket, on the S3 server that `dev/test` names.

#![allow(dead_code, unreachable_pub)] // a module of several test binaries, each uses its part

use std::env;

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
};
use ringvault_vault::VaultConfig;
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

const BUCKET: &str = "ringvault-tests";

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this test with dev/test"))
}

/// A vault's settings for a folder of its own in the tests' bucket, with the files they name.
pub async fn config() -> (VaultConfig, TempDir) {
    let endpoint = variable("RINGVAULT_TEST_S3_ENDPOINT");
    let access = variable("RINGVAULT_TEST_S3_ACCESS_KEY");
    let secret = variable("RINGVAULT_TEST_S3_SECRET_KEY");
    create_bucket(&endpoint, &access, &secret).await;

    let local = tempfile::tempdir().unwrap();
    let (access_file, secret_file) = (local.path().join("access"), local.path().join("secret"));
    std::fs::write(&access_file, access).unwrap();
    std::fs::write(&secret_file, secret).unwrap();
    let mut config = VaultConfig::at(Url::parse(&format!("s3://{BUCKET}/{}", Uuid::new_v4())).unwrap());
    config.endpoint = Some(Url::parse(&endpoint).unwrap());
    config.access_key_file = Some(access_file);
    config.secret_key_file = Some(secret_file);
    (config, local)
}

async fn create_bucket(endpoint: &str, access: &str, secret: &str) {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .force_path_style(true)
        .credentials_provider(Credentials::new(access, secret, None, None, "tests"))
        .build();
    if let Err(error) = Client::from_conf(config).create_bucket().bucket(BUCKET).send().await {
        let error = error.into_service_error();
        assert!(
            error.is_bucket_already_owned_by_you() || error.is_bucket_already_exists(),
            "bucket {BUCKET} at {endpoint}: {error}"
        );
    }
}
