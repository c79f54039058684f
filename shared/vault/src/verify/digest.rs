//! Every byte against its digest: each object is read once, from its first byte to its last.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::{StreamExt, TryStreamExt};
use ringvault_core::task::FindingKind;
use tokio_util::sync::CancellationToken;

use super::{
    damage::{self, Damage},
    target::{Slot, Target},
    unless_stopped,
};
use crate::{
    content::StoredChecker,
    error::{VaultError, VaultResult},
    hash::HashKey,
    identity::Vault,
    progress::TransferProgress,
};

/// Objects read at the same time.
const AT_ONCE: usize = 4;

/// What reading came to.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) bytes: u64,
    pub(super) damaged: HashMap<String, Damage>,
}

impl Vault {
    /// Reads the targets, which are there and of the right size.
    pub(super) async fn check_digests(
        &self,
        targets: &BTreeMap<String, Target>,
        progress: &TransferProgress,
        stop: &CancellationToken,
    ) -> VaultResult<Read> {
        let checks = futures::stream::iter(targets).map(|(key, target)| async move {
            progress.set_current(key.clone());
            let (bytes, damage) = self.check_object(key, target, progress, stop).await?;
            progress.file_done();
            Ok::<_, VaultError>((key.clone(), bytes, damage))
        });
        let mut checks = std::pin::pin!(checks.buffer_unordered(AT_ONCE));
        let mut read = Read::default();
        while let Some((key, bytes, damage)) = checks.try_next().await? {
            read.bytes += bytes;
            read.damaged.extend(damage.map(|damage| (key, damage)));
        }
        Ok(read)
    }

    pub(super) async fn check_object(
        &self,
        key: &str,
        target: &Target,
        progress: &TransferProgress,
        stop: &CancellationToken,
    ) -> VaultResult<(u64, Option<Damage>)> {
        let mut check = SlotCheck::new(&target.slots, self.store().hash_key());
        let read = async {
            let mut pieces = self.store().get_stream(key, None).await?;
            while let Some(piece) = pieces.try_next().await? {
                unless_stopped(stop)?;
                check.take(&piece);
                progress.advance(piece.len() as u64);
            }
            Ok(())
        };
        match read.await {
            Ok(()) => {}
            Err(VaultError::Store(error)) => {
                let Some(kind) = damage::kind_of(&error) else { return Err(error.into()) };
                // The store itself found it damaged, by a checksum of its own.
                let kind = if kind == FindingKind::Truncated { FindingKind::Corrupt } else { kind };
                let slots = self.wrong_slots(key, target).await?;
                return Ok((check.at, Some(Damage { kind, detail: error.to_string(), slots })));
            }
            Err(error) => return Err(error),
        }
        let bytes = check.at;
        let wrong = check.finish();
        let detail = "the content is not what its manifest says".to_owned();
        let damage = (!wrong.is_empty()).then(|| Damage {
            kind: FindingKind::Corrupt,
            detail,
            slots: Some(wrong.into_iter().collect()),
        });
        Ok((bytes, damage))
    }
}

impl Vault {
    /// The contents of an encrypted pack that cannot be read, one by one: reading it in one go ends at its first
    /// bad block, and the others are sound. `None`: all of it.
    async fn wrong_slots(&self, key: &str, target: &Target) -> VaultResult<Option<HashSet<Slot>>> {
        if target.slots.len() < 2 || !self.store().hash_key().is_keyed() {
            return Ok(None);
        }
        let mut wrong = HashSet::new();
        for slot in &target.slots {
            if self.read_slot(&slot.at(key), slot).await?.is_none() {
                wrong.insert(*slot);
            }
        }
        Ok((!wrong.is_empty()).then_some(wrong))
    }
}

/// A slot whose bytes go by.
enum Under {
    Way(Box<StoredChecker>),
    /// They have, and it was right or not.
    Over(bool),
}

impl Under {
    fn is_right(&self) -> bool {
        match self {
            Self::Way(checker) => checker.is_right(),
            Self::Over(right) => *right,
        }
    }
}

