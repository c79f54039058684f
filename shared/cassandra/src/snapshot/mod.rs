//! A snapshot as it lies on a node's disks: for each table the hard links under
//! `<data dir>/<keyspace>/<table>-<table id>/snapshots/<tag>/`, in every data directory.
//!
//! Cassandra writes `manifest.json` **once per table**, into one of the data directories, and names
//! there the `Data.db` files of all of them, those of legacy secondary indexes as
//! `.<index>/<file>`; it is written last, so a table with a manifest whose files are all there is
//! whole (seen on 5.0.4 with two data directories).
//!
//! Only names that Cassandra gives are followed, and no symbolic links below a data directory, so a
//! walk cannot be led elsewhere. [`find_tables`] lists folders only; a table's files are read by
//! [`read_table`], one table at a time, so memory does not grow with the number of files.

mod complete;
mod walk;

use std::path::PathBuf;

use uuid::Uuid;

pub use complete::{ExpectedTable, Incomplete, check_complete, check_on_disk, missing_parts, missing_tables};
pub use walk::{find_snapshot, find_tables, read_table};

use crate::sstable::{ComponentFile, Descriptor};

/// A snapshot could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system said no.
    #[error("snapshot {tag}: cannot read {}: {source}", path.display())]
    Io {
        /// The snapshot's tag.
        tag: String,
        /// What was being read.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A manifest that is not Cassandra's.
    #[error("snapshot {tag}: {} is not a snapshot manifest: {why}", path.display())]
    Manifest {
        /// The snapshot's tag.
        tag: String,
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The tag cannot name a folder.
    #[error("{0:?} cannot name a snapshot")]
    Tag(String),
}

/// A table that has the snapshot: where to read it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableSnapshot {
    /// Keyspace.
    pub keyspace: String,
    /// Table or view.
    pub table: String,
    /// Table id.
    pub table_id: Uuid,
    /// Its snapshot folders: index of the data directory, and path. Ascending.
    pub folders: Vec<(usize, PathBuf)>,
}

/// A table's snapshot with all its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotTable {
    /// Keyspace.
    pub keyspace: String,
    /// Table or view.
    pub table: String,
    /// Table id.
    pub table_id: Uuid,
    /// The `Data.db` files that the manifest names; `None` if no data directory holds a manifest.
    pub manifest: Option<Vec<String>>,
    /// `SSTables`, ordered by data directory, index folder and id.
    pub sstables: Vec<SnapshotSstable>,
}

/// One `SSTable` of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotSstable {
    /// Index of the data directory it lies in.
    pub data_dir: usize,
    /// Folder of the legacy secondary index it belongs to (`.name`), if it is not the table's own.
    pub index_dir: Option<String>,
    /// What its files' names begin with.
    pub descriptor: Descriptor,
    /// Its files, ordered by component.
    pub components: Vec<ComponentFile>,
}
