//! An Index.db that goes by: every partition in order, at a place behind the one before. And the end of a
//! file of which only the end was kept.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use super::super::{bytes::Bytes, murmur3_token};

/// Longest entry without its promoted index: a key, its length, two vints.
const MAX_ENTRY: usize = 2 + u16::MAX as usize + 2 * 9;

/// Reads entries as they come. Ends at the first one that is wrong.
#[derive(Debug)]
pub(super) struct IndexScan {
    /// Whether keys are in the order of their Murmur3 tokens.
    pub(super) is_by_token: bool,
    /// Bytes of the entry that has not come whole.
    begun: Vec<u8>,
    /// Bytes of a promoted index still to come.
    skip: u64,
    first: Option<Vec<u8>>,
    last: Vec<u8>,
    position: u64,
    count: u64,
    wrong: Option<String>,
}

impl IndexScan {
    pub(super) fn new(is_by_token: bool) -> Self {
        Self {
            is_by_token,
            begun: Vec::new(),
            skip: 0,
            first: None,
            last: Vec::new(),
            position: 0,
            count: 0,
            wrong: None,
        }
    }

    pub(super) fn take(&mut self, piece: &[u8]) {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
        self.skip -= skipped as u64;
        if self.wrong.is_some() || skipped == piece.len() {
            return;
        }
        let mut begun = std::mem::take(&mut self.begun);
        begun.extend_from_slice(&piece[skipped..]);
        let mut at = 0;
        while self.wrong.is_none() {
            let mut bytes = Bytes::new(&begun[at..]);
            let Ok((key, position, promoted)) = entry(&mut bytes) else { break };
            self.entry(key, position);
            at = begun.len() - bytes.left();
            let here = usize::try_from(promoted).unwrap_or(usize::MAX).min(bytes.left());
            at += here;
            self.skip = promoted - here as u64;
            if at == begun.len() {
                break;
            }
        }
        begun.drain(..at);
        debug_assert!(self.wrong.is_some() || begun.len() <= MAX_ENTRY, "an entry that never ends");
        self.begun = begun;
    }

    fn entry(&mut self, key: &[u8], position: u64) {
        let n = self.count + 1;
        if self.first.is_none() {
            self.first = Some(key.to_owned());
            if position != 0 {
                self.wrong = Some(format!("its first partition begins at {position}, not at 0"));
            }
        } else if position <= self.position {
            self.wrong = Some(format!("partition {n} begins at {position}, not behind the one before"));
        } else if self.is_by_token
            && (murmur3_token(key), key) <= (murmur3_token(&self.last), self.last.as_slice())
        {
            self.wrong = Some(format!("partition {n} comes before the one before it"));
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        (self.position, self.count) = (position, n);
    }

    /// What is wrong, once all was taken.
    pub(super) fn end(&mut self) -> Option<String> {
        if self.wrong.is_none() && (self.skip > 0 || !self.begun.is_empty()) {
            self.wrong = Some(format!("it ends inside the entry behind partition {}", self.count));
        }
        self.wrong.take()
    }

    /// First key, last key, how many, and the place of the last; `None` for none.
    pub(super) fn found(&self) -> Option<(Vec<u8>, Vec<u8>, u64, u64)> {
        let first = self.first.clone()?;
        Some((first, self.last.clone(), self.count, self.position))
    }
}

/// Key, position and length of the promoted index, where all of them have come.
fn entry<'a>(bytes: &mut Bytes<'a>) -> super::super::bytes::Result<(&'a [u8], u64, u64)> {
    Ok((bytes.short_bytes()?, bytes.vint()?, bytes.vint()?))
}

/// A file of which only the end is there: whoever asks for what is before it is told that it cannot be.
#[derive(Debug)]
pub(super) struct EndOfFile {
    end: Cursor<Vec<u8>>,
    /// Where the end begins.
    from: u64,
}

impl EndOfFile {
    pub(super) fn new(end: Vec<u8>, size: u64) -> Self {
        let from = size.saturating_sub(end.len() as u64);
        Self { end: Cursor::new(end), from }
    }
}

impl Read for EndOfFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.end.read(buffer)
    }
}

impl Seek for EndOfFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(place) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        let inside = place
            .checked_sub(self.from)
            .ok_or_else(|| io::Error::other("its keys are further from its end than two keys are long"))?;
        self.end.seek(SeekFrom::Start(inside)).map(|at| at + self.from)
    }
}
