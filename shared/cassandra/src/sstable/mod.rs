//! `SSTables` as files: their names, which files belong together, and what their small components
//! say, read without Cassandra.
//!
//! Every reader takes damaged or hostile input: it returns an error, never panics, and never
//! allocates more than a length it has checked against the file. Readers of bytes are pure and
//! return [`FormatError`]; functions that open files add the path ([`SstableError`]). All of it
//! blocks: call it off the async threads.
//!
//! Layouts: `org.apache.cassandra.io.sstable` of 5.0, checked against files written by 4.1 and 5.0.

mod bytes;
pub mod check;
mod compression;
mod descriptor;
mod digest;
mod index;
mod listing;
mod partitions;
pub mod slice;
mod span;
mod statistics;
mod summary;
mod token;

use std::path::{Path, PathBuf};

pub use bytes::FormatError;
pub use compression::CompressionInfo;
pub use descriptor::{Component, Descriptor, Format, SstableId};
pub use digest::{parse_digest, read_digest};
pub use index::{IndexEntry, IndexReader};
pub use listing::{ComponentFile, DirectoryListing, SstableFiles, list_directory};
pub use partitions::parse_partitions;
pub use span::{KeySpan, read_key_span};
pub use statistics::{Statistics, read_statistics};
pub use summary::parse_summary;
pub use token::murmur3_token;

/// An `SSTable`'s file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SstableError {
    /// The file system said no.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The bytes are not what this component consists of.
    #[error("{} is damaged or of another format: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
    /// A component that was needed is not there.
    #[error("{sstable} has no {missing}")]
    Missing {
        /// Path without the component.
        sstable: String,
        /// The component, or several of which one would do.
        missing: &'static str,
    },
    /// A version whose layout is not known here.
    #[error("{0} is of a version whose layout is not known: known are na, nb, oa and da")]
    Unknown(String),
}

impl SstableError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, source: FormatError) -> Self {
        Self::Damaged { path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests;
