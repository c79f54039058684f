//! An encrypted vault: all that a plain one can do, and nothing in the store that tells what is in it.

mod support;
#[path = "support/world.rs"]
mod world;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ringvault_core::{
    job::VerifyLevel::{Digest, Presence, Sstable},
    task::{CheckResult, FindingKind},
};
use ringvault_vault::{
    EncryptionConfig, Vault, VaultConfig, VaultError, download::DownloadError, manifest::ManifestFile,
    verify::HealOutcome,
};
use support::{Node, assert_same_files, content, download_config};
use tokio_util::sync::CancellationToken;
use walkdir::WalkDir;
use world::{STATEMENT, World, key_file, name};

fn path(world: &World, key: &str) -> PathBuf {
    world.lab.local.path().join("vault").join(key)
}

/// Every object as a file, with its key.
fn stored(world: &World) -> Vec<(String, Vec<u8>)> {
    let root = world.lab.local.path().join("vault");
    let files = WalkDir::new(&root).into_iter().map(Result::unwrap).filter(|e| e.file_type().is_file());
    files
        .map(|e| (e.path().strip_prefix(&root).unwrap().display().to_string(), fs::read(e.path()).unwrap()))
        .collect()
}

fn holds(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

async fn manifest(world: &World, seal: &ringvault_vault::backup::SealRecord, node: usize) -> ManifestFile {
    let node = seal.node(world.nodes[node].host).unwrap();
    ManifestFile::fetch(&world.lab.store, &node.key, Some(node.blake3), world.lab.local.path()).await.unwrap()
}

/// A world of one node with files of every way to the vault: parts, puts, packs, empty ones.
async fn with_every_file() -> World {
    let (mut world, _) = World::encrypted(0).await;
    world.nodes.push(Node::with_data());
    world
}

async fn assert_comes_back(world: &mut World, backup: &str, seal: &ringvault_vault::backup::SealRecord) {
    let to = world.lab.local.path().join(format!("staged-{backup}"));
    let manifest = manifest(world, seal, 0).await;
    let (done, _) = world.lab.download(&manifest, &to, download_config()).await;
    let done = done.unwrap();
    let snapshot = world.nodes[0].snapshot();
    assert_same_files(&snapshot, &to);
    assert_eq!((done.bytes, done.bytes_kept), (snapshot.bytes(), 0));
    let (again, _) = world.lab.download(&manifest, &to, download_config()).await;
    assert_eq!(again.unwrap().bytes_kept, snapshot.bytes(), "what is staged is known again");
}

#[tokio::test]
async fn backups_of_every_file_come_back_are_verified_reused_and_purged() {
    let mut world = with_every_file().await;
    let first = world.backup("b1").await;
    assert_comes_back(&mut world, "b1", &first).await;
    world.assert_whole("b1").await;
    assert_eq!(world.verify("b1", Presence, 3).await.findings, []);
    let read = world.verify("b1", Sstable, 2).await;
    assert_eq!(read.findings, []);
    assert!(read.bytes > 0);

    world.nodes[0].rewrite("ks", "t", "1", "Statistics.db", &content("new", 5001));
    let second = world.backup("b2").await;
    assert!(second.figures.bytes_new < 10_000, "{:?}", second.figures);
    assert_comes_back(&mut world, "b2", &second).await;

    let purged = world.purge("p1", &["b1"], &[]).await;
    assert!(purged.objects < 3, "most of b1 is named by b2: {purged:?}");
    world.assert_whole("b2").await;
    let to = world.lab.local.path().join("after-the-purge");
    let manifest = manifest(&world, &second, 0).await;
    world.lab.download(&manifest, &to, download_config()).await.0.unwrap();
    assert_same_files(&world.nodes[0].snapshot(), &to);
}

#[tokio::test]
async fn nothing_in_the_store_tells_what_is_in_the_vault() {
    let mut world = with_every_file().await;
    let seal = world.backup("b1").await;
    // None so short that it may stand in ciphertext by chance.
    let names = [STATEMENT, "\"keyspace\"", "by_name", "10.0.0.1", "nb-1-big", "Data.db", "tokens"];
    let snapshot = world.nodes[0].snapshot();
    let contents = snapshot.files().map(|file| fs::read(&file.path).unwrap());
    let excerpts = contents.filter(|content| content.len() >= 40).map(|content| content[10..40].to_vec());
    let secrets: Vec<Vec<u8>> =
        names.iter().map(|name| name.as_bytes().to_vec()).chain(excerpts.collect::<Vec<_>>()).collect();
    let objects = stored(&world);
    for (key, body) in &objects {
        // The excerpts are of the first bytes.
        let body = &body[..body.len().min(100_000)];
        for secret in &secrets {
            let shown = String::from_utf8_lossy(secret);
            assert!(!holds(body, secret) && !holds(key.as_bytes(), secret), "{key} tells {shown:?}");
        }
        let plain = ["vault.json", "owner.json", "keys/00000001.json"].contains(&key.as_str());
        assert_eq!(body.starts_with(b"RVLTENC1"), !plain, "{key}");
    }
    assert!(objects.len() > 10);
    let key = fs::read_to_string(world.lab.local.path().join("key")).unwrap();
    assert!(objects.iter().all(|(_, body)| !holds(body, key.trim().as_bytes())));

    // Nor do digests: who knows a content cannot look for it.
    let digests: Vec<String> = world.nodes[0]
        .snapshot()
        .files()
        .map(|file| ringvault_vault::hash::Digest::of(&fs::read(&file.path).unwrap()).to_string())
        .collect();
    let mut reader = manifest(&world, &seal, 0).await.reader().unwrap();
    while let Some(entry) = reader.next_entry().unwrap() {
        assert!(
            entry.components().iter().all(|c| !digests.contains(&c.checksum.blake3().unwrap().to_string()))
        );
    }
}

/// What somebody may do to an object with the rights to write.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Flip(usize),
    Cut(usize),
    Grow,
    /// Another object of the vault in its place.
    Swap,
    /// Two blocks change places.
    Reorder,
    /// Plain bytes.
    Plain,
}

