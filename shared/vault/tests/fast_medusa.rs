//! Backups that Medusa wrote are taken over as they lie: listed, verified, fetched, forgotten, and nothing of
//! Medusa's is touched.

#[path = "support/medusa.rs"]
mod medusa;
mod support;
#[path = "support/world.rs"]
mod world;

use std::{fs, path::PathBuf};

use bytes::Bytes;
use medusa::{ORDERS, PREFIX, beside, files, import, listed, soon_after, unpack, word};
use ringvault_core::{
    cluster::Coverage,
    job::VerifyLevel::{Digest, Presence},
    task::FindingKind,
};
use ringvault_vault::{
    EncryptionConfig, Vault, VaultConfig,
    backup::SealRecord,
    download::{StagingFolder, WantedFile, download},
    manifest::ManifestFile,
    medusa::ImportOutcome,
    store::StoreErrorKind,
};
use url::Url;
use world::{World, key_file, name};

struct Rig {
    world: World,
    bucket: PathBuf,
}

/// A new vault with nodes of its own, and the bucket beside it.
async fn rig(nodes: usize, encrypted: bool) -> Rig {
    let local = tempfile::tempdir().unwrap();
    let bucket = local.path().join("medusa");
    unpack(&bucket);
    let mut config = VaultConfig::at(Url::from_directory_path(local.path().join("vault")).unwrap());
    if encrypted {
        config.encryption = Some(EncryptionConfig::of_file(key_file(local.path(), "key")));
    }
    let world = World::new(&beside(config, &bucket), local, nodes).await;
    Rig { world, bucket }
}

impl Rig {
    async fn import(&self, name: &str) -> SealRecord {
        let done = import(&self.world.vault, &self.world.cluster, name).await;
        assert_eq!(done.problems, Vec::<String>::new());
        match done.outcome {
            ImportOutcome::New(seal) => *seal,
            other => panic!("{other:?}"),
        }
    }

    fn object(&self, path: &str) -> PathBuf {
        self.bucket.join(PREFIX).join(path)
    }

    fn flip(&self, path: &str) {
        let mut body = fs::read(self.object(path)).unwrap();
        let middle = body.len() / 2;
        body[middle] ^= 1;
        fs::write(self.object(path), body).unwrap();
    }

    /// Kind, table and file of everything that a verify finds.
    async fn findings(
        &self,
        backup: &str,
        level: ringvault_core::job::VerifyLevel,
    ) -> Vec<(FindingKind, String)> {
        let found = self.world.verify(backup, level, 2).await.findings;
        let told =
            |table: Option<String>, file: Option<String>, detail| format!("{table:?} {file:?} {detail}");
        found
            .into_iter()
            .map(|f| (f.kind, told(f.table.map(|table| table.to_string()), f.file, f.detail)))
            .collect()
    }
}

#[tokio::test]
async fn what_medusa_lists_is_listed_and_whole_and_nothing_is_copied() {
    for encrypted in [false, true] {
        let rig = rig(0, encrypted).await;
        let before = files(&rig.bucket);
        let names: Vec<String> = listed(&rig.world.vault).await.into_keys().collect();
        assert_eq!(names, ["diff1", "diff2", "full1", "onlyone"]);
        for name in ["diff1", "diff2", "full1"] {
            let seal = rig.import(name).await;
            assert_eq!(
                (seal.coverage, seal.remarks.len()),
                (Coverage::Complete, 0),
                "{name}: {:?}",
                seal.remarks
            );
            assert_eq!(
                (seal.figures.nodes_held, seal.figures.nodes_total, seal.figures.bytes_new),
                (2, 2, 0)
            );
            assert!(seal.figures.bytes > 400_000 && seal.is_imported(), "{:?}", seal.figures);
        }
        let alone = rig.import("onlyone").await;
        assert_eq!((alone.coverage, alone.figures.nodes_held), (Coverage::Incomplete, 1));
        let files_of = |seal: &SealRecord| seal.figures.files;
        assert_eq!(
            files_of(&rig.world.vault.seal_of(&rig.world.cluster, &name("diff1")).await.unwrap()),
            312 + 272
        );

        for backup in ["diff1", "diff2", "full1", "onlyone"] {
            let presence = rig.world.verify(backup, Presence, 3).await;
            assert_eq!((presence.findings, presence.bytes), (Vec::new(), 0), "{backup}");
            rig.world.assert_whole(backup).await;
            let again = import(&rig.world.vault, &rig.world.cluster, backup).await;
            assert_eq!(word(&again), "known");
            assert_eq!(rig.world.data_of(backup).await, Vec::<String>::new());
        }
        let listed = rig.world.vault.catalog(&rig.world.cluster).await.unwrap();
        let listed: Vec<_> = listed.iter().map(|entry| entry.backup.to_string()).collect();
        assert_eq!(listed, ["onlyone", "full1", "diff2", "diff1"], "by the time that Medusa began them");
        assert!(files(&rig.bucket) == before, "something of Medusa's was changed");
    }
}

