//! Why a manifest cannot be used.

use ringvault_core::TaskError;

use crate::{hash::Digest, layout::InvalidKey};

/// A manifest that breaks a rule of its format.
#[derive(Debug, thiserror::Error)]
#[error("manifest {manifest}, line {line}: {fault}")]
pub struct ManifestError {
    /// The manifest's key, or the file's path.
    pub manifest: String,
    /// The line, counted from 1; 0 before the first.
    pub line: u64,
    /// Which rule.
    pub fault: ManifestFault,
}

/// The rule that a manifest breaks.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFault {
    /// The frame cannot be decompressed, or its file not be read or written.
    #[error("cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
    /// A line is longer than any honest one.
    #[error("longer than {limit} bytes")]
    LineTooLong {
        /// Longest line accepted, in bytes.
        limit: usize,
    },
    /// A line is no JSON of the known form.
    #[error("not understood: {}", ringvault_core::text::cause(.0))]
    Syntax(#[from] serde_json::Error),
    /// Written by a later release.
    #[error("format version {found} is not known here (this release reads up to {})", super::VERSION)]
    Version {
        /// As found.
        found: u32,
    },
    /// The first line is no header, or a header comes later.
    #[error("the header is missing or not the first line")]
    Header,
    /// It is another cluster's, backup's or node's.
    #[error("it belongs to {what} {found:?}, not {expected:?}")]
    Foreign {
        /// "cluster", "backup" or "host id".
        what: &'static str,
        /// As found.
        found: String,
        /// As expected.
        expected: String,
    },
    /// A name could not stand in a path.
    #[error("{what} {given:?} is not a valid name")]
    Name {
        /// What was being named.
        what: &'static str,
        /// As found, cut to a readable length.
        given: String,
    },
    /// A key leaves the backups of the manifest's cluster.
    #[error("{0}")]
    Key(#[from] InvalidKey),
    /// The key lies in another cluster's folder.
    #[error("{key:?} lies outside clusters/{cluster}/backups/")]
    KeyOfOtherCluster {
        /// As found.
        key: String,
        /// The manifest's cluster.
        cluster: String,
    },
    /// A size or an offset that no file has.
    #[error("{what} of {file:?} is out of bounds")]
    Number {
        /// Which number.
        what: &'static str,
        /// The file concerned.
        file: String,
    },
    /// Lines, or components within a line, are not strictly ascending.
    #[error("not in ascending order, or named twice: {what:?}")]
    Order {
        /// What came too late.
        what: String,
    },
    /// More components than any SSTable has.
    #[error("more than {limit} files in one line")]
    TooMany {
        /// Most accepted.
        limit: usize,
    },
    /// The end came before the trailer.
    #[error("it ends without its trailer: it was cut short")]
    NoTrailer,
    /// Something follows the trailer.
    #[error("something follows the trailer")]
    AfterTrailer,
    /// The trailer counts other lines than there are.
    #[error("the trailer's counts are not those of the lines")]
    Counts,
    /// The trailer's hash is that of other lines.
    #[error("the trailer's hash is not that of the lines")]
    Hash,
    /// The object is not the one that the seal names.
    #[error("its content has BLAKE3 {found}, and {expected} was sealed")]
    NotAsSealed {
        /// As found.
        found: Digest,
        /// As named by the seal.
        expected: Digest,
    },
}

impl ManifestError {
    /// As a task reports it: code `RV-MANIFEST`, permanent.
    pub fn to_task_error(&self) -> TaskError {
        let error = match &self.fault {
            // A full or failing disk under the worker's scratch folder says nothing of the manifest.
            ManifestFault::Io(cause) if cause.raw_os_error().is_some() => {
                return TaskError::environment("RV-DISK", self.to_string());
            }
            _ => TaskError::permanent("RV-MANIFEST", self.to_string()),
        };
        error.with_next("ringvault verify run on the backup; choose another backup until then")
    }
}
