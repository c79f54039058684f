//! A bucket on a real S3 server keeps to what every store must do, and its refusals are understood.

#[path = "support/conformance.rs"]
mod conformance;
#[path = "support/s3.rs"]
mod s3;
#[path = "support/servers.rs"]
mod servers;
mod support;

use bytes::Bytes;
use futures::TryStreamExt as _;
use ringvault_core::ErrorClass;
use ringvault_vault::{Checksums, Store, StoreErrorKind, Vault, VaultError, config::Sse};
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

/// A login that the server knows, and that may do nothing in this bucket.
#[tokio::test]
async fn a_missing_right_is_told_from_a_wrong_key() {
    let (mut config, files) = s3::config().await;
    let read = |file: &Option<std::path::PathBuf>| std::fs::read_to_string(file.as_ref().unwrap()).unwrap();
    let (access, secret) = (read(&config.access_key_file), read(&config.secret_key_file));
    let (user, password) = (format!("guest-{}", uuid::Uuid::new_v4()), "guest-secret");
    let made = std::process::Command::new(servers::tool("versitygw"))
        .args(["admin", "--access", &access, "--secret", &secret])
        .args(["--endpoint-url", config.endpoint.as_ref().unwrap().as_str().trim_end_matches('/')])
        .args(["create-user", "--access", &user, "--secret", password, "--role", "user"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for (name, value, file) in [
        ("guest", user.as_str(), &mut config.access_key_file),
        ("password", password, &mut config.secret_key_file),
    ] {
        let path = files.path().join(name);
        std::fs::write(&path, value).unwrap();
        *file = Some(path);
    }
    let store = Store::open(&config).await.unwrap();
    for error in [
        store.put("a", Bytes::new()).await.unwrap_err(),
        store.put_if_absent("a", Bytes::new()).await.unwrap_err(),
        store.get("a", 1).await.unwrap_err(),
        store.head("a").await.unwrap_err(),
        store.list_folders("").await.unwrap_err(),
        store
            .begin_multipart("a", ringvault_vault::store::MIN_PART, ringvault_vault::store::MIN_PART + 1)
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind, StoreErrorKind::AccessDenied, "{error}");
        assert_eq!(error.to_task_error().code, "RV-STORE-403");
    }
}

/// Real: versitygw knows nothing of encryption and says nothing of it.
#[tokio::test]
async fn a_server_that_ignores_encryption_holds_no_vault_that_asks_for_it() {
    let (mut config, _files) = s3::config().await;
    let clear = Store::open(&config).await.unwrap();
    config.sse = Some(Sse::S3);
    let error = Vault::init(&config, "tests").await.unwrap_err();
    assert!(error.is_store(StoreErrorKind::NotEncrypted), "{error}");
    let left: Vec<_> = clear.list("").map_ok(|object| object.key).try_collect().await.unwrap();
    assert_eq!(left, [""; 0], "nothing stays in the clear");
}
