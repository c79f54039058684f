//! Summary.db (BIG): the first and the last key stand at its end.
//!
//! Layout: i32 least index interval, i32 entries, i64 size of the entries' memory, i32 sampling
//! level, i32 size at full sampling; that memory; i32-length first key; i32-length last key.
//! Source: `IndexSummary.IndexSummarySerializer`, `IndexSummaryComponent`.

use std::io::{self, Read, Seek, SeekFrom};

use super::bytes::{FormatError, Result, read_exact};

/// A key is at most 64 KiB less one byte.
const MAX_KEY: usize = u16::MAX as usize;

/// First and last key. `length` is the file's size in bytes; only the ends are read.
pub fn parse_summary(file: &mut (impl Read + Seek), length: u64) -> Result<(Vec<u8>, Vec<u8>)> {
    let header: [u8; 24] = at(file, 0)?;
    let mut size = [0; 8];
    size.copy_from_slice(&header[8..16]);
    let keys_at = u64::try_from(i64::from_be_bytes(size))
        .ok()
        .and_then(|size| size.checked_add(header.len() as u64))
        .filter(|at| *at < length)
        .ok_or_else(|| FormatError::new("its entries do not fit the file"))?;
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
