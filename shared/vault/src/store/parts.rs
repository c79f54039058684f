//! Objects that are sent in parts.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Kind, Store, StoreError, StoreErrorKind, StoreResult, check, check_folder, cloud, folder, s3, sealed,
};

/// Smallest size of a part of a multipart upload but the last, in bytes.
pub const MIN_PART: u64 = 5 << 20;
/// Most parts of a multipart upload.
pub const MAX_PARTS: u32 = 10_000;

/// How long an object is waited for that the store says it made, in milliseconds: another request may be at it still.
const APPEARS_WITHIN: [u64; 4] = [100, 400, 1500, 3000];

/// A multipart upload under way. Dropped without `finish` or `abort`, its parts stay in an S3 store until
/// [`Store::abort_upload`].
#[derive(Debug)]
pub struct Multipart(Upload, sealed::Parts);

/// What a store wants to hear of a part when the object is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartReceipt {
    /// Its tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Its checksum, as the store writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

#[derive(Debug)]
enum Upload {
    S3(s3::S3Multipart),
    Cloud(cloud::CloudMultipart),
    Folder(folder::FolderMultipart),
}

impl Store {
    /// Begins an object of `size` bytes in many parts, each but the last of exactly as many bytes as
    /// [`Multipart::part_len`] says: about `part_size` (at least [`MIN_PART`]; at most [`MAX_PARTS`] of them, of
    /// the object's [stored size](Self::stored_size)). Nothing is to be seen until it is completed.
    pub async fn begin_multipart(&self, key: &str, part_size: u64, size: u64) -> StoreResult<Multipart> {
        check(key, "CreateMultipartUpload")?;
        self.may_write(key, "CreateMultipartUpload")?;
        if part_size < MIN_PART {
            let detail = format!("parts of {part_size} bytes are too small, {MIN_PART} is the least");
            return Err(StoreError::new(StoreErrorKind::Invalid, "CreateMultipartUpload", key, detail));
        }
        let parts = sealed::Parts::of(self.sealing(key), key, part_size, size)?;
        let upload = match &self.0 {
            Kind::S3(store) => Upload::S3(Box::pin(store.begin_multipart(key)).await?),
            Kind::Cloud(store) => Upload::Cloud(Box::pin(store.begin_multipart(key)).await?),
            Kind::Folder(store) => Upload::Folder(store.begin_multipart(key, parts.stored()).await?),
        };
        Ok(Multipart(upload, parts))
    }

    /// The upload of this key and [id](Multipart::id), of which the store has these parts, in order to go on with it: it was
    /// begun with the same sizes, and [can be gone on with](Multipart::can_go_on). The store is not asked: an upload
    /// that it does not have any more is told ([`StoreErrorKind::NoSuchUpload`]) by the next part, or by `finish`.
    pub fn go_on_with(
        &self,
        (key, id): (&str, &str),
        part_size: u64,
        parts: impl IntoIterator<Item = (u32, PartReceipt)>,
    ) -> StoreResult<Multipart> {
        let operation = "UploadPart";
        check(key, operation)?;
        self.may_write(key, operation)?;
        match &self.0 {
            Kind::S3(store) if self.sealing(key).is_none() => {
                let upload = Upload::S3(store.go_on_with(key, id, parts)?);
                Ok(Multipart(upload, sealed::Parts::in_the_clear(part_size)))
            }
            _ => {
                let detail = "an upload to this store cannot be gone on with";
                Err(StoreError::new(StoreErrorKind::Invalid, operation, key, detail))
            }
        }
    }

    /// Drops the upload of this key and [id](Multipart::id), if it is still open.
    pub async fn abort_upload(&self, key: &str, id: &str) -> StoreResult<()> {
        Self::is_ours(key, "AbortMultipartUpload")?;
        check(key, "AbortMultipartUpload")?;
        each!(&self.0, Kind, store => Box::pin(store.abort_upload(key, id)).await)
    }

    /// Drops every multipart upload below `folder` that was begun and never ended. Returns how many.
    pub async fn abort_uploads(&self, folder: &str) -> StoreResult<usize> {
        Self::is_ours(folder, "AbortMultipartUpload")?;
        check_folder(folder)?;
        each!(&self.0, Kind, store => Box::pin(store.abort_uploads(folder)).await)
    }
}

