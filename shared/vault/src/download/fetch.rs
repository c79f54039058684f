//! Makes one request and stages the files it brings.

use bytes::Bytes;
use futures::TryStreamExt as _;
use tokio::task::spawn_blocking;

use super::{
    DownloadConfig, DownloadError, Downloaded, WantedFile,
    plan::Fetch,
    staged::{StagedFile, Together, damaged, is_staged},
};
use crate::{
    checksum::{Checksum, Trust},
    compress::Decoder,
    disk,
    store::{StoreError, StoreErrorKind},
    transfer::TransferContext,
};

/// Tells the small files of a batch that are staged already from those that are missing. Objects of
/// their own are looked at later, each when its turn comes, because hashing them takes long.
pub(super) async fn keep_staged(
    context: &TransferContext,
    batch: Vec<WantedFile>,
) -> Result<(Downloaded, Vec<WantedFile>), DownloadError> {
    let hash_key = context.store.hash_key();
    let (kept, missing): (Vec<_>, Vec<_>) = spawn_blocking(move || {
        batch.into_iter().partition(|file| file.place.pack.is_some() && is_staged(file, &hash_key))
    })
    .await?;
    let mut sum = Downloaded::default();
    for file in kept {
        sum += keep(context, file.size);
    }
    Ok((sum, missing))
}

fn keep(context: &TransferContext, size: u64) -> Downloaded {
    context.progress.file_reused(size);
    Downloaded { files: 1, bytes: size, bytes_kept: size }
}

/// Brings the files of one fetch.
pub(super) async fn run(
    context: &TransferContext,
    config: DownloadConfig,
    fetch: Fetch,
) -> Result<Downloaded, DownloadError> {
    let Fetch { mut files, kept } = fetch;
    let mut done = kept;
    for file in files.iter_mut().filter(|file| !file.checksum.fixes_size()) {
        as_it_lies(context, file).await?;
    }
    if let [file] = files.as_slice()
        && file.place.pack.is_none()
    {
        let (size, file, hash_key) = (file.size, file.clone(), context.store.hash_key());
        if spawn_blocking(move || is_staged(&file, &hash_key)).await? {
            return Ok(keep(context, size));
        }
    }
    let Some(first) = files.first() else { return Ok(done) };
    context.progress.set_current(first.origin.to_string());
    let needed = files.iter().map(|file| file.size).sum::<u64>().saturating_add(config.disk_reserve);
    disk::require(first.to.as_path(), needed)?;
    let mut request = Request::open(context, &files).await?;
    let mut together = Together::default();
    for file in files {
        let taken = request.take_up(file).await.map(|file| together.push(file));
        if taken.is_err() || together.is_full() {
            done += name(context, &mut together).await?;
        }
        taken?;
    }
    done += name(context, &mut together).await?;
    Ok(done)
}

/// Names the files that have come.
async fn name(context: &TransferContext, together: &mut Together) -> Result<Downloaded, DownloadError> {
    let (done, named) = together.name().await;
    context.progress.files_done(done.files);
    named.map(|()| done)
}

/// Makes of a file that may have been written over since its manifest was the one that lies there now.
async fn as_it_lies(context: &TransferContext, file: &mut WantedFile) -> Result<(), DownloadError> {
    let found = context.store.head(&file.place.key).await.map_err(|cause| store_error(file, cause))?;
    (file.size, file.checksum) = (found.size, Checksum::Trust(Trust::Size));
    Ok(())
}

/// A body of the store that is cut into files.
struct Request<'a> {
    context: &'a TransferContext,
    pieces: crate::store::ByteStream,
    /// The rest of the piece under way.
    piece: Bytes,
    /// Where in the object its first byte lies.
    position: u64,
}

impl<'a> Request<'a> {
    /// Asks for all of `files`, which lie in one object in order.
    async fn open(context: &'a TransferContext, files: &[WantedFile]) -> Result<Self, DownloadError> {
        let (Some(first), Some(last)) = (files.first(), files.last()) else {
            unreachable!("a request is made for at least one file")
        };
        let start = first.place.offset();
        let range = first.place.pack.map(|_| start..last.place.span(last.size).end);
        if range.as_ref().is_some_and(std::ops::Range::is_empty) {
            let pieces = Box::pin(futures::stream::empty());
            return Ok(Self { context, pieces, piece: Bytes::new(), position: start });
        }
        let opened = context.store.get_stream(&first.place.key, range).await;
        context.progress.object_moved();
        let pieces = opened.map_err(|cause| store_error(first, cause))?;
        Ok(Self { context, pieces, piece: Bytes::new(), position: start })
    }

    /// Takes the next file out of the body.
    async fn take_up(&mut self, wanted: WantedFile) -> Result<StagedFile, DownloadError> {
        let mut skip = wanted.place.offset().saturating_sub(self.position);
        let mut stored = wanted.place.stored(wanted.size);
        let unpack = wanted.place.zstd.map(|_| Decoder::new(wanted.size)).transpose();
        let mut unpack = unpack.map_err(|fault| damaged(&wanted, fault.to_string()))?;
        let mut staged = StagedFile::new(wanted, &self.context.store.hash_key());
        while skip > 0 && self.fill(staged.wanted()).await? {
            skip -= self.take(skip).len() as u64;
        }
        while stored > 0 && self.fill(staged.wanted()).await? {
            let mut piece = self.take(stored);
            stored -= piece.len() as u64;
            let Some(unpack) = &mut unpack else {
                self.stage(&mut staged, &piece).await?;
                continue;
            };
            let mut next = || unpack.next(&mut piece);
            while let Some(plain) = next().map_err(|fault| damaged(staged.wanted(), fault.to_string()))? {
                self.stage(&mut staged, &plain).await?;
            }
        }
        Ok(staged)
    }

    async fn stage(&self, staged: &mut StagedFile, plain: &[u8]) -> Result<(), DownloadError> {
        staged.push(plain).await?;
        self.context.progress.advance(plain.len() as u64);
        Ok(())
    }

    /// Sees to it that a piece is at hand; `false` at the body's end.
    async fn fill(&mut self, wanted: &WantedFile) -> Result<bool, DownloadError> {
        while self.piece.is_empty() {
            match self.pieces.try_next().await {
                Ok(Some(piece)) => {
                    self.context.throttle.take(piece.len() as u64).await;
                    self.context.progress.moved(piece.len() as u64);
                    self.piece = piece;
                }
                Ok(None) => return Ok(false),
                Err(cause) => return Err(store_error(wanted, cause)),
            }
        }
        Ok(true)
    }

    /// Takes up to `max` bytes of the piece at hand.
    fn take(&mut self, max: u64) -> Bytes {
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(self.piece.len());
        self.position += max as u64;
        self.piece.split_to(max)
    }
}

pub(super) fn store_error(wanted: &WantedFile, cause: StoreError) -> DownloadError {
    let origin = Box::new(wanted.origin.clone());
    match cause.kind {
        StoreErrorKind::NotFound => DownloadError::Missing { origin, key: wanted.place.key.clone() },
        StoreErrorKind::Integrity => damaged(wanted, cause.to_string()),
        _ => DownloadError::Store { origin, cause },
    }
}
