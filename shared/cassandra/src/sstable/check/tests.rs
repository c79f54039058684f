//! The check over files of real nodes, whole and damaged byte by byte, and over chunks made here.

use std::{collections::BTreeMap, path::Path};

use proptest::prelude::*;

use super::*;
use crate::sstable::{list_directory, read_key_span, read_statistics};

type Files = BTreeMap<Component, Vec<u8>>;

/// Hands everything over as a verify does, in pieces of this size.
fn run(descriptor: &Descriptor, files: &Files, known: Known, piece: usize) -> Vec<Problem> {
    let sizes = files.iter().map(|(component, content)| (component.clone(), content.len() as u64));
    let mut check = SstableCheck::new(descriptor.clone(), sizes, known);
    let feed = |check: &mut SstableCheck, component: &Component| {
        files[component].chunks(piece).for_each(|part| check.take(component, part));
        check.end(component);
    };
    if files.contains_key(&Component::Statistics) {
        feed(&mut check, &Component::Statistics);
    }
    let sidecar = check.sidecar();
    let mut side = sidecar.iter().flat_map(|sidecar| files[sidecar].chunks(piece)).peekable();
    if let Some(data) = files.get(&Component::Data) {
        for part in data.chunks(piece) {
            while side.peek().is_some() && check.wants_sidecar(part.len()) {
                check.take(sidecar.as_ref().unwrap(), side.next().unwrap());
            }
            check.take(&Component::Data, part);
        }
        check.end(&Component::Data);
    }
    if let Some(sidecar) = &sidecar {
        side.for_each(|part| check.take(sidecar, part));
        check.end(sidecar);
    }
    for component in files.keys() {
        let done = [Some(Component::Statistics), Some(Component::Data), sidecar.clone()];
        if !done.contains(&Some(component.clone())) {
            feed(&mut check, component);
        }
    }
    check.finish()
}

/// The SSTables of real nodes, with what a backup knows of each.
fn real() -> Vec<(String, Descriptor, Files, Known)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut all = Vec::new();
    for version in ["nb", "nb-uuid", "oa", "da"] {
        for table in ["rows", "raw"] {
            let name = format!("{version}/{table}");
            let sstable = list_directory(&root.join(&name)).unwrap().sstables.remove(0);
            let span = read_key_span(&sstable).unwrap();
            let statistics = read_statistics(&sstable).unwrap();
            let known = Known {
                first: Some(span.first),
                last: Some(span.last),
                partitions: Some(statistics.partitions),
                rows: statistics.rows,
            };
            let files = sstable.files.iter();
            let files = files.map(|file| (file.component.clone(), std::fs::read(&file.path).unwrap()));
            all.push((name, sstable.descriptor.clone(), files.collect(), known));
        }
    }
    all
}

#[test]
fn what_real_nodes_wrote_holds_together_in_pieces_of_any_size() {
    for (name, descriptor, files, known) in real() {
        for piece in [1, 2, 3, 7, 64, 1000, 1 << 20] {
            assert_eq!(run(&descriptor, &files, known, piece), [], "{name} in pieces of {piece}");
        }
    }
}

/// Which flipped bytes are found. Of a filter nothing is known, of a BTI trie only its end; in an index the
/// promoted part says nothing of partitions, and a summary's samples are not followed.
#[test]
fn a_flipped_byte_is_found_wherever_the_structure_can_tell() {
    for (name, descriptor, files, known) in real() {
        for (component, content) in &files {
            let must_be_found = match component {
                Component::Data | Component::Statistics | Component::Digest => true,
                Component::Crc | Component::CompressionInfo | Component::Toc => false,
                _ => continue,
            };
            let (mut found, mut total) = (0, 0);
            // Of the large ones, which are of parts with a checksum each, every so many bytes.
            let step = if content.len() > 2000 { 13 } else { 1 };
            for at in (0..content.len()).step_by(step) {
                for bit in [at % 8, 7 - at % 3] {
                    let mut damaged = files.clone();
                    damaged.get_mut(component).unwrap()[at] ^= 1 << bit;
                    let problems = run(&descriptor, &damaged, known, 100);
                    total += 1;
                    found += usize::from(!problems.is_empty());
                    // Zeros may be written behind the last part of the statistics.
                    let is_padding = *component == Component::Statistics && at + 8 > content.len();
                    assert!(
                        !must_be_found || is_padding || !problems.is_empty(),
                        "{name}: bit {bit} of byte {at} of {component} was not found"
                    );
                }
            }
            assert!(found * 4 > total, "{name}: {found} of {total} flips in {component} were found");
        }
    }
}

