//! Every reader against files written by real nodes, as they are and damaged.

use std::{io::Cursor, path::Path};

use proptest::prelude::*;
use ringvault_core::{HostId, cluster::Token};
use serde::Deserialize;

use super::*;

/// A line of `fixtures/expected.json`.
#[derive(Debug, Deserialize)]
struct Expected {
    dir: String,
    sstable: String,
    partitions: u64,
    rows: u64,
    min_timestamp: i64,
    max_timestamp: i64,
    first_token: i64,
    last_token: i64,
    first_key: String,
    last_key: String,
    host_id: HostId,
    level: u32,
    repaired_at: i64,
    compressor: String,
}

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn all() -> Vec<(Expected, SstableFiles)> {
    let text = std::fs::read(fixtures().join("expected.json")).unwrap();
    let expected: Vec<Expected> = serde_json::from_slice(&text).unwrap();
    assert_eq!(expected.len(), 8);
    expected
        .into_iter()
        .map(|expected| {
            let mut listing = list_directory(&fixtures().join(&expected.dir)).unwrap();
            assert_eq!(listing.sstables.len(), 1, "{}", expected.dir);
            (expected, listing.sstables.remove(0))
        })
        .collect()
}

fn content(sstable: &SstableFiles, component: &Component) -> Vec<u8> {
    std::fs::read(&sstable.file(component).unwrap().path).unwrap()
}

/// A key as `sstablemetadata` prints it: a number for `rows`, hexadecimal for `raw`.
fn printed(key: &[u8], dir: &str) -> String {
    if dir.ends_with("rows") {
        return i32::from_be_bytes(key.try_into().unwrap()).to_string();
    }
    hex::encode(key)
}

#[test]
fn spans_are_what_cassandra_says() {
    for (expected, sstable) in all() {
        assert_eq!(sstable.descriptor.to_string(), expected.sstable);
        let span = read_key_span(&sstable).unwrap();
        assert_eq!(span.first, Token(expected.first_token), "{}", expected.dir);
        assert_eq!(span.last, Token(expected.last_token), "{}", expected.dir);
        assert_eq!(printed(&span.first_key, &expected.dir), expected.first_key);
        assert_eq!(printed(&span.last_key, &expected.dir), expected.last_key);
    }
}

#[test]
fn an_index_stands_in_for_a_lost_or_damaged_summary() {
    for (expected, sstable) in all() {
        if sstable.descriptor.format != Format::Big {
            continue;
        }
        let mut without = sstable.clone();
        without.files.retain(|file| file.component != Component::Summary);
        assert_eq!(read_key_span(&without).unwrap(), read_key_span(&sstable).unwrap());

        let dir = tempfile::tempdir().unwrap();
        let damaged = dir.path().join("Summary.db");
        std::fs::write(&damaged, b"no summary").unwrap();
        let mut with_damaged = sstable.clone();
        let summary = with_damaged.files.iter_mut().find(|f| f.component == Component::Summary);
        summary.unwrap().path = damaged;
        assert_eq!(read_key_span(&with_damaged).unwrap().first.0, expected.first_token);

        without.files.retain(|file| file.component != Component::Index);
        assert!(matches!(read_key_span(&without), Err(SstableError::Missing { .. })));
    }
}

#[test]
fn an_index_names_every_partition_in_token_order() {
    for (expected, sstable) in all() {
        if sstable.descriptor.format != Format::Big {
            continue;
        }
        let index = content(&sstable, &Component::Index);
        let entries: Vec<_> = IndexReader::new(&index[..]).map(Result::unwrap).collect();
        assert_eq!(entries.len() as u64, expected.partitions, "{}", expected.dir);
        assert!(entries.is_sorted_by_key(|entry| murmur3_token(&entry.key)));
        assert!(entries.is_sorted_by_key(|entry| entry.position));
    }
}

#[test]
fn a_trie_counts_its_partitions() {
    for (expected, sstable) in all() {
        if sstable.descriptor.format == Format::Bti {
            let bytes = content(&sstable, &Component::Partitions);
            let length = bytes.len() as u64;
            let (_, _, count) = parse_partitions(&mut Cursor::new(bytes), length).unwrap();
            assert_eq!(count, expected.partitions);
        }
    }
}

#[test]
fn statistics_are_what_cassandra_says() {
    for (expected, sstable) in all() {
        let statistics = read_statistics(&sstable).unwrap();
        let dir = &expected.dir;
        assert_eq!(statistics.partitioner, "org.apache.cassandra.dht.Murmur3Partitioner", "{dir}");
        let key = if dir.ends_with("rows") { "Int32Type" } else { "BytesType" };
        assert_eq!(statistics.key_type, format!("org.apache.cassandra.db.marshal.{key}"), "{dir}");
        assert_eq!(statistics.partitions, expected.partitions, "{dir}");
        assert_eq!(statistics.rows, Some(expected.rows), "{dir}");
        assert_eq!(statistics.min_timestamp, expected.min_timestamp, "{dir}");
        assert_eq!(statistics.max_timestamp, expected.max_timestamp, "{dir}");
        assert_eq!(statistics.level, expected.level, "{dir}");
        assert_eq!(statistics.repaired_at, expected.repaired_at, "{dir}");
        assert_eq!(statistics.originating_host, Some(expected.host_id.0), "{dir}");
        assert_eq!(statistics.pending_repair, None, "{dir}");
    }
}

