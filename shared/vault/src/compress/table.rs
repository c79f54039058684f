//! The seek table: where each frame of a compressed content lies.

use std::ops::Range;

use super::{CompressFault, FRAME, frames};

/// Of the skippable frame that holds it.
const SKIPPABLE: u32 = 0x184D_2A5E;
/// Its last four bytes.
const SEEKABLE: u32 = 0x8F92_EAB1;
/// Bytes before and behind its lines.
const HEAD: u64 = 8;
const FOOT: u64 = 9;
/// Bytes of a line: what a frame has compressed, and plain.
const LINE: u64 = 8;
/// Largest table that is read, in bytes: of two tebibytes.
const MAX: u64 = 64 << 20;

/// Largest content that is compressed, in bytes: the one whose table is as large as is read.
pub(crate) const MOST: u64 = (MAX - HEAD - FOOT) / LINE * FRAME;

/// Bytes of the table behind so many frames; one alone needs none.
pub(crate) const fn table_len(frames: u64) -> u64 {
    if frames < 2 { 0 } else { HEAD + LINE * frames + FOOT }
}

/// The table of frames of these sizes, compressed and plain, as it is stored.
pub(super) fn encode(sizes: &[(u32, u32)]) -> Vec<u8> {
    if sizes.len() < 2 {
        return Vec::new();
    }
    let len = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let mut table = Vec::new();
    table.extend_from_slice(&SKIPPABLE.to_le_bytes());
    table.extend_from_slice(&len(LINE * sizes.len() as u64 + FOOT));
    for (compressed, plain) in sizes {
        table.extend_from_slice(&compressed.to_le_bytes());
        table.extend_from_slice(&plain.to_le_bytes());
    }
    table.extend_from_slice(&len(sizes.len() as u64));
    // No checksum in the lines: each frame has its own.
    table.push(0);
    table.extend_from_slice(&SEEKABLE.to_le_bytes());
    table
}

/// The seek table of a content whose stored bytes go by: whoever reads all of it needs none, and finds here whether those
/// who do can rely on it.
#[derive(Debug)]
pub(crate) struct Tail {
    plain: u64,
    keep: usize,
    last: Vec<u8>,
    stored: u64,
}

impl Tail {
    /// Of a content of `plain` bytes.
    pub(crate) fn of(plain: u64) -> Self {
        let keep = usize::try_from(table_len(frames(plain)).min(MAX)).unwrap_or_default();
        Self { plain, keep, last: Vec::new(), stored: 0 }
    }

    /// Takes the next stored bytes.
    pub(crate) fn take(&mut self, stored: &[u8]) {
        self.stored += stored.len() as u64;
        let from = stored.len().saturating_sub(self.keep);
        self.last.extend_from_slice(&stored[from..]);
        if self.last.len() > self.keep {
            self.last.drain(..self.last.len() - self.keep);
        }
    }

    /// Whether the table is that of the content.
    pub(crate) fn check(&self) -> Result<(), CompressFault> {
        match SeekTable::place(self.plain, self.stored)? {
            Some(_) => SeekTable::parse(&self.last, self.plain, self.stored).map(drop),
            None => Ok(()),
        }
    }
}

/// Where the frames of one content lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeekTable {
    /// Where each frame ends, in bytes from the begin of the stored content.
    ends: Vec<u64>,
    plain: u64,
}

impl SeekTable {
    /// Of a content of one frame, which has none.
    pub(crate) fn of_one(plain: u64, stored: u64) -> Self {
        Self { ends: vec![stored], plain }
    }

    /// Which bytes of a content hold its table: the last ones. `None`: it has none.
    ///
    /// # Errors
    /// The table would not fit into what is stored, or into memory.
    pub(crate) fn place(plain: u64, stored: u64) -> Result<Option<Range<u64>>, CompressFault> {
        let len = table_len(frames(plain));
        if len == 0 {
            return Ok(None);
        }
        if len > MAX {
            return Err(CompressFault::Table("it is too large"));
        }
        match stored.checked_sub(len) {
            Some(begin) => Ok(Some(begin..stored)),
            None => Err(CompressFault::Table("it has no room")),
        }
    }

    /// Understands the table of a content of `plain` bytes that are `stored` ones.
    pub(crate) fn parse(table: &[u8], plain: u64, stored: u64) -> Result<Self, CompressFault> {
        let count = frames(plain);
        if table.len() as u64 != table_len(count) || count < 2 {
            return Err(CompressFault::Table("it is of another length"));
        }
        let number = |at: usize| {
            let bytes = table.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
            bytes.map(u32::from_le_bytes)
        };
        let foot = table.len() - 9;
        let is_framed = number(0) == Some(SKIPPABLE)
            && number(4).map(u64::from) == Some(table.len() as u64 - HEAD)
            && number(foot).map(u64::from) == Some(count)
            && table.get(foot + 4) == Some(&0)
            && number(foot + 5) == Some(SEEKABLE);
        if !is_framed {
            return Err(CompressFault::Table("it is not one"));
        }
        let mut ends = Vec::with_capacity(table.len() / 8);
        let (mut end, mut left) = (0_u64, plain);
        for line in table[8..foot].chunks_exact(8) {
            let ([compressed, plain], []) = line.as_chunks::<4>() else {
                return Err(CompressFault::Table("a line is cut"));
            };
            let plain = u64::from(u32::from_le_bytes(*plain));
            if plain != left.min(FRAME) {
                return Err(CompressFault::Table("a frame is of another length"));
            }
            left -= plain;
            end += u64::from(u32::from_le_bytes(*compressed));
            ends.push(end);
        }
        if left > 0 || end + table.len() as u64 != stored {
            return Err(CompressFault::Table("its frames are not what is stored"));
        }
        Ok(Self { ends, plain })
    }

    /// The stored bytes of the frames that hold plain bytes `range`, which is not empty, and the plain ones that all of
    /// those frames hold.
    pub(crate) fn frames_of(&self, range: &Range<u64>) -> Result<(Range<u64>, Range<u64>), CompressFault> {
        let frame = |at: u64| usize::try_from(at / FRAME).unwrap_or(usize::MAX);
        let (first, last) = (frame(range.start), frame(range.end.saturating_sub(1)));
        let end = self.ends.get(last).copied().filter(|_| range.end <= self.plain && range.start < range.end);
        let end = end.ok_or(CompressFault::Table("a range lies behind its end"))?;
        let begin =
            first.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        let plain = range.start / FRAME * FRAME..range.end.next_multiple_of(FRAME).min(self.plain);
        Ok((begin..end, plain))
    }
}
