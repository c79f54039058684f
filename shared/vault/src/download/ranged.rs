//! A content of the vault that is read by ranges, from a thread that may block.
//!
//! What comes is not held against the manifest's digest, which is of the whole: who reads it has
//! checksums of its parts. In an encrypted vault every part is authentic, and every frame of a
//! compressed content has a checksum.

use std::{
    io::{self, Read},
    ops::Range,
    sync::OnceLock,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::runtime::Handle;

use super::{DownloadError, WantedFile, fetch::store_error, staged::damaged};
use crate::{
    compress::{CompressFault, SeekTable, decoded_part},
    store::ByteStream,
    transfer::TransferContext,
};

/// A content to read from. Errors carry a [`DownloadError`].
#[derive(Debug)]
pub struct RangedContent {
    context: TransferContext,
    wanted: WantedFile,
    runtime: Handle,
    table: OnceLock<SeekTable>,
}

/// A range on its way.
pub struct RangedBody<'a> {
    content: &'a RangedContent,
    pieces: ByteStream,
    piece: Bytes,
}

impl RangedContent {
    /// The content of `wanted`, which is not staged. Called within the runtime.
    pub fn new(context: TransferContext, wanted: WantedFile) -> Self {
        Self { context, wanted, runtime: Handle::current(), table: OnceLock::new() }
    }

    /// Bytes of the whole content.
    pub const fn size(&self) -> u64 {
        self.wanted.size
    }

    /// Whether each part that is read is checked by itself: the object is sealed, or the content compressed.
    pub fn is_checked(&self) -> bool {
        self.wanted.place.zstd.is_some() || self.context.store.is_authentic(&self.wanted.place.key)
    }

    /// Asks for bytes `range` of the content. Blocks: not for a thread that runs futures.
    pub fn open(&self, range: Range<u64>) -> io::Result<RangedBody<'_>> {
        let Range { start, end } = range;
        if start >= end || end > self.wanted.size {
            let what = format!("bytes {start} to {end} of {} are asked for", self.wanted.size);
            return Err(io::Error::other(damaged(&self.wanted, what)));
        }
        self.context.progress.set_current(self.wanted.origin.to_string());
        let place = &self.wanted.place;
        let pieces = if place.zstd.is_none() {
            self.stored(place.offset() + start..place.offset() + end)?
        } else {
            let damaged = |fault: CompressFault| io::Error::other(damaged(&self.wanted, fault.to_string()));
            let (stored, plain) = self.table()?.frames_of(&(start..end)).map_err(damaged)?;
            let stored = self.stored(place.offset() + stored.start..place.offset() + stored.end)?;
            let part = (start - plain.start, end - start);
            decoded_part(stored, &place.key, plain.end - plain.start, part)
                .map_err(|cause| io::Error::other(store_error(&self.wanted, cause)))?
        };
        Ok(RangedBody { content: self, pieces, piece: Bytes::new() })
    }

    /// Asks for bytes `range` of the object, which come as fast as they may.
    fn stored(&self, range: Range<u64>) -> io::Result<ByteStream> {
        let opened = self.block(async {
            let opened = self.context.store.get_stream(&self.wanted.place.key, Some(range)).await;
            opened.map_err(|cause| store_error(&self.wanted, cause))
        });
        self.context.progress.object_moved();
        let context = self.context.clone();
        let metered = opened?.and_then(move |piece| {
            let context = context.clone();
            async move {
                context.throttle.take(piece.len() as u64).await;
                context.progress.moved(piece.len() as u64);
                Ok(piece)
            }
        });
        Ok(metered.boxed())
    }

    /// Where the frames of a compressed content lie; read once.
    fn table(&self) -> io::Result<&SeekTable> {
        if let Some(table) = self.table.get() {
            return Ok(table);
        }
        let (plain, place) = (self.wanted.size, &self.wanted.place);
        let (stored, damaged) = (place.stored(plain), |fault: CompressFault| {
            io::Error::other(damaged(&self.wanted, fault.to_string()))
        });
        let table = match SeekTable::place(plain, stored).map_err(damaged)? {
            None => SeekTable::of_one(plain, stored),
            Some(at) => {
                let len = at.end - at.start;
                let read = self.block(async {
                    let read = self.context.store.get_range(&place.key, place.offset() + at.start, len).await;
                    let read = read.map_err(|cause| store_error(&self.wanted, cause))?;
                    self.context.throttle.take(len).await;
                    self.context.progress.moved(len);
                    Ok(read)
                });
                self.context.progress.object_moved();
                SeekTable::parse(&read?, plain, stored).map_err(damaged)?
            }
        };
        Ok(self.table.get_or_init(|| table))
    }

    fn block<T>(&self, work: impl Future<Output = Result<T, DownloadError>>) -> io::Result<T> {
        self.runtime.block_on(self.context.unless_stopped(work)).map_err(io::Error::other)
    }
}

impl Read for RangedBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let context = &self.content.context;
        while self.piece.is_empty() && !buffer.is_empty() {
            let next = self.content.block(async {
                let next = self.pieces.try_next().await;
                next.map_err(|cause| store_error(&self.content.wanted, cause))
            })?;
            let Some(piece) = next else { return Ok(0) };
            context.progress.advance(piece.len() as u64);
            self.piece = piece;
        }
        let taken = buffer.len().min(self.piece.len());
        buffer[..taken].copy_from_slice(&self.piece.split_to(taken));
        Ok(taken)
    }
}
