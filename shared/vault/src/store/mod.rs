//! The object store under a vault: a bucket of S3's, Google's or Azure's kind, or a plain folder, by the
//! same few operations.
//!
//! Keys are relative to the vault's root; bucket and prefix are added here and taken off again when
//! listing. What the vault's correctness rests on: [`Store::put_if_absent`] is atomic, a put is
//! either whole or not there, and a list that begins after a put has ended shows it (S3 promises
//! this since 2020, a local file system always did).
//!
//! In an encrypted vault what is put is sealed here and what is got is opened here, so nobody above can forget
//! it. Contents, ranges and the parts of an upload are plain everywhere; sizes that the store tells (a list, a
//! head) are those of sealed objects, and [`Store::stored_size`] says which size a content has there.

// Every request is boxed: the SDK's futures are nested so deeply that those of callers would overflow
// the compiler's depth limit.
macro_rules! each {
    ($on:expr, $kind:ident, $store:ident => $call:expr) => {
        match $on {
            $kind::S3($store) => $call,
            $kind::Cloud($store) => $call,
            $kind::Folder($store) => $call,
        }
    };
}

mod cloud;
mod error;
mod file;
mod folder;
mod locks;
mod medusa;
mod parts;
mod requests;
mod s3;
mod sealed;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use std::sync::Arc;

pub use error::{StoreError, StoreErrorKind};
pub use locks::LockState;
pub use parts::{MAX_PARTS, MIN_PART, Multipart, PartReceipt};
pub use requests::{REQUEST_BOUNDS, RequestFigures, RequestResult, StoreOperation, StoreRequests};

use crate::{
    config::{Place, VaultConfig},
    crypt::keyring::Keyring,
    error::VaultError,
    layout::check_key,
    throttle::Throttle,
};

/// Keys deleted with one request.
pub const DELETE_BATCH: usize = 1_000;

/// A result of the store.
pub type StoreResult<T> = Result<T, StoreError>;
/// A body in pieces, in order.
pub type ByteStream = BoxStream<'static, StoreResult<Bytes>>;
/// A listing in key order.
pub type ObjectStream = BoxStream<'static, StoreResult<ObjectInfo>>;

/// What a put left in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutInfo {
    /// The version, in a bucket that keeps versions.
    pub version_id: Option<String>,
    /// The store's tag of the content.
    pub etag: Option<String>,
}

/// An object as listed or asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The key, from the vault's root on.
    pub key: String,
    /// Bytes, as they are stored.
    pub size: u64,
    /// When it was last written, by the store's clock.
    pub modified: Option<DateTime<Utc>>,
    /// The store's tag of the content.
    pub etag: Option<String>,
}

/// What became of a conditional put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutIfAbsent {
    /// The object is new.
    Created(PutInfo),
    /// Something was there before and still is. After a lost answer it may be the caller's own:
    /// records carry the job that wrote them, so that it can be told.
    Exists,
}

/// An object that was made to be read as at an earlier instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The key.
    pub key: String,
    /// Bytes of the version that stood then; `None`: there was none, and there is none to be read now.
    pub size: Option<u64>,
}

/// A key that could not be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteFailure {
    /// The key.
    pub key: String,
    /// Why.
    pub error: StoreError,
}

/// A store, for an encrypted vault the keys, the Medusa stores beside it, what all of them were asked, and how many
/// requests a second they keep to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store(Kind, Option<Arc<Keyring>>, medusa::MedusaStores, StoreRequests, Throttle);

#[derive(Debug, Clone)]
enum Kind {
    S3(s3::S3Store),
    Cloud(cloud::CloudStore),
    Folder(folder::FolderStore),
}

impl Kind {
    /// Opens one store, whose `requests` are counted; another's may have names that begin with a dot.
    async fn open(
        config: &VaultConfig,
        is_anothers: bool,
        requests: &StoreRequests,
    ) -> Result<Self, VaultError> {
        let requests = requests.clone();
        Ok(match config.place()? {
            Place::S3 { bucket, prefix } => {
                Self::S3(Box::pin(s3::S3Store::open(config, bucket, prefix, requests)).await?)
            }
            Place::Cloud { cloud, bucket, prefix } => {
                Self::Cloud(cloud::CloudStore::open(config, cloud, &bucket, prefix, requests)?)
            }
            Place::Folder(root) if is_anothers => Self::Folder(folder::FolderStore::anothers(root, requests)),
            Place::Folder(root) => Self::Folder(folder::FolderStore::new(root, requests)),
        })
    }

    /// The same store; each request keeps to `limit`.
    fn limited(&self, limit: &Throttle) -> Result<Self, VaultError> {
        Ok(match self {
            Self::S3(store) => Self::S3(store.limited(limit)),
            Self::Cloud(store) => Self::Cloud(store.limited(limit)?),
            Self::Folder(store) => Self::Folder(store.limited(limit)),
        })
    }

