//! Cutting an `SSTable` by token ranges: the partitions of given tokens, copied byte for byte out of
//! ranged reads of its Data.db, as an `SSTable` that Cassandra imports.
//!
//! Partitions are opaque: rows are never parsed. What is written is always BIG: nb and oa as they
//! were, da as oa, whose Data.db is laid out alike. Partitions follow each other without a gap from
//! byte 0 on, cut into chunks of the source's length and written with the source's compressor, so
//! that whatever reads such a file from end to end (streaming, scrub, `verify -e`) finds partitions
//! and nothing else. Promoted indexes are relative to their partition and are copied as they are; a
//! trie's row index is left out, which costs block skipping until the next compaction.
//! Statistics.db is copied: its counts and bounds are then too wide, which is the safe side.
//! Summary.db and Filter.db are left out: Cassandra builds them at import, and a summary of the
//! whole would hide partitions of the slice without a word. So are the files of indexes.
//!
//! It is right because every step is checked against another: chunks against their checksums, the
//! index's keys against those in Data.db, the last byte of every partition against the end mark,
//! keys against the wanted tokens and against their order. The index is walked twice, once to know
//! which runs of Data.db are needed and once to write them, so memory does not grow with the
//! `SSTable`: a few chunks, a run for each wanted token range, some pages of each index.
//!
//! Of an Index.db that lies elsewhere those parts are read that Summary.db, an index of the index, says to
//! tell of the wanted tokens (`samples.rs`). No hash of the whole vouches for them, so they are held
//! against the summary and against Data.db (`walk/parts.rs`, `cut.rs`); where they cannot be, it is an
//! error that says so ([`SliceError::Parts`], [`SliceError::Unverifiable`]), and the whole index, hashed, is
//! what to try next, as it is after whatever else looked damaged.
//!
//! Layouts: those of the readers beside this; `SizedInts`, `TrieNode`, `PartitionIndex` of 5.0 for
//! the trie (see `walk/trie.rs`).

mod chunks;
mod codec;
mod cut;
mod feed;
mod folder;
mod output;
mod pages;
mod samples;
mod walk;

use std::{
    io::{self, Read, Seek, Write},
    ops::Range,
};

use ringvault_core::cluster::TokenSet;

pub use folder::{SlicedFile, SlicedFolder, slice_folder};

use self::{
    chunks::Chunks,
    cut::{Choice, runs, write},
    feed::{Feed, requests},
    walk::Walk,
};
use super::{Component, Descriptor, FormatError};

/// Parts of Data.db at most this many bytes apart come with one request.
const MAX_GAP: u64 = 64 << 10;

/// A file that lies elsewhere and is read by ranges.
pub trait RangedRead {
    /// Bytes `range` of the file, in order, all of them. Each call is a request; ranges ascend,
    /// but for a few of some KiB each.
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>>;

    /// Bytes of the whole file.
    fn size(&self) -> u64;

    /// Whether each part that is read was held against a checksum of its own, or is authenticated.
    fn is_checked(&self) -> bool;
}

/// Where the partitions of the source begin.
pub enum PartitionIndex<'a, R> {
    /// Index.db, held against its hash.
    Big(R),
    /// An Index.db that is read in parts.
    Sampled {
        /// Summary.db, held against its hash.
        summary: R,
        /// Index.db.
        index: &'a dyn RangedRead,
        /// An empty file to keep the parts in.
        kept: R,
    },
    /// Partitions.db and Rows.db.
    Bti {
        /// Partitions.db.
        partitions: R,
        /// Rows.db.
        rows: R,
    },
}

/// How the source's Data.db is cut into chunks, and their checksums.
#[derive(Debug)]
pub enum ChunkIndex<R> {
    /// CompressionInfo.db.
    CompressionInfo(R),
    /// CRC.db, of an uncompressed one.
    Crc(R),
}

