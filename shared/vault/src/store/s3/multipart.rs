//! Objects of many parts.
//!
//! The checksum algorithm is named when the upload is created: the SDK adds a CRC32 to each part by
//! itself, and a store that was not told refuses to put such parts together.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::{S3Store, failure, lock, sse};
use crate::{
    config::Checksums,
    store::{ObjectInfo, PartReceipt, PutInfo, StoreError, StoreErrorKind, StoreResult},
};

/// An upload under way.
#[derive(Debug)]
pub(crate) struct S3Multipart {
    store: S3Store,
    key: String,
    id: String,
    /// Whether the store has said nothing yet of how the object will lie.
    is_unsaid: bool,
    parts: Mutex<BTreeMap<u32, CompletedPart>>,
}

impl S3Store {
    /// The algorithm for parts, where checksums are sent.
    pub(super) fn part_checksum(&self) -> Option<ChecksumAlgorithm> {
        (self.checksums == Checksums::WhenSupported).then_some(ChecksumAlgorithm::Crc32)
    }

    pub(crate) async fn begin_multipart(&self, key: &str) -> StoreResult<S3Multipart> {
        self.begin_with(key, self.part_checksum()).await
    }

    /// An upload that was begun before, with the parts that it has.
    pub(crate) fn go_on_with(
        &self,
        key: &str,
        id: &str,
        parts: impl IntoIterator<Item = (u32, PartReceipt)>,
    ) -> StoreResult<S3Multipart> {
        let (store, key, id) = (self.clone(), key.to_owned(), id.to_owned());
        // What the store said when it was begun is not known any more: the object is asked.
        let upload = S3Multipart { store, key, id, is_unsaid: true, parts: Mutex::default() };
        for (number, receipt) in parts {
            upload.remember(number, completed(upload.number(number)?, receipt));
        }
        Ok(upload)
    }

    /// An upload whose parts are copied: nothing is sent, so there is no checksum to send with it,
    /// and what stores answer to a copied part is not accepted by all of them at the end.
    pub(super) async fn begin_copy(&self, key: &str) -> StoreResult<S3Multipart> {
        self.begin_with(key, None).await
    }

    async fn begin_with(&self, key: &str, checksum: Option<ChecksumAlgorithm>) -> StoreResult<S3Multipart> {
        let operation = "CreateMultipartUpload";
        let request = self.client.create_multipart_upload().bucket(&*self.bucket).key(self.full(key));
        let request = lock::locked!(sse::encrypted!(request, self.sse), self, key);
        let request = request.set_storage_class(self.class_of(key));
        let sent = request.set_checksum_algorithm(checksum).send().await;
        let begun = sent.map_err(|e| failure::classify(operation, key, &e))?;
        // MinIO says nothing of it here, whatever it does: then the whole object is asked in the end.
        let said = sse::said!(begun);
        let is_unsaid = said.is_silent();
        let encrypted = if is_unsaid { Ok(()) } else { self.sse.check(operation, key, &said) };
        let id = begun.upload_id.ok_or_else(|| {
            StoreError::new(StoreErrorKind::Other, operation, key, "the answer names no upload")
        })?;
        if let Err(clear) = encrypted {
            if let Err(left) = self.abort_upload(key, &id).await {
                tracing::warn!(error = %left, "an upload that would lie in the clear stays open for now");
            }
            return Err(clear);
        }
        Ok(S3Multipart { store: self.clone(), key: key.to_owned(), id, is_unsaid, parts: Mutex::default() })
    }

