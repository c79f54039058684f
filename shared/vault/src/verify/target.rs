//! The objects that one shard checks, and what they should hold.

use std::{collections::BTreeMap, num::NonZeroU64, sync::Arc};

use ringvault_core::{HostId, task::CheckTask};

use crate::{
    checksum::{Checksum, EntityTag},
    content::StoredChecker,
    error::{VaultError, VaultResult},
    hash::{Digest, HashKey},
    manifest::{Component, ManifestFile, PackSlot, Place},
};

/// A content within an object; the whole of it, where it is no pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot {
    /// First byte.
    pub(super) offset: u64,
    /// Bytes of the content.
    pub(super) size: u64,
    /// The content.
    pub(super) checksum: Checksum,
    /// Bytes it takes, where it is compressed.
    pub(super) zstd: Option<NonZeroU64>,
}

impl Slot {
    pub(super) fn of(component: &Component) -> Self {
        let Component { size, checksum, place, .. } = component;
        Self {
            offset: place.offset(),
            size: *size,
            checksum: *checksum,
            zstd: place.zstd.and_then(NonZeroU64::new),
        }
    }

    /// Where it lies in the object of this key, which may hold more: a range of it.
    pub(super) fn at(&self, key: &str) -> Place {
        let pack = Some(PackSlot { offset: self.offset, size: self.end() });
        Place { key: key.to_owned(), pack, zstd: self.zstd() }
    }

    /// Holds what goes by against it.
    pub(super) fn checker(&self, key: &HashKey) -> StoredChecker {
        StoredChecker::new(self.checksum, self.size, self.zstd.is_some(), key)
    }

    /// Bytes it takes in the object.
    pub(super) fn stored(&self) -> u64 {
        self.zstd().unwrap_or(self.size)
    }

    /// Bytes it takes, where it is compressed.
    pub(super) fn zstd(&self) -> Option<u64> {
        self.zstd.map(NonZeroU64::get)
    }

    /// Behind its last byte in the object.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.stored())
    }
}

/// What an object should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Target {
    /// Bytes.
    pub(super) size: u64,
    /// Its contents, ascending, once each.
    pub(super) slots: Vec<Slot>,
}

impl Target {
    /// Whether the object must have the size that is expected.
    pub(super) fn fixes_size(&self) -> bool {
        self.slots.iter().all(|slot| slot.checksum.fixes_size())
    }

    /// The tag that the store must give it, where it is another's object.
    pub(super) fn tag(&self) -> Option<EntityTag> {
        self.slots.iter().find_map(|slot| slot.checksum.tag())
    }
}

/// Whether `key` belongs to this shard: by a hash, so that every shard gets objects of all kinds.
pub(super) fn is_mine(key: &str, task: &CheckTask) -> bool {
    let digest = Digest::of(key.as_bytes());
    let [a, b, c, d, ..] = *digest.as_bytes();
    u32::from_le_bytes([a, b, c, d]) % task.shards.max(1) == task.shard
}

/// Adds a content to the object it lies in.
pub(super) fn add(targets: &mut BTreeMap<String, Target>, component: &Component) {
    let target = targets.entry(component.place.key.clone()).or_default();
    target.size = target.size.max(component.place.object_size(component.size));
    target.slots.push(Slot::of(component));
}

/// The objects of the task's shard, by key.
pub(super) async fn of_shard(
    manifests: &Arc<Vec<(HostId, ManifestFile)>>,
    task: &CheckTask,
) -> VaultResult<BTreeMap<String, Target>> {
    let (manifests, task) = (manifests.clone(), task.clone());
    let read = tokio::task::spawn_blocking(move || {
        let mut targets: BTreeMap<String, Target> = BTreeMap::new();
        for (_, manifest) in manifests.iter() {
            let mut reader = manifest.reader()?;
            while let Some(entry) = reader.next_entry()? {
                for component in entry.components() {
                    let key = &component.place.key;
                    if is_mine(key, &task) {
                        add(&mut targets, component);
                    }
                }
            }
        }
        for target in targets.values_mut() {
            target.slots.sort_unstable();
            target.slots.dedup();
        }
        Ok(targets)
    });
    read.await.map_err(|e| VaultError::Internal(e.to_string()))?
}
