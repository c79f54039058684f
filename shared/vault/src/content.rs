//! A content as it lies: alone or in a pack, compressed or not, always read as what it was on the node.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;

use crate::{
    checksum::{Checker, Checksum},
    compress::{CompressFault, Decoder, Tail, decoded},
    hash::HashKey,
    manifest::Place,
    store::{ByteStream, Store, StoreError, StoreErrorKind, StoreResult},
};

/// The whole content of `size` bytes at `place`.
pub(crate) async fn whole(store: &Store, place: &Place, size: u64) -> StoreResult<ByteStream> {
    // No store gives a range of nothing.
    if size == 0 && place.pack.is_some() {
        return Ok(Box::pin(futures::stream::empty()));
    }
    let range = place.pack.map(|_| place.span(size));
    let stored = store.get_stream(&place.key, range).await?;
    match place.zstd {
        Some(_) => decoded(stored, &place.key, size),
        None => Ok(stored),
    }
}

/// A content that was read as it is stored, in memory: `size` plain bytes.
pub(crate) fn unpacked(place: &Place, size: u64, stored: Bytes) -> StoreResult<Bytes> {
    if place.zstd.is_none() {
        return Ok(stored);
    }
    let damaged = |fault: CompressFault| damaged(&place.key, &fault);
    let mut decoder = Decoder::new(size).map_err(damaged)?;
    let (mut stored, mut plain) = (stored, BytesMut::new());
    while let Some(piece) = decoder.next(&mut stored).map_err(damaged)? {
        plain.extend_from_slice(&piece);
    }
    decoder.end().map_err(damaged)?;
    Ok(plain.freeze())
}

/// What is damaged in an object of this key.
pub(crate) fn damaged(key: &str, fault: &CompressFault) -> StoreError {
    StoreError::new(StoreErrorKind::Integrity, "GetObject", key, fault.to_string())
}

/// Holds a content against its checksum while the bytes that it is stored as go by.
#[derive(Debug)]
pub(crate) struct StoredChecker {
    checker: Checker,
    /// `None`: it is not compressed.
    decoder: Option<Result<(Decoder, Tail), CompressFault>>,
}

impl StoredChecker {
    /// Of a content of `size` bytes that is compressed or not.
    pub(crate) fn new(checksum: Checksum, size: u64, is_compressed: bool, key: &HashKey) -> Self {
        let decoder = is_compressed.then(|| Ok((Decoder::new(size)?, Tail::of(size))));
        Self { checker: checksum.checker(size, key), decoder }
    }

    /// Takes the next bytes.
    pub(crate) fn take(&mut self, stored: &[u8]) {
        let Some(decoder) = &mut self.decoder else { return self.checker.update(stored) };
        let Ok((zstd, tail)) = decoder else { return };
        tail.take(stored);
        let mut stored = Bytes::copy_from_slice(stored);
        loop {
            match zstd.next(&mut stored) {
                Ok(Some(plain)) => self.checker.update(&plain),
                Ok(None) => return,
                Err(fault) => {
                    *decoder = Err(fault);
                    return;
                }
            }
        }
    }

    /// Whether what went by is the content.
    pub(crate) fn is_right(&self) -> bool {
        let is_sound = match &self.decoder {
            None => true,
            Some(Ok((_, tail))) => tail.check().is_ok(),
            Some(Err(_)) => false,
        };
        is_sound && self.checker.is_right()
    }
}

/// Exactly bytes `range` of an object, in memory.
pub(crate) async fn range_of(store: &Store, key: &str, range: Range<u64>) -> StoreResult<Bytes> {
    store.get_range(key, range.start, range.end.saturating_sub(range.start)).await
}

/// Reads a stream to its end, as far as `max` bytes.
pub(crate) async fn gathered(mut pieces: ByteStream, max: u64) -> StoreResult<Option<Bytes>> {
    let mut all = BytesMut::new();
    while let Some(piece) = pieces.try_next().await? {
        if (all.len() + piece.len()) as u64 > max {
            return Ok(None);
        }
        all.extend_from_slice(&piece);
    }
    Ok(Some(all.freeze()))
}