/// An `SSTable` to cut.
pub struct SliceSource<'a, R> {
    /// Where its partitions are.
    pub index: PartitionIndex<'a, R>,
    /// Where its chunks are.
    pub chunks: ChunkIndex<R>,
    /// Its Data.db.
    pub data: &'a dyn RangedRead,
}

/// Where a slice is written. CompressionInfo.db or CRC.db is what the source had.
#[derive(Debug)]
pub struct SliceOutput<W> {
    /// Data.db.
    pub data: W,
    /// Index.db.
    pub index: W,
    /// CompressionInfo.db or CRC.db.
    pub chunks: W,
}

/// What was cut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sliced {
    /// Partitions. Where there is none nothing was written that could be loaded.
    pub partitions: u64,
    /// CRC-32 of the whole new Data.db.
    pub digest: u32,
    /// What was asked for of the source's Data.db.
    pub data: Fetched,
    /// What was asked for of its Index.db, where that was read in parts.
    pub index: Fetched,
}

/// Parts of a file that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Their bytes.
    pub bytes: u64,
    /// Requests that asked for them.
    pub requests: u64,
}

/// Why an `SSTable` was not cut.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// A part of Data.db or Index.db could not be read; the error is the [`RangedRead`]'s own.
    #[error("{component} cannot be read: {source}")]
    Unreadable {
        /// Which file.
        component: Component,
        /// Why not.
        source: io::Error,
    },
    /// Parts of Index.db are not what Summary.db says, or that says nothing. The whole may do.
    #[error("parts of Index.db are not known: {0}")]
    Parts(String),
    /// Parts of Index.db hold what nothing tells to be right. The whole has its hash.
    #[error("Index.db holds indexes of rows, which cannot be checked in parts of it")]
    Unverifiable,
    /// The source is not what it should be.
    #[error("{component} is damaged or of another format: {source}")]
    Damaged {
        /// Which file.
        component: Component,
        /// What is wrong with it.
        source: FormatError,
    },
    /// It is of a kind that cannot be cut here.
    #[error("{0}")]
    Unsupported(String),
    /// The slice could not be written.
    #[error("the slice cannot be written: {0}")]
    Write(#[source] io::Error),
}

type Result<T> = std::result::Result<T, SliceError>;

impl SliceError {
    fn damaged(component: Component, source: FormatError) -> Self {
        Self::Damaged { component, source }
    }

    /// What is wrong with Data.db.
    fn data(what: impl Into<String>) -> Self {
        Self::damaged(Component::Data, FormatError::new(what))
    }
}

/// The version that slices of an `SSTable` have; `None` if it is of a version that is not cut.
pub fn sliced_version(descriptor: &Descriptor) -> Option<&str> {
    match descriptor.version.as_str() {
        _ if !descriptor.has_known_layout() => None,
        "da" => Some("oa"),
        version => Some(version),
    }
}

/// Cuts the partitions of the tokens `wanted` out of `source`.
///
/// Of `into` only what begins at its present place is written.
pub fn slice<R: Read + Write + Seek, W: Write + Seek>(
    source: SliceSource<'_, R>,
    wanted: &TokenSet,
    into: &mut SliceOutput<W>,
) -> Result<Sliced> {
    let mut chunks = Chunks::new(source.chunks, source.data.size())?;
    let (mut walk, index) = Walk::new(source.index, wanted, chunks.content())?;
    let mut choice = Choice::new(wanted, source.data);
    let runs = runs(&mut walk, &mut choice, &mut chunks)?;
    let requests = requests(&runs, &mut chunks, MAX_GAP)?;
    let bytes = requests.iter().map(feed::Request::bytes).sum();
    let data = Fetched { bytes, requests: requests.len() as u64 };
    walk.rewind()?;
    let feed = Feed::new(source.data, requests);
    let (partitions, digest) = write(&mut walk, &mut choice, &mut chunks, feed, into)?;
    Ok(Sliced { partitions, digest, data, index })
}

#[cfg(test)]
mod tests;