    async fn get_stream(&self, key: &str, range: Option<std::ops::Range<u64>>) -> StoreResult<ByteStream> {
        each!(self, Self, store => Box::pin(store.get_stream(key, range)).await)
    }

    async fn head(&self, key: &str) -> StoreResult<ObjectInfo> {
        each!(self, Self, store => Box::pin(store.head(key)).await)
    }

    fn list(&self, folder: &str) -> ObjectStream {
        each!(self, Self, store => store.list(folder))
    }
}

impl Store {
    /// Opens the store that `config` describes. Makes no request, but reads credential files.
    pub async fn open(config: &VaultConfig) -> Result<Self, VaultError> {
        config.check()?;
        let requests = StoreRequests::default();
        let store = Kind::open(config, false, &requests).await?;
        Ok(Self(store, None, medusa::open(config, &requests).await?, requests, Throttle::unlimited()))
    }

    /// The same store, Medusa's beside it included, whose every request (each attempt, those that are repeated too)
    /// takes one of `limit` first, besides what this one keeps to. Connections, credentials and counts are shared.
    pub fn limited(&self, limit: &Throttle) -> Result<Self, VaultError> {
        let limit = limit.below(&self.4);
        let medusa = medusa::limited(&self.2, &limit)?;
        Ok(Self(self.0.limited(&limit)?, self.1.clone(), medusa, self.3.clone(), limit))
    }

    /// What this store and its clones were asked, Medusa's stores beside it included.
    pub const fn requests(&self) -> &StoreRequests {
        &self.3
    }

    /// Makes the folder of a folder store; a bucket is its owner's to create. For `vault init`.
    pub async fn prepare(&self) -> StoreResult<()> {
        match &self.0 {
            Kind::S3(_) | Kind::Cloud(_) => Ok(()),
            Kind::Folder(store) => Box::pin(store.prepare()).await,
        }
    }

    /// Writes an object, over what was there.
    pub async fn put(&self, key: &str, body: Bytes) -> StoreResult<PutInfo> {
        check(key, "PutObject")?;
        self.may_write(key, "PutObject")?;
        let body = self.seal(key, body).await?;
        each!(&self.0, Kind, store => Box::pin(store.put(key, body)).await)
    }

    /// Writes an object where nothing is: of any number of writers exactly one creates it.
    pub async fn put_if_absent(&self, key: &str, body: Bytes) -> StoreResult<PutIfAbsent> {
        check(key, "PutObject")?;
        self.may_write(key, "PutObject")?;
        let body = self.seal(key, body).await?;
        each!(&self.0, Kind, store => Box::pin(store.put_if_absent(key, body)).await)
    }

