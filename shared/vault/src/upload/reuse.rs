//! What a backup may name instead of bringing it again.
//!
//! **Why it is safe.** Only places that a sealed backup names are offered here, and only of backups
//! that no purge intent expires: the caller reads the intents after its own `start.json` stands, as the
//! purge protocol asks. A place is taken for a file either by the file's identity, which cannot stay the
//! same when content changes because SSTable files are never written in place, or by the hash of what
//! was just read.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::Arc,
};

use async_trait::async_trait;
use ringvault_core::BackupName;

use crate::{
    VaultResult,
    hash::Digest,
    manifest::{
        Entry, Header, ManifestError, ManifestFault, ManifestFile, ManifestFileReader, OrderKey,
        PLAIN_VERSION, Place,
    },
};

/// What a sealed backup names, by content: the last seal's index.
///
/// Places in packs of which less than half is alive must be left out
/// (see [`PackCensus`](crate::pack::PackCensus)).
#[async_trait]
pub trait ContentIndex: Send + Sync {
    /// Whether any content of this size is named: asked before a large file is read only to be hashed.
    async fn has_size(&self, size: u64) -> VaultResult<bool>;

    /// Where this content lies.
    async fn find(&self, size: u64, blake3: Digest) -> VaultResult<Option<Place>>;
}

/// All that may be reused. The default reuses nothing, as `--mode full` asks.
#[derive(Default)]
pub struct ReuseBase {
    /// The node's own manifests in the last sealed backups that have one, one a selection: by file
    /// identity.
    pub own: Vec<ManifestFile>,
    /// The last seals' indexes, one a selection: by content.
    pub indexes: Vec<Arc<dyn ContentIndex>>,
    /// Keys that are not reused: marked as damaged, or packs that are mostly dead.
    pub avoid: HashSet<String>,
    /// The backups that these are of.
    pub bases: BTreeSet<BackupName>,
}

impl fmt::Debug for ReuseBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReuseBase")
            .field("own", &self.own.iter().map(ManifestFile::key).collect::<Vec<_>>())
            .field("indexes", &self.indexes.len())
            .field("avoid", &self.avoid.len())
            .field("bases", &self.bases)
            .finish()
    }
}

/// Walks the node's last manifests beside the snapshot: all are in the same order, so one entry of each
/// is held at a time.
pub(super) struct BaseCursor(Vec<OneBase>);

struct OneBase {
    version: u32,
    reader: Option<ManifestFileReader>,
    current: Option<Entry>,
}

impl BaseCursor {
    /// Before the first entry of each. A base that is another node's is refused; no base finds nothing.
    pub(super) fn open(bases: &[ManifestFile], header: &Header) -> Result<Self, ManifestError> {
        bases.iter().map(|base| OneBase::open(base, header)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nothing that the bases name is compressed.
    pub(super) fn is_plain(&self) -> bool {
        self.0.iter().all(|base| base.version == PLAIN_VERSION)
    }

    /// The entries at `order`, those of the first base first. Asked in ascending order.
    pub(super) fn seek(&mut self, order: &OrderKey) -> Vec<&Entry> {
        self.0.iter_mut().filter_map(|base| base.seek(order)).collect()
    }
}

impl OneBase {
    fn open(base: &ManifestFile, header: &Header) -> Result<Self, ManifestError> {
        let reader = base.reader()?;
        let foreign = |what, found: String, expected: String| ManifestError {
            manifest: base.key().to_owned(),
            line: 1,
            fault: ManifestFault::Foreign { what, found, expected },
        };
        let found = reader.header();
        if found.cluster != header.cluster {
            return Err(foreign("cluster", found.cluster.to_string(), header.cluster.to_string()));
        }
        if found.host_id != header.host_id {
            return Err(foreign("host id", found.host_id.to_string(), header.host_id.to_string()));
        }
        Ok(Self { version: found.version, reader: Some(reader), current: None })
    }

    /// A base that breaks on the way is given up with a warning: what it would have said is found by
    /// hash, or brought again.
    fn seek(&mut self, order: &OrderKey) -> Option<&Entry> {
        while self.current.as_ref().is_none_or(|entry| entry.order() < *order) {
            let reader = self.reader.as_mut()?;
            match reader.next_entry() {
                Ok(Some(entry)) => self.current = Some(entry),
                Ok(None) => self.end(),
                Err(error) => {
                    tracing::warn!(%error, "one of the node's last manifests is given up as a base");
                    self.end();
                }
            }
        }
        self.current.as_ref().filter(|entry| entry.order() == *order)
    }

    fn end(&mut self) {
        self.reader = None;
        self.current = None;
    }
}