#[test]
fn what_is_missing_is_named() {
    for (name, descriptor, files, known) in real() {
        for component in files.keys().filter(|component| **component != Component::Toc) {
            let mut less = files.clone();
            less.remove(component);
            let problems = run(&descriptor, &less, known, 4096);
            let told =
                problems.iter().any(|p| p.what.contains(&component.to_string()) || p.component == *component);
            assert!(told, "{name} without {component}: {problems:?}");
        }
        let mut less = files.clone();
        less.remove(&Component::Toc);
        assert_eq!(run(&descriptor, &less, known, 4096), [], "{name}: Cassandra reads it without a TOC");
    }
}

#[test]
fn an_index_that_lost_partitions_is_found_though_each_entry_can_be_read() {
    for (name, descriptor, files, known) in real() {
        if descriptor.format != Format::Big {
            continue;
        }
        let index = &files[&Component::Index];
        let mut ends: Vec<usize> = vec![0];
        let mut bytes = super::super::bytes::Bytes::new(index);
        while bytes.left() > 0 {
            bytes.short_bytes().unwrap();
            bytes.vint().unwrap();
            let promoted = bytes.vint().unwrap();
            bytes.skip(1, usize::try_from(promoted).unwrap()).unwrap();
            ends.push(index.len() - bytes.left());
        }
        for cut in ends.windows(2) {
            let mut less = files.clone();
            let without = [&index[..cut[0]], &index[cut[1]..]].concat();
            less.insert(Component::Index, without);
            let problems = run(&descriptor, &less, known, 50);
            let told = problems.iter().any(|problem| problem.component == Component::Index);
            assert!(told, "{name} without the entry at {}: {problems:?}", cut[0]);
        }
        let mut other = files.clone();
        let summary = other.get_mut(&Component::Summary).unwrap();
        let at = summary.len() - 1;
        summary[at] ^= 1;
        let problems = run(&descriptor, &other, known, 50);
        assert_eq!(problems[0].component, Component::Summary, "{name}: {problems:?}");
    }
}

#[test]
fn what_the_manifest_knows_is_held_against_it() {
    let (_, descriptor, files, known) = real().remove(0);
    let said = |known| -> Vec<String> {
        run(&descriptor, &files, known, 4096).into_iter().map(|problem| problem.what).collect()
    };
    let other = said(Known { partitions: Some(77), rows: Some(78), last: Some(Token(5)), ..known });
    assert_eq!(other.len(), 3, "{other:?}");
    assert!(other[0].contains("77") && other[1].contains("78") && other[2].contains("token"), "{other:?}");
    assert_eq!(said(Known { first: None, ..Known::default() }), Vec::<String>::new());
}

/// A Data.db of chunks of these sizes, with its CompressionInfo.db.
fn compressed(chunks: &[usize]) -> Files {
    let (mut data, mut places) = (Vec::new(), Vec::new());
    for (n, size) in chunks.iter().enumerate() {
        places.push(i64::try_from(data.len()).unwrap());
        let body: Vec<u8> = (0..*size).map(|at| u8::try_from((at * 31 + n * 7) % 251).unwrap()).collect();
        data.extend_from_slice(&body);
        data.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
    }
    let mut info = vec![0, 13];
    info.extend_from_slice(b"LZ4Compressor");
    let number = |info: &mut Vec<u8>, n: i32| info.extend_from_slice(&n.to_be_bytes());
    number(&mut info, 0);
    number(&mut info, 16384);
    number(&mut info, i32::MAX);
    info.extend_from_slice(&i64::try_from(chunks.len() * 16384).unwrap().to_be_bytes());
    number(&mut info, i32::try_from(chunks.len()).unwrap());
    for place in places {
        info.extend_from_slice(&place.to_be_bytes());
    }
    [(Component::Data, data), (Component::CompressionInfo, info)].into()
}

