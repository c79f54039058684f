//! Summary.db (BIG): the first and the last key stand at its end; its entries are read where slices
//! are made (`slice/samples.rs`).
//!
//! Layout: i32 least index interval, i32 entries, i64 size of the entries' memory, i32 sampling
//! level, i32 size at full sampling; that memory; i32-length first key; i32-length last key.
//! Source: `IndexSummary.IndexSummarySerializer`, `IndexSummaryComponent`.

use std::io::{self, Read, Seek, SeekFrom};

use super::bytes::{Bytes, FormatError, Result, read_exact};

/// A key is at most 64 KiB less one byte.
const MAX_KEY: usize = u16::MAX as usize;

/// What stands at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SummaryHead {
    /// Partitions from one entry to the next, times any whole number where some were taken out.
    pub(super) interval: u32,
    /// Entries.
    pub(super) entries: u32,
    /// Bytes of their memory, which begins behind the head.
    pub(super) memory: u64,
}

impl SummaryHead {
    /// Bytes of it.
    pub(super) const LEN: usize = 24;

    /// Reads it. `length` is the file's size in bytes.
    pub(super) fn parse(head: &[u8; Self::LEN], length: u64) -> Result<Self> {
        let mut bytes = Bytes::new(head);
        let unsigned = |what: &str, number: i32| {
            u32::try_from(number).map_err(|_| FormatError(format!("{number} is no {what}")))
        };
        let interval = unsigned("interval", bytes.i32()?)?;
        let entries = unsigned("number of entries", bytes.i32()?)?;
        let memory = u64::try_from(bytes.i64()?)
            .ok()
            .filter(|memory| memory.checked_add(Self::LEN as u64).is_some_and(|end| end < length))
            .ok_or_else(|| FormatError::new("its entries do not fit the file"))?;
        Ok(Self { interval, entries, memory })
    }
}

/// First and last key. `length` is the file's size in bytes; only the ends are read.
pub fn parse_summary(file: &mut (impl Read + Seek), length: u64) -> Result<(Vec<u8>, Vec<u8>)> {
    let head = SummaryHead::parse(&at(file, 0)?, length)?;
    let keys_at = head.memory + SummaryHead::LEN as u64;
    file.seek(SeekFrom::Start(keys_at)).map_err(|error| unreadable(&error))?;
    let first = key(file)?;
    let last = key(file)?;
    Ok((first, last))
}

fn key(file: &mut impl Read) -> Result<Vec<u8>> {
    let length = i32::from_be_bytes(read_exact(file).map_err(|error| unreadable(&error))?);
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= MAX_KEY)
        .ok_or_else(|| FormatError(format!("a key is {length} bytes long")))?;
    let mut key = vec![0; length];
    file.read_exact(&mut key).map_err(|error| unreadable(&error))?;
    Ok(key)
}

fn at<const N: usize>(file: &mut (impl Read + Seek), place: u64) -> Result<[u8; N]> {
    file.seek(SeekFrom::Start(place)).map_err(|error| unreadable(&error))?;
    read_exact(file).map_err(|error| unreadable(&error))
}

fn unreadable(error: &io::Error) -> FormatError {
    FormatError(format!("it cannot be read to its end: {error}"))
}
