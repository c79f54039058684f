//! Brings one large file or one pack: what runs beside the walk over the snapshot.

use std::sync::Arc;

use super::{
    ReuseBase, UploadConfig, UploadError,
    local::LocalFile,
    names,
    pending::{Landed, Slot},
    send::{MemoryPermit, Sender, Sent},
};
use crate::{
    hash::{Digest, HashKey},
    journal::{Finished, JournalKey, UploadJournal},
    manifest::{Header, PLAIN_VERSION, PackSlot, Place},
    pack::ClosedPack,
    transfer::TransferContext,
};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// A small file in a pack.
#[derive(Debug)]
pub(super) struct PackedFile {
    pub(super) slot: Slot,
    pub(super) key: JournalKey,
    pub(super) blake3: Digest,
    /// Bytes it takes in the pack, where it is compressed.
    pub(super) zstd: Option<u64>,
}

/// What all uploads of one snapshot share.
pub(super) struct Bringer {
    pub(super) sender: Sender,
    pub(super) header: Arc<Header>,
    reuse: ReuseBase,
    pub(super) journal: UploadJournal,
    pub(super) hash_key: HashKey,
    turns: Semaphore,
}

impl Bringer {
    pub(super) fn new(
        context: TransferContext,
        config: UploadConfig,
        header: Arc<Header>,
        reuse: ReuseBase,
        journal: UploadJournal,
    ) -> Self {
        let turns = Semaphore::new(config.parallel_files);
        let hash_key = context.store.hash_key();
        let sender = Sender::new(context, config, journal.clone(), hash_key.clone());
        Self { sender, header, reuse, journal, hash_key, turns }
    }

    /// Whether a place may be named again.
    pub(super) fn may_name(&self, place: &Place) -> bool {
        let is_read = place.zstd.is_none() || self.header.version != PLAIN_VERSION;
        is_read && !self.reuse.avoid.contains(&place.key)
    }

    /// Where an earlier attempt brought the file.
    pub(super) fn brought_before(&self, file: &LocalFile) -> Option<Finished> {
        self.journal.find(&file.journal_key()).cloned()
    }

    /// Where a sealed backup has this content.
    pub(super) async fn find(&self, size: u64, blake3: Digest) -> Result<Option<Finished>, UploadError> {
        for index in &self.reuse.indexes {
            let place = index.find(size, blake3).await?;
            if let Some(place) = place.filter(|place| self.may_name(place)) {
                return Ok(Some(Finished { blake3, place }));
            }
        }
        Ok(None)
    }

    /// Brings a file that is an object of its own.
    pub(super) async fn bring_file(
        &self,
        slot: Slot,
        file: Arc<LocalFile>,
        key: String,
    ) -> Result<Vec<Landed>, UploadError> {
        let context = &self.sender.context;
        let turn = async { Ok(self.turns.acquire().await.expect("the semaphore is never closed")) };
        let _turn = context.unless_stopped::<_, UploadError>(turn).await?;
        context.progress.set_current(file.path.display().to_string());
        if let Some(at) = context.unless_stopped(self.find_unread(&file)).await? {
            context.progress.file_reused(file.size);
            return Ok(vec![Landed { slot, at }]);
        }
        let Sent { key, blake3, zstd } = self.sender.send_file(Arc::clone(&file), &key).await?;
        let at = Finished { blake3, place: Place { key, pack: None, zstd } };
        self.journal.append(vec![(file.journal_key(), at.clone())]).await?;
        context.progress.file_done();
        Ok(vec![Landed { slot, at }])
    }

    /// Where a sealed backup has this file's content. The file is read only if its size makes that
    /// possible.
    async fn find_unread(&self, file: &Arc<LocalFile>) -> Result<Option<Finished>, UploadError> {
        let mut possible = false;
        for index in &self.reuse.indexes {
            possible = possible || index.has_size(file.size).await?;
        }
        if !possible {
            return Ok(None);
        }
        let hashed = self.sender.hash(Arc::clone(file)).await?;
        self.find(file.size, hashed).await
    }

    /// Brings a pack. `memory` is what the pack holds, and is given back with it.
    pub(super) async fn bring_pack(
        &self,
        pack: ClosedPack<PackedFile>,
        memory: MemoryPermit,
    ) -> Result<Vec<Landed>, UploadError> {
        let context = &self.sender.context;
        let (body, hash_key) = (pack.body.clone(), self.hash_key.clone());
        let key = names::pack_key(&self.header, spawn_blocking(move || hash_key.digest(&body)).await?);
        let size = pack.body.len() as u64;
        context.unless_stopped(self.sender.send(&key, pack.body)).await?;
        drop(memory);
        let mut lines = Vec::with_capacity(pack.parts.len());
        let mut landed = Vec::with_capacity(pack.parts.len());
        for (offset, file) in pack.parts {
            let place = Place { key: key.clone(), pack: Some(PackSlot { offset, size }), zstd: file.zstd };
            let at = Finished { blake3: file.blake3, place };
            context.progress.advance(file.key.size);
            context.progress.file_done();
            lines.push((file.key, at.clone()));
            landed.push(Landed { slot: file.slot, at });
        }
        self.journal.append(lines).await?;
        Ok(landed)
    }
}
