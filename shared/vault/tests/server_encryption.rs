//! An encrypted vault on a real S3 server: parts, ranges and copies of sealed objects.

#[path = "support/s3.rs"]
mod s3;
mod support;
#[path = "support/world.rs"]
mod world;

use futures::TryStreamExt as _;
use ringvault_core::job::VerifyLevel::{Digest, Presence};
use ringvault_vault::{
    EncryptionConfig, Vault, VaultConfig, VaultError, crypt::KeyChange, manifest::ManifestFile,
};
use support::{Node, assert_same_files, content, download_config};
use tokio_util::sync::CancellationToken;
use world::{World, key_file};

async fn world() -> (World, VaultConfig) {
    let (config, local) = s3::config().await;
    let key = key_file(local.path(), "key");
    let config = VaultConfig { encryption: Some(EncryptionConfig::of_file(key)), ..config };
    let mut world = World::new(&config, local, 0).await;
    world.nodes.push(Node::with_data());
    (world, config)
}

#[tokio::test]
async fn a_backup_comes_back_through_a_rotation_and_a_purge() {
    let (mut world, config) = world().await;
    world.backup("b1").await;
    world.assert_whole("b1").await;
    // What a stranger with the bucket sees.
    let raw =
        ringvault_vault::Store::open(&VaultConfig { encryption: None, ..config.clone() }).await.unwrap();
    let objects: Vec<_> = raw.list("clusters/").try_collect().await.unwrap();
    assert!(objects.len() > 6);
    for object in &objects {
        let head = raw.get_range(&object.key, 0, 8).await.unwrap();
        assert_eq!(&head[..], b"RVLTENC1", "{}", object.key);
    }

    let both = EncryptionConfig {
        other_key_files: vec![world.lab.local.path().join("key")],
        ..EncryptionConfig::of_file(key_file(world.lab.local.path(), "key2"))
    };
    let both = VaultConfig { encryption: Some(both), deployment: Some("tests".into()), ..config.clone() };
    let change = KeyChange { new_data_key: true, keep_former: false };
    let rotated = Vault::open(&both).await.unwrap().rotate_keys(change, false).await.unwrap();
    assert_eq!(rotated.generation, 2);
    assert!(matches!(Vault::open(&config).await.unwrap_err(), VaultError::WrongKey { .. }));
    world.vault = Vault::open(&both).await.unwrap().with_scratch(world.lab.local.path());
    world.lab.store = world.vault.store().clone();

    world.nodes[0].rewrite("ks", "t", "1", "Statistics.db", &content("new", 5001));
    let seal = world.backup("b2").await;
    world.purge("p1", &["b1"], &[]).await;
    assert_eq!(world.verify("b2", Presence, 1).await.findings, []);
    world.assert_whole("b2").await;
    let node = seal.node(world.nodes[0].host).unwrap();
    let scratch = world.lab.local.path();
    let manifest =
        ManifestFile::fetch(&world.lab.store, &node.key, Some(node.blake3), scratch).await.unwrap();
    let to = scratch.join("staged");
    world.lab.download(&manifest, &to, download_config()).await.0.unwrap();
    assert_same_files(&world.nodes[0].snapshot(), &to);
    s3::clean(&world.lab).await;
}

#[tokio::test]
async fn damage_is_found_and_healed_by_a_copy_within_the_store() {
    let (mut world, config) = world().await;
    world.backup("b1").await;
    let raw = ringvault_vault::Store::open(&VaultConfig { encryption: None, ..config }).await.unwrap();
    let mut largest = (0, String::new());
    for key in world.data_of("b1").await {
        largest = largest.max((raw.head(&key).await.unwrap().size, key));
    }
    let (size, key) = largest;
    assert!(size > 12 << 20);
    let mut body = raw.get(&key, u64::MAX).await.unwrap().to_vec();
    body[6 << 20] ^= 1;
    raw.put(&key, body.into()).await.unwrap();
    let result = world.verify("b1", Digest, 1).await;
    assert_eq!((result.damaged, &result.findings[0].key), (1, &key));
    world.backup("b2").await;
    let healed = world.vault.heal(&world.cluster, &CancellationToken::new()).await.unwrap();
    assert_eq!((healed.healed.as_slice(), healed.left.len()), (&[key][..], 0));
    world.assert_whole("b1").await;
    s3::clean(&world.lab).await;
}