fn harm(world: &World, key: &str, other: &str, harm: Harm) {
    let mut body = fs::read(path(world, key)).unwrap();
    match harm {
        Harm::Flip(at) => body[at] ^= 0x10,
        Harm::Cut(by) => body.truncate(body.len() - by),
        Harm::Grow => body.push(7),
        Harm::Swap => body = fs::read(path(world, other)).unwrap(),
        Harm::Reorder => {
            let (one, two) = (65_536..131_072, 131_072..196_608);
            let first = body[one.clone()].to_vec();
            body.copy_within(two.clone(), one.start);
            body[two].copy_from_slice(&first);
        }
        Harm::Plain => body = vec![b'x'; body.len()],
    }
    fs::write(path(world, key), body).unwrap();
}

#[tokio::test]
async fn data_that_was_changed_cut_moved_or_swapped_is_found_and_named_by_verify_and_download() {
    let mut world = with_every_file().await;
    let seal = world.backup("b1").await;
    let manifest = manifest(&world, &seal, 0).await;
    let mut objects = world.data_of("b1").await;
    objects.sort_by_key(|key| std::cmp::Reverse(path(&world, key).metadata().unwrap().len()));
    let (largest, other) = (objects[0].clone(), objects[1].clone());
    let sound = fs::read(path(&world, &largest)).unwrap();
    let last = sound.len() - 1;
    for how in [
        Harm::Flip(3),
        Harm::Flip(12),
        Harm::Flip(20),
        Harm::Flip(40),
        Harm::Flip(70),
        Harm::Flip(1000),
        Harm::Flip(last),
        Harm::Cut(1),
        Harm::Cut(65_536),
        Harm::Grow,
        Harm::Swap,
        Harm::Reorder,
        Harm::Plain,
    ] {
        harm(&world, &largest, &other, how);
        let result = world.verify("b1", Digest, 2).await;
        assert_eq!(result.damaged, 1, "{how:?}: {:?}", result.findings);
        let found = &result.findings[0];
        assert_eq!((&found.key, found.file.as_deref()), (&largest, Some("nb-1-big-Data.db")), "{how:?}");
        let to = tempfile::tempdir().unwrap();
        let (done, _) = world.lab.download(&manifest, to.path(), download_config()).await;
        if matches!(how, Harm::Grow) {
            // All that the manifest names is there.
            done.unwrap();
            fs::write(path(&world, &largest), &sound).unwrap();
            continue;
        }
        let error = done.unwrap_err();
        assert!(matches!(error, DownloadError::Damaged { .. }), "{how:?}: {error}");
        assert!(error.to_string().contains("nb-1-big-Data.db of ks.t"), "{how:?}: {error}");
        assert!(!to.path().join("ks/t/0/nb-1-big-Data.db").exists(), "{how:?}");
        fs::write(path(&world, &largest), &sound).unwrap();
    }
    world.assert_whole("b1").await;
}

