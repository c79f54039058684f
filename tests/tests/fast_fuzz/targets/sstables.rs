//! The components of an `SSTable` that are read without Cassandra.

use std::{
    io::{self, BufReader, Cursor, Read},
    ops::Range,
    sync::LazyLock,
};

use ringvault_cassandra::sstable::{
    Component, CompressionInfo, Descriptor, IndexReader, Statistics,
    check::{Known, SstableCheck},
    murmur3_token, parse_digest, parse_partitions, parse_summary,
    slice::{ChunkIndex, PartitionIndex, RangedRead, SliceOutput, SliceSource, SlicedFolder, slice},
};
use ringvault_core::cluster::{Token, TokenRange, TokenSet};

use super::{SOME, Target};
use crate::{harness::told, mutate, seeds};

const FIXTURES: &str = "shared/cassandra/fixtures";
/// Two keys of 64 KiB, as long as their lengths say.
const KEYS: u64 = 256 << 10;

/// What a check holds besides its input: an SSTable of some KiB, and the end of a trie.
const CHECKED: u64 = 2 << 20;

/// A slice holds some chunks, of at most 16 MiB each, and half a megabyte of pages of each index.
const SLICED: u64 = 80 << 20;

super::targets! {
    checks => Target {
        name: "checks",
        seeds: check_seeds(),
        mutate: mutate::bytes,
        base: CHECKED,
        factor: 64,
        parse: try_checks,
    };
    slices => Target {
        name: "slices",
        seeds: slice_seeds(),
        mutate: mutate::bytes,
        base: SLICED,
        factor: 64,
        parse: try_slices,
    };
    statistics => Target {
        name: "statistics",
        seeds: seeds::files(FIXTURES, |path| path.ends_with("Statistics.db")),
        mutate: mutate::statistics,
        base: SOME,
        factor: 64,
        parse: try_statistics,
    };
    compression => Target {
        name: "compression",
        seeds: seeds::files(FIXTURES, |path| path.ends_with("CompressionInfo.db")),
        mutate: mutate::bytes,
        base: SOME,
        factor: 64,
        parse: try_compression,
    };
    summaries => Target {
        name: "summaries",
        seeds: seeds::files(FIXTURES, |path| path.ends_with("Summary.db") || path.ends_with("Partitions.db")),
        mutate: mutate::bytes,
        base: KEYS,
        factor: 4,
        parse: try_summaries,
    };
    indexes => Target {
        name: "indexes",
        seeds: seeds::files(FIXTURES, |path| path.ends_with("Index.db")),
        mutate: mutate::bytes,
        base: KEYS,
        factor: 4,
        parse: try_indexes,
    };
    file_names => Target {
        name: "file_names",
        seeds: {
            let names = seeds::named_files(FIXTURES, |_| true).into_iter().map(|(name, _)| name.into_bytes());
            names.chain(seeds::files(FIXTURES, |path| path.ends_with("Digest.crc32"))).collect()
        },
        mutate: mutate::text,
        base: SOME,
        factor: 8,
        parse: try_file_names,
    };
}

/// Each component of a real SSTable, behind a byte that says which SSTable and one that says which of its
/// components is replaced.
fn check_seeds() -> Vec<Vec<u8>> {
    let whole = real_sstables();
    let mut all = Vec::new();
    for (n, (_, components)) in whole.iter().enumerate() {
        for (m, (_, content)) in components.iter().enumerate() {
            let mut seed = vec![u8::try_from(n).expect("few"), u8::try_from(m).expect("few")];
            seed.extend_from_slice(content);
            all.push(seed);
        }
    }
    all
}

/// Likewise, but of the components that a slice is made of.
fn slice_seeds() -> Vec<Vec<u8>> {
    let whole = real_sstables();
    let is_read = |seed: &Vec<u8>| {
        let component = &whole[usize::from(seed[0])].1[usize::from(seed[1])].0;
        *component == Component::Data || *component == Component::Summary || SlicedFolder::needs(component)
    };
    check_seeds().into_iter().filter(is_read).collect()
}

type Sstable = (Descriptor, Vec<(Component, Vec<u8>)>);

fn real_sstables() -> Vec<Sstable> {
    let mut all: Vec<Sstable> = Vec::new();
    let folders = ["nb/rows", "nb/raw", "oa/rows", "oa/raw", "da/rows", "da/raw"];
    for folder in folders {
        let files = seeds::named_files(&format!("{FIXTURES}/{folder}"), |_| true);
        let mut components = Vec::new();
        let mut descriptor = None;
        for (name, content) in files {
            let name = name.rsplit('/').next().unwrap_or_default();
            if let Some((of, component)) = Descriptor::parse_file_name(name) {
                descriptor = Some(of);
                components.push((component, content));
            }
        }
        all.push((descriptor.expect("a real SSTable"), components));
    }
    all
}

/// A real SSTable with one component that is the input.
fn try_checks(input: &[u8]) {
    static REAL: LazyLock<Vec<Sstable>> = LazyLock::new(real_sstables);
    let [n, m, content @ ..] = input else { return };
    let (descriptor, components) = &REAL[usize::from(*n) % REAL.len()];
    let replaced = usize::from(*m) % components.len();
    let content_of = |at: usize| if at == replaced { content } else { components[at].1.as_slice() };
    let sizes = (0..components.len()).map(|at| (components[at].0.clone(), content_of(at).len() as u64));
    let known = Known { first: Some(Token(0)), last: Some(Token(1)), partitions: Some(1), rows: Some(1) };
    let mut check = SstableCheck::new(descriptor.clone(), sizes, known);
    let sidecar = check.sidecar();
    for side in [true, false] {
        for (at, (component, _)) in components.iter().enumerate() {
            if (Some(component) == sidecar.as_ref()) == side {
                content_of(at).chunks(1 + usize::from(*m)).for_each(|piece| check.take(component, piece));
                check.end(component);
            }
        }
    }
    for problem in check.finish() {
        told(problem.what);
    }
}