impl Multipart {
    /// Bytes of part `number`, counted from 1; the last may have fewer.
    pub fn part_len(&self, number: u32) -> u64 {
        self.1.len(number)
    }

    /// Sends part `number`, counted from 1. Parts may go in any order and at the same time; a part
    /// sent again replaces the first. A part that is sealed is sent once. Returns what whoever goes on with the
    /// upload has to know of the part; `None` where nobody can.
    pub async fn part(&self, number: u32, body: Bytes) -> StoreResult<Option<PartReceipt>> {
        let body = self.1.seal(number, body).await?;
        match &self.0 {
            Upload::S3(upload) => {
                let receipt = Box::pin(upload.part(number, body)).await?;
                Ok(self.can_go_on().then_some(receipt))
            }
            Upload::Cloud(upload) => Box::pin(upload.part(number, body)).await.map(|()| None),
            Upload::Folder(upload) => Box::pin(upload.part(number, body)).await.map(|()| None),
        }
    }

    /// Whether another process can go on with it ([`Store::go_on_with`]): the store keeps the parts, and they are sealed
    /// with nothing that only this one has.
    pub const fn can_go_on(&self) -> bool {
        matches!(self.0, Upload::S3(_)) && !self.1.are_sealed()
    }

    /// What the store knows the upload by, beside its key.
    pub fn id(&self) -> &str {
        each!(&self.0, Upload, upload => upload.id())
    }

    /// Makes the object of its parts, `size` bytes in all, and is sure of it: whatever the answer, the object is
    /// looked for. An answer may be lost; and a store that was killed while it put parts together may call that done
    /// when it is asked again, without an object (versitygw). If it is not there the parts are dropped, and the
    /// upload is to be done again.
    pub async fn finish(self, size: u64) -> StoreResult<()> {
        let completed = each!(&self.0, Upload, upload => Box::pin(upload.complete()).await);
        let patience = if completed.is_ok() { &APPEARS_WITHIN[..] } else { &[] };
        let there = self.is_there(self.1.stored_size(size), patience).await;
        let error = match (completed, there) {
            (Ok(_), Ok(true)) => return Ok(()),
            // Whether it is there shows when the upload is finished once more.
            (Ok(_), Err(unknown)) => return Err(unknown),
            (Err(error), Ok(true)) => {
                tracing::info!(%error, "the object is there, only the answer was lost");
                return Ok(());
            }
            (Ok(_), Ok(false)) => {
                let (key, detail) =
                    (self.key(), "the store says it made the object, which is not there at its size");
                StoreError::new(StoreErrorKind::NoSuchUpload, "CompleteMultipartUpload", key, detail)
            }
            (Err(error), Ok(false) | Err(_)) => error,
        };
        if let Err(left) = self.abort().await {
            tracing::warn!(error = %left, "parts of a failed upload stay in the store for now");
        }
        let again = matches!(
            error.kind,
            StoreErrorKind::NotFound
                | StoreErrorKind::AlreadyExists
                | StoreErrorKind::Integrity
                | StoreErrorKind::Other
        );
        Err(if again { StoreError { kind: StoreErrorKind::NoSuchUpload, ..error } } else { error })
    }

    /// Whether the object is there at its size, or comes to be within these waits, in milliseconds.
    async fn is_there(&self, size: u64, waits: &[u64]) -> StoreResult<bool> {
        let mut waits = waits.iter();
        loop {
            match each!(&self.0, Upload, upload => Box::pin(upload.head()).await) {
                Ok(object) if object.size == size => return Ok(true),
                Err(error) if !error.is_not_found() => return Err(error),
                Ok(_) | Err(_) => {}
            }
            let Some(wait) = waits.next() else { return Ok(false) };
            tokio::time::sleep(Duration::from_millis(*wait)).await;
        }
    }

    fn key(&self) -> &str {
        each!(&self.0, Upload, upload => upload.key())
    }

    /// Drops what was sent.
    pub async fn abort(&self) -> StoreResult<()> {
        each!(&self.0, Upload, upload => Box::pin(upload.abort()).await)
    }
}
