//! Partitions.db (BTI): the first and the last key, and how many there are.
//!
//! Layout: the trie; then, where the footer says, u16-length first key and u16-length last key; the
//! footer is the last 24 bytes: i64 place of the keys, i64 number of keys, i64 root of the trie.
//! Source: `PartitionIndexBuilder.complete`, `PartitionIndex.load`.

use std::io::{self, Read, Seek, SeekFrom};

use super::bytes::{FormatError, Result, read_exact};

const FOOTER: u64 = 24;

/// First key, last key, number of keys. `length` is the file's size in bytes; only the end is read.
pub fn parse_partitions(file: &mut (impl Read + Seek), length: u64) -> Result<(Vec<u8>, Vec<u8>, u64)> {
    let footer_at =
        length.checked_sub(FOOTER).ok_or_else(|| FormatError::new("it is shorter than its end"))?;
    let mut number = |place: u64| -> Result<u64> {
        seek(file, place)?;
        let number = i64::from_be_bytes(read_exact(file).map_err(|error| unreadable(&error))?);
        u64::try_from(number).map_err(|_| FormatError(format!("{number} is no place or count")))
    };
    let (keys_at, count, root) = (number(footer_at)?, number(footer_at + 8)?, number(footer_at + 16)?);
    if keys_at >= footer_at || root >= footer_at {
        return Err(FormatError::new("its end points outside of it"));
    }
    seek(file, keys_at)?;
    let first = key(file)?;
    let last = key(file)?;
    Ok((first, last, count))
}

fn key(file: &mut impl Read) -> Result<Vec<u8>> {
    let length = u16::from_be_bytes(read_exact(file).map_err(|error| unreadable(&error))?);
    let mut key = vec![0; usize::from(length)];
    file.read_exact(&mut key).map_err(|error| unreadable(&error))?;
    Ok(key)
}

fn seek(file: &mut impl Seek, place: u64) -> Result<()> {
    file.seek(SeekFrom::Start(place)).map(drop).map_err(|error| unreadable(&error))
}

fn unreadable(error: &io::Error) -> FormatError {
    FormatError(format!("it cannot be read to its end: {error}"))
}
