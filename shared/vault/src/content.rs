//! A content as it lies: alone or in a pack, compressed or not, always read as what it was on the node.

use bytes::{Bytes, BytesMut};

use crate::{
    checksum::{Checker, Checksum},
    compress::{CompressFault, Decoder, Tail, damaged, decoded},
    hash::HashKey,
    manifest::Place,
    store::{ByteStream, Store, StoreResult},
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
