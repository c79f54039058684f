//! The `SSTables` that real nodes wrote, cut and looked at by the check that a verify makes.

use std::path::Path;

use crate::sstable::{
    Component, Descriptor, Format, IndexReader, SstableFiles,
    check::{Known, SstableCheck},
    list_directory, murmur3_token, read_key_span, read_statistics,
    slice::{SlicedFolder, slice_folder, tests::Asked},
};
use ringvault_core::cluster::{Token, TokenRange, TokenSet};

fn all() -> Vec<SstableFiles> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let folders =
        ["nb/rows", "nb/raw", "nb-uuid/rows", "nb-uuid/raw", "oa/rows", "oa/raw", "da/rows", "da/raw"];
    folders.iter().map(|folder| list_directory(&root.join(folder)).unwrap().sstables.remove(0)).collect()
}

fn read(sstable: &SstableFiles, component: &Component) -> Asked {
    Asked::new(std::fs::read(&sstable.file(component).unwrap().path).unwrap())
}

fn cut(sstable: &SstableFiles, wanted: &TokenSet, to: &Path) -> SlicedFolder {
    let data = &sstable.file(&Component::Data).unwrap().path;
    let (from, read) = (data.parent().unwrap(), read(sstable, &Component::Data));
    slice_folder(&sstable.descriptor, from, &read, None, wanted, to).unwrap()
}

/// What the check says of a folder's one SSTable, but for counts, which are the source's.
fn problems(descriptor: &Descriptor, dir: &Path) -> Vec<String> {
    let listing = list_directory(dir).unwrap();
    let [sstable] = listing.sstables.as_slice() else { panic!("{listing:?}") };
    assert_eq!(sstable.descriptor, *descriptor);
    let read = |component: &Component| std::fs::read(&sstable.file(component).unwrap().path).unwrap();
    let sizes = sstable.files.iter().map(|file| (file.component.clone(), file.size));
    let mut check = SstableCheck::new(descriptor.clone(), sizes, Known::default());
    let sidecar = check.sidecar().expect("a sidecar");
    check.take(&Component::Statistics, &read(&Component::Statistics));
    check.end(&Component::Statistics);
    check.take(&sidecar, &read(&sidecar));
    check.end(&sidecar);
    for file in &sstable.files {
        if file.component != Component::Statistics && file.component != sidecar {
            check.take(&file.component, &read(&file.component));
            check.end(&file.component);
        }
    }
    check.finish().into_iter().map(|problem| format!("{}: {}", problem.component, problem.what)).collect()
}

fn keys(dir: &Path) -> Vec<Vec<u8>> {
    let listing = list_directory(dir).unwrap();
    let index = std::fs::read(&listing.sstables[0].file(&Component::Index).unwrap().path).unwrap();
    IndexReader::new(index.as_slice()).map(|entry| entry.unwrap().key).collect()
}

#[test]
fn all_of_a_real_sstable_is_its_every_partition() {
    for sstable in all() {
        let dir = tempfile::tempdir().unwrap();
        let sliced = cut(&sstable, &TokenSet::full(), dir.path());
        let statistics = read_statistics(&sstable).unwrap();
        assert_eq!(sliced.sliced.partitions, statistics.partitions, "{}", sstable.descriptor);
        assert_eq!(sliced.descriptor.format, Format::Big);
        assert_eq!(problems(&sliced.descriptor, dir.path()), Vec::<String>::new(), "{}", sstable.descriptor);
        for file in &sliced.files {
            let content =
                std::fs::read(dir.path().join(sliced.descriptor.file_name(&file.component))).unwrap();
            assert_eq!((file.size, file.blake3), (content.len() as u64, *blake3::hash(&content).as_bytes()));
        }
        let keys = keys(dir.path());
        let span = read_key_span(&sstable).unwrap();
        assert_eq!((keys.first(), keys.last()), (Some(&span.first_key), Some(&span.last_key)));
    }
}

#[test]
fn a_real_summary_tells_which_parts_of_an_index_are_needed() {
    for sstable in all().into_iter().filter(|sstable| sstable.descriptor.format == Format::Big) {
        let data = sstable.file(&Component::Data).unwrap();
        let index = read(&sstable, &Component::Index);
        for token in [i64::MIN, -1, i64::MAX] {
            let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let wanted = [TokenRange::new(Token(token), Token(0))].into_iter().collect();
            let by_whole = cut(&sstable, &wanted, whole.path());
            let (from, data) = (data.path.parent().unwrap(), read(&sstable, &Component::Data));
            let by_parts =
                slice_folder(&sstable.descriptor, from, &data, Some(&index), &wanted, parts.path()).unwrap();
            assert_eq!(by_parts.files, by_whole.files, "{}", sstable.descriptor);
            assert_eq!(by_parts.sliced.index.requests, 1);
        }
    }
}

#[test]
fn the_halves_of_a_real_sstable_are_the_whole_wherever_it_is_cut() {
    for sstable in all() {
        let whole = tempfile::tempdir().unwrap();
        cut(&sstable, &TokenSet::full(), whole.path());
        let whole = keys(whole.path());
        for at in &whole {
            let token = murmur3_token(at);
            let mut found = Vec::new();
            for range in [TokenRange::new(Token(i64::MIN), token), TokenRange::new(token, Token(i64::MIN))] {
                let dir = tempfile::tempdir().unwrap();
                let sliced = cut(&sstable, &[range].into_iter().collect(), dir.path());
                if sliced.files.is_empty() {
                    assert_eq!(sliced.sliced.partitions, 0);
                    continue;
                }
                let counts = problems(&sliced.descriptor, dir.path());
                let is_count = |problem: &String| problem.contains("Statistics.db counts");
                assert!(counts.iter().all(is_count), "{}: {counts:?}", sstable.descriptor);
                found.extend(keys(dir.path()));
            }
            assert_eq!(found, whole, "{} at {}", sstable.descriptor, token.0);
        }
    }
}
