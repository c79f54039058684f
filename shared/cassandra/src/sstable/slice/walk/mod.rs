//! Every partition of an `SSTable` in order, and where it begins.
//!
//! Order, places and ends are checked as they go by, so that a caller may trust that positions
//! ascend, that the first is 0, and that none lies behind the content's end.

mod big;
mod trie;

use std::io::{Read, Seek, Write};

use ringvault_core::cluster::Token;

use super::{PartitionIndex, Result};

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

/// A walk over one of the two kinds of index.
pub(super) enum Walk<R> {
    Big(big::BigWalk<R>),
    Bti(trie::TrieWalk<R>),
}

impl<R: Read + Seek> Walk<R> {
    /// Of an index whose partitions lie in `content` bytes.
    pub(super) fn new(index: PartitionIndex<R>, content: u64) -> Result<Self> {
        Ok(match index {
            PartitionIndex::Big(file) => Self::Big(big::BigWalk::new(file, content)),
            PartitionIndex::Bti { partitions, rows } => {
                Self::Bti(trie::TrieWalk::new(partitions, rows, content)?)
            }
        })
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
