//! Small objects that stand for very much: they end in an error, and soon, with little memory.

use std::io::Write as _;

use ringvault_core::ClusterName;
use ringvault_vault::{
    backup::{decompress_schema, parse_index_shard},
    manifest::ManifestReader,
    purge::check_condemned,
    verify::parse_findings,
};

use crate::seeds;

/// Much more than any of them may take.
const PLAIN: usize = 512 << 20;
/// A piece of it, as a frame of its own: frames that follow each other are one text.
const PIECE: usize = 16 << 20;

fn bomb(head: &[u8], filling: &[u8]) -> Vec<u8> {
    let mut packed = zstd::encode_all(head, 1).unwrap();
    let frame = zstd::encode_all(&filling.repeat(PIECE / filling.len())[..], 1).unwrap();
    for _ in 0..PLAIN / PIECE {
        packed.extend_from_slice(&frame);
    }
    assert!(packed.len() < PLAIN / 1000, "{} bytes are no bomb", packed.len());
    packed
}

/// The peak of what `parse` takes, which must fail.
fn peak<T, E: std::fmt::Display>(what: &str, parse: impl FnOnce() -> Result<T, E>) -> u64 {
    let mut words = None;
    let memory = allocation_counter::measure(|| words = parse().err().map(|error| error.to_string()));
    let words = words.unwrap_or_else(|| panic!("{what} was read"));
    println!("{what}: {} bytes at most: {words}", memory.bytes_max);
    assert!(!words.is_empty() && words.len() < 4096);
    memory.bytes_max
}

fn orders() -> ClusterName {
    ClusterName::new("orders").unwrap()
}

fn first_line(folder: &str, part: &str) -> Vec<u8> {
    let plain = seeds::plain(seeds::files(folder, |path| path.contains(part))).remove(0);
    plain.split_inclusive(|byte| *byte == b'\n').next().unwrap().to_vec()
}

#[test]
fn bombs_end_in_an_error_with_little_memory() {
    let fixtures = "shared/vault/fixtures";
    let manifest = |bomb: &[u8]| -> Result<(), ringvault_vault::manifest::ManifestError> {
        let mut reader = ManifestReader::open(bomb, "manifest")?;
        while reader.next_entry()?.is_some() {}
        Ok(())
    };
    let header = first_line(fixtures, "/nodes/");
    let of_list = first_line(fixtures, "condemned");
    let (zeros, words, list) = (bomb(b"", b"\0"), bomb(&header, b"[[[["), bomb(&of_list, b"x"));
    assert!(peak("a manifest of one endless line", || manifest(&zeros)) < 160 << 20);
    assert!(peak("a manifest's endless entry", || manifest(&words)) < 32 << 20);
    assert!(peak("a list", || check_condemned(&list[..], "list", &orders(), 1)) < 1 << 20);
    assert!(peak("a shard", || parse_index_shard("shard", &zeros, &orders())) < 1 << 20);
    assert!(peak("findings", || parse_findings("list", &zeros, 1_000)) < 1 << 20);
    // Plain, a schema may have 256 MiB; the vector that takes it doubles.
    assert!(peak("a schema", || decompress_schema(&zeros)) < 800 << 20);
}

/// The decompressor takes a window's memory before it gives a byte, and not from Rust's allocator.
#[test]
fn a_window_that_is_too_large_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    for _ in 0..3 {
        encoder.write_all(b"{}\n").unwrap();
        encoder.flush().unwrap();
    }
    let wide = encoder.finish().unwrap();
    assert!(ManifestReader::open(&wide[..], "manifest").is_err());
    let words = [
        decompress_schema(&wide).unwrap_err().to_string(),
        parse_findings("list", &wide, 9).unwrap_err().to_string(),
        parse_index_shard("shard", &wide, &orders()).unwrap_err().to_string(),
        check_condemned(&wide[..], "list", &orders(), 1).unwrap_err().to_string(),
    ];
    for words in words {
        assert!(words.contains("memory"), "{words}");
    }
}
