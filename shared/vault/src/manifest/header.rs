//! The first and the last line.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use ringvault_core::{BackupName, ClusterName, HostId, JobId, cluster::Token, cluster::Topology};
use serde::{Deserialize, Serialize};

use super::{Entry, SstableEntry, TableEntry};
use crate::hash::Digest;

/// Version of the manifest's format that is written here: contents may be compressed.
pub const VERSION: u32 = 3;
/// Version of the manifests before: no content is compressed.
pub const PLAIN_VERSION: u32 = 1;
/// Version of the manifest of an imported backup, whose objects lie in another's bucket and are known by
/// another's checksums. Readers that know nothing of that refuse it by its version.
pub const IMPORTED_VERSION: u32 = 2;

/// The first line: whose manifest this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format: [`VERSION`], [`PLAIN_VERSION`] or [`IMPORTED_VERSION`]. Always the line's first field.
    pub version: u32,
    /// The cluster.
    pub cluster: ClusterName,
    /// The backup.
    pub backup: BackupName,
    /// The job that made it.
    pub job: JobId,
    /// Epoch of the task that wrote it.
    pub epoch: u64,
    /// Cassandra's id of the node.
    pub host_id: HostId,
    /// The node's address, without a port.
    pub address: String,
    /// Data center.
    pub dc: String,
    /// Rack.
    pub rack: String,
    /// The node's tokens, ascending.
    pub tokens: Vec<Token>,
    /// Version of Cassandra (`5.0.4`).
    pub cassandra_version: String,
    /// Class name of the partitioner.
    pub partitioner: String,
    /// Cassandra's own version of the schema at the snapshot.
    pub schema_version: String,
    /// Hash of the schema as captured with the snapshot; names the schema's object.
    pub schema_hash: String,
    /// Hash of what the schema's objects are, whichever release wrote them down; not there in
    /// manifests of older workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects_hash: Option<String>,
    /// When the snapshot was taken.
    pub snapshot_at: DateTime<Utc>,
    /// The ring as this node saw it then.
    pub topology: Topology,
    /// The sealed backups of which it was offered something to reuse: all that it names and did not bring, one of
    /// these names. Not there in manifests of older workers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub bases: BTreeSet<BackupName>,
    /// Seconds that the lock of each object lasts that it brought, from when it was put; absent where they are not
    /// locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_for: Option<u64>,
}

/// Counts over a manifest's entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Tables' folders, one for each data directory.
    pub tables: u64,
    /// SSTables, those of legacy indexes included.
    pub sstables: u64,
    /// Files.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
}

impl Figures {
    /// Counts one more entry. Saturates, so that a forged size cannot wrap the sum.
    pub fn count(&mut self, entry: &Entry) {
        match entry {
            Entry::Table(_) => self.tables += 1,
            Entry::Sstable(_) => self.sstables += 1,
        }
        for component in entry.components() {
            self.files += 1;
            self.bytes = self.bytes.saturating_add(component.size);
        }
    }
}

/// The last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// Counts over all entries.
    #[serde(flatten)]
    pub figures: Figures,
    /// BLAKE3 over all lines before this one, as plain text with their `\n`.
    pub blake3: Digest,
}

/// The first line as written.
#[derive(Serialize)]
pub(super) struct HeaderLine<'a> {
    pub(super) header: &'a Header,
}

/// The last line as written.
#[derive(Serialize)]
pub(super) struct TrailerLine<'a> {
    pub(super) end: &'a Trailer,
}

/// The one field of the first line that every version has, read before anything else of it.
#[derive(Deserialize)]
pub(super) struct VersionLine {
    pub(super) header: VersionField,
}

/// See [`VersionLine`].
#[derive(Deserialize)]
pub(super) struct VersionField {
    pub(super) version: u32,
}

/// Any line as read: an object with one field, which says what the line is.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Header(Box<Header>),
    Table(TableEntry),
    Sstable(SstableEntry),
    End(Trailer),
}
