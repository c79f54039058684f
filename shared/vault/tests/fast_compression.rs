//! Contents that are stored compressed come back, whole and by ranges, are verified, reused and healed as others are; and
//! what does not shrink, or was compressed by Cassandra, is left as it is.

mod support;
#[path = "support/world.rs"]
mod world;

use std::{collections::BTreeMap, fs, io::Read as _, sync::Arc};

use ringvault_core::{
    job::VerifyLevel::{Digest, Presence, Sstable},
    task::FindingKind,
};
use ringvault_vault::{
    backup::SealRecord,
    download::{RangedContent, StagingFolder},
    manifest::{Component, ManifestFile, PLAIN_VERSION, Place, VERSION},
    upload::{ReuseBase, upload},
    verify::HealOutcome,
};
use support::{Lab, Node, TestIndex, assert_same_files, download_config, text, wanted};
use tokio_util::sync::CancellationToken;
use world::{World, name};

/// Sizes of files that go in a pack, as an object of one frame, of more, and of several parts once it is compressed.
const PACKED: usize = 5_000;
const ONE_FRAME: usize = 20_000;
const FRAMES: usize = 1_500_000;
const PARTS: usize = 20 << 20;

/// A node with files that shrink, of every way to the vault.
fn shrinking(seed: &str) -> Node {
    let mut node = Node::new();
    node.table("ks", "t", 0);
    let files = [("Statistics.db", PACKED), ("Index.db", ONE_FRAME), ("Data.db", FRAMES), ("Rows.db", PARTS)];
    let named: Vec<_> = files.iter().map(|(name, _)| (*name, 1)).collect();
    node.sstable("ks", "t", 0, None, "1", &named);
    for (component, len) in files {
        node.rewrite("ks", "t", "1", component, &text(&format!("{seed}{component}"), len));
    }
    // Cassandra's own chunks, noise, and what is too small.
    node.sstable(
        "ks",
        "t",
        0,
        None,
        "2",
        &[("Data.db", 1), ("CompressionInfo.db", 600), ("Filter.db", 30_000)],
    );
    node.rewrite("ks", "t", "2", "Data.db", &text("chunks", 40_000));
    node.sstable("ks", "t", 0, None, "3", &[("TOC.txt", 1), ("Empty.db", 0)]);
    node.rewrite("ks", "t", "3", "TOC.txt", &b"aaaaaaaa".repeat(8));
    node
}

/// The components of a node's manifest, by SSTable and name.
fn components(manifest: &ManifestFile) -> BTreeMap<String, Component> {
    let entries = manifest.reader().unwrap().map(Result::unwrap);
    let named = entries.flat_map(|entry| {
        let with_name = |component: &Component| (entry.file_name(component), component.clone());
        entry.components().iter().map(with_name).collect::<Vec<_>>()
    });
    named.collect()
}

async fn manifest(world: &World, seal: &SealRecord) -> ManifestFile {
    let node = seal.node(world.nodes[0].host).unwrap();
    ManifestFile::fetch(&world.lab.store, &node.key, Some(node.blake3), world.lab.local.path()).await.unwrap()
}

async fn assert_comes_back(world: &mut World, backup: &str, seal: &SealRecord) {
    let to = world.lab.local.path().join(format!("staged-{backup}"));
    let manifest = manifest(world, seal).await;
    let (done, context) = world.lab.download(&manifest, &to, download_config()).await;
    let snapshot = world.nodes[0].snapshot();
    assert_eq!(done.unwrap().bytes, snapshot.bytes());
    let figures = context.progress.figures();
    assert_eq!(figures.bytes_done, snapshot.bytes());
    assert!(figures.bytes_moved < snapshot.bytes() / 2, "{figures:?}");
    assert_same_files(&snapshot, &to);
    fs::remove_dir_all(&to).unwrap();
}

