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
//! Layouts: those of the readers beside this; `SizedInts`, `TrieNode`, `PartitionIndex` of 5.0 for
//! the trie (see `walk/trie.rs`).

mod chunks;
mod codec;
mod feed;
mod folder;
mod output;
mod pages;
mod walk;

use std::{
    collections::HashMap,
    io::{self, Read, Seek, Write},
    ops::Range,
};

use ringvault_core::cluster::{Token, TokenSet};

pub use folder::{SlicedFile, SlicedFolder, slice_folder};

use self::{
    chunks::Chunks,
    feed::{Feed, requests},
    output::DataWriter,
    walk::{Partition, Walk},
};
use super::{Component, Descriptor, FormatError, murmur3_token};

/// Parts of Data.db at most this many bytes apart come with one request.
const MAX_GAP: u64 = 64 << 10;
/// The flags of an unfiltered that ends a partition (`UnfilteredSerializer.END_OF_PARTITION`).
const END_OF_PARTITION: u8 = 0x01;

/// A file that lies elsewhere and is read by ranges.
pub trait RangedRead {
    /// Bytes `range` of the file, in order, all of them. Each call is a request; ranges ascend,
    /// but for a few of some KiB each.
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>>;
}

/// Where the partitions of the source begin.
#[derive(Debug)]
pub enum PartitionIndex<R> {
    /// Index.db.
    Big(R),
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
    pub index: PartitionIndex<R>,
    /// Where its chunks are.
    pub chunks: ChunkIndex<R>,
    /// Its Data.db.
    pub data: &'a dyn RangedRead,
    /// Bytes of it.
    pub data_size: u64,
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
    /// Bytes of the source's Data.db that were asked for.
    pub fetched: u64,
    /// Requests that asked for them.
    pub requests: u64,
}

/// Why an `SSTable` was not cut.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// Data.db could not be read; the error is the [`RangedRead`]'s own.
    #[error("Data.db cannot be read: {0}")]
    Data(#[source] io::Error),
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
pub fn slice<R: Read + Seek, W: Write + Seek>(
    source: SliceSource<'_, R>,
    wanted: &TokenSet,
    into: &mut SliceOutput<W>,
) -> Result<Sliced> {
    let mut chunks = Chunks::new(source.chunks, source.data_size)?;
    let mut walk = Walk::new(source.index, chunks.content())?;
    let mut choice = Choice { wanted, hidden: HashMap::new(), data: source.data };
    let runs = runs(&mut walk, &mut choice, &mut chunks)?;
    let requests = requests(&runs, &mut chunks, MAX_GAP)?;
    let fetched = requests.iter().map(feed::Request::bytes).sum();
    let count = requests.len() as u64;
    walk.rewind()?;
    let feed = Feed::new(source.data, requests);
    let (partitions, digest) = write(&mut walk, &mut choice, &mut chunks, feed, into)?;
    Ok(Sliced { partitions, digest, fetched, requests: count })
}

/// Which partitions are wanted.
struct Choice<'a> {
    wanted: &'a TokenSet,
    /// Tokens that the index did not tell, by position: at most one at each end of a range.
    hidden: HashMap<u64, Token>,
    data: &'a dyn RangedRead,
}

impl Choice<'_> {
    fn wants<R: Read + Seek>(&mut self, partition: &Partition, chunks: &mut Chunks<R>) -> Result<bool> {
        let (first, last) = partition.tokens;
        if self.wanted.covers(first, last) {
            return Ok(true);
        }
        if !self.wanted.meets(first, last) {
            return Ok(false);
        }
        let token = match self.hidden.get(&partition.position) {
            Some(token) => *token,
            None => {
                let token = murmur3_token(&feed::key_at(self.data, chunks, partition.position)?);
                self.hidden.insert(partition.position, token);
                token
            }
        };
        Ok(self.wanted.contains(token))
    }
}

/// The wanted parts of the uncompressed Data.db, ascending, none touching another.
fn runs<R: Read + Seek>(
    walk: &mut Walk<R>,
    choice: &mut Choice<'_>,
    chunks: &mut Chunks<R>,
) -> Result<Vec<Range<u64>>> {
    let mut runs = Vec::new();
    let mut open = None;
    while let Some(partition) = walk.next()? {
        let position = partition.position;
        if choice.wants(&partition, chunks)? {
            open.get_or_insert(position);
        } else if let Some(start) = open.take() {
            runs.push(start..position);
        }
    }
    runs.extend(open.map(|start| start..chunks.content()));
    Ok(runs)
}

/// A partition that is being copied.
struct Open {
    /// Where what is copied of it ends.
    copied: u64,
}

/// The second walk: writes what is wanted.
fn write<R: Read + Seek, W: Write + Seek>(
    walk: &mut Walk<R>,
    choice: &mut Choice<'_>,
    chunks: &mut Chunks<R>,
    mut feed: Feed<'_>,
    into: &mut SliceOutput<W>,
) -> Result<(u64, u32)> {
    let mut data = DataWriter::new(&mut into.data, &mut into.chunks, chunks.format())?;
    let index = &mut into.index;
    let (mut open, mut partitions) = (None, 0);
    let mut last: Option<(Token, Vec<u8>)> = None;
    while let Some(partition) = walk.next()? {
        if let Some(open) = open.take() {
            end(open, partition.position, chunks, &mut feed, &mut data)?;
        }
        if !choice.wants(&partition, chunks)? {
            continue;
        }
        let key = feed.key(partition.position, chunks)?;
        let token = murmur3_token(&key);
        let (first_token, last_token) = partition.tokens;
        let is_named = partition.key.as_ref().is_none_or(|named| *named == key)
            && (first_token..=last_token).contains(&token)
            && choice.wanted.contains(token);
        if !is_named {
            let place = partition.position;
            return Err(SliceError::data(format!(
                "the partition at {place} is not the one that its index names"
            )));
        }
        if last.as_ref().is_some_and(|(t, k)| (*t, k.as_slice()) >= (token, key.as_slice())) {
            return Err(SliceError::data(format!("its partition at {} is out of order", partition.position)));
        }
        // The u16 length and the key, as they stand in both files.
        let length = u16::try_from(key.len()).map_err(|_| SliceError::data("a key is too long"))?;
        let mut head = length.to_be_bytes().to_vec();
        head.extend_from_slice(&key);
        index.write_all(&head).map_err(SliceError::Write)?;
        let mut numbers = Vec::with_capacity(18);
        output::push_vint(&mut numbers, data.content());
        output::push_vint(&mut numbers, partition.promoted);
        index.write_all(&numbers).map_err(SliceError::Write)?;
        walk.copy_promoted(index)?;
        data.write(&head)?;
        open = Some(Open { copied: partition.position + head.len() as u64 });
        partitions += 1;
        last = Some((token, key));
    }
    if let Some(open) = open {
        end(open, chunks.content(), chunks, &mut feed, &mut data)?;
    }
    index.flush().map_err(SliceError::Write)?;
    Ok((partitions, data.finish()?))
}

/// Copies the rest of a partition, which ends at `end`.
fn end<R: Read + Seek, W: Write + Seek>(
    open: Open,
    end: u64,
    chunks: &mut Chunks<R>,
    feed: &mut Feed<'_>,
    data: &mut DataWriter<'_, W>,
) -> Result<()> {
    let mut last = None;
    feed.copy(open.copied..end, chunks, |piece| {
        last = piece.last().copied().or(last);
        data.write(piece)
    })?;
    if last == Some(END_OF_PARTITION) {
        return Ok(());
    }
    Err(SliceError::data(format!("the partition before {end} has no end")))
}

#[cfg(test)]
mod tests;