    pub(crate) async fn abort_uploads(&self, folder: &str) -> StoreResult<usize> {
        let mut aborted = 0;
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let page = self
                .client
                .list_multipart_uploads()
                .bucket(&*self.bucket)
                .prefix(self.full(folder))
                .set_key_marker(key_marker.clone())
                .set_upload_id_marker(id_marker.clone())
                .send()
                .await
                .map_err(|e| failure::classify("ListMultipartUploads", folder, &e))?;
            for upload in page.uploads() {
                let (Some(full), Some(id)) = (upload.key(), upload.upload_id()) else { continue };
                let Some(key) = full.strip_prefix(&*self.prefix) else { continue };
                self.abort_upload(key, id).await?;
                aborted += 1;
            }
            if page.is_truncated != Some(true) {
                return Ok(aborted);
            }
            let next = (page.next_key_marker, page.next_upload_id_marker);
            if next.0.is_none() || next == (key_marker, id_marker) {
                let detail = "a page that was cut off does not say where the next begins";
                let operation = "ListMultipartUploads";
                return Err(StoreError::new(StoreErrorKind::Other, operation, folder, detail));
            }
            (key_marker, id_marker) = next;
        }
    }

    pub(crate) async fn abort_upload(&self, key: &str, id: &str) -> StoreResult<()> {
        let request = self.client.abort_multipart_upload().bucket(&*self.bucket);
        let sent = request.key(self.full(key)).upload_id(id).send().await;
        match sent.map_err(|e| failure::classify("AbortMultipartUpload", key, &e)) {
            Err(error) if !matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::NoSuchUpload) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

impl S3Multipart {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) async fn head(&self) -> StoreResult<ObjectInfo> {
        self.store.head(&self.key).await
    }

    pub(crate) async fn part(&self, number: u32, body: Bytes) -> StoreResult<PartReceipt> {
        let request = self.store.client.upload_part().bucket(&*self.store.bucket);
        let sent = sse::with_key!(request, self.store.sse)
            .key(self.store.full(&self.key))
            .upload_id(&self.id)
            .part_number(self.number(number)?)
            .set_checksum_algorithm(self.store.part_checksum())
            .body(body.into())
            .send()
            .await
            .map_err(|e| failure::classify("UploadPart", &self.key, &e))?;
        let receipt = PartReceipt { etag: sent.e_tag, checksum: sent.checksum_crc32 };
        self.remember(number, completed(self.number(number)?, receipt.clone()));
        Ok(receipt)
    }

    pub(crate) async fn complete(&self) -> StoreResult<PutInfo> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.into_values().collect()));
        let request = self.store.client.complete_multipart_upload().bucket(&*self.store.bucket);
        let done = sse::with_key!(request, self.store.sse)
            .key(self.store.full(&self.key))
            .upload_id(&self.id)
            .multipart_upload(parts.build())
            .send()
            .await
            .map_err(|e| failure::classify("CompleteMultipartUpload", &self.key, &e))?;
        if self.is_unsaid
            && let Err(clear) = self.store.must_be_encrypted("CompleteMultipartUpload", &self.key).await
        {
            if clear.kind == StoreErrorKind::NotEncrypted {
                self.store.take_back(&self.key).await;
            }
            return Err(clear);
        }
        Ok(PutInfo { version_id: done.version_id, etag: done.e_tag })
    }

    pub(crate) async fn abort(&self) -> StoreResult<()> {
        self.store.abort_upload(&self.key, &self.id).await
    }

    /// Makes part `number` of bytes that lie in the store already.
    pub(super) async fn part_of(&self, number: u32, source: &str, range: &str) -> StoreResult<()> {
        let operation = "UploadPartCopy";
        let request = self.store.client.upload_part_copy().bucket(&*self.store.bucket);
        let sent = sse::with_source_key!(sse::with_key!(request, self.store.sse), self.store.sse)
            .key(self.store.full(&self.key))
            .upload_id(&self.id)
            .part_number(self.number(number)?)
            .copy_source(source)
            .copy_source_range(range)
            .send()
            .await
            .map_err(|e| failure::classify(operation, &self.key, &e))?;
        let result = sent.copy_part_result.ok_or_else(|| {
            StoreError::new(StoreErrorKind::Other, operation, &self.key, "the answer is empty")
        })?;
        let part = CompletedPart::builder().part_number(self.number(number)?).set_e_tag(result.e_tag).build();
        self.remember(number, part);
        Ok(())
    }

    fn remember(&self, number: u32, part: CompletedPart) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(number, part);
    }

    fn number(&self, number: u32) -> StoreResult<i32> {
        if (1..=crate::store::MAX_PARTS).contains(&number) {
            return Ok(number.cast_signed());
        }
        let detail = format!("part {number}: parts are counted from 1 to {}", crate::store::MAX_PARTS);
        Err(StoreError::new(StoreErrorKind::Other, "UploadPart", &self.key, detail))
    }
}

fn completed(number: i32, receipt: PartReceipt) -> CompletedPart {
    CompletedPart::builder()
        .part_number(number)
        .set_e_tag(receipt.etag)
        .set_checksum_crc32(receipt.checksum)
        .build()
}
