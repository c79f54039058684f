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
};
use crate::{
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
    ) -> Result<Vec<(Bytes, Digest)>, UploadError> {
        let key = self.hash_key.clone();
        let read = spawn_blocking(move || {
            let one = |about: Arc<LocalFile>| {
                let size = about.size;
                let mut file = OpenFile::open(about, &key)?;
                Ok((file.next(size)?, file.digest()))
            };
            files.into_iter().map(one).collect::<Result<Vec<_>, UploadError>>()
        });
        let read = read.await??;
        self.context.progress.read(read.iter().map(|(content, _)| content.len() as u64).sum());
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
        let part_size = self.config.part_size_for(self.context.store.stored_size(key, size));
        if size <= part_size {
            let whole = async {
                let file = self.open(about).await?;
                let _memory = self.memory_for(size).await;
                let (file, content) = self.read(file, size).await?;
                self.send(key, content).await?;
                Ok::<_, UploadError>(file.digest())
            };
            let blake3 = self.context.unless_stopped(whole).await?;
            self.context.progress.advance(size);
            return Ok(Sent { key: key.to_owned(), blake3 });
        }
        let source = PartsOf { file: about.journal_key(), part_size };
        if let Some(Interrupted { upload: open, parts }) = self.journal.take_open(&source) {
            let receipts = parts.iter().map(|(number, part)| (*number, part.receipt.clone()));
            let of = (open.key.as_str(), open.upload_id.as_str());
            let upload = self.context.store.go_on_with(of, part_size, receipts)?;
            tracing::info!(key = open.key, parts = parts.len(), "an upload of an earlier attempt goes on");
            match self.send_in_parts(Arc::clone(&about), (&open.key, part_size), upload, &parts).await {
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
        self.send_in_parts(about, (key, part_size), upload, &BTreeMap::new()).await
    }

    /// Sends what of the file is not among the `sent` parts, and makes the object.
    async fn send_in_parts(
        &self,
        about: Arc<LocalFile>,
        (key, part_size): (&str, u64),
        upload: Multipart,
        sent: &BTreeMap<u32, SentPart>,
    ) -> Result<Sent, UploadError> {
        let size = about.size;
        let id = upload.id().to_owned();
        let parts = async {
            let file = self.open(about).await?;
            self.send_parts(file, part_size, &upload, sent).await
        };
        match self.context.unless_stopped(parts).await {
            Ok(blake3) => {
                around!("vault.complete").run(upload.finish(size)).await?;
                self.journal.ended(key, &id).await?;
                self.context.progress.object_moved();
                Ok(Sent { key: key.to_owned(), blake3 })
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

    async fn send_parts(
        &self,
        file: OpenFile,
        part_size: u64,
        upload: &Multipart,
        sent: &BTreeMap<u32, SentPart>,
    ) -> Result<Digest, UploadError> {
        let digest = OnceLock::new();
        let pieces = stream::try_unfold((file, 1), |(file, number)| {
            let digest = &digest;
            async move {
                let memory = self.memory_for(part_size).await;
                let (file, piece) = self.read(file, upload.part_len(number)).await?;
                if piece.is_empty() {
                    digest.get_or_init(|| file.digest());
                    return Ok(None);
                }
                Ok::<_, UploadError>(Some(((number, piece, memory), (file, number + 1))))
            }
        });
        pieces
            .map_ok(|(number, piece, memory)| async move {
                let size = piece.len() as u64;
                let crc32 = if upload.can_go_on() { crc32fast::hash(&piece) } else { 0 };
                if sent.get(&number).is_none_or(|part| part.crc32 != crc32) {
                    self.context.throttle.take(size).await;
                    if let Some(receipt) = upload.part(number, piece).await? {
                        self.journal.part(upload.id(), SentPart { number, crc32, receipt }).await?;
                    }
                    self.context.progress.moved(size);
                }
                drop(memory);
                self.context.progress.advance(size);
                Ok(())
            })
            .try_buffer_unordered(self.config.parallel_parts as usize)
            .boxed()
            .try_for_each(|()| std::future::ready(Ok(())))
            .await?;
        Ok(digest.into_inner().expect("the stream ends only behind the file's end"))
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
