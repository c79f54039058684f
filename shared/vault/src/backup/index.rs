//! What a sealed backup names, by content: so that an SSTable streamed to a new node, or restored, is
//! not brought again.
//!
//! The index is cut into shards by a hash of the content's size (see [`shard_of`]), because size is
//! all an upload knows before it has read a file; one lookup reads one shard. A shard is a zstd frame
//! of JSON lines: its version, where some content is compressed, then, ascending by size and digest, one a content. The
//! seal names each shard by the BLAKE3 of its object. An index is a help only: a shard that is missing or damaged says nothing, and
//! content is brought again.

use std::{collections::VecDeque, sync::Arc};

use async_trait::async_trait;
use ringvault_core::{BackupName, ClusterName};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::{
    error::{VaultError, VaultResult},
    hash::Digest,
    layout,
    lines::Lines,
    manifest::Place,
    store::Store,
    upload::ContentIndex,
};

/// Requests for small objects under way at the same time.
pub(crate) const PARALLEL: usize = 16;
/// Largest shard accepted, in bytes, compressed and plain.
const MAX_SHARD: u64 = 512 << 20;
/// Shards kept in memory.
const CACHED: usize = 8;
/// Contents that a shard is meant to have.
const SHARD_ENTRIES: u64 = 1 << 15;
/// Most shards.
const MAX_SHARDS: u64 = 256;

/// A content and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Bytes.
    pub size: u64,
    /// The content.
    pub blake3: Digest,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
}

/// An index as the seal names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexRef {
    /// BLAKE3 of each shard's object, by the shard's number.
    pub shards: Vec<Digest>,
    /// Contents in all of them.
    pub entries: u64,
}

/// How many shards an index of about `files` contents has.
pub(super) fn shard_count(files: u64) -> u32 {
    let count = files.div_ceil(SHARD_ENTRIES).next_power_of_two().clamp(1, MAX_SHARDS);
    u32::try_from(count).unwrap_or(1)
}

/// The shard that contents of `size` bytes are in: the upper half of `size` times 2⁶⁴/φ, modulo the
/// number of shards.
pub(super) fn shard_of(size: u64, shards: u32) -> u32 {
    let mixed = size.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    u32::try_from(mixed % u64::from(shards.max(1))).unwrap_or_default()
}

/// The index of one seal, read shard by shard as it is asked.
#[derive(Debug)]
pub struct SealIndex {
    store: Store,
    cluster: ClusterName,
    backup: BackupName,
    index: IndexRef,
    /// The newest first.
    cached: Mutex<VecDeque<(u32, Arc<Vec<IndexEntry>>)>>,
}

impl SealIndex {
    /// The index that a seal names.
    pub fn new(store: Store, cluster: ClusterName, backup: BackupName, index: IndexRef) -> Self {
        Self { store, cluster, backup, index, cached: Mutex::default() }
    }

    async fn shard_for(&self, size: u64) -> VaultResult<Arc<Vec<IndexEntry>>> {
        let count = u32::try_from(self.index.shards.len()).unwrap_or(u32::MAX);
        if count == 0 {
            return Ok(Arc::default());
        }
        let number = shard_of(size, count);
        // Held while a shard is fetched: others that want it wait instead of fetching it too.
        let mut cached = self.cached.lock().await;
        if let Some(at) = cached.iter().position(|(n, _)| *n == number) {
            if let Some(hit) = cached.remove(at) {
                cached.push_front(hit);
            }
        } else {
            let shard = Arc::new(self.load(number).await?);
            cached.truncate(CACHED - 1);
            cached.push_front((number, shard));
        }
        Ok(cached.front().map(|(_, shard)| shard.clone()).unwrap_or_default())
    }

    /// Reads one shard; empty, with a warning, when it is missing or damaged.
    async fn load(&self, number: u32) -> VaultResult<Vec<IndexEntry>> {
        let key = layout::index_shard(&self.cluster, &self.backup, number);
        let read = async {
            let body = self.store.get(&key, MAX_SHARD).await?;
            let expected = self.index.shards.get(number as usize);
            if expected != Some(&Digest::of(&body)) {
                return Err(VaultError::malformed(&key, "it is not the shard that the seal names"));
            }
            parse_index_shard(&key, &body, &self.cluster)
        };
        match read.await {
            Ok(shard) => Ok(shard),
            Err(VaultError::Store(error)) if !error.is_damage() => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "a shard of the last index is of no use: its contents are brought again");
                Ok(Vec::new())
            }
        }
    }
}

#[async_trait]
impl ContentIndex for SealIndex {
    async fn has_size(&self, size: u64) -> VaultResult<bool> {
        let shard = self.shard_for(size).await?;
        let first = shard.partition_point(|entry| entry.size < size);
        Ok(shard.get(first).is_some_and(|entry| entry.size == size))
    }