/// A Data.db in memory.
struct InMemory<'a>(&'a [u8]);

impl RangedRead for InMemory<'_> {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>> {
        let part = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let part = part.and_then(|(from, to)| self.0.get(from..to)).expect("a range of the file");
        Ok(Box::new(part))
    }

    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn is_checked(&self) -> bool {
        true
    }
}

/// A slice of a real SSTable with one component that is the input.
fn try_slices(input: &[u8]) {
    static REAL: LazyLock<Vec<Sstable>> = LazyLock::new(real_sstables);
    let [n, m, content @ ..] = input else { return };
    let (_, components) = &REAL[usize::from(*n) % REAL.len()];
    let replaced = usize::from(*m) % components.len();
    let content_of = |wanted: &Component| {
        let at = components.iter().position(|(component, _)| component == wanted)?;
        Some(if at == replaced { content } else { components[at].1.as_slice() })
    };
    let file = |component: &Component| Some(Cursor::new(content_of(component)?.to_vec()));
    let chunks = || match file(&Component::CompressionInfo) {
        Some(info) => ChunkIndex::CompressionInfo(info),
        None => ChunkIndex::Crc(file(&Component::Crc).expect("checksums")),
    };
    let data = content_of(&Component::Data).expect("data");
    let half = TokenRange::new(Token(0), Token(i64::MAX));
    let wanted = if m.is_multiple_of(2) { TokenSet::full() } else { [half].into_iter().collect() };
    let cut = |index| {
        let source = SliceSource { index, chunks: chunks(), data: &InMemory(data) };
        let empty = || Cursor::new(Vec::new());
        let mut into = SliceOutput { data: empty(), index: empty(), chunks: empty() };
        match slice(source, &wanted, &mut into) {
            Ok(sliced) => {
                let named = IndexReader::new(into.index.get_ref().as_slice()).flatten().count();
                assert_eq!(named as u64, sliced.partitions, "each is named");
                Some([into.data, into.index, into.chunks].map(Cursor::into_inner))
            }
            Err(error) => {
                told(error);
                None
            }
        }
    };
    let Some(index) = file(&Component::Index) else {
        let partitions = file(&Component::Partitions).expect("a trie");
        cut(PartitionIndex::Bti { partitions, rows: file(&Component::Rows).expect("its rows") });
        return;
    };
    let whole = cut(PartitionIndex::Big(index));
    let summary = file(&Component::Summary).expect("a summary");
    let index = InMemory(content_of(&Component::Index).expect("an index"));
    let parts = cut(PartitionIndex::Sampled { summary, index: &index, kept: Cursor::new(Vec::new()) });
    if components[replaced].0 == Component::Summary && parts.is_some() {
        assert!(parts == whole, "a summary changes no slice");
    }
}

fn try_statistics(input: &[u8]) {
    for name in ["nb-1-big-Statistics.db", "oa-1-big-Statistics.db", "da-1-bti-Statistics.db"] {
        let (descriptor, _) = Descriptor::parse_file_name(name).expect("a name");
        match Statistics::parse(input, &descriptor) {
            Ok(read) => assert!(read.partitioner.len() + read.key_type.len() <= input.len()),
            Err(error) => told(error),
        }
    }
}

fn try_compression(input: &[u8]) {
    let mut file = Cursor::new(input);
    let info = match CompressionInfo::parse(&mut file, input.len() as u64) {
        Ok(info) => info,
        Err(error) => return told(error),
    };
    for index in [0, info.chunks / 2, info.chunks.saturating_sub(1)] {
        match info.chunk_offset(&mut file, index) {
            Ok(offset) => assert_eq!(offset.is_some(), index < info.chunks),
            Err(error) => told(error),
        }
    }
    assert_eq!(info.chunk_offset(&mut file, info.chunks), Ok(None));
}

fn try_summaries(input: &[u8]) {
    let length = input.len() as u64;
    match parse_summary(&mut Cursor::new(input), length) {
        Ok((first, last)) => drop((murmur3_token(&first), murmur3_token(&last))),
        Err(error) => told(error),
    }
    if let Err(error) = parse_partitions(&mut Cursor::new(input), length) {
        told(error);
    }
}

fn try_indexes(input: &[u8]) {
    let mut entries = 0;
    for entry in IndexReader::new(BufReader::new(input)) {
        match entry {
            Ok(entry) => assert!(entry.key.len() + 4 <= input.len()),
            Err(error) => told(error),
        }
        entries += 1;
    }
    assert!(entries <= input.len() / 4 + 1, "each entry has four bytes at least");
}

fn try_file_names(input: &[u8]) {
    if let Err(error) = parse_digest(input) {
        told(error);
    }
    let name = String::from_utf8_lossy(input);
    if let Some((descriptor, component)) = Descriptor::parse_file_name(&name) {
        assert_eq!(descriptor.file_name(&component), name);
        assert!(!name.contains(['/', '\0', '\\']) && name.len() <= 300, "{name}");
    }
}
