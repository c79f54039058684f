//! Objects of many parts: Google's multipart uploads, Azure's blocks.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use object_store::{MultipartId, PutPayload, multipart::PartId, path::Path};

use super::{CloudStore, failure};
use crate::{
    config::Cloud,
    store::{MAX_PARTS, ObjectInfo, PutInfo, StoreError, StoreErrorKind, StoreResult},
};

/// What an upload is called where the store knows none: Azure keeps blocks by the blob's name.
const BLOCKS: &str = "blocks";

/// An upload under way.
#[derive(Debug)]
pub(crate) struct CloudMultipart {
    store: CloudStore,
    key: String,
    path: Path,
    id: MultipartId,
    parts: Mutex<BTreeMap<u32, PartId>>,
}

impl CloudStore {
    pub(crate) async fn begin_multipart(&self, key: &str) -> StoreResult<CloudMultipart> {
        let operation = "CreateMultipartUpload";
        let path = self.path(operation, key)?;
        let id = self.store.create_multipart(&path).await;
        let id = id.map_err(|e| failure::classify(operation, key, &e))?;
        let id = if id.is_empty() { BLOCKS.to_owned() } else { id };
        Ok(CloudMultipart { store: self.clone(), key: key.to_owned(), path, id, parts: Mutex::default() })
    }

    pub(crate) async fn abort_upload(&self, key: &str, id: &str) -> StoreResult<()> {
        let operation = "AbortMultipartUpload";
        let path = self.path(operation, key)?;
        let aborted = self.store.abort_multipart(&path, &id.to_owned()).await;
        match aborted.map_err(|e| failure::classify(operation, key, &e)) {
            Err(error) if !matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::NoSuchUpload) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Neither store is asked what is open: see the module's notes.
    #[allow(clippy::unused_async)] // as the other stores'
    pub(crate) async fn abort_uploads(&self, folder: &str) -> StoreResult<usize> {
        if self.cloud == Cloud::Google {
            tracing::debug!(folder, "uploads that a crash left open end by the bucket's lifecycle rule");
        }
        Ok(0)
    }
}

impl CloudMultipart {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) async fn head(&self) -> StoreResult<ObjectInfo> {
        self.store.head(&self.key).await
    }

    pub(crate) async fn part(&self, number: u32, body: Bytes) -> StoreResult<()> {
        if !(1..=MAX_PARTS).contains(&number) {
            return Err(self.refuse(&format!("part {number}: parts are counted from 1 to {MAX_PARTS}")));
        }
        let index = number as usize - 1;
        let sent = self.store.store.put_part(&self.path, &self.id, index, PutPayload::from_bytes(body)).await;
        let part = sent.map_err(|e| failure::classify("UploadPart", &self.key, &e))?;
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(number, part);
        Ok(())
    }

    pub(crate) async fn complete(&self) -> StoreResult<PutInfo> {
        let operation = "CompleteMultipartUpload";
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let last = parts.last_key_value().map_or(0, |(number, _)| *number as usize);
        if last == 0 || last != parts.len() {
            return Err(self.refuse(&format!("{} of {last} parts were sent", parts.len())));
        }
        let parts = parts.into_values().collect();
        let done = self.store.store.complete_multipart(&self.path, &self.id, parts).await;
        let done = done.map_err(|e| failure::classify(operation, &self.key, &e))?;
        Ok(self.store.made(done))
    }

    pub(crate) async fn abort(&self) -> StoreResult<()> {
        self.store.abort_upload(&self.key, &self.id).await
    }

    fn refuse(&self, why: &str) -> StoreError {
        StoreError::new(StoreErrorKind::Invalid, "UploadPart", &self.key, why)
    }
}