/// The same uncompressed, in chunks of `chunk` bytes.
fn plain(size: usize, chunk: usize) -> Files {
    let data: Vec<u8> = (0..size).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect();
    let mut crc = i32::try_from(chunk).unwrap().to_be_bytes().to_vec();
    data.chunks(chunk).for_each(|part| crc.extend_from_slice(&crc32fast::hash(part).to_be_bytes()));
    [(Component::Data, data), (Component::Crc, crc)].into()
}

/// What is wrong with data and chunks alone.
fn of_data(files: &Files, piece: usize) -> Vec<Problem> {
    let (descriptor, _) = Descriptor::parse_file_name("nb-1-big-Data.db").unwrap();
    let problems = run(&descriptor, files, Known::default(), piece);
    problems.into_iter().filter(|problem| files.contains_key(&problem.component)).collect()
}

proptest! {
    #[test]
    fn exactly_the_damaged_chunk_is_named(
        sizes in proptest::collection::vec(1usize..300, 1..40),
        flip in any::<prop::sample::Index>(),
        piece in 1usize..500,
    ) {
        let mut files = compressed(&sizes);
        prop_assert_eq!(of_data(&files, piece), []);
        let data = files.get_mut(&Component::Data).unwrap();
        let at = flip.index(data.len());
        data[at] ^= 0x10;
        let mut end = 0;
        let hit = sizes.iter().position(|size| { end += size + 4; at < end }).unwrap();
        let problems = of_data(&files, piece);
        prop_assert_eq!(problems.len(), 1);
        let named = format!("1 of its chunks have a wrong checksum: {hit} (");
        prop_assert!(problems[0].what.starts_with(&named), "{problems:?} for chunk {hit}");
    }

    #[test]
    fn of_uncompressed_data_too(
        size in 1usize..5000,
        chunk in 1usize..700,
        flip in any::<prop::sample::Index>(),
        piece in 1usize..500,
    ) {
        let mut files = plain(size, chunk);
        prop_assert_eq!(of_data(&files, piece), []);
        let at = flip.index(size);
        files.get_mut(&Component::Data).unwrap()[at] ^= 0x10;
        let problems = of_data(&files, piece);
        prop_assert_eq!(problems.len(), 1);
        let named = format!("1 of its chunks have a wrong checksum: {} (", at / chunk);
        prop_assert!(problems[0].what.starts_with(&named), "{problems:?}");
    }

    #[test]
    fn a_sidecar_of_any_bytes_is_told_and_nothing_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        is_compressed in any::<bool>(),
        piece in 1usize..50,
    ) {
        let mut files = if is_compressed { compressed(&[100, 50]) } else { plain(500, 100) };
        let sidecar = if is_compressed { Component::CompressionInfo } else { Component::Crc };
        files.insert(sidecar, bytes);
        prop_assert!(!of_data(&files, piece).is_empty());
    }
}

#[test]
fn places_that_lead_nowhere_are_refused() {
    for place in [-1_i64, 0, 3, 104, 5000, i64::MAX] {
        let mut files = compressed(&[100, 50]);
        let info = files.get_mut(&Component::CompressionInfo).unwrap();
        let at = info.len() - 8;
        info[at..].copy_from_slice(&place.to_be_bytes());
        let problems = of_data(&files, 64);
        // The true one is 104.
        assert_eq!(problems.is_empty(), place == 104, "{place}: {problems:?}");
    }
}