    async fn find(&self, size: u64, blake3: Digest) -> VaultResult<Option<Place>> {
        let shard = self.shard_for(size).await?;
        let found = shard.binary_search_by(|entry| (entry.size, entry.blake3).cmp(&(size, blake3)));
        Ok(found.ok().and_then(|at| shard.get(at)).map(|entry| entry.place.clone()))
    }
}

/// The first line of a shard in which something is compressed. A release that knows nothing of that takes the shard for a
/// damaged one, which is as it should be.
#[derive(Serialize, Deserialize)]
struct ShardHead {
    version: u32,
}

/// Version of such a shard.
const VERSION: u32 = 2;

/// A shard's bytes from its entries, which ascend by size and digest.
pub(super) fn encode(entries: &[IndexEntry]) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
    if entries.iter().any(|entry| entry.place.zstd.is_some()) {
        serde_json::to_writer(&mut encoder, &ShardHead { version: VERSION })?;
        std::io::Write::write_all(&mut encoder, b"\n")?;
    }
    for entry in entries {
        serde_json::to_writer(&mut encoder, entry)?;
        std::io::Write::write_all(&mut encoder, b"\n")?;
    }
    encoder.finish()
}

/// Understands a shard's object. Every key in it lies in a `data/` folder of `cluster`.
pub fn parse_index_shard(key: &str, body: &[u8], cluster: &ClusterName) -> VaultResult<Vec<IndexEntry>> {
    let bad = |why: String| VaultError::malformed(key, why);
    let mut lines = Lines::of(body, MAX_SHARD).map_err(|e| bad(e.to_string()))?;
    let mut entries: Vec<IndexEntry> = Vec::new();
    let mut is_first = true;
    while let Some(line) = lines.next().map_err(|e| bad(e.to_string()))? {
        if std::mem::take(&mut is_first)
            && let Ok(ShardHead { version }) = serde_json::from_slice(line)
        {
            if version != VERSION {
                return Err(bad(format!("version {version} is not known here")));
            }
            continue;
        }
        let entry: IndexEntry = serde_json::from_slice(line).map_err(|e| bad(e.to_string()))?;
        let forbidden = |cause| VaultError::ForbiddenKey { inside: key.to_owned(), cause };
        let (owner, _) = layout::owner_of(&entry.place.key).map_err(forbidden)?;
        if owner != *cluster {
            return Err(bad(format!("{} is another cluster's", entry.place.key)));
        }
        let after = |last: &IndexEntry| (last.size, last.blake3) < (entry.size, entry.blake3);
        if !entries.last().is_none_or(after) {
            return Err(bad("its lines are out of order".to_owned()));
        }
        entries.push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_grow_with_the_backup_and_hold_every_size() {
        assert_eq!(shard_count(0), 1);
        assert_eq!(shard_count(SHARD_ENTRIES + 1), 2);
        assert_eq!(shard_count(u64::MAX >> 1), 256);
        for size in [0, 1, 10, 4096, u64::MAX] {
            assert!(shard_of(size, 7) < 7);
            assert_eq!(shard_of(size, 1), 0);
        }
        let used: std::collections::HashSet<_> = (0..1000).map(|size| shard_of(size, 16)).collect();
        assert_eq!(used.len(), 16, "sizes spread over the shards");
    }

    #[test]
    fn a_shard_that_names_what_it_may_not_is_refused() {
        let cluster = ClusterName::new("c").unwrap();
        let entry = |key: &str| IndexEntry {
            size: 1,
            blake3: Digest::of(b"x"),
            place: Place { key: key.into(), pack: None, zstd: None },
        };
        let read = |key: &str| parse_index_shard("k", &encode(&[entry(key)]).unwrap(), &cluster);
        assert_eq!(read("clusters/c/backups/b/data/x").unwrap().len(), 1);
        assert!(read("clusters/c/backups/b/data/../../x").is_err());
        assert!(read("clusters/d/backups/b/data/x").is_err());
    }

    #[test]
    fn a_shard_says_its_version_where_something_is_compressed() {
        let cluster = ClusterName::new("c").unwrap();
        let entry = |zstd| IndexEntry {
            size: 1,
            blake3: Digest::of(b"x"),
            place: Place { key: "clusters/c/backups/b/data/x".into(), pack: None, zstd },
        };
        for (entry, first) in [(entry(Some(9)), "{\"version\":2}"), (entry(None), "{\"size\":1")] {
            let shard = encode(std::slice::from_ref(&entry)).unwrap();
            assert!(zstd::decode_all(&shard[..]).unwrap().starts_with(first.as_bytes()));
            assert_eq!(parse_index_shard("k", &shard, &cluster).unwrap(), [entry]);
        }
        let newer = zstd::encode_all(&b"{\"version\":3}\n"[..], 1).unwrap();
        let refused = parse_index_shard("k", &newer, &cluster).unwrap_err().to_string();
        assert!(refused.contains("version 3"), "{refused}");
    }
}
