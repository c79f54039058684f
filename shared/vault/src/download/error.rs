//! Why a download failed, with the names of what it failed for.

use std::{fmt, path::PathBuf};

use ringvault_core::{BackupName, HostId, TaskError};

use super::UnsafePath;
use crate::{disk::DiskFull, manifest::ManifestError, store::StoreError, transfer::Stopped};

/// Which file of which backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOrigin {
    /// The backup.
    pub backup: BackupName,
    /// The node whose file it was.
    pub host_id: HostId,
    /// Keyspace.
    pub keyspace: String,
    /// Table.
    pub table: String,
    /// File name as Cassandra gave it.
    pub file: String,
}

impl fmt::Display for FileOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backup, host_id, keyspace, table, file } = self;
        write!(f, "{file} of {keyspace}.{table} from node {host_id} in backup {backup}")
    }
}

/// A failed download. What is staged under its final name stays and is sound.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// What the store holds is not what the manifest names.
    #[error("{origin} does not match its manifest: {what} (object {key})")]
    Damaged {
        /// The file.
        origin: Box<FileOrigin>,
        /// The object it lies in.
        key: String,
        /// In what it differs.
        what: String,
    },
    /// The object is gone.
    #[error("{origin} is missing in the vault: there is no object {key}")]
    Missing {
        /// The file.
        origin: Box<FileOrigin>,
        /// The object it should lie in.
        key: String,
    },
    /// The store refused or failed.
    #[error("{origin}: {cause}")]
    Store {
        /// The file.
        origin: Box<FileOrigin>,
        /// Why.
        #[source]
        cause: StoreError,
    },
    /// There is no room to stage it.
    #[error(transparent)]
    DiskFull(#[from] DiskFull),
    /// It cannot be staged.
    #[error("{} cannot be staged: {cause}", path.display())]
    Stage {
        /// Where it was to go.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A name would leave the staging folder.
    #[error(transparent)]
    Path(#[from] UnsafePath),
    /// The manifest that says what to fetch cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Whoever says what to fetch failed.
    #[error(transparent)]
    Source(TaskError),
    /// It was told to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// A part of the program gave up.
    #[error("an internal task failed: {0}")]
    Internal(#[from] tokio::task::JoinError),
}

impl DownloadError {
    /// Whether it ended because it was told to.
    pub const fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped(_))
    }

    /// As a task reports it.
    pub fn to_task_error(&self) -> TaskError {
        let message = self.to_string();
        match self {
            Self::Damaged { origin, .. } => {
                TaskError::permanent("RV-DIGEST", message).with_next(heal(origin))
            }
            Self::Missing { origin, .. } => {
                TaskError::permanent("RV-MISSING", message).with_next(heal(origin))
            }
            Self::Store { cause, .. } => TaskError { message, ..cause.to_task_error() },
            Self::DiskFull(error) => error.to_task_error(),
            Self::Stage { .. } => TaskError::environment("RV-DISK", message)
                .with_next("let the worker write to its staging folder; look at the disk"),
            Self::Path(_) => TaskError::permanent("RV-MANIFEST", message)
                .with_next("ringvault verify run on the backup; choose another backup until then"),
            Self::Manifest(error) => error.to_task_error(),
            Self::Source(error) => error.clone(),
            Self::Stopped(_) => TaskError::permanent("RV-CANCELLED", message),
            Self::Internal(_) => TaskError::transient("RV-INTERNAL", message),
        }
    }
}

fn heal(origin: &FileOrigin) -> String {
    format!(
        "ringvault verify run {} names all that is damaged; ringvault backup create brings it again while the node still has it",
        origin.backup
    )
}
