//! Object Lock on the S3 server that `dev/test` names, which refuses with 403.

#[path = "support/locks.rs"]
mod locks;
#[path = "support/s3.rs"]
mod s3;
mod support;
#[path = "support/world.rs"]
mod world;

use locks::Rig;
use tempfile::TempDir;

async fn rig() -> (Rig, TempDir) {
    let (config, local) = s3::config().await;
    (Rig::new(config, 403).await, local)
}

#[tokio::test]
async fn nothing_can_be_deleted() {
    let (rig, _local) = rig().await;
    locks::nothing_can_be_deleted(&rig).await;
}

#[tokio::test]
async fn reuse_makes_locks_longer() {
    let (rig, _local) = rig().await;
    locks::reuse_makes_locks_longer(&rig).await;
}

#[tokio::test]
async fn a_backup_may_be_locked_for_longer() {
    let (rig, _local) = rig().await;
    locks::a_backup_may_be_locked_for_longer(&rig).await;
}

#[tokio::test]
async fn a_purge_leaves_what_is_locked() {
    let (rig, _local) = rig().await;
    locks::a_purge_leaves_what_is_locked(&rig).await;
}

#[tokio::test]
async fn what_was_put_over_comes_back() {
    let (rig, _local) = rig().await;
    locks::what_was_put_over_comes_back(&rig, tempfile::tempdir().unwrap()).await;
}

#[tokio::test]
async fn a_bucket_without_locks_is_refused() {
    let (rig, _local) = rig().await;
    let (unlocked, _files) = s3::config().await;
    locks::a_bucket_without_locks_is_refused(&rig, unlocked).await;
}
