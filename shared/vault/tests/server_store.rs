//! A bucket on a real S3 server keeps to what every store must do, and its refusals are understood.

#[path = "support/conformance.rs"]
mod conformance;
#[path = "support/s3.rs"]
mod s3;
mod support;

use bytes::Bytes;
use ringvault_core::ErrorClass;
use ringvault_vault::{Checksums, Store, StoreErrorKind, Vault, VaultError, store::MIN_PART};
use url::Url;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bucket_is_a_store() {
    let (config, _files) = s3::config().await;
    conformance::check(&Store::open(&config).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bucket_is_a_store_without_checksums_of_our_own() {
    let (mut config, _files) = s3::config().await;
    config.checksums = Checksums::WhenRequired;
    conformance::check(&Store::open(&config).await.unwrap()).await;
}

#[tokio::test]
async fn a_vault_is_made_once_and_checked() {
    let (config, _files) = s3::config().await;
    assert!(matches!(Vault::open(&config).await, Err(VaultError::NotInitialised { .. })));
    let vault = Vault::init(&config, "tests").await.unwrap();
    assert!(matches!(Vault::init(&config, "others").await, Err(VaultError::AlreadyInitialised { .. })));
    assert_eq!(Vault::open(&config).await.unwrap().record(), vault.record());
    for probe in Vault::check(&config).await.unwrap() {
        assert!(probe.ok, "{}: {}", probe.name, probe.detail);
    }
    for key in ["vault.json", "owner.json"] {
        vault.store().delete(key).await.unwrap();
    }
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let (config, files) = s3::config().await;
    let kind_of = async |config| {
        let store = Store::open(&config).await.unwrap();
        let put = store.put("a", Bytes::new()).await.unwrap_err();
        let get = store.get("a", 1).await.unwrap_err();
        assert_eq!(put.kind, get.kind, "{put}, {get}");
        let opened = Vault::open(&config).await.unwrap_err();
        assert!(opened.is_store(get.kind), "{opened}");
        assert!(opened.to_task_error().next.is_some());
        (put.kind, put.to_task_error().class)
    };

    let mut unknown = config.clone();
    unknown.url = Url::parse("s3://ringvault-no-such-bucket/x").unwrap();
    assert_eq!(kind_of(unknown).await, (StoreErrorKind::NoSuchBucket, ErrorClass::Permanent));

    let wrong = files.path().join("wrong");
    std::fs::write(&wrong, "wrong-secret-wrong-secret\n").unwrap();
    let mut secret = config.clone();
    secret.secret_key_file = Some(wrong.clone());
    assert_eq!(kind_of(secret).await, (StoreErrorKind::InvalidCredentials, ErrorClass::Permanent));
    let mut access = config.clone();
    access.access_key_file = Some(wrong);
    assert_eq!(kind_of(access).await, (StoreErrorKind::InvalidCredentials, ErrorClass::Permanent));

    let mut away = config.clone();
    // A port of this machine that nothing listens on: bound, and let go at once.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    away.endpoint = Some(Url::parse(&format!("http://127.0.0.1:{port}")).unwrap());
    assert_eq!(kind_of(away).await, (StoreErrorKind::Unreachable, ErrorClass::Environment));
}

#[tokio::test]
async fn uploads_that_were_never_ended_can_be_dropped() {
    let (config, _files) = s3::config().await;
    let store = Store::open(&config).await.unwrap();
    let upload = store.begin_multipart("dead/large", MIN_PART, MIN_PART + 3).await.unwrap();
    upload.part(1, Bytes::from(support::content("part", 5 << 20))).await.unwrap();
    drop(store.begin_multipart("alive/large", MIN_PART, MIN_PART + 3).await.unwrap());
    assert_eq!(store.abort_uploads("dead/").await.unwrap(), 1);
    assert!(upload.finish(1).await.is_err());
    assert_eq!(store.abort_uploads("alive/").await.unwrap(), 1);
    assert_eq!(store.abort_uploads("").await.unwrap(), 0);
}
