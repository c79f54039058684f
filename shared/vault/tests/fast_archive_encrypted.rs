//! An encrypted vault as the first release with encryption wrote it can be read, verified and purged for ever.
//!
//! `fixtures/vault-v2` has two sealed backups, the second under a later data key, and a rotated key-encryption
//! key, whose text is `fixtures/vault-v2.key`. With `RINGVAULT_WRITE_FIXTURES=1` it is written anew; a
//! fixture of a released format never is.

mod support;
#[path = "support/world.rs"]
mod world;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use ringvault_core::job::VerifyLevel;
use ringvault_vault::{EncryptionConfig, Vault, VaultConfig, crypt::KeyChange};
use support::{content, copy_folder};
use url::Url;
use world::{STATEMENT, World, key_file, name};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/vault-v2");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/vault-v2.key");

async fn write_fixture() {
    let (mut world, config) = World::encrypted(1).await;
    world.nodes[0].rewrite("ks", "t", "0", "Data.db", &content("0", 70_000));
    world.backup("b1").await;
    let key = key_file(world.lab.local.path(), "key2");
    let both = EncryptionConfig {
        other_key_files: vec![world.lab.local.path().join("key")],
        ..EncryptionConfig::of_file(&key)
    };
    let config = VaultConfig { encryption: Some(both), deployment: Some("tests".into()), ..config };
    let vault = Vault::open(&config).await.unwrap();
    vault.rotate_keys(KeyChange { new_data_key: true, keep_former: false }, false).await.unwrap();
    world.vault = vault.with_scratch(world.lab.local.path());
    world.lab.store = world.vault.store().clone();
    world.nodes[0].rewrite("ks", "t", "0", "TOC.txt", &content("toc", 92));
    world.backup("b2").await;
    let root = world.lab.local.path().join("vault");
    fs::remove_dir_all(root.join(".partial")).unwrap();
    if Path::new(FIXTURE).exists() {
        fs::remove_dir_all(FIXTURE).unwrap();
    }
    copy_folder(&root, Path::new(FIXTURE));
    fs::write(KEY, fs::read(key).unwrap()).unwrap();
}

/// A copy of the fixture's key that has the permissions of a key.
fn key(folder: &Path) -> PathBuf {
    let path = folder.join("key");
    fs::copy(KEY, &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    path
}

#[tokio::test]
async fn an_encrypted_vault_of_format_2_is_read_verified_and_purged() {
    if std::env::var_os("RINGVAULT_WRITE_FIXTURES").is_some() {
        write_fixture().await;
    }
    let local = tempfile::tempdir().unwrap();
    let root = local.path().join("vault");
    copy_folder(Path::new(FIXTURE), &root);
    let config = VaultConfig {
        encryption: Some(EncryptionConfig::of_file(key(local.path()))),
        deployment: Some("tests".into()),
        ..VaultConfig::at(Url::from_directory_path(&root).unwrap())
    };
    let vault = Vault::open(&config).await.unwrap();
    let keys = vault.keys().await.unwrap().unwrap();
    assert_eq!((keys.record.generation, keys.record.keys.len(), keys.left.len()), (2, 3, 0));
    let mut world = World::of(vault, local);
    let names: Vec<_> = world.vault.catalog(&world.cluster).await.unwrap();
    assert_eq!(names.iter().map(|entry| entry.backup.as_str()).collect::<Vec<_>>(), ["b2", "b1"]);
    for backup in ["b1", "b2"] {
        world.assert_whole(backup).await;
        assert!(world.verify(backup, VerifyLevel::Digest, 1).await.bytes > 70_000);
    }
    let seal = world.vault.seal_of(&world.cluster, &name("b2")).await.unwrap();
    let schema = String::from_utf8(world.vault.get_schema(&seal.schema).await.unwrap()).unwrap();
    assert!(schema.contains(STATEMENT), "{schema}");
    let purged = world.purge("p1", &["b1"], &[]).await;
    assert_eq!(purged.objects, 1, "the pack that only b1 names");
    world.assert_whole("b2").await;
    world.begin("b3").await;
}
