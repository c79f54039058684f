//! Index.db, from its first entry on, or the entries of some parts of it.

use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use ringvault_core::cluster::Token;

use super::{
    super::{Result, SliceError},
    Partition,
    parts::Parts,
};
use crate::sstable::{Component, FormatError, IndexEntry, IndexReader, murmur3_token};

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;

pub(in crate::sstable::slice) struct BigWalk<R> {
    /// Taken out while it is sent elsewhere.
    reader: Option<IndexReader<BufReader<R>>>,
    /// The parts that are there; none: the whole is.
    parts: Option<Parts<R>>,
    content: u64,
    /// Bytes of the promoted index at hand that were not taken.
    promoted: u64,
    last: Option<(u64, Token, Vec<u8>)>,
}

fn damaged(source: FormatError) -> SliceError {
    SliceError::damaged(Component::Index, source)
}

impl<R: Read + Seek> BigWalk<R> {
    pub(super) fn new(file: R, parts: Option<Parts<R>>, content: u64) -> Self {
        let reader = Some(IndexReader::new(BufReader::with_capacity(BUFFER, file)));
        Self { reader, parts, content, promoted: 0, last: None }
    }

    /// Whether its entries were held against a checksum: the whole, or each part that is read.
    pub(super) fn is_certain(&self) -> bool {
        self.parts.as_ref().is_none_or(Parts::is_checked)
    }

    fn reader(&mut self) -> Result<&mut IndexReader<BufReader<R>>> {
        self.reader.as_mut().ok_or_else(|| damaged(FormatError::new("it could not be read again")))
    }

    pub(super) fn next(&mut self) -> Result<Option<Partition>> {
        let Some((at, mut entry)) = self.entry()? else { return Ok(None) };
        if let Some(parts) = &mut self.parts
            && parts.see(at, &entry)?
        {
            entry.promoted = 0;
        }
        let (position, token) = (entry.position, murmur3_token(&entry.key));
        let wrong = |what: String| Err(damaged(FormatError(what)));
        if position >= self.content {
            return wrong(format!("a partition begins at {position} of {} bytes", self.content));
        }
        match &self.last {
            None if at == 0 && position != 0 => {
                return wrong(format!("its first partition begins at {position}"));
            }
            Some((before, _, _)) if *before >= position => {
                return wrong(format!("a partition at {position} comes after one at {before}"));
            }
            Some((_, t, k)) if (*t, k) >= (token, &entry.key) => {
                return wrong(format!("the partition at {position} comes before the one before it"));
            }
            _ => {}
        }
        self.promoted = entry.promoted;
        self.last = Some((position, token, entry.key.clone()));
        Ok(Some(Partition {
            position,
            key: Some(entry.key),
            tokens: (token, token),
            promoted: entry.promoted,
        }))
    }

    /// The next entry up to its promoted index, and where it begins; `None` behind the last.
    fn entry(&mut self) -> Result<Option<(u64, IndexEntry)>> {
        self.copy_promoted(&mut io::sink())?;
        let mut at = self.reader()?.at();
        if let Some(parts) = &mut self.parts
            && parts.is_over(at)
        {
            let Some(place) = parts.open_next()? else { return Ok(None) };
            self.go_to(place)?;
            at = place;
        }
        match self.reader()?.head().map_err(damaged)? {
            Some(entry) => Ok(Some((at, entry))),
            None if self.last.is_none() => Err(damaged(FormatError::new("it names no partition"))),
            None if self.parts.is_some() => Err(damaged(FormatError(format!("it ends at {at}")))),
            None => Ok(None),
        }
    }

    pub(super) fn copy_promoted(&mut self, into: &mut impl Write) -> Result<()> {
        let length = std::mem::take(&mut self.promoted);
        if length == 0 {
            return Ok(());
        }
        self.reader()?.copy_promoted(length, into).map_err(damaged)?.map_err(SliceError::Write)
    }

    pub(super) fn rewind(&mut self) -> Result<()> {
        if let Some(parts) = &mut self.parts {
            parts.rewind();
        }
        (self.promoted, self.last) = (0, None);
        self.go_to(0)
    }

    /// Reads on from `place`.
    fn go_to(&mut self, place: u64) -> Result<()> {
        if let Some(reader) = self.reader.take() {
            let mut from = reader.into_inner();
            let gone = from.seek(SeekFrom::Start(place));
            gone.map_err(|error| damaged(FormatError(format!("it cannot be read: {error}"))))?;
            self.reader = Some(IndexReader::from_place(from, place));
        }
        Ok(())
    }
}
