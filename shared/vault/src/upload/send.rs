//! Sends one file or one pack, within the memory and the rate allowed.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ringvault_fault::around;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use super::{
    UploadConfig, UploadError,
    local::{LocalFile, OpenFile},
    outgoing::{Outgoing, Part, no_memory, shrinking_begin, shrunk},
};
use crate::{
    compress::{MOST, bound},
    hash::{Digest, HashKey},
    journal::{Interrupted, PartsOf, SentPart, UploadJournal},
    store::{Multipart, StoreErrorKind},
    transfer::TransferContext,
};

/// Read at a time when a file is only hashed, in bytes.
const HASH_PIECE: u64 = 1 << 20;

/// Memory for pieces on their way: whoever holds a permit holds that many MiB.
pub(super) type MemoryPermit = OwnedSemaphorePermit;

/// A file that is in the store.
#[derive(Debug)]
pub(super) struct Sent {
    /// Its object's key.
    pub(super) key: String,
    /// Its content.
    pub(super) blake3: Digest,
    /// Bytes of the object, where it is compressed.
    pub(super) zstd: Option<u64>,
}

/// A small file that was read.
#[derive(Debug)]
pub(super) struct SmallContent {
    /// As it is stored.
    pub(super) stored: Bytes,
    /// Bytes of that, where it is compressed.
    pub(super) zstd: Option<u64>,
    /// The content.
    pub(super) blake3: Digest,
}

/// Sends to one store.
pub(super) struct Sender {
    pub(super) context: TransferContext,
    config: UploadConfig,
    journal: UploadJournal,
    hash_key: HashKey,
    memory: Arc<Semaphore>,
}

impl Sender {
    /// Digests are made under `hash_key`.
    pub(super) fn new(
        context: TransferContext,
        config: UploadConfig,
        journal: UploadJournal,
        hash_key: HashKey,
    ) -> Self {
        let memory = Arc::new(Semaphore::new(config.memory_permits() as usize));
        Self { context, config, journal, hash_key, memory }
    }

    /// Waits for memory for a piece of `bytes` bytes.
    pub(super) async fn memory_for(&self, bytes: u64) -> MemoryPermit {
        let permits = self.config.permits_for(bytes);
        Arc::clone(&self.memory).acquire_many_owned(permits).await.expect("the semaphore is never closed")
    }

    /// Reads small files whole, in one go: to hand each to a thread of its own that may block takes longer than to
    /// read it.
    pub(super) async fn read_whole(
        &self,
        files: Vec<Arc<LocalFile>>,
    ) -> Result<Vec<SmallContent>, UploadError> {
        let (key, compression) = (self.hash_key.clone(), self.config.compression);
        let bytes = files.iter().map(|file| file.size).sum();
        let read = spawn_blocking(move || {
            let mut encoder = None;
            let one = |about: Arc<LocalFile>| {
                let size = about.size;
                let mut file = OpenFile::open(Arc::clone(&about), &key)?;
                let content = file.next(size)?;
                let small = if compression && about.may_shrink {
                    shrunk(&content, &mut encoder).map_err(|cause| no_memory(&about, cause))?
                } else {
                    None
                };
                let zstd = small.as_ref().map(|small| small.len() as u64);
                Ok(SmallContent { stored: small.unwrap_or(content), zstd, blake3: file.digest() })
            };
            files.into_iter().map(one).collect::<Result<Vec<_>, UploadError>>()
        });
        let read = read.await??;
        self.context.progress.read(bytes);
        Ok(read)
    }

    /// Reads a file to its end for its digest alone. Held by the rate limit too, which spares the disk
    /// as well as the network.
    pub(super) async fn hash(&self, about: Arc<LocalFile>) -> Result<Digest, UploadError> {
        let mut file = self.open(about).await?;
        loop {
            let piece;
            (file, piece) = self.read(file, HASH_PIECE).await?;
            if piece.is_empty() {
                return Ok(file.digest());
            }
            self.context.throttle.take(piece.len() as u64).await;
        }
    }

    /// Sends an object that is in memory.
    pub(super) async fn send(&self, key: &str, body: Bytes) -> Result<(), UploadError> {
        let size = body.len() as u64;
        self.context.throttle.take(size).await;
        around!("vault.put").run(self.context.store.put(key, body)).await?;
        self.context.progress.moved(size);
        self.context.progress.object_moved();
        Ok(())
    }

