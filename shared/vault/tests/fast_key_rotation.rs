//! Other keys for a vault: nothing is uploaded again, nothing gets lost, whenever it dies.

mod support;
#[path = "support/world.rs"]
mod world;

use std::{collections::BTreeSet, fs, path::PathBuf};

use ringvault_vault::{
    EncryptionConfig, Vault, VaultConfig, VaultError, VaultResult,
    crypt::{KeyChange, KeysOfVault, Rotated, VaultKeyUse},
};
use world::{World, key_file};

const KEK: KeyChange = KeyChange { new_data_key: false, keep_former: false };
const DATA: KeyChange = KeyChange { new_data_key: true, keep_former: false };

/// An encrypted vault with a backup, and two more keys.
struct Ring {
    world: World,
    config: VaultConfig,
}

impl Ring {
    async fn new() -> Self {
        let (mut world, config) = World::encrypted(1).await;
        world.backup("b1").await;
        for name in ["key2", "key3"] {
            key_file(world.lab.local.path(), name);
        }
        Self { world, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.lab.local.path().join(name)
    }

    /// A configuration with these keys, the first first.
    fn with(&self, first: &str, others: &[&str]) -> VaultConfig {
        let encryption = EncryptionConfig {
            other_key_files: others.iter().map(|name| self.path(name)).collect(),
            ..EncryptionConfig::of_file(self.path(first))
        };
        VaultConfig { encryption: Some(encryption), deployment: Some("tests".into()), ..self.config.clone() }
    }

    async fn open(&self, first: &str, others: &[&str]) -> VaultResult<Vault> {
        Vault::open(&self.with(first, others)).await
    }

    async fn rotate(&self, first: &str, others: &[&str], change: KeyChange) -> VaultResult<Rotated> {
        self.open(first, others).await?.rotate_keys(change, false).await
    }

    async fn keys(&self, first: &str) -> KeysOfVault {
        self.open(first, &[]).await.unwrap().keys().await.unwrap().unwrap()
    }

    /// Every object of the backups, and when each was written.
    fn objects(&self) -> BTreeSet<(PathBuf, std::time::SystemTime)> {
        let files = walkdir::WalkDir::new(self.path("vault/clusters")).into_iter().map(Result::unwrap);
        let files = files.filter(|entry| entry.file_type().is_file());
        files.map(|entry| (entry.path().to_owned(), entry.metadata().unwrap().modified().unwrap())).collect()
    }

    /// The data key that an object was sealed under.
    fn sealed_under(&self, key: &str) -> String {
        hex::encode(&fs::read(self.path("vault").join(key)).unwrap()[8..16])
    }
}

#[tokio::test]
async fn a_new_key_opens_the_vault_the_former_does_not_and_no_object_is_touched() {
    let ring = Ring::new().await;
    let before = ring.objects();
    let rotated = ring.rotate("key2", &["key"], KEK).await.unwrap();
    assert!(rotated.changed && rotated.generation == 2 && rotated.closed_to.len() == 1, "{rotated:?}");
    assert_eq!(ring.objects(), before);
    let error = ring.open("key", &[]).await.unwrap_err();
    assert!(matches!(error, VaultError::WrongKey { .. }), "{error}");
    let vault = ring.open("key2", &[]).await.unwrap();
    assert_eq!(vault.catalog(&ring.world.cluster).await.unwrap().len(), 1);
    ring.world.assert_whole("b1").await;
    // What the former key would open is gone, and its place stays taken.
    let former = fs::read_to_string(ring.path("vault/keys/00000001.json")).unwrap();
    assert!(!former.contains("wrapped") && former.contains("\"superseded_by\": 2"), "{former}");
    let again = ring.rotate("key2", &["key"], KEK).await.unwrap();
    assert!(!again.changed && again.generation == 2, "{again:?}");
}

#[tokio::test]
async fn a_fleet_rolls_over_with_both_keys_and_those_that_run_go_on() {
    let mut ring = Ring::new().await;
    let kept = ring.rotate("key2", &["key"], KeyChange { keep_former: true, ..KEK }).await.unwrap();
    assert_eq!((kept.opened_by.len(), kept.closed_to.len()), (2, 0));
    for name in ["key", "key2"] {
        ring.open(name, &[]).await.unwrap();
    }
    // The world's own vault was opened with the first key, and runs.
    ring.world.backup("b2").await;
    ring.rotate("key2", &["key"], KEK).await.unwrap();
    assert!(ring.open("key", &[]).await.is_err());
    // It can still read, but is told before it begins anything.
    ring.world.assert_whole("b2").await;
    let error = ring.world.begin_as("b3", ringvault_core::job::BackupMode::Incremental).await.unwrap_err();
    assert_eq!(error.to_task_error().code, "RV-KEY-WRONG");
}

#[tokio::test]
async fn under_a_new_data_key_old_objects_are_read_and_reused() {
    let mut ring = Ring::new().await;
    let old = ring.world.data_of("b1").await;
    let under = ring.sealed_under(&old[0]);
    let rotated = ring.rotate("key", &[], DATA).await.unwrap();
    assert_ne!(rotated.active.to_string(), under);
    // A process that runs since before takes the new one up with its next backup.
    ring.world.nodes[0].rewrite("ks", "t", "0", "TOC.txt", &[7; 92]);
    let seal = ring.world.backup("b2").await;
    let new = ring.world.data_of("b2").await;
    assert!(seal.figures.objects_new == 1 && new.len() == 1, "the rest is reused: {new:?}");
    assert_eq!(ring.sealed_under(&new[0]), rotated.active.to_string());
    assert_eq!(ring.sealed_under(&old[0]), under);
    ring.world.assert_whole("b2").await;
    // A reader that knows only the former data key looks for the new one.
    let reader = ring.open("key", &[]).await.unwrap();
    let third = ring.rotate("key", &[], DATA).await.unwrap();
    ring.world.nodes[0].rewrite("ks", "t", "0", "TOC.txt", &[8; 92]);
    ring.world.backup("b3").await;
    let start = format!("clusters/{}/backups/b3/start.json", ring.world.cluster);
    assert_eq!(ring.sealed_under(&start), third.active.to_string());
    assert_eq!(reader.catalog(&ring.world.cluster).await.unwrap().len(), 3);
}

/// The steps of a rotation are: nothing, the new generation, the former emptied.
#[tokio::test]
async fn a_rotation_that_dies_at_any_step_has_happened_or_not_and_is_ended_by_the_next() {
    let ring = Ring::new().await;
    let first = fs::read(ring.path("vault/keys/00000001.json")).unwrap();
    // Died before the first step: a dry run does all that comes before.
    let planned = ring.open("key2", &["key"]).await.unwrap().rotate_keys(DATA, true).await.unwrap();
    assert!(planned.changed && planned.generation == 2);
    ring.open("key", &[]).await.unwrap();
    assert_eq!(fs::read(ring.path("vault/keys/00000001.json")).unwrap(), first);

    // Died between: the new generation is there, the former still holds its keys.
    ring.rotate("key2", &["key"], DATA).await.unwrap();
    fs::write(ring.path("vault/keys/00000001.json"), &first).unwrap();
    assert!(ring.open("key", &[]).await.is_err(), "the highest generation counts");
    let keys = ring.keys("key2").await;
    assert_eq!((keys.record.generation, keys.left.as_slice()), (2, &[1][..]));
    ring.world.assert_whole("b1").await;
    let ended = ring.rotate("key2", &[], KEK).await.unwrap();
    assert!(!ended.changed);
    assert_eq!(ring.keys("key2").await.left, [0; 0]);

    // Two died between, one after the other.
    let second = fs::read(ring.path("vault/keys/00000002.json")).unwrap();
    ring.rotate("key3", &["key2"], DATA).await.unwrap();
    fs::write(ring.path("vault/keys/00000001.json"), &first).unwrap();
    fs::write(ring.path("vault/keys/00000002.json"), &second).unwrap();
    assert_eq!(ring.keys("key3").await.left, [1, 2]);
    ring.rotate("key3", &[], KEK).await.unwrap();
    let keys = ring.keys("key3").await;
    assert_eq!((keys.left.len(), keys.record.keys.len()), (0, 4), "three data keys and the hash key");
    ring.open("key3", &[]).await.unwrap();
    ring.world.assert_whole("b1").await;
}

#[tokio::test]
async fn of_rotations_at_the_same_time_none_loses_a_key_of_another() {
    let ring = Ring::new().await;
    let config = ring.with("key", &[]);
    let tries = (0..8).map(|_| {
        let config = config.clone();
        tokio::spawn(async move { Vault::open(&config).await?.rotate_keys(DATA, false).await })
    });
    let mut done = BTreeSet::new();
    for outcome in futures::future::join_all(tries).await {
        match outcome.unwrap() {
            Ok(rotated) => {
                done.insert(rotated.active);
            }
            Err(error) => assert!(matches!(error, VaultError::KeysChanged { .. }), "{error}"),
        }
    }
    let keys = ring.keys("key").await;
    let data: BTreeSet<_> =
        keys.record.keys.iter().filter(|key| key.used_for == VaultKeyUse::Data).map(|key| key.id).collect();
    assert!(!done.is_empty() && done.is_subset(&data), "{done:?} are not all of {data:?}");
    assert_eq!(data.len(), done.len() + 1);
    ring.world.assert_whole("b1").await;
}

#[tokio::test]
async fn keys_that_were_changed_in_the_vault_are_refused() {
    let ring = Ring::new().await;
    let path = ring.path("vault/keys/00000001.json");
    let sound = fs::read_to_string(&path).unwrap();
    let record: serde_json::Value = serde_json::from_str(&sound).unwrap();
    let wrapped = |n: usize| record["keys"][n]["wrapped"][0]["sealed"].as_str().unwrap().to_owned();
    for changed in [
        // Another key's wrapping in its place.
        sound.replace(&wrapped(0), &wrapped(1)),
        sound.replace(&wrapped(0)[180..], "00"),
        sound.replace(record["vault_id"].as_str().unwrap(), "00000000-0000-0000-0000-000000000009"),
        sound.replace(record["active"].as_str().unwrap(), "0123456789abcdef"),
    ] {
        assert_ne!(changed, sound);
        fs::write(&path, changed).unwrap();
        let error = ring.open("key", &[]).await.unwrap_err();
        assert!(matches!(error, VaultError::Malformed { .. } | VaultError::WrongKey { .. }), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let gone = ring.open("key", &[]).await.unwrap_err();
    assert!(gone.to_string().contains("its keys are gone"), "{gone}");
}
