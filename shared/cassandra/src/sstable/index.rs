//! Index.db (BIG): every partition in token order.
//!
//! Layout, repeated: u16-length key; vint position in the uncompressed Data.db; vint length of the
//! promoted index, and as many bytes. Source: `BigFormatPartitionWriter`, `RowIndexEntry`.
//!
//! The file is read as a stream, so an index of any size takes the memory of one key.

use std::io::{self, BufRead, Write};

use super::bytes::{FormatError, Result};

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// Serialised partition key.
    pub key: Vec<u8>,
    /// Where the partition begins in the uncompressed Data.db, in bytes.
    pub position: u64,
    /// Length of its promoted index, in bytes.
    pub promoted: u64,
}

/// Reads entries one after the other; ends after the first error.
#[derive(Debug)]
pub struct IndexReader<R> {
    from: R,
    /// Where in the Index.db it is, in bytes.
    at: u64,
    ended: bool,
}

impl<R: BufRead> IndexReader<R> {
    /// Reads from the beginning of an Index.db.
    pub fn new(from: R) -> Self {
        Self::from_place(from, 0)
    }

    /// Reads from the entry on that begins at `at`, where `from` is.
    pub(super) fn from_place(from: R, at: u64) -> Self {
        Self { from, at, ended: false }
    }

    /// Where in the Index.db it is, in bytes: at the next entry, once the promoted index at hand was taken.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// What it reads from, wherever it is in there.
    pub(super) fn into_inner(self) -> R {
        self.from
    }

    fn entry(&mut self) -> Result<Option<IndexEntry>> {
        let Some(entry) = self.head()? else { return Ok(None) };
        self.copy_promoted(entry.promoted, &mut io::sink())?.map_err(|error| unreadable(&error))?;
        Ok(Some(entry))
    }

    /// Reads an entry up to its promoted index, which [`copy_promoted`](Self::copy_promoted) takes
    /// next. `None` at the end.
    pub(super) fn head(&mut self) -> Result<Option<IndexEntry>> {
        if self.from.fill_buf().map_err(|error| unreadable(&error))?.is_empty() {
            return Ok(None);
        }
        let mut length = [0; 2];
        self.fill(&mut length)?;
        let mut key = vec![0; usize::from(u16::from_be_bytes(length))];
        self.fill(&mut key)?;
        let position = self.vint()?;
        let promoted = self.vint()?;
        Ok(Some(IndexEntry { key, position, promoted }))
    }

    /// Hands the promoted index of `length` bytes on, piece by piece. The inner error is `into`'s.
    pub(super) fn copy_promoted(&mut self, length: u64, into: &mut impl Write) -> Result<io::Result<()>> {
        let mut left = length;
        while left > 0 {
            let piece = self.from.fill_buf().map_err(|error| unreadable(&error))?;
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            if taken == 0 {
                return Err(FormatError::new("it ends inside a promoted index"));
            }
            if let Err(error) = into.write_all(&piece[..taken]) {
                return Ok(Err(error));
            }
            self.from.consume(taken);
            self.at += taken as u64;
            left -= taken as u64;
        }
        Ok(Ok(()))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.from.read_exact(buffer).map_err(|error| unreadable(&error))?;
        self.at += buffer.len() as u64;
        Ok(())
    }

    fn vint(&mut self) -> Result<u64> {
        let mut bytes = [0; 9];
        self.fill(&mut bytes[..1])?;
        let extra = bytes[0].leading_ones() as usize;
        self.fill(&mut bytes[1..=extra])?;
        super::bytes::Bytes::new(&bytes).vint()
    }
}

impl<R: BufRead> Iterator for IndexReader<R> {
    type Item = Result<IndexEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let entry = self.entry().transpose();
        self.ended = !matches!(entry, Some(Ok(_)));
        entry
    }
}

fn unreadable(error: &io::Error) -> FormatError {
    FormatError(format!("it cannot be read to its end: {error}"))
}
