//! Snapshots to a vault in a folder and back: what is brought, what is not, and what is noticed.

mod support;

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::TryStreamExt as _;
use ringvault_core::{ErrorClass, TaskError};
use ringvault_vault::{
    download::{DownloadConfig, DownloadError},
    journal::UploadJournal,
    manifest::{Entry, ManifestFile, SstableFacts},
    store::MIN_PART,
    upload::{ReuseBase, SnapshotSource, SourceItem, SourceSstable, UploadError, upload},
};
use support::{FACTS, Lab, Node, Snapshot, TestIndex, assert_same_files, content, download_config, wanted};

fn own(manifest: ManifestFile) -> ReuseBase {
    ReuseBase { own: vec![manifest], ..ReuseBase::default() }
}

async fn keys(lab: &Lab) -> Vec<String> {
    lab.store.list("").map_ok(|object| object.key).try_collect().await.unwrap()
}

#[tokio::test]
async fn what_was_brought_comes_back_byte_for_byte() {
    let lab = Lab::on_folder().await;
    let mut node = Node::with_data();
    let (uploaded, context, snapshot) = lab.upload(&mut node, "b1", ReuseBase::default()).await;
    let uploaded = uploaded.unwrap();
    assert_eq!((uploaded.figures.tables, uploaded.figures.sstables, uploaded.figures.files), (5, 6, 14));
    assert_eq!((uploaded.figures.bytes, uploaded.bytes_new), (snapshot.bytes(), snapshot.bytes()));
    let figures = context.progress.figures();
    assert_eq!((figures.bytes_total, figures.files_total), (snapshot.bytes(), 14));
    assert_eq!((figures.bytes_done, figures.files_done), (snapshot.bytes(), 14));
    assert_eq!(figures.bytes_read, snapshot.bytes(), "every byte is read once");
    assert_eq!(keys(&lab).await.len() as u64, uploaded.objects_new + 1, "the manifest is one more");

    let manifest = lab.manifest(&uploaded).await;
    for entry in manifest.reader().unwrap() {
        if let Entry::Sstable(sstable) = entry.unwrap() {
            assert_eq!(sstable.facts, FACTS);
        }
    }
    let staged = lab.local.path().join("staged");
    let (downloaded, _) = lab.download(&manifest, &staged, download_config()).await;
    assert_eq!(downloaded.unwrap().bytes, snapshot.bytes());
    assert_same_files(&snapshot, &staged);
}

#[tokio::test]
async fn an_unchanged_node_reads_nothing_and_brings_nothing() {
    let lab = Lab::on_folder().await;
    let mut node = Node::with_data();
    let first = lab.upload(&mut node, "b1", ReuseBase::default()).await.0.unwrap();
    let before = keys(&lab).await;

    let (second, context, snapshot) = lab.upload(&mut node, "b2", own(lab.manifest(&first).await)).await;
    let second = second.unwrap();
    assert_eq!((second.bytes_read, second.bytes_new, second.objects_new), (0, 0, 0));
    assert_eq!(snapshot.facts_read.load(Ordering::Relaxed), 0);
    assert_eq!(context.progress.figures().bytes_reused, snapshot.bytes());
    assert_eq!(second.figures, first.figures);
    let after: HashSet<_> = keys(&lab).await.into_iter().collect();
    assert_eq!(after.len(), before.len() + 1, "only the manifest is new");

    let entries = |manifest: ManifestFile| manifest.reader().unwrap().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(entries(lab.manifest(&first).await), entries(lab.manifest(&second).await));
}

#[tokio::test]
async fn a_rewritten_component_is_all_that_is_brought() {
    let lab = Lab::on_folder().await;
    let mut node = Node::with_data();
    let first = lab.upload(&mut node, "b1", ReuseBase::default()).await.0.unwrap();
    node.rewrite("ks", "t", "1", "Statistics.db", &content("new level", 5000));
    node.sstable("ks1", "t", 0, None, "2", &[("Data.db", 800)]);

    let (second, _, snapshot) = lab.upload(&mut node, "b2", own(lab.manifest(&first).await)).await;
    let second = second.unwrap();
    assert_eq!((second.bytes_new, second.objects_new, second.bytes_read), (5800, 1, 5800));
    assert_eq!(snapshot.facts_read.load(Ordering::Relaxed), 1, "only the new SSTable is looked into");
    let staged = lab.local.path().join("staged");
    lab.download(&lab.manifest(&second).await, &staged, download_config()).await.0.unwrap();
    assert_same_files(&snapshot, &staged);
}