/// Hashes the slots of an object while its bytes go by. Slots may meet or overlap.
struct SlotCheck<'a> {
    slots: &'a [Slot],
    hash_key: HashKey,
    /// The first slot that is not behind `at`.
    first: usize,
    /// Of the slots from `first` on that have begun.
    hashers: Vec<Under>,
    wrong: Vec<Slot>,
    /// Bytes that went by.
    at: u64,
}

impl<'a> SlotCheck<'a> {
    fn new(slots: &'a [Slot], hash_key: HashKey) -> Self {
        Self { slots, hash_key, first: 0, hashers: Vec::new(), wrong: Vec::new(), at: 0 }
    }

    fn take(&mut self, piece: &[u8]) {
        let (start, end) = (self.at, self.at + piece.len() as u64);
        for (n, slot) in self.slots.iter().enumerate().skip(self.first) {
            if slot.offset >= end {
                break;
            }
            while self.hashers.len() <= n - self.first {
                let slot = &self.slots[self.first + self.hashers.len()];
                self.hashers.push(Under::Way(Box::new(slot.checker(&self.hash_key))));
            }
            let from = usize::try_from(slot.offset.max(start) - start).unwrap_or(piece.len());
            let to = usize::try_from(slot.end().min(end).saturating_sub(start)).unwrap_or(piece.len());
            let Some(under) = self.hashers.get_mut(n - self.first) else { continue };
            if let (Some(bytes), Under::Way(checker)) = (piece.get(from..to), &mut *under) {
                checker.take(bytes);
                // At once: what decompresses takes memory, and there may be many in a piece.
                if slot.end() <= end {
                    *under = Under::Over(checker.is_right());
                }
            }
        }
        self.at = end;
        self.drop_finished();
    }

    /// Judges the slots at the front that are wholly behind.
    fn drop_finished(&mut self) {
        let mut done = 0;
        while let (Some(slot), Some(hasher)) = (self.slots.get(self.first + done), self.hashers.get(done)) {
            if slot.end() > self.at {
                break;
            }
            if !hasher.is_right() {
                self.wrong.push(*slot);
            }
            done += 1;
        }
        self.first += done;
        self.hashers.drain(..done);
    }

    /// The slots whose content is another, or did not come.
    fn finish(mut self) -> Vec<Slot> {
        let mut begun = self.hashers.into_iter();
        for slot in self.slots.iter().skip(self.first) {
            if !begun.next().map_or_else(|| slot.checker(&self.hash_key).is_right(), |under| under.is_right())
            {
                self.wrong.push(*slot);
            }
        }
        self.wrong
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{checksum::Checksum, hash::Digest};

    fn slot(content: &[u8], offset: usize, size: usize) -> Slot {
        let checksum = Checksum::Blake3(Digest::of(&content[offset..offset + size]));
        Slot { offset: offset as u64, size: size as u64, checksum, zstd: None }
    }

    proptest! {
        #[test]
        fn exactly_the_slots_with_a_changed_byte_are_wrong(
            len in 1usize..200,
            spans in proptest::collection::vec((0usize..200, 0usize..60), 0..12),
            flip in proptest::option::of(0usize..200),
            piece in 1usize..50,
        ) {
            let content: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let mut slots: Vec<_> = spans
                .into_iter()
                .map(|(offset, size)| (offset.min(len), size))
                .map(|(offset, size)| slot(&content, offset, size.min(len - offset)))
                .collect();
            slots.sort_unstable();
            slots.dedup();
            let mut stored = content.clone();
            let flip = flip.filter(|at| *at < len);
            if let Some(at) = flip {
                stored[at] ^= 1;
            }
            let mut check = SlotCheck::new(&slots, HashKey::default());
            for piece in stored.chunks(piece) {
                check.take(piece);
            }
            let mut wrong = check.finish();
            wrong.sort_unstable();
            let hit = |slot: &Slot| flip.is_some_and(|at| (slot.offset..slot.end()).contains(&(at as u64)));
            let expected: Vec<_> = slots.iter().copied().filter(hit).collect();
            prop_assert_eq!(wrong, expected);
        }
    }
}
