//! The store's bytes of a sealed object as a stream of its content: all of it, or a range.
//!
//! Nothing is handed out before the tag of its block has agreed. Memory: the piece that came and a block.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    ObjectCipher, SealFault,
    shape::{TAG, block_of, blocks, plain_len, plain_start, stored_range, stored_size, stored_start},
};
use crate::store::{ByteStream, StoreError, StoreErrorKind, StoreResult};

/// What to ask the store for, to get plain bytes `range`; `true`: the header comes with it.
pub(crate) fn fetch_plan(range: &Range<u64>) -> (Range<u64>, bool) {
    let stored = stored_range(range);
    if block_of(range.start) == 0 { (0..stored.end, true) } else { (stored, false) }
}

/// An object whose header was read.
pub(crate) struct Opened {
    pub(crate) key: String,
    pub(crate) cipher: ObjectCipher,
    /// What came behind the header already, and what is still to come: from the first block that is asked
    /// for on.
    pub(crate) head: BytesMut,
    pub(crate) rest: ByteStream,
}

struct State {
    opened: Opened,
    block: u64,
    /// Behind the last block that is asked for.
    end: u64,
    wanted: Range<u64>,
    /// Whether the object is read to its end, so that nothing may follow.
    whole: bool,
}

/// The content, or bytes `range` of it.
pub(crate) fn open(opened: Opened, range: Option<Range<u64>>) -> StoreResult<ByteStream> {
    let len = opened.cipher.len();
    let whole = range.is_none();
    let wanted = range.map_or(0..len, |range| range.start..range.end.min(len));
    if wanted.start >= wanted.end && !whole {
        let detail = format!("it has {len} bytes, and those from {} on are wanted", wanted.start);
        return Err(StoreError::new(StoreErrorKind::Integrity, "GetObject", &opened.key, detail));
    }
    let end = if whole { blocks(len) } else { block_of(wanted.end - 1) + 1 };
    let state = State { block: block_of(wanted.start), opened, end, wanted, whole };
    let pieces = stream::try_unfold(state, |mut state| async move {
        while let Some(piece) = state.next().await? {
            if !piece.is_empty() {
                return Ok(Some((piece, state)));
            }
        }
        Ok(None)
    });
    Ok(pieces.boxed())
}

impl State {
    /// The next block's share of what is wanted; `None` at the end.
    async fn next(&mut self) -> StoreResult<Option<Bytes>> {
        if self.block == self.end {
            if self.whole && self.fill(1).await? {
                return Err(self.fault(SealFault::Long(stored_size(self.opened.cipher.len()))));
            }
            return Ok(None);
        }
        let block = self.block;
        let len = self.opened.cipher.len();
        let size = usize::try_from(plain_len(block, len) + TAG).unwrap_or(usize::MAX);
        if !self.fill(size).await? {
            let found = stored_start(block) + self.opened.head.len() as u64;
            return Err(self.fault(SealFault::Short { found, expected: stored_size(len) }));
        }
        let mut plain = self.opened.head.split_to(size);
        self.opened.cipher.open(block, &mut plain).map_err(|fault| self.fault(fault))?;
        self.block += 1;
        let (start, len) = (plain_start(block), plain.len());
        let within =
            |offset: u64| usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX).min(len);
        let (from, to) = (within(self.wanted.start), within(self.wanted.end));
        Ok(Some(plain.freeze().slice(from..to)))
    }

    /// Sees to it that `size` bytes are at hand; `false` where the object ends before.
    async fn fill(&mut self, size: usize) -> StoreResult<bool> {
        while self.opened.head.len() < size {
            match self.opened.rest.try_next().await? {
                Some(piece) => self.opened.head.extend_from_slice(&piece),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn fault(&self, fault: SealFault) -> StoreError {
        StoreError::new(StoreErrorKind::Integrity, "GetObject", &self.opened.key, fault.to_string())
    }
}
