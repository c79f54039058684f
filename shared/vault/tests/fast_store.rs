//! The folder store keeps to what every store must do, and what only folders can get wrong.

#[path = "support/conformance.rs"]
mod conformance;
mod support;

use std::fs;

use bytes::Bytes;
use ringvault_vault::{Store, StoreErrorKind, VaultConfig};
use url::Url;

async fn store_at(path: &std::path::Path) -> Store {
    Store::open(&VaultConfig::at(Url::from_directory_path(path).unwrap())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_folder_is_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_at(folder.path()).await;
    conformance::check(&store).await;
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [".partial"], "folders that became empty are gone");
    assert_eq!(fs::read_dir(folder.path().join(".partial")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_folder_that_is_away_is_not_made_anew() {
    let parent = tempfile::tempdir().unwrap();
    let store = store_at(&parent.path().join("mount")).await;
    for error in [
        store.put("a", Bytes::new()).await.unwrap_err(),
        store.put_if_absent("a/b", Bytes::new()).await.unwrap_err(),
        store.get("a", 1).await.unwrap_err(),
        store.list_folders("").await.unwrap_err(),
    ] {
        assert_eq!(error.kind, StoreErrorKind::NoSuchBucket, "{error}");
    }
    assert!(!parent.path().join("mount").exists());
    store.prepare().await.unwrap();
    store.put("a", Bytes::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_put_into_a_folder_that_is_just_removed_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_at(folder.path()).await;
    let work = (0..8).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..100 {
                let key = format!("deep/er/{n}");
                store.put(&key, Bytes::from(format!("{round}"))).await.unwrap();
                store.delete(&key).await.unwrap();
            }
        })
    });
    for done in futures::future::join_all(work).await {
        done.unwrap();
    }
}
