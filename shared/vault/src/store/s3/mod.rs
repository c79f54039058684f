//! An S3 bucket as a store.
//!
//! Requests are repeated by the SDK (five attempts, exponential with jitter), so a put whose answer
//! was lost may be done twice; that changes nothing, as the same bytes go to the same key, and a
//! conditional put that was done answers "exists" the second time.

mod client;
mod copy;
mod count;
mod failure;
mod lock;
mod multipart;
mod pace;
mod read;
mod role;
mod sse;
mod versions;

use std::sync::Arc;

use aws_sdk_s3::{
    Client,
    operation::put_object::builders::PutObjectFluentBuilder,
    types::{Delete, ObjectIdentifier, StorageClass},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;

use super::{
    DeleteFailure, ObjectInfo, PutIfAbsent, PutInfo, StoreError, StoreErrorKind, StoreRequests, StoreResult,
};
use crate::{
    config::{Checksums, LockConfig, VaultConfig},
    error::VaultError,
    layout,
    throttle::Throttle,
};
pub(super) use multipart::S3Multipart;

/// Times a conditional put is tried while another writer's is in the making (409).
const CONFLICT_TRIES: u32 = 6;

/// A bucket and a prefix in it. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct S3Store {
    client: Client,
    bucket: Arc<str>,
    /// Empty, or ends with `/`.
    prefix: Arc<str>,
    checksums: Checksums,
    sse: Arc<sse::Sse>,
    /// Of the objects with data.
    class: Option<StorageClass>,
    /// What is asked for with what a restore needs. With it, deleting is deleting every version.
    lock: Option<LockConfig>,
    /// The instant whose state is read.
    as_of: Option<DateTime<Utc>>,
}

impl S3Store {
    pub(super) async fn open(
        config: &VaultConfig,
        bucket: String,
        prefix: String,
        requests: StoreRequests,
    ) -> Result<Self, VaultError> {
        let sse = Arc::new(sse::Sse::new(config.sse.as_ref())?);
        Ok(Self {
            client: client::build(config, requests).await?,
            bucket: bucket.into(),
            prefix: prefix.into(),
            checksums: config.checksums,
            sse,
            class: config.storage_class.as_deref().map(StorageClass::from),
            lock: config.lock.clone(),
            as_of: config.as_of,
        })
    }