#[tokio::test]
async fn genuine_objects_of_one_size_that_changed_places_are_found_by_their_digests() {
    let (mut world, _) = World::encrypted(2).await;
    let seal = world.backup("b1").await;
    let large: Vec<_> =
        world.data_of("b1").await.into_iter().filter(|key| key.contains("/objects/")).collect();
    let [one, other] = large.as_slice() else { panic!("{large:?}") };
    let first = fs::read(path(&world, one)).unwrap();
    harm(&world, one, other, Harm::Swap);
    fs::write(path(&world, other), first).unwrap();
    assert_eq!(world.verify("b1", Presence, 1).await.damaged, 0, "they are there, of the right size");
    let result = world.verify("b1", Digest, 1).await;
    let mut named: Vec<_> = result.findings.iter().map(|found| (found.kind, &found.key)).collect();
    named.sort_by_key(|(_, key)| key.as_str());
    assert_eq!(named, [(FindingKind::Corrupt, one), (FindingKind::Corrupt, other)]);
    for node in 0..2 {
        let (manifest, to) = (manifest(&world, &seal, node).await, tempfile::tempdir().unwrap());
        let (done, _) = world.lab.download(&manifest, to.path(), download_config()).await;
        assert!(matches!(done.unwrap_err(), DownloadError::Damaged { .. }));
    }
}

#[tokio::test]
async fn of_a_damaged_pack_exactly_the_files_are_named_that_cannot_be_read() {
    let (mut world, _) = World::encrypted(1).await;
    let files: Vec<(String, usize)> = (0..12).map(|n| (format!("C{n:02}.db"), 9_000)).collect();
    let files: Vec<(&str, usize)> = files.iter().map(|(name, len)| (name.as_str(), *len)).collect();
    world.nodes[0].sstable("ks", "t", 0, None, "9", &files);
    world.backup("b1").await;
    let pack = world
        .data_of("b1")
        .await
        .into_iter()
        .find(|key| key.contains("/packs/") && path(&world, key).metadata().unwrap().len() > 80_000);
    let pack = pack.unwrap();
    // In the second block: the files of the first are sound.
    harm(&world, &pack, "", Harm::Flip(70_000));
    let result = world.verify("b1", Digest, 1).await;
    assert!(result.findings.iter().all(|found| found.key == pack && found.kind == FindingKind::Corrupt));
    assert!((1..8).contains(&result.findings.len()), "{:?}", result.findings);
    let files = |result: &CheckResult| {
        result.findings.iter().map(|found| found.file.clone()).collect::<BTreeSet<_>>()
    };
    let deep = world.verify("b1", Sstable, 1).await;
    assert!(deep.findings.iter().all(|found| found.key == pack && found.kind == FindingKind::Corrupt));
    assert_eq!(files(&deep), files(&result));
}

#[tokio::test]
async fn a_record_that_was_changed_or_put_in_anothers_place_is_damage_of_that_backup() {
    let (mut world, _) = World::encrypted(2).await;
    let first = world.backup("b1").await;
    let second = world.backup("b2").await;
    let cluster = world.cluster.clone();
    let key = |backup: &str, name: &str| format!("clusters/{cluster}/backups/{backup}/{name}");

    // b2's own seal is genuine, but not at b1's place.
    let sound = fs::read(path(&world, &key("b1", "backup.json"))).unwrap();
    harm(&world, &key("b1", "backup.json"), &key("b2", "backup.json"), Harm::Swap);
    let error = world.vault.seal_of(&cluster, &name("b1")).await.unwrap_err();
    assert!(matches!(&error, VaultError::Malformed { key, .. } if key.contains("b1/backup.json")), "{error}");
    fs::write(path(&world, &key("b1", "backup.json")), sound).unwrap();

    for (damaged, other) in [
        (first.nodes[0].key.clone(), first.nodes[1].key.clone()),
        (second.nodes[0].key.clone(), first.nodes[0].key.clone()),
        (first.schema.key.clone(), second.schema.key.clone()),
        (key("b1", "index/00"), key("b2", "index/00")),
    ] {
        let backup = if damaged.contains("/b1/") { "b1" } else { "b2" };
        let sound = fs::read(path(&world, &damaged)).unwrap();
        for how in [Harm::Flip(100), Harm::Cut(3), Harm::Swap, Harm::Plain] {
            harm(&world, &damaged, &other, how);
            let result = world.verify(backup, Presence, 1).await;
            let named: Vec<_> = result.findings.iter().map(|f| (f.kind, f.key.as_str())).collect();
            assert_eq!(named, [(FindingKind::Record, damaged.as_str())], "{how:?}");
            fs::write(path(&world, &damaged), &sound).unwrap();
        }
    }
    assert_eq!(world.verify("b1", Digest, 1).await.findings, []);
}

#[tokio::test]
async fn damage_heals_by_a_copy_within_the_store() {
    let (mut world, _) = World::encrypted(1).await;
    world.backup("b1").await;
    let large = world.data_of("b1").await.into_iter().find(|key| key.contains("/objects/")).unwrap();
    harm(&world, &large, "", Harm::Flip(500));
    assert_eq!(world.verify("b1", Digest, 1).await.damaged, 1);
    let pack = world.data_of("b1").await.into_iter().find(|key| key.contains("/packs/")).unwrap();
    harm(&world, &pack, "", Harm::Flip(95));
    assert_eq!(world.verify("b1", Digest, 1).await.damaged, 2);
    world.backup("b2").await;
    let healed = world.vault.heal(&world.cluster, &CancellationToken::new()).await.unwrap();
    let mut expected = vec![large, pack];
    expected.sort();
    assert_eq!(healed, HealOutcome { healed: expected, left: Vec::new() });
    world.assert_whole("b1").await;
    world.assert_whole("b2").await;
}

