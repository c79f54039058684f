//! A vault's store on the S3 server that `dev/test` names.

#![allow(dead_code, unreachable_pub)] // a module of several test binaries, each uses its part

#[path = "bucket.rs"]
mod bucket;

use futures::TryStreamExt as _;
use ringvault_vault::Store;

pub use bucket::config;

use crate::support::Lab;

/// A lab whose store is a folder of its own in the tests' bucket.
pub async fn lab() -> Lab {
    let (config, local) = config().await;
    Lab::new(Store::open(&config).await.unwrap(), local)
}

/// Deletes what a test stored.
pub async fn clean(lab: &Lab) {
    let keys: Vec<_> = lab.store.list("").map_ok(|object| object.key).try_collect().await.unwrap();
    assert!(lab.store.delete_many(&keys).await.unwrap().is_empty());
}
