//! What is to be uploaded: a node's snapshot, as its owner describes it.

use std::path::PathBuf;

use ringvault_core::TaskError;

use crate::manifest::{OrderKey, SstableFacts, SstableName, TableRef};

/// A snapshot as a stream of tables and SSTables in the manifest's order: ascending by
/// (keyspace, table, table id, data directory), a table before its SSTables, those ascending by
/// [`SstableName`].
///
/// It is walked twice, first only to add up sizes. Both methods may block on the disk; neither is
/// called on a thread that must not.
pub trait SnapshotSource: Send + Sync + 'static {
    /// Walks the snapshot from its begin.
    fn items(&self) -> Box<dyn Iterator<Item = Result<SourceItem, TaskError>> + Send + '_>;

    /// Reads what an SSTable holds. Asked only for SSTables whose data the node's last manifest does
    /// not know: an unchanged node reads nothing.
    fn facts(&self, sstable: &SourceSstable) -> Result<SstableFacts, TaskError>;
}

/// One item of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceItem {
    /// A table's folder in one data directory.
    Table(SourceTable),
    /// An SSTable of it.
    Sstable(SourceSstable),
}

/// A table's folder, to be named even where it has no SSTable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTable {
    /// Which.
    pub table: TableRef,
    /// Files that belong to no SSTable and shall be kept.
    pub files: Vec<SourceFile>,
}

/// An SSTable with the files it consists of, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSstable {
    /// The table's folder it lies in.
    pub table: TableRef,
    /// Its name there.
    pub name: SstableName,
    /// Its files.
    pub components: Vec<SourceFile>,
}

/// A file of the snapshot. A hard link to a live file: it is never modified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The component (`Data.db`), or a table file's own name.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
}

impl SourceItem {
    /// Its place in the manifest's order.
    pub fn order(&self) -> OrderKey {
        match self {
            Self::Table(item) => OrderKey::of_table(&item.table),
            Self::Sstable(item) => OrderKey::of_sstable(&item.table, &item.name),
        }
    }

    /// The table's folder it is about.
    pub const fn table(&self) -> &TableRef {
        match self {
            Self::Table(item) => &item.table,
            Self::Sstable(item) => &item.table,
        }
    }

    /// Its files.
    pub fn files(&self) -> &[SourceFile] {
        match self {
            Self::Table(item) => &item.files,
            Self::Sstable(item) => &item.components,
        }
    }

    /// The name on disk of one of its files.
    pub fn file_name(&self, component: &str) -> String {
        match self {
            Self::Table(_) => component.to_owned(),
            Self::Sstable(item) => item.name.file_name(component),
        }
    }
}