    /// The same store; each request keeps to `limit`.
    pub(super) fn limited(&self, limit: &Throttle) -> Self {
        Self { client: client::paced(&self.client, limit), ..self.clone() }
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The class to ask for; `None`: the bucket's own.
    fn class_of(&self, key: &str) -> Option<StorageClass> {
        self.class.clone().filter(|_| layout::holds_data(key))
    }

    fn put_request(&self, key: &str, body: Bytes) -> PutObjectFluentBuilder {
        let request = self.client.put_object().bucket(&*self.bucket).key(self.full(key));
        let request = lock::locked!(sse::encrypted!(request, self.sse), self, key);
        request.set_storage_class(self.class_of(key)).body(body.into())
    }

    pub(super) async fn put(&self, key: &str, body: Bytes) -> StoreResult<PutInfo> {
        let sent = self.put_request(key, body).send().await;
        let done = sent.map_err(|e| failure::classify("PutObject", key, &e))?;
        self.sse.check("PutObject", key, &sse::said!(done))?;
        Ok(PutInfo { version_id: done.version_id, etag: done.e_tag })
    }

    /// Asks an object that `operation` has made whether it lies there as it was asked for.
    async fn must_be_encrypted(&self, operation: &'static str, key: &str) -> StoreResult<()> {
        if !self.sse.is_asked_for() {
            return Ok(());
        }
        let request = self.client.head_object().bucket(&*self.bucket).key(self.full(key));
        let sent = sse::with_key!(request, self.sse).send().await;
        let found = sent.map_err(|e| failure::classify("HeadObject", key, &e))?;
        self.sse.check(operation, key, &sse::said!(found))
    }

    pub(super) async fn put_if_absent(&self, key: &str, body: Bytes) -> StoreResult<PutIfAbsent> {
        let mut tries = 0;
        loop {
            let sent = self.put_request(key, body.clone()).if_none_match("*").send().await;
            match sent {
                Ok(done) => {
                    if let Err(clear) = self.sse.check("PutObject", key, &sse::said!(done)) {
                        self.take_back(key).await;
                        return Err(clear);
                    }
                    return Ok(PutIfAbsent::Created(PutInfo {
                        version_id: done.version_id,
                        etag: done.e_tag,
                    }));
                }
                Err(error) => {
                    let status = error.raw_response().map(|r| r.status().as_u16());
                    match status {
                        Some(412) => return Ok(PutIfAbsent::Exists),
                        // Another conditional put is being decided: who won is known soon.
                        Some(409) if tries < CONFLICT_TRIES => {
                            tries += 1;
                            tokio::time::sleep(std::time::Duration::from_millis(50 << tries)).await;
                        }
                        _ => return Err(failure::classify("PutObject", key, &error)),
                    }
                }
            }
        }
    }

    /// Deletes what was just created, and should not lie there in the clear.
    async fn take_back(&self, key: &str) {
        let deleted = self.delete_batch(&[key.to_owned()]).await.map(|mut failures| failures.pop());
        let failure = match deleted {
            Ok(None) => return,
            Ok(Some(failure)) => failure.error,
            Err(error) => error,
        };
        tracing::warn!(key, error = %failure, "an object lies in the clear, and could not be deleted again");
    }

    pub(super) const fn lock(&self) -> Option<&LockConfig> {
        self.lock.as_ref()
    }

    /// The same store, with the locks of a backup that asks to be locked for so many seconds.
    pub(super) fn locking_for(&self, seconds: Option<u64>) -> Self {
        Self { lock: self.lock.as_ref().map(|lock| lock.for_backup(seconds)), ..self.clone() }
    }

    pub(super) const fn as_of(&self) -> Option<DateTime<Utc>> {
        self.as_of
    }

    pub(super) async fn head(&self, key: &str) -> StoreResult<ObjectInfo> {
        if let Some(at) = self.as_of {
            let mut found = self.list_at(key, at);
            let found = found.try_next().await?.filter(|object| object.key == key);
            return found.ok_or_else(|| {
                StoreError::new(StoreErrorKind::NotFound, "HeadObject", key, format!("not there at {at}"))
            });
        }
        let request = self.client.head_object().bucket(&*self.bucket).key(self.full(key));
        let request = sse::with_key!(request, self.sse);
        let found = request.send().await.map_err(|e| failure::classify("HeadObject", key, &e))?;
        let size = found.content_length.and_then(|n| u64::try_from(n).ok()).ok_or_else(|| {
            StoreError::new(StoreErrorKind::Other, "HeadObject", key, "the answer says no size")
        })?;
        Ok(ObjectInfo {
            key: key.to_owned(),
            size,
            modified: found.last_modified.as_ref().and_then(read::time),
            etag: found.e_tag,
        })
    }

    /// Whether the object lies there encrypted under a key of the store's key service.
    pub(super) async fn is_kms_encrypted(&self, key: &str) -> StoreResult<bool> {
        let request = self.client.head_object().bucket(&*self.bucket).key(self.full(key));
        let sent = sse::with_key!(request, self.sse).send().await;
        let found = sent.map_err(|e| failure::classify("HeadObject", key, &e))?;
        let algorithm = found.server_side_encryption;
        Ok(algorithm.is_some_and(|algorithm| algorithm.as_str().starts_with("aws:kms"))
            || found.sse_customer_algorithm.is_some())
    }

    pub(super) async fn delete_batch(&self, keys: &[String]) -> StoreResult<Vec<DeleteFailure>> {
        if self.lock.is_some() {
            return self.delete_versions(keys).await;
        }
        let operation = "DeleteObjects";
        let made_wrong = |e: aws_sdk_s3::error::BuildError| {
            StoreError::new(StoreErrorKind::Other, operation, "", e.to_string())
        };
        let mut delete = Delete::builder().quiet(true);
        for key in keys {
            let object = ObjectIdentifier::builder().key(self.full(key)).build();
            delete = delete.objects(object.map_err(made_wrong)?);
        }
        let delete = delete.build().map_err(made_wrong)?;
        let answer = self
            .client
            .delete_objects()
            .bucket(&*self.bucket)
            .delete(delete)
            .send()
            .await
            .map_err(|e| failure::classify(operation, keys.first().map_or("", |k| k), &e))?;
        let failures = answer.errors.unwrap_or_default();
        Ok(failures.iter().filter_map(|error| delete_failure(&self.prefix, error)).collect())
    }
}

/// What an entry of a deletion's answer says; `None`: the key is gone, which is what was asked for. An
/// entry that names no key, or a foreign one, says that something is still there, if not what.
fn delete_failure(prefix: &str, error: &aws_sdk_s3::types::Error) -> Option<DeleteFailure> {
    let operation = "DeleteObjects";
    let full = error.key.as_deref().unwrap_or_default();
    let key = full.strip_prefix(prefix).unwrap_or(full).to_owned();
    let (code, message) = (error.code.as_deref(), error.message.as_deref());
    let kind = failure::kind_of_answer(operation, code, message).unwrap_or(StoreErrorKind::Other);
    let detail = format!("{}: {}", code.unwrap_or_default(), message.unwrap_or_default());
    (kind != StoreErrorKind::NotFound)
        .then(|| DeleteFailure { error: StoreError::new(kind, operation, &key, detail), key })
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::Error;

    use super::*;

    #[test]
    fn a_deletion_that_was_refused_is_never_taken_for_done() {
        let kind = |error: Error| delete_failure("p/", &error).map(|failure| failure.error.kind);
        let of = |code: &str| Error::builder().key("p/k").code(code);
        assert_eq!(kind(of("NoSuchKey").build()), None);
        let locked = of("AccessDenied").message("object protected by object lock");
        assert_eq!(kind(locked.build()), Some(StoreErrorKind::Locked));
        assert_eq!(kind(of("Odd").build()), Some(StoreErrorKind::Other));
        let keyless = Error::builder().code("InternalError").build();
        assert_eq!(kind(keyless), Some(StoreErrorKind::Server));
    }
}
