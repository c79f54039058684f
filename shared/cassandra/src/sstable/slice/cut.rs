//! Which partitions are wanted, and the walk that writes them.
//!
//! Where an index is not certain, a wrong key could make a wanted partition look like one that is not. Its
//! order leaves such a key no room but between those of its neighbours, so a bound of the wanted tokens lies
//! then beside it: the partitions on either side of each bound are therefore looked at in Data.db too.

use std::{
    collections::HashMap,
    io::{Read, Seek, Write},
    ops::Range,
};

use ringvault_core::cluster::{Token, TokenSet};

use super::{
    RangedRead, Result, SliceError, SliceOutput,
    chunks::Chunks,
    feed::{self, Feed},
    output::{self, DataWriter},
    walk::{Partition, Walk},
};
use crate::sstable::murmur3_token;

/// The flags of an unfiltered that ends a partition (`UnfilteredSerializer.END_OF_PARTITION`).
const END_OF_PARTITION: u8 = 0x01;

/// Which partitions are wanted.
pub(super) struct Choice<'a> {
    wanted: &'a TokenSet,
    /// Tokens that the index did not tell, by position: at most one at each end of a range.
    hidden: HashMap<u64, Token>,
    data: &'a dyn RangedRead,
}

impl<'a> Choice<'a> {
    pub(super) fn new(wanted: &'a TokenSet, data: &'a dyn RangedRead) -> Self {
        Self { wanted, hidden: HashMap::new(), data }
    }

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

/// The needed parts of the uncompressed Data.db: what is wanted, and the heads beside it that are looked at.
/// Each begins behind where the one before began.
pub(super) fn runs<R: Read + Seek>(
    walk: &mut Walk<R>,
    choice: &mut Choice<'_>,
    chunks: &mut Chunks<R>,
) -> Result<Vec<Range<u64>>> {
    let mut runs = Vec::new();
    let (mut open, mut beside) = (None, Beside::of(walk, choice.wanted));
    while let Some(partition) = walk.next()? {
        let position = partition.position;
        let is_wanted = choice.wants(&partition, chunks)?;
        if !is_wanted && let Some(start) = open.take() {
            runs.push(start..position);
        }
        runs.extend(beside.see(&partition, is_wanted).map(|partition| partition.head()));
        if is_wanted {
            open.get_or_insert(position);
        }
    }
    runs.extend(open.map(|start| start..chunks.content()));
    runs.extend(beside.end().map(|partition| partition.head()));
    Ok(runs)
}

/// The partitions that are looked at though they are not wanted: those beside a bound.
struct Beside<'a> {
    wanted: &'a TokenSet,
    is_needed: bool,
    /// The token of the partition that went by last.
    last: Token,
    /// That partition, if it is not wanted and was not looked at.
    passed: Option<Partition>,
}

impl<'a> Beside<'a> {
    fn of<R: Read + Seek>(walk: &Walk<R>, wanted: &'a TokenSet) -> Self {
        Self { wanted, is_needed: !walk.is_certain(), last: Token(i64::MIN), passed: None }
    }

    /// What is to be looked at when a partition goes by: it and the one before it, or none.
    fn see(&mut self, partition: &Partition, is_wanted: bool) -> impl Iterator<Item = Partition> + use<> {
        let is_bound = self.wanted.meets(self.last, partition.tokens.0);
        self.last = partition.tokens.0;
        let passed = self.passed.take();
        let this = (self.is_needed && !is_wanted).then(|| partition.clone());
        if is_bound {
            return [passed, this].into_iter().flatten();
        }
        self.passed = this;
        [None, None].into_iter().flatten()
    }

    /// What is to be looked at when the last has gone by.
    fn end(self) -> Option<Partition> {
        self.passed.filter(|_| self.wanted.meets(self.last, Token(i64::MAX)))
    }
}

/// The key of a partition as Data.db has it, which is the one that its index names.
fn named_key<R: Read + Seek>(
    partition: &Partition,
    feed: &mut Feed<'_>,
    chunks: &mut Chunks<R>,
) -> Result<Vec<u8>> {
    let key = feed.key(partition.position, chunks)?;
    let (first, last) = partition.tokens;
    let is_named = partition.key.as_ref().is_none_or(|named| *named == key)
        && (first..=last).contains(&murmur3_token(&key));
    if is_named { Ok(key) } else { Err(not_named(partition)) }
}

fn not_named(partition: &Partition) -> SliceError {
    let place = partition.position;
    SliceError::data(format!("the partition at {place} is not the one that its index names"))
}

/// A partition that is being copied.
struct Open {
    /// Where what is copied of it ends.
    copied: u64,
}

/// The second walk: writes what is wanted.
pub(super) fn write<R: Read + Seek, W: Write + Seek>(
    walk: &mut Walk<R>,
    choice: &mut Choice<'_>,
    chunks: &mut Chunks<R>,
    mut feed: Feed<'_>,
    into: &mut SliceOutput<W>,
) -> Result<(u64, u32)> {
    let mut data = DataWriter::new(&mut into.data, &mut into.chunks, chunks.format())?;
    let index = &mut into.index;
    let (mut open, mut partitions, mut beside) = (None, 0, Beside::of(walk, choice.wanted));
    let mut last: Option<(Token, Vec<u8>)> = None;
    while let Some(partition) = walk.next()? {
        if let Some(open) = open.take() {
            end(open, partition.position, chunks, &mut feed, &mut data)?;
        }
        let is_wanted = choice.wants(&partition, chunks)?;
        for partition in beside.see(&partition, is_wanted) {
            named_key(&partition, &mut feed, chunks)?;
        }
        if !is_wanted {
            continue;
        }
        let key = named_key(&partition, &mut feed, chunks)?;
        let token = murmur3_token(&key);
        if !choice.wanted.contains(token) {
            return Err(not_named(&partition));
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
    if let Some(partition) = beside.end() {
        named_key(&partition, &mut feed, chunks)?;
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