    /// Reads an object of at most `max` bytes into memory; a larger one is `Integrity`.
    pub async fn get(&self, key: &str, max: u64) -> StoreResult<Bytes> {
        let mut stream = self.get_stream(key, None).await?;
        let mut body = BytesMut::new();
        while let Some(piece) = stream.try_next().await? {
            if (body.len() + piece.len()) as u64 > max {
                let detail = format!("larger than the {max} bytes that are expected here");
                return Err(StoreError::new(StoreErrorKind::Integrity, "GetObject", key, detail));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// Reads exactly `len` bytes from `offset` on; fewer in the store is `Integrity`.
    pub async fn get_range(&self, key: &str, offset: u64, len: u64) -> StoreResult<Bytes> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        let end = offset.checked_add(len).ok_or_else(|| short(key, offset, len, 0))?;
        let mut stream = self.get_stream(key, Some(offset..end)).await?;
        let mut body = BytesMut::new();
        while let Some(piece) = stream.try_next().await? {
            body.extend_from_slice(&piece);
        }
        if body.len() as u64 == len { Ok(body.freeze()) } else { Err(short(key, offset, len, body.len())) }
    }

    /// Reads an object, or bytes `range` of it, in pieces. A connection lost on the way is taken up
    /// again where it broke. Ends early where the object does; a range that begins behind its end is
    /// `Integrity`.
    pub async fn get_stream(
        &self,
        key: &str,
        range: Option<std::ops::Range<u64>>,
    ) -> StoreResult<ByteStream> {
        if let Some(body) = self.get_medusa(key, range.clone()).await? {
            return Ok(body);
        }
        check(key, "GetObject")?;
        match self.sealing(key) {
            Some(keys) => self.get_sealed(keys, key, range).await,
            None => self.get_stored(key, range).await,
        }
    }

    /// Reads an object as it is stored.
    async fn get_stored(&self, key: &str, range: Option<std::ops::Range<u64>>) -> StoreResult<ByteStream> {
        self.0.get_stream(key, range).await
    }

    /// Size and tag of an object.
    pub async fn head(&self, key: &str) -> StoreResult<ObjectInfo> {
        if let Some(found) = self.head_medusa(key).await? {
            return Ok(found);
        }
        check(key, "HeadObject")?;
        self.0.head(key).await
    }

    /// Every object below `folder`, which ends with `/` or is empty, in key order.
    pub fn list(&self, folder: &str) -> ObjectStream {
        if let Some(listed) = self.list_medusa(folder) {
            return listed;
        }
        if let Err(error) = check_folder(folder) {
            return futures::stream::once(async { Err(error) }).boxed();
        }
        self.0.list(folder)
    }

    /// The folders directly below `folder`, each ending with `/`, in order.
    pub async fn list_folders(&self, folder: &str) -> StoreResult<Vec<String>> {
        check_folder(folder)?;
        each!(&self.0, Kind, store => Box::pin(store.list_folders(folder)).await)
    }

    /// Deletes objects, in batches; a key that is not there counts as deleted. Failures are per key.
    pub async fn delete_many(&self, keys: &[String]) -> StoreResult<Vec<DeleteFailure>> {
        let mut failures = Vec::new();
        self.may_write("", "DeleteObjects")?;
        keys.iter()
            .try_for_each(|key| Self::is_ours(key, "DeleteObjects").and(check(key, "DeleteObjects")))?;
        for batch in keys.chunks(DELETE_BATCH) {
            failures.extend(each!(&self.0, Kind, store => Box::pin(store.delete_batch(batch)).await)?);
        }
        Ok(failures)
    }

    /// Deletes one object; it need not be there.
    pub async fn delete(&self, key: &str) -> StoreResult<()> {
        match self.delete_many(&[key.to_owned()]).await?.pop() {
            Some(failure) => Err(failure.error),
            None => Ok(()),
        }
    }

    /// Makes what stood in the vault at an instant what is read: what was put over or deleted since is brought
    /// back from its version, and records of purges that came since are hidden. Nothing is lost by it: all are
    /// new versions. With `dry_run` it only tells. Objects that came since stay.
    ///
    /// # Errors
    /// `Unsupported` where the store keeps no versions.
    pub async fn stand_at(&self, at: DateTime<Utc>, dry_run: bool) -> StoreResult<Vec<Recovery>> {
        match &self.0 {
            Kind::S3(store) => {
                if !dry_run {
                    self.may_write("", "CopyObject")?;
                }
                Box::pin(store.stand_at(at, dry_run)).await
            }
            Kind::Cloud(_) | Kind::Folder(_) => {
                let detail = "only of an S3 bucket that keeps versions an earlier state can be had here";
                Err(StoreError::new(StoreErrorKind::Unsupported, "ListObjectVersions", "", detail))
            }
        }
    }

    /// Refuses to write where the state of an earlier instant is read, and what is another's.
    fn may_write(&self, key: &str, operation: &'static str) -> StoreResult<()> {
        Self::is_ours(key, operation)?;
        let Kind::S3(store) = &self.0 else { return Ok(()) };
        let Some(at) = store.as_of() else { return Ok(()) };
        let detail = format!("the vault is read as it stood at {at}: nothing is written");
        Err(StoreError::new(StoreErrorKind::Invalid, operation, key, detail))
    }

    /// Copies an object within the store, over what was at `to`. Sealed data opens there too; a sealed record
    /// does not.
    pub async fn copy(&self, from: &str, to: &str) -> StoreResult<()> {
        check(from, "CopyObject")?;
        check(to, "CopyObject")?;
        self.may_write(to, "CopyObject")?;
        each!(&self.0, Kind, store => Box::pin(store.copy(from, to)).await)
    }
}

fn short(key: &str, offset: u64, len: u64, got: usize) -> StoreError {
    let detail = format!("{got} bytes where {len} from {offset} on are expected");
    StoreError::new(StoreErrorKind::Integrity, "GetObject", key, detail)
}

/// Refuses a key that could leave the vault, whatever the store would make of it.
fn check(key: &str, operation: &'static str) -> StoreResult<()> {
    check_key(key).map_err(|e| StoreError::new(StoreErrorKind::Invalid, operation, key, e.why))
}

fn check_folder(folder: &str) -> StoreResult<()> {
    let name = folder.strip_suffix('/');
    if folder.is_empty() || name.is_some_and(|name| check_key(name).is_ok()) {
        return Ok(());
    }
    let detail = "a folder is listed by its name with a '/' at the end";
    Err(StoreError::new(StoreErrorKind::Invalid, "ListObjectsV2", folder, detail))
}
