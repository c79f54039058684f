//! Whole vaults as releases wrote them, which every later release reads: lists, verifies to the last byte,
//! downloads to the hashes that the files had on their nodes, and plans a purge of.
//!
//! A frozen vault is a folder `fixtures/frozen-<name>` with the vault and an `expected.json` that was made
//! from the nodes' own files, never from the vault. With `RINGVAULT_WRITE_FROZEN=<name>` one is written as
//! this release writes vaults; none that is there is ever written again.

mod support;
#[path = "support/world.rs"]
mod world;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use chrono::DateTime;
use ringvault_core::{
    ClusterName,
    job::{BackupMode, VerifyLevel},
    task::{CheckTask, VerifyReportTask},
};
use ringvault_vault::{
    HoldRecord, Vault, VaultConfig, VaultError, backup::SealPlace, download::StagingFolder, hash::Digest,
    manifest::ManifestFile, progress::TransferProgress,
};
use serde::{Deserialize, Serialize};
use support::{Lab, content, copy_folder, download_config, text};
use tokio_util::sync::CancellationToken;
use url::Url;
use world::{World, job, name};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Expected {
    cluster: ClusterName,
    backups: BTreeMap<String, ExpectedBackup>,
    /// What a purge of every sealed backup would take away.
    purge: (u64, u64),
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ExpectedBackup {
    state: String,
    /// `<host id>/<keyspace>/<table>/<data directory>/<file>` with its digest.
    files: BTreeMap<String, Digest>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn frozen() -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("frozen-"))
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The files that `nodes` of the world have now, as their paths below a download.
fn files_of(world: &mut World, nodes: &[usize]) -> BTreeMap<String, Digest> {
    let mut files = BTreeMap::new();
    for node in nodes {
        let node = &mut world.nodes[*node];
        for item in node.snapshot().items {
            for file in item.files() {
                let table = item.table();
                let path = format!(
                    "{}/{}/{}/{}/{}",
                    node.host,
                    table.keyspace,
                    table.table,
                    table.data_dir,
                    item.file_name(&file.name)
                );
                files.insert(path, Digest::of(&fs::read(&file.path).unwrap()));
            }
        }
    }
    files
}

/// A vault with what a vault can hold: an expired backup with its tombstone, two whole ones of which one
/// reuses the other's objects and packs, a full one of one node that is incomplete, a dead one, one that
/// has begun; a purge, a verify's report, a hold and one that was released.
async fn write(name_of_it: &str) {
    let folder = fixtures().join(format!("frozen-{name_of_it}"));
    assert!(!folder.exists(), "what is frozen is never written again");
    let mut world = World::on_folder(2).await;
    for n in 0..2 {
        let node = &mut world.nodes[n];
        node.rewrite("ks", "t", &n.to_string(), "Data.db", &content(&n.to_string(), 11_000));
        node.sstable("ks", "t", 0, None, "9", &[("Data.db", 900), ("Index.db", 300), ("Rows.db", 0)]);
        // Compressed: in a pack, and as objects of one frame and of more.
        node.sstable("ks", "t", 0, None, "8", &[("Data.db", 1), ("Index.db", 1), ("Statistics.db", 1)]);
        for (component, len) in [("Data.db", 300_000), ("Index.db", 12_000), ("Statistics.db", 5_000)] {
            node.rewrite("ks", "t", "8", component, &text(&format!("{component}{n}"), len));
        }
    }
    let mut backups: BTreeMap<String, ExpectedBackup> = BTreeMap::new();
    let mut expect = |name: &str, state: &str, files| {
        backups.insert(name.to_owned(), ExpectedBackup { state: state.to_owned(), files });
    };
    world.backup("b0").await;
    expect("b0", "expired", BTreeMap::new());
    world.nodes[0].rewrite("ks", "t", "0", "Data.db", &content("compacted", 12_000));
    world.backup("b1").await;
    let files = files_of(&mut world, &[0, 1]);
    expect("b1", "complete", files);
    world.begin("dead").await;
    world.bring_all("dead").await;
    expect("dead", "dead", BTreeMap::new());
    world.purge("p1", &["b0"], &["dead"]).await;
    world.nodes[1].rewrite("ks", "t", "9", "Index.db", &content("rewritten", 310));
    world.backup("b2").await;
    let files = files_of(&mut world, &[0, 1]);
    expect("b2", "complete", files);
    world.begin_as("b3", BackupMode::Full).await.unwrap();
    let (manifest, _) = world.bring(0, "b3").await;
    world.seal("b3", vec![manifest]).await.unwrap();
    let files = files_of(&mut world, &[0]);
    expect("b3", "incomplete", files);
    let checked = world.verify("b1", VerifyLevel::Digest, 1).await;
    let report = VerifyReportTask {
        job: job("verify"),
        cluster: world.cluster.clone(),
        backup: name("b1"),
        level: VerifyLevel::Digest,
        objects: checked.objects,
        bytes: checked.bytes,
        damaged: checked.damaged,
    };
    world.vault.report_verify(&report).await.unwrap();
    let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    for (hold, released) in [("LIT-7", false), ("LIT-8", true)] {
        let mut hold =
            HoldRecord::new((&world.cluster, &name("b1")), hold, Some("a case"), ("token ana", at));
        hold.released = released.then(|| ringvault_vault::HoldReleased {
            by: "token ben".to_owned(),
            reason: "closed".to_owned(),
            at,
        });
        world.vault.put_hold(&hold).await.unwrap();
    }
    world.begin("begun").await;
    expect("begun", "running", BTreeMap::new());
    let preview = world.vault.purge_preview(&world.cluster, &["b1", "b2", "b3"].map(name)).await.unwrap();
    let purge = (preview.objects, preview.bytes);
    let expected = Expected { cluster: world.cluster.clone(), backups, purge };
    let vault = world.lab.local.path().join("vault");
    fs::remove_dir_all(vault.join(".partial")).unwrap();
    copy_folder(&vault, &folder.join("vault"));
    fs::write(folder.join("expected.json"), serde_json::to_string_pretty(&expected).unwrap() + "\n").unwrap();
}

/// A frozen vault, copied, and what is expected of it.
async fn open(folder: &Path, local: &Path) -> (Vault, Expected) {
    let root = local.join("vault");
    copy_folder(&folder.join("vault"), &root);
    let config = VaultConfig::at(Url::from_directory_path(&root).unwrap());
    let vault = Vault::open(&config).await.unwrap().with_scratch(local);
    let expected = fs::read(folder.join("expected.json")).unwrap();
    (vault, serde_json::from_slice(&expected).unwrap())
}

#[tokio::test]
async fn every_frozen_vault_is_listed_verified_downloaded_and_its_purge_planned() {
    if let Ok(name) = std::env::var("RINGVAULT_WRITE_FROZEN") {
        write(&name).await;
    }
    for folder in frozen() {
        let at = folder.display();
        let local = tempfile::tempdir().unwrap();
        let (vault, expected) = open(&folder, local.path()).await;
        let cluster = &expected.cluster;
        let catalog = vault.catalog(cluster).await.unwrap();
        let states: BTreeMap<_, _> =
            catalog.iter().map(|entry| (entry.backup.as_str(), entry.state().unwrap().as_str())).collect();
        let expect: BTreeMap<_, _> =
            expected.backups.iter().map(|(name, backup)| (name.as_str(), backup.state.as_str())).collect();
        assert_eq!(states, expect, "{at}");

        let lab = Lab::new(vault.store().clone(), tempfile::tempdir().unwrap());
        for (backup, ExpectedBackup { files, .. }) in &expected.backups {
            let SealPlace::Sealed(seal) = vault.seal_place(cluster, &name(backup)).await.unwrap() else {
                assert!(files.is_empty(), "{at}: {backup}");
                continue;
            };
            for level in [VerifyLevel::Presence, VerifyLevel::Digest] {
                let (cluster, backup) = (cluster.clone(), name(backup));
                let task = CheckTask { job: job("v"), cluster, backup, level, shard: 0, shards: 1 };
                let checked =
                    vault.verify_shard(&task, &TransferProgress::new(), &CancellationToken::new()).await;
                assert_eq!(checked.unwrap().findings, [], "{at}: {}", task.backup);
            }
            let mut found = BTreeMap::new();
            for node in &seal.nodes {
                let fetched =
                    ManifestFile::fetch(vault.store(), &node.key, Some(node.blake3), local.path()).await;
                let to = local.path().join(format!("{backup}-{}", node.host_id));
                lab.download(&fetched.unwrap(), &to, download_config()).await.0.unwrap();
                for file in walkdir::WalkDir::new(StagingFolder::new(&to).root()) {
                    let file = file.unwrap();
                    if file.file_type().is_file() {
                        let path = file.path().strip_prefix(&to).unwrap().display();
                        let digest = Digest::of(&fs::read(file.path()).unwrap());
                        found.insert(format!("{}/{path}", node.host_id), digest);
                    }
                }
            }
            assert_eq!(&found, files, "{at}: {backup}");
        }
        let sealed: Vec<_> =
            catalog.iter().filter(|entry| entry.seal().is_some()).map(|entry| entry.backup.clone()).collect();
        let preview = vault.purge_preview(cluster, &sealed).await.unwrap();
        assert_eq!((preview.objects, preview.bytes), expected.purge, "{at}");
        assert_eq!(preview.waits_on, [name("begun")], "{at}");
    }
}

#[tokio::test]
async fn what_a_rebuild_reads_is_in_the_frozen_vaults_too() {
    for folder in frozen() {
        let local = tempfile::tempdir().unwrap();
        let (vault, expected) = open(&folder, local.path()).await;
        let intents = vault.read_intents(&expected.cluster).await.unwrap();
        let names = vault.backup_names(&expected.cluster).await.unwrap();
        let records = vault.catalog_records(&expected.cluster, &names, &intents).await.unwrap();
        assert!(records.iter().all(|records| records.entry.is_ok() && records.damaged.is_empty()));
        let b1 = records.iter().find(|records| records.backup == name("b1")).unwrap();
        let held: Vec<_> =
            b1.holds.iter().map(|hold| (hold.name.as_str(), hold.released.is_some())).collect();
        assert!(held.contains(&("LIT-7", false)) && held.contains(&("LIT-8", true)), "{held:?}");
        assert_eq!(b1.verifications.len(), 1);
        let last = vault.last_purge(&expected.cluster, &intents).await.unwrap().unwrap();
        assert_eq!((last.expired, last.dead), (vec![name("b0")], vec![name("dead")]));
    }
}

/// Whatever a record says after `version`, a version that is not known is refused by its name.
#[tokio::test]
async fn a_format_of_a_later_version_is_refused_and_named() {
    let folder = frozen().pop().unwrap();
    let newer = br#"{"version": 3, "kind": "seal", "start": "differently"}"#;
    let put = |local: &Path, key: &str| {
        let path = local.join("vault").join(key);
        assert!(path.exists(), "{key}");
        fs::write(path, newer).unwrap();
    };
    let refused = |error: VaultError, key: &str| {
        assert!(matches!(error, VaultError::UnsupportedVersion { found: 3, .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(key) && text.contains("version 3"), "{text}");
        assert_eq!(error.to_task_error().code, "RV-VAULT-VERSION");
    };
    let local = tempfile::tempdir().unwrap();
    let (vault, expected) = open(&folder, local.path()).await;
    let cluster = &expected.cluster;
    for (key, backup) in [("b2/backup.json", "b2"), ("begun/start.json", "begun")] {
        put(local.path(), &format!("clusters/{cluster}/backups/{key}"));
        refused(vault.backup(cluster, &name(backup)).await.unwrap_err(), key);
    }
    // One that cannot be read keeps no other from being listed, and nothing is deleted by guess.
    let read = vault.catalog(cluster).await.unwrap();
    assert_eq!(read.iter().filter(|entry| entry.known.is_err()).count(), 2);
    assert!(vault.purge_preview(cluster, &[name("b1")]).await.is_err());
    put(local.path(), &format!("clusters/{cluster}/purges/00000001.json"));
    refused(vault.read_intents(cluster).await.unwrap_err(), "00000001.json");
    put(local.path(), "vault.json");
    let config = VaultConfig::at(Url::from_directory_path(local.path().join("vault")).unwrap());
    refused(Vault::open(&config).await.unwrap_err(), "vault.json");
}