#[tokio::test]
async fn content_that_moved_to_another_node_is_named_not_brought() {
    let lab = Lab::on_folder().await;
    let first = lab.upload(&mut Node::with_data(), "b1", ReuseBase::default()).await.0.unwrap();
    let index = TestIndex::of(&lab.manifest(&first).await);
    let mut other = Node::with_data();
    let reuse = ReuseBase { indexes: vec![Arc::new(index)], ..ReuseBase::default() };
    let (second, context, snapshot) = lab.upload(&mut other, "b2", reuse).await;
    let second = second.unwrap();
    assert_eq!((second.bytes_new, second.objects_new), (0, 0));
    assert_eq!(second.bytes_read, snapshot.bytes(), "hashing reads it once");
    assert_eq!(context.progress.figures().bytes_moved, 0);
}

#[tokio::test]
async fn keys_to_avoid_are_brought_again() {
    let lab = Lab::on_folder().await;
    let mut node = Node::with_data();
    let first = lab.upload(&mut node, "b1", ReuseBase::default()).await.0.unwrap();
    let manifest = lab.manifest(&first).await;
    let large = wanted(&manifest, &ringvault_vault::download::StagingFolder::new("/s"))
        .into_iter()
        .find(|file| file.size == 12 << 20)
        .unwrap();
    let index = Arc::new(TestIndex::of(&manifest));
    let avoid = HashSet::from([large.place.key.clone()]);
    let reuse = ReuseBase { own: vec![manifest], indexes: vec![index], avoid, bases: [].into() };
    let (second, _, snapshot) = lab.upload(&mut node, "b2", reuse).await;
    let second = second.unwrap();
    assert_eq!((second.bytes_new, second.objects_new), (12 << 20, 1));
    assert_eq!(snapshot.facts_read.load(Ordering::Relaxed), 0, "the same file holds the same data");
}

#[tokio::test]
async fn small_files_share_packs_and_nothing_is_lost_between_them() {
    let lab = Lab::on_folder().await;
    let mut node = Node::new();
    node.table("ks", "t", 0);
    for id in 0..150 {
        node.sstable("ks", "t", 0, None, &format!("{id:03}"), &[("Data.db", 900 + id), ("TOC.txt", id)]);
    }
    let (uploaded, _, snapshot) = lab.upload(&mut node, "b1", ReuseBase::default()).await;
    let uploaded = uploaded.unwrap();
    assert_eq!(uploaded.objects_new, snapshot.bytes().div_ceil(100_000));
    let staged = lab.local.path().join("staged");
    let (downloaded, context) =
        lab.download(&lab.manifest(&uploaded).await, &staged, download_config()).await;
    downloaded.unwrap();
    assert_eq!(context.progress.figures().objects_moved, uploaded.objects_new, "one request a pack");
    assert_same_files(&snapshot, &staged);
}

/// Ends with an error once `enough` files are in the vault.
struct Interrupted {
    snapshot: Snapshot,
    enough: u64,
    context: ringvault_vault::transfer::TransferContext,
    walks: AtomicUsize,
}

impl SnapshotSource for Interrupted {
    fn items(&self) -> Box<dyn Iterator<Item = Result<SourceItem, TaskError>> + Send + '_> {
        let first_walk = self.walks.fetch_add(1, Ordering::Relaxed) == 0;
        let end = std::iter::from_fn(move || {
            if first_walk {
                return None;
            }
            let until = std::time::Instant::now() + std::time::Duration::from_mins(1);
            while self.context.progress.figures().files_done < self.enough {
                assert!(std::time::Instant::now() < until, "the upload does not get there");
                std::thread::yield_now();
            }
            Some(Err(TaskError::transient("TEST", "interrupted")))
        });
        Box::new(self.snapshot.items().chain(end))
    }

    fn facts(&self, sstable: &SourceSstable) -> Result<SstableFacts, TaskError> {
        self.snapshot.facts(sstable)
    }
}

/// A node with three large files, and an upload of it that was interrupted once these were brought.
async fn interrupted() -> (Lab, Node) {
    let lab = Lab::on_folder().await;
    let mut node = Node::new();
    node.table("ks", "t", 0);
    for id in ["1", "2", "3"] {
        node.sstable("ks", "t", 0, None, id, &[("Data.db", 40_000), ("TOC.txt", 100)]);
    }
    let context = lab.context();
    let source =
        Interrupted { snapshot: node.snapshot(), enough: 3, context: context.clone(), walks: 0.into() };
    let request = lab.request(lab.header(&node, "b1", 1), Arc::new(source), ReuseBase::default());
    let error = upload(&context, request).await.unwrap_err();
    assert!(matches!(&error, UploadError::Source(cause) if cause.code == "TEST"), "{error}");
    (lab, node)
}

