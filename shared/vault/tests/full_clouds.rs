//! Azure Blob Storage and Google Cloud Storage keep to what every store must do, as far as their emulators
//! show it, and their refusals are understood.

#[path = "support/conformance.rs"]
mod conformance;
#[path = "support/servers.rs"]
mod servers;
mod support;

use bytes::Bytes;
use conformance::Traits;
use ringvault_core::ErrorClass;
use ringvault_vault::{ConfigError, Store, StoreErrorKind, Vault, VaultConfig, VaultError};
use url::Url;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_container_of_azure_is_a_store_and_holds_a_vault() {
    let (_server, config) = servers::azure().await;
    let store = Store::open(&config).await.unwrap();
    let traits = Traits { drops_parts: false, finds_uploads: false };
    conformance::check_with(&store, traits).await;

    let vault = Vault::init(&config, "tests").await.unwrap();
    assert!(matches!(Vault::init(&config, "others").await, Err(VaultError::AlreadyInitialised { .. })));
    assert_eq!(Vault::open(&config).await.unwrap().record(), vault.record());
    for probe in Vault::check(&config).await.unwrap() {
        assert!(probe.ok, "{}: {}", probe.name, probe.detail);
    }
}

/// The emulator itself takes no conditions in the API that is used here; what stands before it translates
/// them, and `fast_google` holds what is asked for against Google's documentation.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bucket_of_google_is_a_store_and_holds_a_vault() {
    let (_server, config) = servers::google().await;
    let store = Store::open(&config).await.unwrap();
    let traits = Traits { drops_parts: true, finds_uploads: false };
    conformance::check_with(&store, traits).await;

    Vault::init(&config, "tests").await.unwrap();
    for probe in Vault::check(&config).await.unwrap() {
        assert!(probe.ok, "{}: {}", probe.name, probe.detail);
    }
}

#[tokio::test]
async fn refusals_of_azure_are_told_apart() {
    let (server, config) = servers::azure().await;
    let mut unknown = config.clone();
    unknown.url = Url::parse("az://no-such-container/x").unwrap();
    assert_eq!(kind_of(&unknown).await, (StoreErrorKind::NoSuchBucket, ErrorClass::Permanent));

    let wrong = server.folder.path().join("wrong");
    std::fs::write(&wrong, "d3Jvbmc=").unwrap();
    let mut key = config.clone();
    key.azure.as_mut().unwrap().account_key_file = Some(wrong.clone());
    assert_eq!(kind_of(&key).await, (StoreErrorKind::InvalidCredentials, ErrorClass::Permanent));

    std::fs::write(&wrong, "no base64!").unwrap();
    refused(&key, "azure.account_key_file").await;
    away(config).await;
}

#[tokio::test]
async fn refusals_of_google_are_told_apart() {
    let (server, config) = servers::google().await;
    let mut unknown = config.clone();
    unknown.url = Url::parse("gs://no-such-bucket/x").unwrap();
    let store = Store::open(&unknown).await.unwrap();
    let error = store.put("a", Bytes::new()).await.unwrap_err();
    assert!(matches!(error.kind, StoreErrorKind::NoSuchBucket | StoreErrorKind::NotFound), "{error}");

    let junk = server.folder.path().join("junk");
    std::fs::write(&junk, "{\"type\": \"odd\"}").unwrap();
    let mut file = config.clone();
    file.gcs.as_mut().unwrap().anonymous = false;
    file.gcs.as_mut().unwrap().credentials_file = Some(junk);
    refused(&file, "gcs.credentials_file").await;
    away(config).await;
}

/// A port of this machine that nothing listens on.
async fn away(mut config: VaultConfig) {
    let path = config.endpoint.as_ref().unwrap().path().to_owned();
    config.endpoint = Some(Url::parse(&format!("http://127.0.0.1:{}{path}", servers::free_port())).unwrap());
    assert_eq!(kind_of(&config).await, (StoreErrorKind::Unreachable, ErrorClass::Environment));
}

async fn refused(config: &VaultConfig, setting: &str) {
    let error = Store::open(config).await.unwrap_err();
    assert!(matches!(error, VaultError::Config(ConfigError::Refused { .. })), "{error:?}");
    assert!(error.to_string().starts_with(setting), "{error}");
}

async fn kind_of(config: &VaultConfig) -> (StoreErrorKind, ErrorClass) {
    let store = Store::open(config).await.unwrap();
    let put = store.put("a", Bytes::new()).await.unwrap_err();
    let get = store.get("a", 1).await.unwrap_err();
    assert_eq!(put.kind, get.kind, "{put}, {get}");
    (put.kind, put.to_task_error().class)
}
