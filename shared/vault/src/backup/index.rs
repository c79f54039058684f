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

use super::shard::{MAX_SHARD, Shard, parse_index_shard};
use crate::{
    error::{VaultError, VaultResult},
    hash::Digest,
    layout,
    manifest::Place,
    store::Store,
    upload::ContentIndex,
};

/// Requests for small objects under way at the same time.
pub(crate) const PARALLEL: usize = 16;
/// Contents kept in memory, over all shards but the last that was asked for: some thirty megabytes.
const CACHED: usize = 1 << 18;
/// Contents that a shard is meant to have.
const SHARD_ENTRIES: u64 = 1 << 15;
/// Most shards.
const MAX_SHARDS: u64 = 256;

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
    cached: Mutex<VecDeque<(u32, Arc<Shard>)>>,
}

impl SealIndex {
    /// The index that a seal names.
    pub fn new(store: Store, cluster: ClusterName, backup: BackupName, index: IndexRef) -> Self {
        Self { store, cluster, backup, index, cached: Mutex::default() }
    }

    async fn shard_for(&self, size: u64) -> VaultResult<Arc<Shard>> {
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
            let mut held = shard.len();
            let fit = cached.iter().take_while(|(_, other)| {
                held = held.saturating_add(other.len());
                held <= CACHED
            });
            let fit = fit.count();
            cached.truncate(fit);
            cached.push_front((number, shard));
        }
        Ok(cached.front().map(|(_, shard)| shard.clone()).unwrap_or_default())
    }

    /// Reads one shard; empty, with a warning, when it is missing or damaged.
    async fn load(&self, number: u32) -> VaultResult<Shard> {
        let key = layout::index_shard(&self.cluster, &self.backup, number);
        let read = async {
            let body = self.store.get(&key, MAX_SHARD).await?;
            let expected = self.index.shards.get(number as usize);
            if expected != Some(&Digest::of(&body)) {
                return Err(VaultError::malformed(&key, "it is not the shard that the seal names"));
            }
            let (key, cluster) = (key.clone(), self.cluster.clone());
            let parsed = tokio::task::spawn_blocking(move || parse_index_shard(&key, &body, &cluster)).await;
            parsed.map_err(|e| VaultError::Internal(e.to_string()))?
        };
        match read.await {
            Ok(shard) => Ok(shard),
            Err(VaultError::Store(error)) if !error.is_damage() => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "a shard of the last index is of no use: its contents are brought again");
                Ok(Shard::default())
            }
        }
    }
}

#[async_trait]
impl ContentIndex for SealIndex {
    async fn has_size(&self, size: u64) -> VaultResult<bool> {
        Ok(self.shard_for(size).await?.has_size(size))
    }

    async fn find(&self, size: u64, blake3: Digest) -> VaultResult<Option<Place>> {
        Ok(self.shard_for(size).await?.find(size, blake3))
    }
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
}
