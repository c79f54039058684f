//! A manifest as an object: fetched into a temporary file and held against the seal before a line of
//! it is parsed.

use std::{fs::File, io::BufReader, path::Path};

use futures::TryStreamExt as _;
use ringvault_core::TaskError;
use tempfile::{NamedTempFile, TempPath};
use tokio::io::AsyncWriteExt as _;

use super::{ManifestError, ManifestFault, ManifestReader};
use crate::{
    hash::{ContentHasher, Digest},
    store::{Store, StoreError},
};

/// A reader over a manifest in a local file.
pub type ManifestFileReader = ManifestReader<BufReader<zstd::Decoder<'static, BufReader<File>>>>;

/// A manifest in a temporary file, to be read any number of times. Removed when dropped.
#[derive(Debug)]
pub struct ManifestFile {
    path: TempPath,
    key: String,
    blake3: Digest,
}

/// A manifest that could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum ManifestObjectError {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It came, and is not what it should be.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl ManifestObjectError {
    /// As a task reports it.
    pub fn to_task_error(&self) -> TaskError {
        match self {
            Self::Store(error) => error.to_task_error(),
            Self::Manifest(error) => error.to_task_error(),
        }
    }
}

impl ManifestFile {
    /// Fetches the manifest at `key` into a temporary file in `scratch`. With `sealed`, content of
    /// any other digest is refused; without it the caller trusts nothing before the reader's end.
    pub async fn fetch(
        store: &Store,
        key: &str,
        sealed: Option<Digest>,
        scratch: &Path,
    ) -> Result<Self, ManifestObjectError> {
        let fault = |fault| ManifestError { manifest: key.to_owned(), line: 0, fault };
        let io = |cause: std::io::Error| fault(cause.into());
        let (file, path) = NamedTempFile::with_prefix_in("manifest-", scratch).map_err(io)?.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let mut hasher = ContentHasher::new();
        let mut pieces = store.get_stream(key, None).await?;
        while let Some(piece) = pieces.try_next().await? {
            hasher.update(&piece);
            file.write_all(&piece).await.map_err(io)?;
        }
        file.flush().await.map_err(io)?;
        let found = hasher.digest();
        match sealed {
            Some(expected) if expected != found => {
                Err(fault(ManifestFault::NotAsSealed { found, expected }).into())
            }
            _ => Ok(Self { path, key: key.to_owned(), blake3: found }),
        }
    }

    /// The manifest's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// BLAKE3 of the object.
    pub const fn blake3(&self) -> Digest {
        self.blake3
    }

    /// Reads it from its first line on.
    pub fn reader(&self) -> Result<ManifestFileReader, ManifestError> {
        let file = File::open(&self.path).map_err(|cause| ManifestError {
            manifest: self.key.clone(),
            line: 0,
            fault: cause.into(),
        })?;
        ManifestReader::open(file, &self.key)
    }
}