/// Uploads with the next epoch; returns (bytes sent by this attempt, bytes the backup brought).
async fn resume(lab: &Lab, node: &mut Node, epoch: u64) -> (u64, u64) {
    let snapshot = Arc::new(node.snapshot());
    let context = lab.context();
    let request = lab.request(lab.header(node, "b1", epoch), snapshot.clone(), ReuseBase::default());
    let uploaded = upload(&context, request).await.unwrap();
    let staged = tempfile::tempdir().unwrap();
    lab.download(&lab.manifest(&uploaded).await, staged.path(), download_config()).await.0.unwrap();
    assert_same_files(&snapshot, staged.path());
    (context.progress.figures().bytes_moved, uploaded.bytes_new)
}

#[tokio::test]
async fn a_restarted_task_goes_on_where_it_was() {
    let (lab, mut node) = interrupted().await;
    assert_eq!(resume(&lab, &mut node, 2).await, (300, 120_300), "only the pack was missing");
    assert_eq!(resume(&lab, &mut node, 3).await, (0, 120_300));
}

#[tokio::test]
async fn a_torn_journal_costs_one_file_and_a_lost_one_all() {
    let (lab, mut node) = interrupted().await;
    let path = lab.journal_path("b1");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    assert_eq!(resume(&lab, &mut node, 2).await, (40_300, 120_300));
    fs::remove_file(&path).unwrap();
    assert_eq!(resume(&lab, &mut node, 3).await, (120_300, 120_300));
}

#[tokio::test]
async fn files_that_are_gone_or_no_files_are_named() {
    let lab = Lab::on_folder().await;
    let mut node = Node::with_data();
    let snapshot = Arc::new(node.snapshot());
    let victim = snapshot.files().nth(3).unwrap().path.clone();
    fs::remove_file(&victim).unwrap();
    let request = lab.request(lab.header(&node, "b1", 1), snapshot.clone(), ReuseBase::default());
    let error = upload(&lab.context(), request).await.unwrap_err();
    assert!(matches!(&error, UploadError::Vanished { path } if *path == victim), "{error}");
    assert_eq!(error.to_task_error().class, ErrorClass::Transient);

    std::os::unix::fs::symlink("/etc/hostname", &victim).unwrap();
    let request = lab.request(lab.header(&node, "b1", 1), snapshot, ReuseBase::default());
    let error = upload(&lab.context(), request).await.unwrap_err();
    assert!(matches!(&error, UploadError::NotAFile { path } if *path == victim), "{error}");
    assert!(keys(&lab).await.is_empty());
}

#[tokio::test]
async fn a_snapshot_that_lies_about_order_or_names_is_refused() {
    let lab = Lab::on_folder().await;
    let mut node = Node::with_data();
    let mut snapshot = node.snapshot();
    snapshot.items.swap(1, 2);
    let request = lab.request(lab.header(&node, "b1", 1), Arc::new(snapshot), ReuseBase::default());
    let error = upload(&lab.context(), request).await.unwrap_err();
    assert!(matches!(error, UploadError::SourceOrder { .. }), "{error}");

    for bad in ["../../x", "", "a/b", ".hidden"] {
        let mut snapshot = node.snapshot();
        let sstable = snapshot.items.iter_mut().find_map(|item| match item {
            SourceItem::Sstable(sstable) => Some(sstable),
            SourceItem::Table(_) => None,
        });
        sstable.unwrap().components[0].name = bad.into();
        let request = lab.request(lab.header(&node, "b1", 1), Arc::new(snapshot), ReuseBase::default());
        let error = upload(&lab.context(), request).await.unwrap_err();
        assert_eq!(error.to_task_error().code, "RV-MANIFEST", "{bad:?}: {error}");
    }
    assert!(keys(&lab).await.is_empty());
}

/// Panics in the middle of its second walk, when items have been handed out.
struct Panicking(Snapshot, AtomicUsize);

impl SnapshotSource for Panicking {
    fn items(&self) -> Box<dyn Iterator<Item = Result<SourceItem, TaskError>> + Send + '_> {
        let second_walk = self.1.fetch_add(1, Ordering::Relaxed) == 1;
        Box::new(self.0.items().enumerate().map(move |(n, item)| {
            assert!(n < 3 || !second_walk, "the test's panic");
            item
        }))
    }

    fn facts(&self, sstable: &SourceSstable) -> Result<SstableFacts, TaskError> {
        self.0.facts(sstable)
    }
}