#[tokio::test]
async fn files_come_back_as_they_were_and_damage_does_not() {
    let rig = rig(0, false).await;
    let seal = rig.import("diff1").await;
    // Cassandra, and then Medusa, write it over under its name.
    let statistics = format!("{ORDERS}/nb-1-big-Statistics.db");
    let mut rewritten = fs::read(rig.object(&statistics)).unwrap();
    rewritten.extend_from_slice(b"longer now");
    fs::write(rig.object(&statistics), &rewritten).unwrap();

    let staged = rig.world.lab.local.path().join("staged");
    let fetch = async |only: &str| {
        let mut wanted = Vec::new();
        for node in &seal.nodes {
            let manifest =
                ManifestFile::fetch(&rig.world.lab.store, &node.key, Some(node.blake3), &rig.bucket);
            let mut reader = manifest.await.unwrap().reader().unwrap();
            let header = reader.header().clone();
            while let Some(entry) = reader.next_entry().unwrap() {
                let table = entry.table().clone();
                for component in
                    entry.components().iter().filter(|component| component.place.key.contains(only))
                {
                    let folder = StagingFolder::new(&staged);
                    let file = entry.file_name(component);
                    let index = entry.order().to_string().contains("of index").then_some("index");
                    let path =
                        [Some(node.address.as_str()), Some(table.table.as_str()), index, Some(file.as_str())];
                    let to = folder.path(path.into_iter().flatten()).unwrap();
                    wanted.push(Ok(WantedFile::new(&header, &entry, component, to)));
                }
            }
        }
        let count = wanted.len();
        let done = download(&rig.world.lab.context(), support::download_config(), wanted.into_iter()).await;
        done.map(|done| (done, count))
    };
    let (done, count) = fetch("/shop/").await.unwrap();
    assert_eq!((done.files, done.bytes_kept), (count as u64, 0));
    let (again, _) = fetch("/shop/").await.unwrap();
    assert_eq!(again.bytes_kept, again.bytes, "what is staged is known again");
    let came = fs::read(staged.join("127.0.0.1/orders/nb-1-big-Statistics.db")).unwrap();
    assert_eq!(came, rewritten, "what lies there counts");
    for file in ["nb-1-big-Data.db", "nb-1-big-Index.db"] {
        let was = fs::read(rig.object(&format!("{ORDERS}/{file}"))).unwrap();
        assert_eq!(fs::read(staged.join("127.0.0.1/orders").join(file)).unwrap(), was);
    }
    assert_eq!(rig.findings("diff1", Digest).await, [], "a rewritten Statistics.db is no damage");

    rig.flip(&format!("{ORDERS}/nb-1-big-Data.db"));
    fs::remove_dir_all(&staged).unwrap();
    let error = fetch("/shop/orders").await.unwrap_err().to_string();
    assert!(error.contains("nb-1-big-Data.db of shop.orders") && error.contains("MD5"), "{error}");
    assert!(!staged.join("127.0.0.1/orders/nb-1-big-Data.db").exists());
}

