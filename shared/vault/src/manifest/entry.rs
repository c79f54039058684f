//! The lines between header and trailer: tables and SSTables with their components.

use std::{fmt, ops::Range};

use ringvault_core::cluster::Token;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::checksum::Checksum;

/// One line: a table in a data directory, or an SSTable of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A table's folder in one data directory, with or without SSTables.
    Table(TableEntry),
    /// One SSTable, of a table or of one of its legacy secondary indexes.
    Sstable(SstableEntry),
}

/// A table's folder in one of the node's data directories.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableRef {
    /// Keyspace.
    pub keyspace: String,
    /// Table or materialized view.
    pub table: String,
    /// Cassandra's id of the table, which tells it from an earlier one of the same name.
    #[serde(with = "uuid::serde::simple")]
    pub table_id: Uuid,
    /// Which of the node's data directories, counted from 0 as the node lists them.
    pub data_dir: u32,
}

/// A table's folder, so that an empty table is known too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// Which.
    #[serde(flatten)]
    pub table: TableRef,
    /// Files of the snapshot that belong to no SSTable (`schema.cql`), ascending by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Component>,
}

/// An SSTable's name within its folder: `<version>-<id>-<format>-<component>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SstableName {
    /// Legacy secondary index whose SSTable this is, without the dot of its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Version of the format, two letters (`nb`, `oa`, `da`).
    pub version: String,
    /// Sequential or UUID id. It repeats between a table and its indexes.
    pub id: String,
    /// `big` or `bti`.
    pub format: String,
}

impl SstableName {
    /// The file name of one of its components.
    pub fn file_name(&self, component: &str) -> String {
        format!("{}-{}-{}-{component}", self.version, self.id, self.format)
    }
}

/// What is known of an SSTable's content. `None`: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SstableFacts {
    /// Token of its first partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token: Option<Token>,
    /// Token of its last partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_token: Option<Token>,
    /// Partitions it holds, as estimated by Cassandra.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u64>,
    /// Rows it holds, as counted by Cassandra.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

/// One SSTable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SstableEntry {
    /// The table's folder it lies in.
    #[serde(flatten)]
    pub table: TableRef,
    /// Its name there.
    #[serde(flatten)]
    pub name: SstableName,
    /// What it holds.
    #[serde(flatten)]
    pub facts: SstableFacts,
    /// Its files, ascending by name.
    pub components: Vec<Component>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// `Data.db`, `SAI+aa+index+Meta.db`, …; of a table's own file, the file name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Its content.
    #[serde(flatten)]
    pub checksum: Checksum,
    /// Where the content lies.
    #[serde(flatten)]
    pub place: Place,
    /// Which file on the node it was, to know it again without reading it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileIdentity>,
}

/// Where a content lies in the vault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The object's key, from the vault's root on.
    pub key: String,
    /// `None`: the object is the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackSlot>,
    /// Bytes that the content has there, where it is compressed: zstd frames of 256 KiB each, with a seek table behind
    /// more than one. `None`: it lies there as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zstd: Option<u64>,
}

impl Place {
    /// First byte of the content within the object.
    pub fn offset(&self) -> u64 {
        self.pack.map_or(0, |slot| slot.offset)
    }

    /// Bytes that a content of `size` bytes takes here.
    pub fn stored(&self, size: u64) -> u64 {
        self.zstd.unwrap_or(size)
    }

    /// The bytes of the object that a content of `size` bytes takes here.
    pub fn span(&self, size: u64) -> Range<u64> {
        self.offset()..self.offset().saturating_add(self.stored(size))
    }

    /// Bytes of the object that holds a content of `size` bytes here.
    pub fn object_size(&self, size: u64) -> u64 {
        self.pack.map_or(self.stored(size), |slot| slot.size)
    }
}

/// A part of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackSlot {
    /// First byte of the content in the pack.
    pub offset: u64,
    /// Bytes of the whole pack.
    pub size: u64,
}

/// What tells a file on the node from all others, now and before, together with its size and name.
///
/// `ctime` is left out: taking a snapshot links the file, and that changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The file system, by its own id where it has one, else by device number.
    #[serde(with = "hex_u64")]
    pub fs: u64,
    /// Inode.
    pub inode: u64,
    /// Last change of the content, nanoseconds since 1970.
    pub mtime_ns: i64,
}

/// Place of a line in the manifest's order. All parts compare bytewise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    table: TableRef,
    sstable: Option<SstableName>,
}

impl OrderKey {
    /// Of a table's line: before the lines of its SSTables.
    pub fn of_table(table: &TableRef) -> Self {
        Self { table: table.clone(), sstable: None }
    }

    /// Of an SSTable's line.
    pub fn of_sstable(table: &TableRef, name: &SstableName) -> Self {
        Self { table: table.clone(), sstable: Some(name.clone()) }
    }
}

impl Entry {
    /// Its place in the manifest's order.
    pub fn order(&self) -> OrderKey {
        match self {
            Self::Table(entry) => OrderKey::of_table(&entry.table),
            Self::Sstable(entry) => OrderKey::of_sstable(&entry.table, &entry.name),
        }
    }

    /// The table's folder it is about.
    pub const fn table(&self) -> &TableRef {
        match self {
            Self::Table(entry) => &entry.table,
            Self::Sstable(entry) => &entry.table,
        }
    }

    /// Its files.
    pub fn components(&self) -> &[Component] {
        match self {
            Self::Table(entry) => &entry.files,
            Self::Sstable(entry) => &entry.components,
        }
    }

    /// The name on disk of one of its files.
    pub fn file_name(&self, component: &Component) -> String {
        match self {
            Self::Table(_) => component.name.clone(),
            Self::Sstable(entry) => entry.name.file_name(&component.name),
        }
    }
}

impl fmt::Display for OrderKey {
    /// `keyspace.table (table id, data directory n)`, with the SSTable's file names before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, sstable } = self;
        if let Some(name) = sstable {
            write!(f, "{} of ", name.file_name("*"))?;
            if let Some(index) = &name.index {
                write!(f, "index {index} of ")?;
            }
        }
        let TableRef { keyspace, table, table_id, data_dir } = table;
        write!(f, "{keyspace}.{table} ({}, data directory {data_dir})", table_id.simple())
    }
}

/// File system ids use all 64 bits, which JSON numbers lose in many readers.
mod hex_u64 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value:x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}