#[tokio::test]
async fn a_walk_that_breaks_off_is_not_taken_for_a_whole_snapshot() {
    let lab = Lab::on_folder().await;
    let mut node = Node::with_data();
    let source = Arc::new(Panicking(node.snapshot(), 0.into()));
    let request = lab.request(lab.header(&node, "b1", 1), source, ReuseBase::default());
    let error = upload(&lab.context(), request).await.unwrap_err();
    assert!(matches!(error, UploadError::Internal(_)), "{error}");
    assert!(!keys(&lab).await.iter().any(|key| key.contains("/nodes/")));
}

#[tokio::test]
async fn another_nodes_manifest_is_no_base() {
    let lab = Lab::on_folder().await;
    let first = lab.upload(&mut Node::with_data(), "b1", ReuseBase::default()).await.0.unwrap();
    let base = own(lab.manifest(&first).await);
    let error = lab.upload(&mut Node::with_data(), "b2", base).await.0.unwrap_err();
    assert!(matches!(error, UploadError::Manifest(_)), "{error}");
}

#[tokio::test]
async fn a_stopped_upload_ends_at_once_and_leaves_no_open_parts() {
    let lab = Lab::on_folder().await;
    let mut node = Node::with_data();
    let context = lab.context();
    context.throttle.set_rate(Some(1));
    let request = lab.request(lab.header(&node, "b1", 1), Arc::new(node.snapshot()), ReuseBase::default());
    let running = tokio::spawn({
        let context = context.clone();
        async move { upload(&context, request).await }
    });
    while !context.throttle.is_holding_back() {
        tokio::task::yield_now().await;
    }
    context.stop.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert!(error.is_stopped(), "{error}");
    assert_eq!(lab.store.abort_uploads("").await.unwrap(), 0);
    assert!(!keys(&lab).await.iter().any(|key| key.contains("/nodes/")), "no manifest of half a snapshot");
}

/// A vault with one backup, and where its large object, one of its packs and their files are.
async fn stored() -> (Lab, ManifestFile, [(String, PathBuf); 2]) {
    let lab = Lab::on_folder().await;
    let uploaded = lab.upload(&mut Node::with_data(), "b1", ReuseBase::default()).await.0.unwrap();
    let manifest = lab.manifest(&uploaded).await;
    let staging = ringvault_vault::download::StagingFolder::new(lab.local.path().join("staged"));
    let files = wanted(&manifest, &staging);
    let of = |packed: bool| {
        let file = files.iter().find(|file| file.place.pack.is_some() == packed && file.size > 100).unwrap();
        (file.place.key.clone(), file.to.as_path().to_owned())
    };
    (lab, manifest, [of(false), of(true)])
}