#[tokio::test]
async fn what_shrinks_is_stored_compressed_and_comes_back() {
    let mut world = World::on_folder(0).await;
    world.nodes.push(shrinking("a"));
    let seal = world.backup("b1").await;
    let named = components(&manifest(&world, &seal).await);
    for (file, len) in
        [("Statistics.db", PACKED), ("Index.db", ONE_FRAME), ("Data.db", FRAMES), ("Rows.db", PARTS)]
    {
        let component = &named[&format!("nb-1-big-{file}")];
        assert_eq!(component.size, len as u64);
        let zstd = component.place.zstd.unwrap_or_else(|| panic!("{file} is not compressed"));
        assert!(zstd < component.size / 2, "{file}: {zstd}");
        assert_eq!(component.place.pack.is_some(), len < 10_000);
    }
    assert!(named["nb-1-big-Rows.db"].place.zstd.unwrap() > 5 << 20, "it goes in parts");
    for file in
        ["2-big-Data.db", "2-big-CompressionInfo.db", "2-big-Filter.db", "3-big-TOC.txt", "3-big-Empty.db"]
    {
        assert_eq!(named[&format!("nb-{file}")].place.zstd, None, "{file}");
    }
    let objects: u64 =
        named.values().filter(|c| c.place.pack.is_none()).map(|c| c.place.stored(c.size)).sum();
    assert!(seal.figures.bytes_new > objects && seal.figures.bytes_new < objects + 10_000);
    assert!(seal.figures.bytes > 2 * seal.figures.bytes_new, "{:?}", seal.figures);

    assert_comes_back(&mut world, "b1", &seal).await;
    for level in [Presence, Digest, Sstable] {
        assert_eq!(world.verify("b1", level, 2).await.findings, [], "{level:?}");
    }
    // What the parts of an object are made of can be had without us.
    let object = world.lab.local.path().join("vault").join(&named["nb-1-big-Rows.db"].place.key);
    let plain = zstd::decode_all(&fs::read(object).unwrap()[..]).unwrap();
    assert!(plain == text("aRows.db", PARTS));

    let second = world.backup("b2").await;
    assert_eq!((second.figures.bytes_new, second.figures.objects_new), (0, 0), "nothing is new");
    assert_comes_back(&mut world, "b2", &second).await;
    // Another node with the same content: the index of the last backup knows it.
    let host = world.nodes[0].host;
    world.nodes[0] = shrinking("a");
    assert_ne!(host, world.nodes[0].host);
    let third = world.backup("b3").await;
    assert_eq!((third.figures.bytes_new, third.figures.objects_new), (0, 0), "it is reused by content");
    assert_comes_back(&mut world, "b3", &third).await;
}

#[tokio::test]
async fn an_encrypted_vault_compresses_all_but_what_goes_in_parts() {
    let (mut world, _) = World::encrypted(0).await;
    world.nodes.push(shrinking("a"));
    let seal = world.backup("b1").await;
    let named = components(&manifest(&world, &seal).await);
    for file in ["Statistics.db", "Index.db", "Data.db"] {
        assert!(named[&format!("nb-1-big-{file}")].place.zstd.is_some(), "{file}");
    }
    assert_eq!(named["nb-1-big-Rows.db"].place.zstd, None);
    let to = world.lab.local.path().join("staged");
    let manifest = manifest(&world, &seal).await;
    world.lab.download(&manifest, &to, download_config()).await.0.unwrap();
    assert_same_files(&world.nodes[0].snapshot(), &to);
    for level in [Presence, Digest, Sstable] {
        assert_eq!(world.verify("b1", level, 1).await.findings, [], "{level:?}");
    }
}

