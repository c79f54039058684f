//! A plain folder as a store: each key a file.
//!
//! A file is written under a temporary name, flushed to disk, and only then given its name, by
//! rename (put) or hard link (put if absent: linking fails where the name exists, atomically, also
//! over NFS). The folder that holds the name is flushed too. So a crash leaves an object whole or
//! not at all; what it leaves under temporary names is in `.partial`, which no listing shows.
//! Folders that become empty are removed, as they do not exist in a bucket either.

mod list;
mod multipart;
mod path;

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::StreamExt;

use super::{
    ByteStream, DeleteFailure, ObjectInfo, ObjectStream, PutIfAbsent, PutInfo, RequestResult, StoreError,
    StoreErrorKind, StoreOperation, StoreRequests, StoreResult,
};
use crate::throttle::Throttle;
pub(super) use multipart::FolderMultipart;

/// Temporary files, below the root.
const PARTIAL: &str = ".partial";
/// Bytes read from a file at once.
const READ_PIECE: usize = 1 << 20;

/// A folder. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct FolderStore {
    root: Arc<PathBuf>,
    /// Names that begin with a dot are listed: it is no vault's folder.
    shows_hidden: bool,
    requests: StoreRequests,
    limit: Throttle,
}

impl FolderStore {
    pub(super) fn new(root: PathBuf, requests: StoreRequests) -> Self {
        Self { root: Arc::new(root), shows_hidden: false, requests, limit: Throttle::unlimited() }
    }

    /// A folder that another writes, and that is only read.
    pub(super) fn anothers(root: PathBuf, requests: StoreRequests) -> Self {
        Self { shows_hidden: true, ..Self::new(root, requests) }
    }

    /// The same folder; each request keeps to `limit`.
    pub(super) fn limited(&self, limit: &Throttle) -> Self {
        Self { limit: limit.clone(), ..self.clone() }
    }

    pub(super) async fn prepare(&self) -> StoreResult<()> {
        self.blocking("CreateFolder", "", |root| path::create_folders(root, root)).await
    }

    pub(super) async fn put(&self, key: &str, body: Bytes) -> StoreResult<PutInfo> {
        let file = path::of(&self.root, key);
        self.blocking("PutObject", key, move |root| {
            let temporary = write_temporary(root, &body)?;
            path::place(root, &file, || fs::rename(temporary.path(), &file))
        })
        .await?;
        Ok(PutInfo::default())
    }