#[tokio::test]
async fn damage_is_named_and_marks_nothing() {
    let rig = rig(0, false).await;
    for name in ["diff1", "diff2", "full1"] {
        rig.import(name).await;
    }
    rig.flip(&format!("{ORDERS}/nb-1-big-Data.db"));
    fs::remove_file(rig.object(&format!("{ORDERS}/.by_item/nb-1-big-Index.db"))).unwrap();
    let presence = rig.findings("diff2", Presence).await;
    assert_eq!((presence.len(), presence[0].0), (1, FindingKind::Missing), "{presence:?}");
    let mut found = rig.findings("diff2", Digest).await;
    found.sort_by_key(|(kind, _)| *kind as u8);
    let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
    assert!(kinds.contains(&FindingKind::Missing) && kinds.contains(&FindingKind::Corrupt), "{found:?}");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|(_, told)| told.contains("shop.orders")), "{found:?}");
    assert_eq!(rig.findings("full1", Digest).await, [], "a full backup has objects of its own");
    assert_eq!(rig.world.keys(&format!("clusters/{}/bad/", rig.world.cluster)).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_purge_forgets_the_backup_and_leaves_medusas_objects() {
    let mut rig = rig(2, false).await;
    for name in ["diff1", "diff2", "full1"] {
        rig.import(name).await;
    }
    let before = files(&rig.bucket);
    // Medusa's backups offer nothing to Ringvault's own.
    let own = rig.world.backup("own1").await;
    assert_eq!((own.coverage, own.figures.objects_new), (Coverage::Complete, 4));
    assert_eq!(rig.world.backup("own2").await.figures.bytes_new, 0);
    let marked = rig.world.purge("p1", &["diff1", "own1"], &[]).await;
    assert_eq!(marked.objects, 0, "own2 names all of own1");
    assert!(files(&rig.bucket) == before, "a purge changed what is Medusa's");
    let again = import(&rig.world.vault, &rig.world.cluster, "diff1").await;
    assert_eq!(word(&again), "gone");
    for backup in ["diff2", "full1", "own2"] {
        rig.world.assert_whole(backup).await;
    }
    // What Medusa purged underneath is found.
    fs::remove_dir_all(rig.object("127.0.0.1/full1")).unwrap();
    let gone = rig.findings("full1", Presence).await;
    assert!(!gone.is_empty() && gone.iter().all(|(kind, _)| *kind == FindingKind::Missing));
    rig.world.assert_whole("diff2").await;
}

#[tokio::test]
async fn pieces_that_are_missing_or_damaged_are_named_and_the_rest_is_taken() {
    let rig = rig(0, false).await;
    let (vault, cluster) = (&rig.world.vault, &rig.world.cluster);
    let meta = |backup: &str, file: &str| rig.object(&format!("127.0.0.2/{backup}/meta/{file}"));
    fs::write(meta("diff1", "manifest.json"), "[{\"keyspace\":").unwrap();
    fs::remove_file(meta("diff2", "schema.cql")).unwrap();
    for backup in ["diff1", "diff2"] {
        let done = import(vault, cluster, backup).await;
        let ImportOutcome::New(seal) = done.outcome else { panic!("{done:?}") };
        assert_eq!((seal.coverage, seal.figures.nodes_held), (Coverage::Incomplete, 1));
        assert_eq!(done.problems.len(), 1, "{:?}", done.problems);
        let key = format!("medusa/old/127.0.0.2/{backup}/meta/");
        assert!(
            done.problems[0].starts_with("node 127.0.0.2") && done.problems[0].contains(&key),
            "{:?}",
            done.problems
        );
    }
    for node in ["127.0.0.1", "127.0.0.2"] {
        fs::write(rig.object(&format!("{node}/full1/meta/tokenmap.json")), "{}").unwrap();
    }
    let done = import(vault, cluster, "full1").await;
    assert_eq!((word(&done), done.problems.len()), ("refused", 2), "{done:?}");

    // A node that is at work is waited for, unless it is asked for as it is.
    for file in ["manifest_127.0.0.1.json".to_owned(), finished(&rig)] {
        fs::remove_file(rig.object(&format!("index/backup_index/onlyone/{file}"))).unwrap();
    }
    assert_eq!(word(&import(vault, cluster, "onlyone").await), "unfinished");
    let backup = &listed(vault).await["onlyone"];
    let asked =
        vault.import_medusa((cluster, "old"), backup, soon_after(backup), (true, false)).await.unwrap();
    assert_eq!(word(&asked), "refused", "no node of it is done");

    fs::create_dir_all(rig.object("index/backup_index/an odd name")).unwrap();
    for file in ["tokenmap_n.json", "started_n_1795732220.timestamp", "finished_n_1795732221.timestamp"] {
        fs::write(rig.object(&format!("index/backup_index/an odd name/{file}")), "").unwrap();
    }
    assert_eq!(word(&import(vault, cluster, "an odd name").await), "refused");
}

fn finished(rig: &Rig) -> String {
    let folder = fs::read_dir(rig.object("index/backup_index/onlyone")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.into_iter().find(|name| name.starts_with("finished_")).unwrap()
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let rig = rig(0, false).await;
    let before = rig.world.keys("").await;
    let backup = &listed(&rig.world.vault).await["diff1"];
    let what = (&rig.world.cluster, "old");
    let done = rig.world.vault.import_medusa(what, backup, soon_after(backup), (false, true)).await.unwrap();
    let ImportOutcome::New(seal) = done.outcome else { panic!("{done:?}") };
    assert_eq!(seal.coverage, Coverage::Complete);
    assert_eq!(rig.world.keys("").await, before);

    // One that was cut short between its start and its seal is completed by the next.
    rig.world.vault.begin_backup(&seal.start).await.unwrap();
    rig.import("diff1").await;
    rig.world.assert_whole("diff1").await;
}

#[tokio::test]
async fn nothing_is_written_where_medusa_is_and_a_store_that_is_not_configured_is_named() {
    let rig = rig(0, false).await;
    rig.import("diff1").await;
    let store = &rig.world.lab.store;
    let key = format!("medusa/old/{ORDERS}/nb-1-big-Data.db");
    assert!(store.head(&key).await.unwrap().size > 0);
    let refusals = [
        store.put(&key, Bytes::new()).await.map(drop),
        store.put_if_absent(&key, Bytes::new()).await.map(drop),
        store.delete(&key).await,
        store.copy("vault.json", &key).await,
        store.begin_multipart(&key, 8 << 20, 8 << 20).await.map(drop),
    ];
    for refusal in refusals {
        let error = refusal.unwrap_err();
        assert!(
            error.kind == StoreErrorKind::Invalid && error.to_string().contains("belongs to Medusa"),
            "{error}"
        );
    }
    for path in ["medusa/old/../vault/vault.json", "medusa/old/", "medusa/old/a//b"] {
        assert_eq!(store.head(path).await.unwrap_err().kind, StoreErrorKind::Invalid, "{path}");
    }
    let vault = rig.world.lab.local.path().join("vault");
    let plain = Vault::open(&VaultConfig::at(Url::from_directory_path(vault).unwrap())).await.unwrap();
    let error = plain.store().head(&key).await.unwrap_err().to_string();
    assert!(error.contains("[vault.medusa.old]"), "{error}");
    assert_eq!(plain.store().medusa_names().count(), 0);
}
