//! The store's bytes of a sealed object as a stream of its content: all of it, or a range.
//!
//! Nothing is handed out before the tag of its block has agreed. Blocks are opened some at a time, on threads that
//! may be busy, while the next ones are read and the last ones are worked on. Memory: the piece that came, and
//! [`AT_ONCE`] + 1 times [`BATCH`].

use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, future, stream};

use super::{
    ObjectCipher, SealFault,
    shape::{TAG, block_of, blocks, plain_len, plain_start, stored_range, stored_size, stored_start},
};
use crate::store::{ByteStream, StoreError, StoreErrorKind, StoreResult};

/// Stored bytes that are opened together.
const BATCH: usize = 512 << 10;
/// Batches that are opened at the same time.
const AT_ONCE: usize = 2;
/// Fewer bytes are opened where they are read.
const INLINE: usize = 128 << 10;

/// What to ask the store for, to get plain bytes `range`; `true`: the header comes with it.
pub(crate) fn fetch_plan(range: &Range<u64>) -> (Range<u64>, bool) {
    let stored = stored_range(range);
    if block_of(range.start) == 0 { (0..stored.end, true) } else { (stored, false) }
}

/// An object whose header was read.
pub(crate) struct Opened {
    pub(crate) key: String,
    pub(crate) cipher: Arc<ObjectCipher>,
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

/// Whole blocks that came one after the other.
struct Batch {
    cipher: Arc<ObjectCipher>,
    first: u64,
    sealed: BytesMut,
    wanted: Range<u64>,
    /// What ends the stream behind them.
    fault: Option<StoreError>,
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
    let key = opened.key.clone();
    let state = State { block: block_of(wanted.start), opened, end, wanted, whole };
    let batches = stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        let batch = state.next().await?;
        let next = batch.fault.is_none().then_some(state);
        Some((batch, next))
    });
    let pieces = batches.map(move |batch| open_batch(batch, key.clone())).buffered(AT_ONCE);
    let pieces = pieces.flat_map(stream::iter);
    Ok(pieces.try_filter(|piece| future::ready(!piece.is_empty())).boxed())
}

/// What is wanted of a batch's blocks, each by itself, up to the first that is damaged.
async fn open_batch(batch: Batch, key: String) -> Vec<StoreResult<Bytes>> {
    if batch.sealed.len() <= INLINE {
        return batch.open(&key);
    }
    let at = key.clone();
    let opened = tokio::task::spawn_blocking(move || batch.open(&at)).await;
    opened.unwrap_or_else(|error| {
        vec![Err(StoreError::new(StoreErrorKind::Other, "GetObject", &key, error.to_string()))]
    })
}

impl Batch {
    fn open(mut self, key: &str) -> Vec<StoreResult<Bytes>> {
        let (mut block, len) = (self.first, self.cipher.len());
        let mut pieces = Vec::new();
        while !self.sealed.is_empty() {
            let size = stored_len(block, len).min(self.sealed.len());
            let mut plain = self.sealed.split_to(size);
            if let Err(fault) = self.cipher.open(block, &mut plain) {
                pieces.push(Err(damaged(key, &fault)));
                return pieces;
            }
            let (start, len) = (plain_start(block), plain.len());
            let within =
                |offset: u64| usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX).min(len);
            let (from, to) = (within(self.wanted.start), within(self.wanted.end));
            pieces.push(Ok(plain.freeze().slice(from..to)));
            block += 1;
        }
        pieces.extend(self.fault.map(Err));
        pieces
    }
}

/// Bytes of a block with its tag, but for the header.
fn stored_len(block: u64, len: u64) -> usize {
    usize::try_from(plain_len(block, len) + TAG).unwrap_or(usize::MAX)
}

fn damaged(key: &str, fault: &SealFault) -> StoreError {
    StoreError::new(StoreErrorKind::Integrity, "GetObject", key, fault.to_string())
}

impl State {
    /// The next blocks as they are stored; `None` at the end.
    async fn next(&mut self) -> Option<Batch> {
        let first = self.block;
        let (mut size, mut fault) = (0, None);
        while self.block < self.end && size < BATCH {
            let with_next = size + stored_len(self.block, self.opened.cipher.len());
            match self.fill(with_next).await {
                Ok(true) => {}
                Ok(false) => {
                    let found = stored_start(first) + self.opened.head.len() as u64;
                    let expected = stored_size(self.opened.cipher.len());
                    fault = Some(damaged(&self.opened.key, &SealFault::Short { found, expected }));
                    break;
                }
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
            size = with_next;
            self.block += 1;
        }
        if size == 0 && fault.is_none() {
            // Nothing is wanted any more, and nothing may be left.
            if !self.whole {
                return None;
            }
            fault = match self.fill(1).await {
                Ok(false) => return None,
                Ok(true) => {
                    let found = stored_size(self.opened.cipher.len());
                    Some(damaged(&self.opened.key, &SealFault::Long(found)))
                }
                Err(error) => Some(error),
            };
        }
        let sealed = self.opened.head.split_to(size);
        let (cipher, wanted) = (Arc::clone(&self.opened.cipher), self.wanted.clone());
        Some(Batch { cipher, first, sealed, wanted, fault })
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
}
