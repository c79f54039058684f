//! Why an upload ended without a manifest.

use std::path::PathBuf;

use ringvault_core::TaskError;

use crate::{
    VaultError, journal::JournalError, manifest::ManifestError, store::StoreError, transfer::Stopped,
};

/// A failed upload. What it had brought is in the journal and is not sent again.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The snapshot could not be listed, or an SSTable not be understood.
    #[error(transparent)]
    Source(TaskError),
    /// The snapshot's items do not come in the manifest's order.
    #[error("the snapshot lists {what} out of order or twice")]
    SourceOrder {
        /// What came too late.
        what: String,
    },
    /// A file of the snapshot is gone.
    #[error("{} is gone: the snapshot was cleared, or the table dropped with it, while it was uploaded", path.display())]
    Vanished {
        /// The file.
        path: PathBuf,
    },
    /// A file of the snapshot is not what it was when it was first looked at.
    #[error("{} changed while it was read: {what}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// In what.
        what: String,
    },
    /// A file of the snapshot is not what Cassandra wrote.
    #[error("{} is damaged on the node's disk: its CRC-32 is {found}, Cassandra wrote {expected}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Of what was read.
        found: u32,
        /// As its `Digest.crc32` says.
        expected: u32,
    },
    /// A link, a folder or a device where a file should be.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// A file of the snapshot cannot be read.
    #[error("{} cannot be read: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A name or a figure of the snapshot cannot stand in a manifest, or the manifest not be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The last seal's index could not be asked.
    #[error(transparent)]
    Index(#[from] VaultError),
    /// The journal could not be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The settings make no sense.
    #[error("the upload's settings make no sense: {0}")]
    Config(&'static str),
    /// It was told to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// A part of the program gave up.
    #[error("an internal task failed: {0}")]
    Internal(#[from] tokio::task::JoinError),
}

impl From<ringvault_fault::Injected> for UploadError {
    fn from(error: ringvault_fault::Injected) -> Self {
        crate::store::StoreError::from(error).into()
    }
}

impl UploadError {
    /// Whether it ended because it was told to.
    pub const fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped(_))
    }

    /// As a task reports it.
    pub fn to_task_error(&self) -> TaskError {
        let message = self.to_string();
        match self {
            Self::Source(error) => error.clone(),
            Self::Manifest(error) => error.to_task_error(),
            Self::Store(error) => error.to_task_error(),
            Self::Index(error) => error.to_task_error(),
            Self::Vanished { .. } | Self::Changed { .. } => {
                TaskError::transient("RV-SNAPSHOT-CHANGED", message)
                    .with_next("ringvault job retry once nothing else clears snapshots on the node")
            }
            Self::NotAFile { .. } | Self::SourceOrder { .. } => TaskError::permanent("RV-SNAPSHOT", message),
            Self::Damaged { .. } => TaskError::permanent("RV-SSTABLE-DAMAGED", message)
                .with_next("look at the node's disk; nodetool scrub, or remove the SSTable and repair; then take another backup"),
            Self::Read { .. } => TaskError::environment("RV-SNAPSHOT-READ", message)
                .with_next("let the worker read Cassandra's data directories; look at the disk"),
            Self::Journal(_) => TaskError::environment("RV-DISK", message)
                .with_next("look at the disk of the worker's state folder"),
            Self::Config(_) => TaskError::permanent("RV-CONFIG", message),
            Self::Stopped(_) => TaskError::permanent("RV-CANCELLED", message),
            Self::Internal(_) => TaskError::transient("RV-INTERNAL", message),
        }
    }
}
