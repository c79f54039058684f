//! Google Cloud Storage and Azure Blob Storage, by the crate `object_store`.
//!
//! Requests are repeated by the crate, as the SDK does it for S3; a conditional put is not, so after a lost
//! answer the caller is told of the failure and finds its own object when it comes again.
//!
//! What these stores do otherwise than S3:
//! - **An open upload cannot be listed** by this crate. What a crash left is dropped by key and id where the
//!   journal knows them; for the rest, Azure forgets blocks that were never committed after a week, and a
//!   bucket of Google's wants a lifecycle rule (`AbortIncompleteMultipartUpload`).
//! - **Azure has no uploads, only blocks** that lie beside a blob until a list of them is committed. Aborting
//!   one does nothing; blocks that the next commit does not name are gone with it.
//! - **Google deletes one by one**, Azure 256 at once.

mod client;
mod count;
mod failure;
mod multipart;

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    PutResult, multipart::MultipartStore, path::Path,
};

use super::{
    ByteStream, DeleteFailure, ObjectInfo, ObjectStream, PutIfAbsent, PutInfo, StoreError, StoreErrorKind,
    StoreRequests, StoreResult,
};
use crate::{
    config::{Cloud, VaultConfig},
    error::VaultError,
    throttle::Throttle,
};
use client::Source;
pub(super) use multipart::CloudMultipart;

/// Keys deleted by one request: as many as Azure takes.
const AZURE_BATCH: usize = 256;
/// Requests at the same time where each deletes one key.
const SINGLE_DELETES: usize = 32;
/// How long a copy may go on after the store has taken it, in seconds.
const COPY_SECONDS: u32 = 600;

/// What both of the crate's stores are.
trait Backend: ObjectStore + MultipartStore {}
impl<T: ObjectStore + MultipartStore> Backend for T {}

/// A bucket or container, and a prefix in it. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct CloudStore {
    cloud: Cloud,
    store: Arc<dyn Backend>,
    source: Arc<Source>,
    /// Empty, or ends with `/`.
    prefix: Arc<str>,
}

impl CloudStore {
    pub(super) fn open(
        config: &VaultConfig,
        cloud: Cloud,
        bucket: &str,
        prefix: String,
        requests: StoreRequests,
    ) -> Result<Self, VaultError> {
        let source = Source::new(config, cloud, bucket, requests)?;
        let store = source.client(&Throttle::unlimited())?;
        Ok(Self { cloud, store, source: Arc::new(source), prefix: prefix.into() })
    }

    /// The same store; each request keeps to `limit`.
    pub(super) fn limited(&self, limit: &Throttle) -> Result<Self, VaultError> {
        Ok(Self { store: self.source.client(limit)?, ..self.clone() })
    }

    fn path(&self, operation: &'static str, key: &str) -> StoreResult<Path> {
        Path::parse(format!("{}{key}", self.prefix))
            .map_err(|e| StoreError::new(StoreErrorKind::Invalid, operation, key, e.to_string()))
    }

    pub(super) async fn put(&self, key: &str, body: Bytes) -> StoreResult<PutInfo> {
        let operation = "PutObject";
        let path = self.path(operation, key)?;
        let done = self.store.put(&path, PutPayload::from_bytes(body)).await;
        let done = done.map_err(|e| failure::classify(operation, key, &e))?;
        Ok(self.made(done))
    }

    fn made(&self, done: PutResult) -> PutInfo {
        // Google numbers every object's generations, in a bucket that keeps only the last one too.
        let version_id = done.version.filter(|_| self.cloud == Cloud::Azure);
        PutInfo { version_id, etag: done.e_tag }
    }

