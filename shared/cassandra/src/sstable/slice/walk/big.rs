//! Index.db, from its first entry on.

use std::io::{self, BufReader, Read, Seek, Write};

use ringvault_core::cluster::Token;

use super::{
    super::{Result, SliceError},
    Partition,
};
use crate::sstable::{Component, FormatError, IndexReader, murmur3_token};

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;

pub(in crate::sstable::slice) struct BigWalk<R> {
    /// Taken out while it is rewound.
    reader: Option<IndexReader<BufReader<R>>>,
    content: u64,
    /// Bytes of the promoted index at hand that were not taken.
    promoted: u64,
    last: Option<(u64, Token, Vec<u8>)>,
}

fn damaged(source: FormatError) -> SliceError {
    SliceError::damaged(Component::Index, source)
}

impl<R: Read + Seek> BigWalk<R> {
    pub(super) fn new(file: R, content: u64) -> Self {
        let reader = Some(IndexReader::new(BufReader::with_capacity(BUFFER, file)));
        Self { reader, content, promoted: 0, last: None }
    }

    fn reader(&mut self) -> Result<&mut IndexReader<BufReader<R>>> {
        self.reader.as_mut().ok_or_else(|| damaged(FormatError::new("it could not be read again")))
    }

    pub(super) fn next(&mut self) -> Result<Option<Partition>> {
        self.copy_promoted(&mut io::sink())?;
        let Some(entry) = self.reader()?.head().map_err(damaged)? else {
            return match self.last {
                Some(_) => Ok(None),
                None => Err(damaged(FormatError::new("it names no partition"))),
            };
        };
        let (position, token) = (entry.position, murmur3_token(&entry.key));
        let wrong = |what: String| Err(damaged(FormatError(what)));
        if position >= self.content {
            return wrong(format!("a partition begins at {position} of {} bytes", self.content));
        }
        match &self.last {
            None if position != 0 => return wrong(format!("its first partition begins at {position}")),
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

    pub(super) fn copy_promoted(&mut self, into: &mut impl Write) -> Result<()> {
        let length = std::mem::take(&mut self.promoted);
        if length == 0 {
            return Ok(());
        }
        self.reader()?.copy_promoted(length, into).map_err(damaged)?.map_err(SliceError::Write)
    }

    pub(super) fn rewind(&mut self) -> Result<()> {
        if let Some(reader) = self.reader.take() {
            let mut from = reader.into_inner();
            from.rewind().map_err(|error| damaged(FormatError(format!("it cannot be read: {error}"))))?;
            self.reader = Some(IndexReader::new(from));
        }
        (self.promoted, self.last) = (0, None);
        Ok(())
    }
}