async fn refused(config: &VaultConfig) -> VaultError {
    Vault::open(config).await.unwrap_err()
}

fn id_of(path: &Path) -> String {
    let config = EncryptionConfig::of_file(path);
    config.read_keys().unwrap()[0].id().to_string()
}

#[tokio::test]
async fn a_missing_a_wrong_and_a_needless_key_are_refused_with_the_ids() {
    let (mut world, config) = World::encrypted(1).await;
    world.backup("b1").await;
    let folder = world.lab.local.path();
    let right = id_of(&folder.join("key"));

    let without = VaultConfig { encryption: None, ..config.clone() };
    let error = refused(&without).await;
    assert_eq!(error.to_task_error().code, "RV-KEY-MISSING");
    assert!(error.to_string().contains(&right), "{error}");

    let other = key_file(folder, "other");
    let wrong = VaultConfig { encryption: Some(EncryptionConfig::of_file(&other)), ..config.clone() };
    let error = refused(&wrong).await;
    assert_eq!(error.to_task_error().code, "RV-KEY-WRONG");
    assert!(error.to_string().contains(&right) && error.to_string().contains(&id_of(&other)), "{error}");
    let failed = |probes: Vec<ringvault_vault::identity::Probe>| -> Vec<String> {
        probes.into_iter().filter(|probe| !probe.ok).map(|probe| probe.name).collect()
    };
    assert_eq!(failed(Vault::check(&wrong).await.unwrap()), ["encryption"]);
    assert_eq!(failed(Vault::check(&without).await.unwrap()), ["encryption"]);
    assert_eq!(failed(Vault::check(&config).await.unwrap()), Vec::<String>::new());

    // The right one among others will do.
    let both =
        EncryptionConfig { other_key_files: vec![folder.join("key")], ..EncryptionConfig::of_file(&other) };
    Vault::open(&VaultConfig { encryption: Some(both), ..config.clone() }).await.unwrap();

    let plain = World::on_folder(0).await;
    let url = url::Url::from_directory_path(plain.lab.local.path().join("vault")).unwrap();
    let needless = VaultConfig { url, ..config };
    assert_eq!(refused(&needless).await.to_task_error().code, "RV-VAULT-PLAIN");
    assert_eq!(failed(Vault::check(&needless).await.unwrap()), ["encryption"]);
}

#[tokio::test]
async fn a_release_that_knows_no_encryption_does_not_take_it_for_plain_and_a_plain_vault_is_as_before() {
    let (world, _) = World::encrypted(0).await;
    let json = |world: &World| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path(world, "vault.json")).unwrap()).unwrap()
    };
    assert_eq!(json(&world)["version"], 2);
    assert_eq!(json(&world)["encryption"]["cipher"], "AES-256-GCM");
    let plain = World::on_folder(0).await;
    let record = json(&plain);
    assert_eq!((record["version"].as_u64(), record.get("encryption")), (Some(1), None));
    assert!(!path(&plain, "keys").exists());

    // Half of one and half of the other is neither.
    for change in [
        ("version", serde_json::json!(1)),
        ("encryption", serde_json::json!({"cipher": "X", "kdf": "Y", "block": 1})),
    ] {
        let (world, config) = World::encrypted(0).await;
        let mut record = json(&world);
        record[change.0] = change.1;
        fs::write(path(&world, "vault.json"), record.to_string()).unwrap();
        assert!(matches!(refused(&config).await, VaultError::Malformed { .. }));
    }
}

#[tokio::test]
async fn an_init_that_was_cut_short_is_brought_to_its_end_with_the_keys_it_had_made() {
    let (world, config) = World::encrypted(0).await;
    let vault = world.vault.record().vault_id;
    for left_out in [&["owner.json"][..], &["owner.json", "vault.json"]] {
        for key in left_out {
            fs::remove_file(path(&world, key)).unwrap();
        }
        let again = Vault::init(&config, "tests").await.unwrap();
        assert_eq!(again.record().vault_id, vault, "the keys are bound to it");
    }
    fs::remove_file(path(&world, "owner.json")).unwrap();
    fs::remove_file(path(&world, "vault.json")).unwrap();
    let other = EncryptionConfig::of_file(key_file(world.lab.local.path(), "other"));
    let error = Vault::init(&VaultConfig { encryption: Some(other), ..config }, "tests").await.unwrap_err();
    assert_eq!(error.to_task_error().code, "RV-KEY-WRONG");
}