#[tokio::test]
async fn a_range_of_a_compressed_content_is_read_by_the_frames_that_hold_it() {
    let mut world = World::on_folder(0).await;
    world.nodes.push(shrinking("a"));
    let seal = world.backup("b1").await;
    let manifest = manifest(&world, &seal).await;
    let context = world.lab.context();
    for file in wanted(&manifest, &StagingFolder::new("/nowhere")) {
        let len = file.size;
        let Some(stored) = file.place.zstd else { continue };
        let component = file.origin.file.rsplit('-').next().unwrap().to_owned();
        let plain = text(&format!("a{component}"), usize::try_from(len).unwrap());
        let content = Arc::new(RangedContent::new(context.clone(), file));
        assert!(content.is_checked());
        let moved = context.progress.figures().bytes_moved;
        for (start, end) in [(0, 1), (len - 1, len), (len / 3, len / 3 + 900), (len / 2, len), (0, len)] {
            let content = Arc::clone(&content);
            let read = tokio::task::spawn_blocking(move || {
                let mut read = Vec::new();
                content.open(start..end).unwrap().read_to_end(&mut read).unwrap();
                read
            });
            let range = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
            assert!(read.await.unwrap() == plain[range], "{component} {start}..{end}");
            if len > 2 << 20 && end - start < 5000 {
                let moved = context.progress.figures().bytes_moved - moved;
                assert!(moved < stored / 10, "{component}: {moved} of {stored} for some bytes");
            }
        }
        let behind = tokio::task::spawn_blocking(move || content.open(len - 1..len + 1).map(drop));
        assert!(behind.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn damage_is_found_and_healed() {
    let mut world = World::on_folder(0).await;
    world.nodes.push(shrinking("a"));
    let seal = world.backup("b1").await;
    let named = components(&manifest(&world, &seal).await);
    let root = world.lab.local.path().join("vault");
    let mut damaged = Vec::new();
    for (file, at) in [("Statistics.db", 0), ("Index.db", 100), ("Data.db", 200_000), ("Rows.db", 6 << 20)] {
        let Place { key, pack, .. } = &named[&format!("nb-1-big-{file}")].place;
        let path = root.join(key);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at + usize::try_from(pack.map_or(0, |slot| slot.offset)).unwrap()] ^= 4;
        fs::write(path, bytes).unwrap();
        damaged.push(key.clone());
    }
    for level in [Digest, Sstable] {
        let found = world.verify("b1", level, 2).await;
        let kinds: Vec<_> = found.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [FindingKind::Corrupt; 4], "{:?}", found.findings);
    }
    let to = world.lab.local.path().join("staged");
    let manifest = manifest(&world, &seal).await;
    assert!(world.lab.download(&manifest, &to, download_config()).await.0.is_err());

    let second = world.backup("b2").await;
    assert!(second.figures.bytes_new > 0);
    world.assert_whole("b2").await;
    let HealOutcome { mut healed, left } =
        world.vault.heal(&world.cluster, &CancellationToken::new()).await.unwrap();
    healed.sort();
    damaged.sort();
    assert_eq!((healed, left), (damaged, Vec::new()));
    world.assert_whole("b1").await;
    assert_comes_back(&mut world, "b1", &seal).await;
}

#[tokio::test]
async fn without_compression_nothing_new_is_compressed_and_what_is_stays_reused() {
    let lab = Lab::on_folder().await;
    let mut node = shrinking("a");
    let (first, ..) = lab.upload(&mut node, "b1", ReuseBase::default()).await;
    let first = lab.manifest(&first.unwrap()).await;
    node.sstable("ks", "t", 0, None, "4", &[("Statistics.db", 1), ("Data.db", 1)]);
    node.rewrite("ks", "t", "4", "Statistics.db", &text("new", PACKED));
    node.rewrite("ks", "t", "4", "Data.db", &text("new", FRAMES));
    let reuse = ReuseBase { own: vec![first], bases: [name("b1")].into(), ..ReuseBase::default() };
    let snapshot = Arc::new(node.snapshot());
    let mut request = lab.request(lab.header(&node, "b2", 1), snapshot.clone(), reuse);
    request.config.compression = false;
    let uploaded = upload(&lab.context(), request).await.unwrap();
    assert_eq!(uploaded.bytes_new, (PACKED + FRAMES) as u64);
    let manifest = lab.manifest(&uploaded).await;
    let named = components(&manifest);
    assert!(named["nb-1-big-Data.db"].place.zstd.is_some());
    assert!(
        named["nb-4-big-Data.db"].place.zstd.is_none()
            && named["nb-4-big-Statistics.db"].place.zstd.is_none()
    );
    let to = lab.local.path().join("staged");
    lab.download(&manifest, &to, download_config()).await.0.unwrap();
    assert_same_files(&snapshot, &to);
    assert_eq!(manifest.reader().unwrap().header().version, VERSION, "it names what is compressed");

    // Without such a base the manifest is one that the release before reads, whatever an index offers.
    let index = Arc::new(TestIndex::of(&manifest));
    let reuse = ReuseBase { indexes: vec![index], bases: [name("b2")].into(), ..ReuseBase::default() };
    let mut request = lab.request(lab.header(&node, "b3", 1), snapshot.clone(), reuse);
    request.config.compression = false;
    let uploaded = upload(&lab.context(), request).await.unwrap();
    let manifest = lab.manifest(&uploaded).await;
    assert_eq!(manifest.reader().unwrap().header().version, PLAIN_VERSION);
    assert!(components(&manifest).values().all(|component| component.place.zstd.is_none()));
    assert!(uploaded.bytes_new > (PARTS + FRAMES) as u64 && uploaded.bytes_new < uploaded.figures.bytes);

    // Nor does it name what an earlier attempt brought compressed.
    let mut request = lab.request(lab.header(&node, "b1", 1), snapshot, ReuseBase::default());
    assert!(!request.journal.is_empty());
    request.config.compression = false;
    let manifest = lab.manifest(&upload(&lab.context(), request).await.unwrap()).await;
    assert_eq!(manifest.reader().unwrap().header().version, PLAIN_VERSION);
}
