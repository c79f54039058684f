//! A content of the vault that is read by ranges, from a thread that may block.
//!
//! What comes is not held against the manifest's digest, which is of the whole: who reads it has
//! checksums of its parts. In an encrypted vault every part is authentic.

use std::{
    io::{self, Read},
    ops::Range,
};

use bytes::Bytes;
use futures::TryStreamExt as _;
use tokio::runtime::Handle;

use super::{DownloadError, WantedFile, fetch::store_error, staged::damaged};
use crate::{store::ByteStream, transfer::TransferContext};

/// A content to read from. Errors carry a [`DownloadError`].
#[derive(Debug)]
pub struct RangedContent {
    context: TransferContext,
    wanted: WantedFile,
    runtime: Handle,
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
        Self { context, wanted, runtime: Handle::current() }
    }

    /// Bytes of the whole content.
    pub const fn size(&self) -> u64 {
        self.wanted.size
    }

    /// Whether what is read can only be what was written: the object is sealed, and so is each part of it.
    pub fn is_authentic(&self) -> bool {
        self.context.store.is_authentic(&self.wanted.place.key)
    }

    /// Asks for bytes `range` of the content. Blocks: not for a thread that runs futures.
    pub fn open(&self, range: Range<u64>) -> io::Result<RangedBody<'_>> {
        let Range { start, end } = range;
        if start >= end || end > self.wanted.size {
            let what = format!("bytes {start} to {end} of {} are asked for", self.wanted.size);
            return Err(io::Error::other(damaged(&self.wanted, what)));
        }
        self.context.progress.set_current(self.wanted.origin.to_string());
        let offset = self.wanted.place.offset();
        let opened = self.block(async {
            let (key, range) = (&self.wanted.place.key, offset + start..offset + end);
            self.context
                .store
                .get_stream(key, Some(range))
                .await
                .map_err(|cause| store_error(&self.wanted, cause))
        });
        self.context.progress.object_moved();
        Ok(RangedBody { content: self, pieces: opened?, piece: Bytes::new() })
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
                let next = next.map_err(|cause| store_error(&self.content.wanted, cause))?;
                context.throttle.take(next.as_ref().map_or(0, |piece| piece.len() as u64)).await;
                Ok(next)
            })?;
            let Some(piece) = next else { return Ok(0) };
            context.progress.moved(piece.len() as u64);
            context.progress.advance(piece.len() as u64);
            self.piece = piece;
        }
        let taken = buffer.len().min(self.piece.len());
        buffer[..taken].copy_from_slice(&self.piece.split_to(taken));
        Ok(taken)
    }
}