#[tokio::test]
async fn damage_is_named_and_never_gets_a_files_name() {
    for object in 0..2 {
        for damage in ["flipped", "truncated", "missing"] {
            let (lab, manifest, objects) = stored().await;
            let (key, _) = &objects[object];
            let mut body = lab.store.get(key, u64::MAX).await.unwrap().to_vec();
            match damage {
                "flipped" => body[50] ^= 1,
                "truncated" => body.truncate(50),
                _ => lab.store.delete(key).await.unwrap(),
            }
            if damage != "missing" {
                lab.store.put(key, body.into()).await.unwrap();
            }
            let staged = lab.local.path().join("staged");
            let config = DownloadConfig { parallel_requests: 1, ..download_config() };
            let error = lab.download(&manifest, &staged, config).await.0.unwrap_err();
            let task = error.to_task_error();
            let code = if damage == "missing" { "RV-MISSING" } else { "RV-DIGEST" };
            assert_eq!((task.code.as_str(), task.class), (code, ErrorClass::Permanent), "{damage}: {error}");
            let (DownloadError::Damaged { origin, key: named, .. }
            | DownloadError::Missing { origin, key: named }) = error
            else {
                panic!("{damage}")
            };
            assert_eq!((origin.backup.as_str(), &named), ("b1", key));
            for word in
                ["b1", &origin.keyspace, &origin.table, &origin.file, &origin.host_id.to_string(), key]
            {
                assert!(task.message.contains(word), "{word} is not in {:?}", task.message);
            }
            for file in wanted(&manifest, &ringvault_vault::download::StagingFolder::new(&staged)) {
                if let Ok(content) = fs::read(&file.to) {
                    assert_eq!(
                        ringvault_vault::hash::Digest::of(&content),
                        file.checksum.blake3().unwrap(),
                        "{damage}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_staged_is_kept_if_it_is_sound() {
    let (lab, manifest, objects) = stored().await;
    let staged = lab.local.path().join("staged");
    let first = lab.download(&manifest, &staged, download_config()).await.0.unwrap();
    assert_eq!(first.bytes_kept, 0);
    let (second, context) = lab.download(&manifest, &staged, download_config()).await;
    let second = second.unwrap();
    assert_eq!((second.bytes_kept, second.files), (second.bytes, first.files));
    assert_eq!((context.progress.figures().bytes_moved, second.bytes), (0, first.bytes));

    let mut spoiled = 0;
    for (_, path) in &objects {
        let mut body = fs::read(path).unwrap();
        body[7] ^= 1;
        spoiled += body.len() as u64;
        fs::write(path, body).unwrap();
    }
    let third = lab.download(&manifest, &staged, download_config()).await.0.unwrap();
    assert_eq!(third.bytes - third.bytes_kept, spoiled);
    lab.download(&manifest, &staged, download_config()).await.0.unwrap();
}

#[tokio::test]
async fn a_disk_without_room_is_waited_for() {
    let (lab, manifest, _) = stored().await;
    let config = DownloadConfig { disk_reserve: u64::MAX / 2, ..download_config() };
    let error = lab.download(&manifest, &lab.local.path().join("staged"), config).await.0.unwrap_err();
    assert!(matches!(error, DownloadError::DiskFull(_)), "{error}");
    assert_eq!(error.to_task_error().class, ErrorClass::Environment);
}

#[tokio::test]
async fn a_manifest_that_is_not_the_sealed_one_is_refused() {
    let lab = Lab::on_folder().await;
    let uploaded = lab.upload(&mut Node::with_data(), "b1", ReuseBase::default()).await.0.unwrap();
    let mut body = lab.store.get(&uploaded.key, u64::MAX).await.unwrap().to_vec();
    let last = body.len() - 1;
    body[last] ^= 1;
    lab.store.put(&uploaded.key, body.into()).await.unwrap();
    let fetched =
        ManifestFile::fetch(&lab.store, &uploaded.key, Some(uploaded.blake3), lab.local.path()).await;
    assert_eq!(fetched.unwrap_err().to_task_error().code, "RV-MANIFEST");
}

#[tokio::test]
async fn what_an_attempt_left_open_is_dropped_by_the_next() {
    let lab = Lab::on_folder().await;
    let mut node = Node::with_data();
    let key = format!("clusters/{}/backups/b1/data/left", lab.cluster);
    let left = lab.store.begin_multipart(&key, MIN_PART, MIN_PART + 3).await.unwrap();
    left.part(1, bytes::Bytes::from(content("part", 5 << 20))).await.unwrap();
    let header = lab.header(&node, "b1", 1);
    let journal = UploadJournal::open(&lab.journal_path("b1"), &lab.cluster, &header.backup).unwrap();
    journal.begun(&key, left.id(), None).await.unwrap();
    let partial = lab.local.path().join("vault/.partial");
    let files = || {
        let all = walkdir::WalkDir::new(&partial).into_iter().map(Result::unwrap);
        all.filter(|entry| entry.file_type().is_file()).count()
    };
    assert_eq!(files(), 1);
    lab.upload(&mut node, "b1", ReuseBase::default()).await.0.unwrap();
    assert_eq!(files(), 0);
    let again = UploadJournal::open(&lab.journal_path("b1"), &lab.cluster, &header.backup).unwrap();
    assert!(again.open_uploads().is_empty(), "its own are ended too");
}

#[tokio::test]
async fn an_sstable_that_rots_on_the_node_is_not_stored() {
    let lab = Lab::on_folder().await;
    let mut node = Node::new();
    node.table("ks", "t", 0);
    let sizes = [("Data.db", 11 << 20), ("Digest.crc32", 10)];
    node.sstable("ks", "t", 0, None, "1", &sizes);
    node.rewrite("ks", "t", "1", "Digest.crc32", b"12345");
    let error = lab.upload(&mut node, "b1", ReuseBase::default()).await.0.unwrap_err();
    assert_eq!(error.to_task_error().code, "RV-SSTABLE-DAMAGED", "{error}");
    let made = keys(&lab).await.into_iter().filter(|key| key.ends_with("Data.db"));
    assert_eq!(made.collect::<Vec<_>>(), [""; 0], "no object was made of it");
    let data = content("1", 11 << 20);
    node.rewrite("ks", "t", "1", "Data.db", &data);
    node.rewrite("ks", "t", "1", "Digest.crc32", crc32fast::hash(&data).to_string().as_bytes());
    lab.upload(&mut node, "b1", ReuseBase::default()).await.0.unwrap();
}