#[test]
fn one_flipped_bit_of_statistics_is_found() {
    for (_, sstable) in all() {
        let whole = content(&sstable, &Component::Statistics);
        for at in (0..whole.len()).step_by(7) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            assert!(Statistics::parse(&flipped, &sstable.descriptor).is_err(), "byte {at}");
        }
    }
}

#[test]
fn compression_info_gives_the_chunks() {
    for (expected, sstable) in all() {
        if expected.compressor == "-" {
            assert!(sstable.file(&Component::CompressionInfo).is_none());
            continue;
        }
        let bytes = content(&sstable, &Component::CompressionInfo);
        let length = bytes.len() as u64;
        let mut file = Cursor::new(bytes);
        let info = CompressionInfo::parse(&mut file, length).unwrap();
        assert!(expected.compressor.ends_with(&info.compressor), "{}", info.compressor);
        assert_eq!((info.chunk_length, info.chunks), (16384, 1));
        assert_eq!(info.chunk_offset(&mut file, 0), Ok(Some(0)));
        assert_eq!(info.chunk_offset(&mut file, 1), Ok(None));
    }
}

#[test]
fn digests_are_of_the_data() {
    for (_, sstable) in all() {
        let digest = read_digest(&sstable.file(&Component::Digest).unwrap().path).unwrap();
        assert_eq!(digest, crc32fast::hash(&content(&sstable, &Component::Data)));
    }
}

#[test]
fn an_older_version_is_not_guessed_at() {
    let (_, mut sstable) = all().remove(0);
    sstable.descriptor.version = "me".to_owned();
    assert!(matches!(read_key_span(&sstable), Err(SstableError::Unknown(_))));
    assert!(matches!(read_statistics(&sstable), Err(SstableError::Unknown(_))));
}

/// Runs every reader over the bytes. What they return does not matter; that they return does.
fn read_as_everything(bytes: &[u8]) {
    let length = bytes.len() as u64;
    let mut cursor = Cursor::new(bytes);
    let _ = parse_summary(&mut cursor, length);
    let _ = parse_partitions(&mut cursor, length);
    if let Ok(info) = CompressionInfo::parse(&mut cursor, length) {
        let _ = info.chunk_offset(&mut cursor, info.chunks.saturating_sub(1));
    }
    let _ = IndexReader::new(bytes).count();
    let _ = parse_digest(bytes);
    for name in ["nb-1-big-Statistics.db", "oa-1-big-Statistics.db", "da-1-bti-Statistics.db"] {
        let (descriptor, _) = Descriptor::parse_file_name(name).unwrap();
        let _ = Statistics::parse(bytes, &descriptor);
    }
}

/// A Statistics.db with this STATS part, whose checksums are right whatever is in it.
fn sealed(stats: &[u8]) -> Vec<u8> {
    let parts: [(u32, &[u8]); 3] = [(0, b"\0\x01P"), (2, stats), (3, b"\0\0\0\x01K")];
    let mut out = 3_u32.to_be_bytes().to_vec();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&out);
    out.extend(crc.clone().finalize().to_be_bytes());
    let mut place = 12 + 8 * 3;
    for (kind, body) in parts {
        let entry = [kind.to_be_bytes(), u32::try_from(place).unwrap().to_be_bytes()].concat();
        crc.update(&entry);
        out.extend(entry);
        place += body.len() + 4;
    }
    out.extend(crc.finalize().to_be_bytes());
    for (_, body) in parts {
        out.extend(body);
        out.extend(crc32fast::hash(body).to_be_bytes());
    }
    out
}

/// The STATS part of a real Statistics.db: it is the third of four, as Cassandra writes them.
fn stats_part(whole: &[u8]) -> Vec<u8> {
    let number = |at: usize| u32::from_be_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
    let places: Vec<(usize, usize)> =
        (0..number(0)).map(|part| (number(8 + part * 8), number(12 + part * 8))).collect();
    assert_eq!(places[2].0, 2);
    whole[places[2].1..places[3].1 - 4].to_vec()
}

#[test]
fn sealed_statistics_are_read() {
    for (expected, sstable) in all() {
        let body = stats_part(&content(&sstable, &Component::Statistics));
        let read = Statistics::parse(&sealed(&body), &sstable.descriptor).unwrap();
        assert_eq!((read.partitions, read.rows), (expected.partitions, Some(expected.rows)));
    }
}

proptest! {
    #[test]
    fn damaged_files_never_panic(
        which in 0_usize..8, part in 0_usize..16, cut in 0.0_f64..1.0,
        flips in proptest::collection::vec((0.0_f64..1.0, any::<u8>()), 0..8),
    ) {
        let (_, sstable) = all().swap_remove(which);
        let file = &sstable.files[part % sstable.files.len()];
        let mut bytes = std::fs::read(&file.path).unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let place = |part: f64, length: usize| (part * length as f64) as usize;
        let length = bytes.len();
        for (at, value) in flips {
            if let Some(byte) = bytes.get_mut(place(at, length)) {
                *byte = value;
            }
        }
        read_as_everything(&bytes);
        bytes.truncate(place(cut, length));
        read_as_everything(&bytes);
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_as_everything(&bytes);
        read_as_everything(&sealed(&bytes));
    }

    #[test]
    fn damage_behind_the_checksums_never_panics(
        which in 0_usize..8, at in 0.0_f64..1.0, value in any::<[u8; 4]>(),
    ) {
        let (_, sstable) = all().swap_remove(which);
        let mut body = stats_part(&content(&sstable, &Component::Statistics));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = (at * (body.len() - 4) as f64) as usize;
        body[at..][..4].copy_from_slice(&value);
        read_as_everything(&sealed(&body));
    }
}