    pub(super) async fn put_if_absent(&self, key: &str, body: Bytes) -> StoreResult<PutIfAbsent> {
        let file = path::of(&self.root, key);
        let result = self
            .blocking("PutObject", key, move |root| {
                let temporary = write_temporary(root, &body)?;
                path::place(root, &file, || fs::hard_link(temporary.path(), &file))
            })
            .await;
        match result {
            Ok(()) => Ok(PutIfAbsent::Created(PutInfo::default())),
            Err(error) if error.kind == StoreErrorKind::AlreadyExists => Ok(PutIfAbsent::Exists),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn get_stream(
        &self,
        key: &str,
        range: Option<std::ops::Range<u64>>,
    ) -> StoreResult<ByteStream> {
        let file = path::of(&self.root, key);
        let range = range.unwrap_or(0..u64::MAX);
        let opened = self
            .blocking("GetObject", key, move |_| {
                let mut file = File::open(file)?;
                let size = file.metadata()?.len();
                if range.start > 0 && range.start >= size {
                    let why = format!("it has {size} bytes, asked for from {} on", range.start);
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
                }
                file.seek(SeekFrom::Start(range.start))?;
                Ok(file.take(range.end.saturating_sub(range.start)))
            })
            .await?;
        let (store, key) = (self.clone(), key.to_owned());
        let pieces = futures::stream::try_unfold(opened, move |mut file| {
            let (store, key) = (store.clone(), key.clone());
            async move {
                store
                    .uncounted("GetObject", &key, move |_| {
                        let mut piece = Vec::new();
                        Read::by_ref(&mut file).take(READ_PIECE as u64).read_to_end(&mut piece)?;
                        Ok((!piece.is_empty()).then(|| (Bytes::from(piece), file)))
                    })
                    .await
            }
        });
        Ok(pieces.boxed())
    }

    pub(super) async fn head(&self, key: &str) -> StoreResult<ObjectInfo> {
        let file = path::of(&self.root, key);
        let owned = key.to_owned();
        self.blocking("HeadObject", key, move |_| {
            let metadata = fs::metadata(file)?;
            if metadata.is_file() {
                Ok(list::info(owned, &metadata))
            } else {
                Err(io::ErrorKind::NotFound.into())
            }
        })
        .await
    }

    pub(super) fn list(&self, folder: &str) -> ObjectStream {
        list::objects(self.clone(), folder.to_owned())
    }

    pub(super) async fn list_folders(&self, folder: &str) -> StoreResult<Vec<String>> {
        list::folders(self, folder).await
    }

    pub(super) async fn delete_batch(&self, keys: &[String]) -> StoreResult<Vec<DeleteFailure>> {
        let keys = keys.to_vec();
        self.blocking("DeleteObjects", "", move |root| {
            let mut failures = Vec::new();
            for key in keys {
                if let Err(error) = path::remove(root, &path::of(root, &key)) {
                    let error = StoreError::from_io("DeleteObjects", &key, &error);
                    failures.push(DeleteFailure { key, error });
                }
            }
            Ok(failures)
        })
        .await
    }

    pub(super) async fn copy(&self, from: &str, to: &str) -> StoreResult<()> {
        let source = path::of(&self.root, from);
        let target = path::of(&self.root, to);
        self.blocking("CopyObject", from, move |root| {
            let mut temporary = new_temporary(root)?;
            io::copy(&mut File::open(source)?, temporary.as_file_mut())?;
            temporary.as_file().sync_all()?;
            path::place(root, &target, || fs::rename(temporary.path(), &target))
        })
        .await
    }

    /// Runs the file work of one request when it is its turn, and counts it.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.limit.take(1).await;
        let sent = self.requests.sent(StoreOperation::of_name(operation), key, 0);
        let done = self.uncounted(operation, key, work).await;
        let result = done.as_ref().map_or_else(|e| RequestResult::of_kind(e.kind), |_| RequestResult::Ok);
        sent.ended(result);
        done
    }

    /// Runs file work off the async threads.
    async fn uncounted<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        let root = self.root.clone();
        let joined = tokio::task::spawn_blocking(move || {
            work(&root).map_err(|error| {
                let gone = error.kind() == io::ErrorKind::NotFound && !root.is_dir();
                (error, gone)
            })
        })
        .await;
        match joined {
            Ok(Ok(done)) => Ok(done),
            Ok(Err((error, true))) => {
                Err(StoreError::new(StoreErrorKind::NoSuchBucket, operation, key, error.to_string()))
            }
            Ok(Err((error, false))) => Err(StoreError::from_io(operation, key, &error)),
            Err(gone) => Err(StoreError::new(StoreErrorKind::Other, operation, key, gone.to_string())),
        }
    }
}

/// An empty temporary file; it goes when dropped, unless renamed.
fn new_temporary(root: &Path) -> io::Result<tempfile::NamedTempFile> {
    new_temporary_in(root, &root.join(PARTIAL))
}

/// The same in a folder of its own, which is made if it is not there.
fn new_temporary_in(root: &Path, folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    // As any new file: who may read it is the umask's to say.
    builder.prefix("part-").permissions(fs::Permissions::from_mode(0o666));
    let mut tries = 0;
    loop {
        match builder.tempfile_in(folder) {
            // A root that is gone must not be made anew: it may be a mount that is away. A folder that
            // was made may go again, as an empty one, before there is a file in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && root.is_dir() && tries < path::TRIES => {
                fs::create_dir_all(folder)?;
                tries += 1;
            }
            other => return other,
        }
    }
}

fn write_temporary(root: &Path, body: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut temporary = new_temporary(root)?;
    temporary.write_all(body)?;
    temporary.as_file().sync_all()?;
    Ok(temporary)
}