    /// Sends a file as one object, hashing it on the way: one put where it fits into a part, parts in
    /// parallel where not. What an earlier attempt had begun is gone on with, and has the key that it was given then.
    /// An upload that fails or is stopped is left to the next attempt, or to the journal's last reader; where it
    /// cannot be gone on with it leaves no open parts, unless the store cannot be reached, or this future is dropped.
    pub(super) async fn send_file(&self, about: Arc<LocalFile>, key: &str) -> Result<Sent, UploadError> {
        let size = about.size;
        let may_shrink = self.config.compression && about.may_shrink && size <= MOST;
        let most = if may_shrink { bound(size) } else { size };
        let part_size = self.config.part_size_for(self.context.store.stored_size(key, most));
        if size <= part_size {
            let whole = async {
                // Both forms are in memory for a moment.
                let _memory = self.memory_for(if may_shrink { size.saturating_mul(2) } else { size }).await;
                let file = self.read_whole(vec![about]).await?.pop();
                let SmallContent { stored, zstd, blake3 } = file.expect("one file was read");
                self.send(key, stored).await?;
                Ok::<_, UploadError>(Sent { key: key.to_owned(), blake3, zstd })
            };
            let sent = self.context.unless_stopped(whole).await?;
            self.context.progress.advance(size);
            return Ok(sent);
        }
        // What is sealed says its length first.
        let begin = if may_shrink && !self.context.store.is_authentic(key) {
            let (about, key) = (Arc::clone(&about), self.hash_key.clone());
            spawn_blocking(move || shrinking_begin(about, &key)).await??
        } else {
            None
        };
        let source = PartsOf { file: about.journal_key(), part_size, compressed: begin.is_some() };
        if let Some(Interrupted { upload: open, parts }) = self.journal.take_open(&source) {
            let receipts = parts.iter().map(|(number, part)| (*number, part.receipt.clone()));
            let of = (open.key.as_str(), open.upload_id.as_str());
            let upload = self.context.store.go_on_with(of, part_size, receipts)?;
            tracing::info!(key = open.key, parts = parts.len(), "an upload of an earlier attempt goes on");
            let file = (Arc::clone(&about), begin.clone());
            match self.send_in_parts(file, (&open.key, part_size), upload, &parts).await {
                Err(UploadError::Store(error)) if error.kind == StoreErrorKind::NoSuchUpload => {
                    tracing::info!(%error, "that upload is gone; the file is sent anew");
                    self.journal.ended(&open.key, &open.upload_id).await?;
                }
                sent => return sent,
            }
        }
        let upload = self.context.store.begin_multipart(key, part_size, size).await?;
        let source = upload.can_go_on().then_some(source);
        if let Err(error) = self.journal.begun(key, upload.id(), source).await {
            self.drop_parts(key, &upload).await?;
            return Err(error.into());
        }
        self.send_in_parts((about, begin), (key, part_size), upload, &BTreeMap::new()).await
    }

    /// Sends what of the file is not among the `sent` parts, and makes the object. With its begin the file is compressed.
    async fn send_in_parts(
        &self,
        (about, begin): (Arc<LocalFile>, Option<Bytes>),
        (key, part_size): (&str, u64),
        upload: Multipart,
        sent: &BTreeMap<u32, SentPart>,
    ) -> Result<Sent, UploadError> {
        let is_compressed = begin.is_some();
        let id = upload.id().to_owned();
        let parts = async {
            let key = self.hash_key.clone();
            let file = spawn_blocking(move || Outgoing::open(about, begin, &key)).await??;
            self.send_parts(file, part_size, &upload, sent).await
        };
        match self.context.unless_stopped(parts).await {
            Ok((blake3, stored)) => {
                around!("vault.complete").run(upload.finish(stored)).await?;
                self.journal.ended(key, &id).await?;
                self.context.progress.object_moved();
                Ok(Sent { key: key.to_owned(), blake3, zstd: is_compressed.then_some(stored) })
            }
            Err(error) => {
                if !upload.can_go_on() {
                    self.drop_parts(key, &upload).await?;
                }
                Err(error)
            }
        }
    }

    async fn drop_parts(&self, key: &str, upload: &Multipart) -> Result<(), UploadError> {
        match upload.abort().await {
            Ok(()) => Ok(self.journal.ended(key, upload.id()).await?),
            Err(left) => {
                tracing::warn!(key, error = %left, "parts of a failed upload stay in the store for now");
                Ok(())
            }
        }
    }

    /// The digest of the file, and the bytes of all its parts.
    async fn send_parts(
        &self,
        file: Outgoing,
        part_size: u64,
        upload: &Multipart,
        sent: &BTreeMap<u32, SentPart>,
    ) -> Result<(Digest, u64), UploadError> {
        let whole = OnceLock::new();
        let parts = stream::try_unfold((file, 1, 0), |(file, number, stored)| {
            let whole = &whole;
            async move {
                let memory = self.memory_for(part_size).await;
                let (file, part) = self.next_part(file, upload.part_len(number)).await?;
                if part.bytes.is_empty() {
                    whole.get_or_init(|| (file.digest(), stored));
                    return Ok(None);
                }
                let stored = stored + part.bytes.len() as u64;
                Ok::<_, UploadError>(Some(((number, part, memory), (file, number + 1, stored))))
            }
        });
        parts
            .map_ok(|(number, part, memory)| async move {
                let Part { bytes, plain } = part;
                let size = bytes.len() as u64;
                let crc32 = if upload.can_go_on() { crc32fast::hash(&bytes) } else { 0 };
                if sent.get(&number).is_none_or(|part| part.crc32 != crc32) {
                    self.context.throttle.take(size).await;
                    if let Some(receipt) = upload.part(number, bytes).await? {
                        self.journal.part(upload.id(), SentPart { number, crc32, receipt }).await?;
                    }
                    self.context.progress.moved(size);
                }
                drop(memory);
                self.context.progress.advance(plain);
                Ok(())
            })
            .try_buffer_unordered(self.config.parallel_parts as usize)
            .boxed()
            .try_for_each(|()| std::future::ready(Ok(())))
            .await?;
        Ok(whole.into_inner().expect("the stream ends only behind the file's end"))
    }

    async fn next_part(&self, mut file: Outgoing, max: u64) -> Result<(Outgoing, Part), UploadError> {
        let (file, part) = spawn_blocking(move || file.next(max).map(|part| (file, part))).await??;
        self.context.progress.read(part.plain);
        Ok((file, part))
    }

    async fn open(&self, about: Arc<LocalFile>) -> Result<OpenFile, UploadError> {
        let key = self.hash_key.clone();
        spawn_blocking(move || OpenFile::open(about, &key)).await?
    }

    async fn read(&self, mut file: OpenFile, max: u64) -> Result<(OpenFile, Bytes), UploadError> {
        let (file, piece) = spawn_blocking(move || file.next(max).map(|piece| (file, piece))).await??;
        self.context.progress.read(piece.len() as u64);
        Ok((file, piece))
    }
}