    pub(super) async fn put_if_absent(&self, key: &str, body: Bytes) -> StoreResult<PutIfAbsent> {
        let operation = "PutObject";
        let path = self.path(operation, key)?;
        let create = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&path, PutPayload::from_bytes(body), create).await {
            Ok(done) => Ok(PutIfAbsent::Created(self.made(done))),
            Err(error) => match failure::classify(operation, key, &error) {
                error if error.kind == StoreErrorKind::AlreadyExists => Ok(PutIfAbsent::Exists),
                error => Err(error),
            },
        }
    }

    pub(super) async fn get_stream(&self, key: &str, range: Option<Range<u64>>) -> StoreResult<ByteStream> {
        let operation = "GetObject";
        let path = self.path(operation, key)?;
        let start = range.as_ref().map_or(0, |range| range.start);
        let range = range
            .map(|range| if range.end == u64::MAX { GetRange::Offset(range.start) } else { range.into() });
        let ranged = range.is_some();
        let options = GetOptions { range, ..GetOptions::default() };
        let got = self.store.get_opts(&path, options).await;
        let got = match got.map_err(|e| failure::classify(operation, key, &e)) {
            Err(error) if error.kind == StoreErrorKind::Other && ranged => {
                // Of an object without a byte, or with too few, some give all there is instead of refusing.
                let size = self.head(key).await?.size;
                let kind = if size <= start { StoreErrorKind::Integrity } else { error.kind };
                return Err(StoreError { kind, ..error });
            }
            other => other?,
        };
        let key = key.to_owned();
        Ok(got.into_stream().map_err(move |e| failure::classify(operation, &key, &e)).boxed())
    }

    pub(super) async fn head(&self, key: &str) -> StoreResult<ObjectInfo> {
        let path = self.path("HeadObject", key)?;
        let found = self.store.head(&path).await.map_err(|e| failure::classify("HeadObject", key, &e))?;
        Ok(ObjectInfo {
            key: key.to_owned(),
            size: found.size,
            modified: Some(found.last_modified),
            etag: found.e_tag,
        })
    }

    /// The folder as the crate wants it; `None` is all there is.
    fn folder(&self, folder: &str) -> StoreResult<Option<Path>> {
        let path = self.path("ListObjectsV2", folder)?;
        Ok((!path.as_ref().is_empty()).then_some(path))
    }

    pub(super) fn list(&self, folder: &str) -> ObjectStream {
        let path = match self.folder(folder) {
            Ok(path) => path,
            Err(error) => return futures::stream::once(async { Err(error) }).boxed(),
        };
        let (store, name) = (self.clone(), folder.to_owned());
        let objects =
            self.store.list(path.as_ref()).map_err(move |e| failure::classify("ListObjectsV2", &name, &e));
        objects.try_filter_map(move |meta| futures::future::ready(Ok(store.info(meta)))).boxed()
    }

    fn info(&self, meta: ObjectMeta) -> Option<ObjectInfo> {
        let key = meta.location.as_ref().strip_prefix(&*self.prefix)?.to_owned();
        let modified = Some(meta.last_modified);
        Some(ObjectInfo { key, size: meta.size, modified, etag: meta.e_tag })
    }

    pub(super) async fn list_folders(&self, folder: &str) -> StoreResult<Vec<String>> {
        let path = self.folder(folder)?;
        let listed = self.store.list_with_delimiter(path.as_ref()).await;
        let listed = listed.map_err(|e| failure::classify("ListObjectsV2", folder, &e))?;
        let names = listed.common_prefixes.iter().filter_map(|p| p.as_ref().strip_prefix(&*self.prefix));
        let mut folders: Vec<_> = names.map(|name| format!("{name}/")).collect();
        folders.sort_unstable();
        folders.dedup();
        Ok(folders)
    }

    pub(super) async fn delete_batch(&self, keys: &[String]) -> StoreResult<Vec<DeleteFailure>> {
        match self.cloud {
            Cloud::Google => self.delete_singly(keys).await,
            Cloud::Azure => self.delete_at_once(keys).await,
        }
    }

    async fn delete_singly(&self, keys: &[String]) -> StoreResult<Vec<DeleteFailure>> {
        let results = futures::stream::iter(keys.to_vec()).map(|key| {
            let store = self.clone();
            async move {
                let path = store.path("DeleteObject", &key)?;
                let deleted = store.store.delete(&path).await;
                Ok::<_, StoreError>(deletion("DeleteObject", key, deleted.map(drop)))
            }
        });
        let failures: Vec<_> = results.buffer_unordered(SINGLE_DELETES).try_collect().await?;
        Ok(failures.into_iter().flatten().collect())
    }

    async fn delete_at_once(&self, keys: &[String]) -> StoreResult<Vec<DeleteFailure>> {
        let operation = "DeleteObjects";
        let mut failures = Vec::new();
        for batch in keys.chunks(AZURE_BATCH) {
            let paths = batch.iter().map(|key| self.path(operation, key)).collect::<StoreResult<Vec<_>>>()?;
            let paths = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
            let mut results: Vec<_> = self.store.delete_stream(paths).collect().await;
            // One answer a key, in order, or one that is of the whole request.
            if results.len() != batch.len() || batch.len() == 1 {
                if let Some(Err(error)) = results.iter().find(|result| result.is_err()) {
                    let error = failure::classify(operation, &batch[0], error);
                    if !(batch.len() == 1 && error.is_not_found()) {
                        return Err(error);
                    }
                } else if results.len() != batch.len() {
                    let detail = format!("{} answers for {} keys", results.len(), batch.len());
                    return Err(StoreError::new(StoreErrorKind::Other, operation, &batch[0], detail));
                }
                results.clear();
            }
            let each = batch.iter().zip(results);
            failures
                .extend(each.filter_map(|(key, result)| deletion(operation, key.clone(), result.map(drop))));
        }
        Ok(failures)
    }

    pub(super) async fn copy(&self, from: &str, to: &str) -> StoreResult<()> {
        let operation = "CopyObject";
        let (source, target) = (self.path(operation, from)?, self.path(operation, to)?);
        let size = self.head(from).await?.size;
        self.store.copy(&source, &target).await.map_err(|e| failure::classify(operation, from, &e))?;
        // Azure may answer before the bytes are there.
        for _ in 0..COPY_SECONDS {
            if self.head(to).await?.size == size {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        let detail = format!("the store has taken the copy, and it is not there after {COPY_SECONDS} s");
        Err(StoreError::new(StoreErrorKind::Unreachable, operation, to, detail))
    }
}

/// What became of one key; one that is not there is deleted.
fn deletion(operation: &'static str, key: String, result: object_store::Result<()>) -> Option<DeleteFailure> {
    let error = failure::classify(operation, &key, &result.err()?);
    (!error.is_not_found()).then_some(DeleteFailure { key, error })
}
