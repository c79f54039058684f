//! `MinIO` over TLS with an authority of the lab's own: what the first S3 server does not do. Encryption at
//! rest in its three kinds, each through everything that a store must do.

#[path = "support/conformance.rs"]
mod conformance;
#[path = "support/locks.rs"]
mod locks;
#[path = "support/servers.rs"]
mod servers;
mod support;
#[path = "support/world.rs"]
mod world;

use bytes::Bytes;
use conformance::Traits;
use ringvault_vault::{Store, StoreErrorKind, Vault, VaultConfig, config::Sse};

/// It lists uploads by their whole key only, and drops them by itself after a day.
const TRAITS: Traits = Traits { drops_parts: true, finds_uploads: false };

async fn conforms(config: &VaultConfig) {
    conformance::check_with(&Store::open(config).await.unwrap(), TRAITS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bucket_is_a_store_over_tls_and_encrypted_in_each_way() {
    let (server, config) = servers::minio().await;
    conforms(&config).await;

    let mut stranger = config.clone();
    stranger.ca_file = None;
    let error = Store::open(&stranger).await.unwrap().put("a", Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unreachable, "an authority that is not known: {error}");

    let key_file = server.folder.path().join("customer-key");
    std::fs::write(&key_file, hex::encode([3u8; 32])).unwrap();
    let customer = Sse::Customer { key_file };
    let named = Sse::Kms { key_id: Some(servers::MINIO_KEY.into()) };
    for sse in [Sse::S3, Sse::Kms { key_id: None }, named, customer.clone()] {
        let mut encrypted = config.clone();
        encrypted.sse = Some(sse);
        conforms(&encrypted).await;
    }

    // A vault under a key that the store does not keep: nobody else reads it.
    let mut ours = config.clone();
    ours.sse = Some(customer);
    Vault::init(&ours, "tests").await.unwrap();
    for probe in Vault::check(&ours).await.unwrap() {
        assert!(probe.ok, "{}: {}", probe.name, probe.detail);
    }
    assert!(Vault::open(&ours).await.is_ok());
    let without = Store::open(&config).await.unwrap().get("vault.json", 1 << 20).await;
    assert!(without.is_err(), "it is read without its key");
    let wrong = server.folder.path().join("wrong-key");
    std::fs::write(&wrong, [9u8; 32]).unwrap();
    ours.sse = Some(Sse::Customer { key_file: wrong });
    let error = Vault::open(&ours).await.unwrap_err();
    assert!(error.is_store(StoreErrorKind::AccessDenied), "{error}");
}

/// It refuses with 400.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_locked_stays() {
    let (_server, config) = servers::minio().await;
    let rig = locks::Rig::new(config.clone(), 400).await;
    locks::nothing_can_be_deleted(&rig).await;
    locks::reuse_makes_locks_longer(&rig).await;
    locks::a_backup_may_be_locked_for_longer(&rig).await;
    locks::what_was_put_over_comes_back(&rig, tempfile::tempdir().unwrap()).await;
    locks::a_purge_leaves_what_is_locked(&rig).await;
    locks::a_bucket_without_locks_is_refused(&rig, config).await;
}
