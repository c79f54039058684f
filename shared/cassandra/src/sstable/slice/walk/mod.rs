//! Every partition of an `SSTable` in order, and where it begins.
//!
//! Order, places and ends are checked as they go by, so that a caller may trust that positions
//! ascend, that the first of the whole is 0, and that none lies behind the content's end.
//!
//! A walk over parts of an index gives every partition of the wanted tokens, and behind each run of
//! them one that is not wanted, or the end: so every wanted one has its end.

mod big;
mod parts;
mod trie;

use std::{
    io::{Read, Seek, Write},
    ops::Range,
};

use ringvault_core::cluster::{Token, TokenSet};

use super::{Fetched, PartitionIndex, Result};

/// A partition as its index tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    /// Where it begins in the uncompressed Data.db.
    pub(super) position: u64,
    /// Its key, if the index says it.
    pub(super) key: Option<Vec<u8>>,
    /// The first and the last token that it can have: one and the same where its key is known.
    pub(super) tokens: (Token, Token),
    /// Bytes of its promoted index that can be copied.
    pub(super) promoted: u64,
}

impl Partition {
    /// Where its key lies in the uncompressed Data.db, with the length before it.
    pub(super) fn head(&self) -> Range<u64> {
        let key = self.key.as_ref().map_or(0, Vec::len);
        self.position..self.position.saturating_add(2 + key as u64)
    }
}

/// A walk over one of the two kinds of index.
pub(super) enum Walk<R> {
    Big(big::BigWalk<R>),
    Bti(trie::TrieWalk<R>),
}

impl<R: Read + Seek> Walk<R> {
    /// Of an index whose partitions lie in `content` bytes, or of the parts of it that tell of the tokens
    /// `wanted`; with what of it was fetched.
    pub(super) fn new(
        index: PartitionIndex<'_, R>,
        wanted: &TokenSet,
        content: u64,
    ) -> Result<(Self, Fetched)>
    where
        R: Write,
    {
        Ok(match index {
            PartitionIndex::Big(file) => {
                (Self::Big(big::BigWalk::new(file, None, content)), Fetched::default())
            }
            PartitionIndex::Sampled { summary, index, mut kept } => {
                let (parts, fetched) = parts::Parts::fetch(summary, index, &mut kept, wanted)?;
                (Self::Big(big::BigWalk::new(kept, Some(parts), content)), fetched)
            }
            PartitionIndex::Bti { partitions, rows } => {
                (Self::Bti(trie::TrieWalk::new(partitions, rows, content)?), Fetched::default())
            }
        })
    }

    /// Whether keys that are not wanted are those that were written: the index was held against its hash,
    /// or cannot have been changed.
    pub(super) fn is_certain(&self) -> bool {
        match self {
            Self::Big(walk) => walk.is_certain(),
            Self::Bti(_) => true,
        }
    }

    /// The next partition; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<Partition>> {
        match self {
            Self::Big(walk) => walk.next(),
            Self::Bti(walk) => walk.next(),
        }
    }

    /// Hands over the promoted index of the partition at hand.
    pub(super) fn copy_promoted(&mut self, into: &mut impl Write) -> Result<()> {
        match self {
            Self::Big(walk) => walk.copy_promoted(into),
            Self::Bti(_) => Ok(()),
        }
    }

    /// Begins anew.
    pub(super) fn rewind(&mut self) -> Result<()> {
        match self {
            Self::Big(walk) => walk.rewind(),
            Self::Bti(walk) => walk.rewind(),
        }
    }
}
