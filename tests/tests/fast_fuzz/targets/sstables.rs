//! The components of an `SSTable` that are read without Cassandra.

use std::io::{BufReader, Cursor};

use ringvault_cassandra::sstable::{
    CompressionInfo, Descriptor, IndexReader, Statistics, murmur3_token, parse_digest, parse_partitions,
    parse_summary,
};

use super::{SOME, Target};
use crate::{harness::told, mutate, seeds};

const FIXTURES: &str = "shared/cassandra/fixtures";
/// Two keys of 64 KiB, as long as their lengths say.
const KEYS: u64 = 256 << 10;

super::targets! {
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
