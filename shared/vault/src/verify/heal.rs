//! Healing: what a later backup brought again is copied over a damaged object, for the older backups
//! that name it.
//!
//! An object is written over only with content whose digest is the one its manifests name, and only
//! if every content that living backups name in it can be had; so a heal never makes it worse. It is
//! read once more before its marker is written over as healed.
//!
//! Read are the manifests that name something of the damaged objects' folders, as their seals say;
//! where else a content lies is asked of the indexes of the last seals.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use ringvault_core::{BackupName, ClusterName, HostId};
use ringvault_fault::around;
use tokio_util::sync::CancellationToken;

use super::{
    target::{self, Slot, Target},
    unless_stopped,
};
use crate::{
    backup::{SealIndex, SealPlace, SealRecord},
    bad::BadRecord,
    checksum::Checksum,
    compress::compressed,
    content::{self, StoredChecker},
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
    manifest::{ManifestFile, Place},
    progress::TransferProgress,
    upload::ContentIndex as _,
};

/// Largest pack that is put together in memory, in bytes: the largest that an upload may make.
const MAX_PACK: u64 = 1 << 30;
/// Seals whose indexes are asked for a content.
const INDEXES: usize = 8;

/// What a heal came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealOutcome {
    /// Objects that are sound again.
    pub healed: Vec<String>,
    /// Objects that are still damaged: the last backups have not brought their content elsewhere.
    pub left: Vec<String>,
}

type Manifests = Arc<Vec<(HostId, ManifestFile)>>;
/// A content, by size and checksum.
type Content = (u64, Checksum);

/// The backups of a cluster, as a heal looks at them.
struct Living {
    /// The last sealed first.
    seals: Vec<SealRecord>,
    /// When the first backup that is neither sealed nor dead was begun.
    running_since: Option<DateTime<Utc>>,
    /// Whether some record could not be read, so that nobody knows what it names.
    unknown: bool,
}

impl Vault {
    /// Heals every damaged object of the cluster whose content is in the vault elsewhere. Without
    /// markers it costs one request. What fails on the way is left, and the rest goes on.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn heal(&self, cluster: &ClusterName, stop: &CancellationToken) -> VaultResult<HealOutcome> {
        let mut markers: BTreeMap<String, BadRecord> = BTreeMap::new();
        for marker in self.bad_records(cluster).await?.into_iter().filter(|bad| bad.healed_at.is_none()) {
            markers.insert(marker.key.clone(), marker);
        }
        if markers.is_empty() {
            return Ok(HealOutcome::default());
        }
        let mut living = self.living(cluster).await?;
        let bad: Arc<HashSet<String>> = Arc::new(markers.keys().cloned().collect());
        let manifests = self.manifests_naming(&bad, &mut living).await?;
        let targets = {
            let (manifests, bad) = (manifests.clone(), bad.clone());
            let read = tokio::task::spawn_blocking(move || targets_of(&manifests, &bad));
            read.await.map_err(|e| VaultError::Internal(e.to_string()))??
        };
        let sources = self.sources_of(cluster, &living.seals, &targets, &bad).await?;
        let mut outcome = HealOutcome::default();
        for (key, marker) in markers {
            unless_stopped(stop)?;
            let Some(target) = targets.get(&key) else {
                // A backup that began before the marker stood may have come to name it.
                let may_be_named =
                    living.unknown || living.running_since.is_some_and(|since| since <= marker.found_at);
                if !may_be_named {
                    self.mark_healed(cluster, &marker).await?;
                }
                continue;
            };
            let healed = async {
                let healed = self.heal_object(&key, target, &sources, stop).await?;
                if healed {
                    self.mark_healed(cluster, &marker).await?;
                }
                Ok::<_, VaultError>(healed)
            };
            match healed.await {
                Ok(true) => outcome.healed.push(key),
                Ok(false) => outcome.left.push(key),
                Err(VaultError::Cancelled) => return Err(VaultError::Cancelled),
                Err(error) => {
                    tracing::warn!(%cluster, key, %error, "a damaged object could not be healed now");
                    outcome.left.push(key);
                }
            }
        }
        Ok(outcome)
    }

    async fn living(&self, cluster: &ClusterName) -> VaultResult<Living> {
        let mut living = Living { seals: Vec::new(), running_since: None, unknown: false };
        for (backup, entry) in self.backups_leniently(cluster).await? {
            let entry = match entry {
                Ok(Some(entry)) => entry,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%cluster, %backup, %error, "a damaged record heals nothing");
                    living.unknown = true;
                    continue;
                }
            };
            match entry.place {
                SealPlace::Sealed(seal) if entry.expired_by.is_none() => living.seals.push(*seal),
                SealPlace::Empty => {
                    let began = entry.start.started_at;
                    living.running_since = Some(living.running_since.map_or(began, |first| first.min(began)));
                }
                _ => {}
            }
        }
        living.seals.sort_by_key(|seal| std::cmp::Reverse(seal.sealed_at));
        Ok(living)
    }

    /// The manifests of living backups that name something in the folders of the damaged objects.
    async fn manifests_naming(&self, bad: &HashSet<String>, living: &mut Living) -> VaultResult<Manifests> {
        let folders: BTreeSet<BackupName> =
            bad.iter().filter_map(|key| layout::owner_of(key).ok()).map(|(_, backup)| backup).collect();
        let mut manifests = Vec::new();
        for node in living.seals.iter().flat_map(|seal| &seal.nodes) {
            if node.reuses.is_disjoint(&folders) {
                continue;
            }
            match self.open_manifest(node).await {
                Ok(manifest) => manifests.push((node.host_id, manifest)),
                Err(error) if super::records::is_damage(&error) => {
                    tracing::warn!(%error, "a damaged manifest heals nothing");
                    living.unknown = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Arc::new(manifests))
    }

    /// Where else the contents of the damaged objects are.
    async fn sources_of(
        &self,
        cluster: &ClusterName,
        newest_first: &[SealRecord],
        targets: &BTreeMap<String, Target>,
        bad: &HashSet<String>,
    ) -> VaultResult<HashMap<Content, Place>> {
        let indexes: Vec<_> = newest_first
            .iter()
            .take(INDEXES)
            .map(|seal| {
                let (of, index) = (seal.start.backup.clone(), seal.index.clone());
                SealIndex::new(self.store().clone(), cluster.clone(), of, index)
            })
            .collect();
        let mut sources = HashMap::new();
        for slot in targets.values().flat_map(|target| &target.slots) {
            if sources.contains_key(&(slot.size, slot.checksum)) {
                continue;
            }
            for index in &indexes {
                let Some(blake3) = slot.checksum.blake3() else { continue };
                let place = index.find(slot.size, blake3).await?;
                if let Some(place) = place.filter(|place| !bad.contains(&place.key)) {
                    sources.insert((slot.size, slot.checksum), place);
                    break;
                }
            }
        }
        Ok(sources)
    }

    /// Makes one object sound. `false`: some content of it is nowhere.
    async fn heal_object(
        &self,
        key: &str,
        target: &Target,
        sources: &HashMap<Content, Place>,
        stop: &CancellationToken,
    ) -> VaultResult<bool> {
        if self.is_sound(key, target, stop).await? {
            return Ok(true);
        }
        match target.slots[..] {
            [slot] if slot.offset == 0 && slot.stored() == target.size => {
                let Some(source) = sources.get(&(slot.size, slot.checksum)) else { return Ok(false) };
                if source.pack.is_none() && source.zstd == slot.zstd() {
                    let whole = Target { size: slot.stored(), slots: vec![slot] };
                    if !self.is_sound(&source.key, &whole, stop).await? {
                        return Ok(false);
                    }
                    around!("vault.heal-copy").run(self.store().copy(&source.key, key)).await?;
                } else {
                    let Some(content) = self.read_as(source, &slot).await? else { return Ok(false) };
                    around!("vault.heal-file").run(self.store().put(key, content)).await?;
                }
            }
            _ => {
                let Some(pack) = self.rebuild_pack(key, target, sources).await? else { return Ok(false) };
                around!("vault.heal-pack").run(self.store().put(key, pack)).await?;
            }
        }
        self.is_sound(key, target, stop).await
    }

    /// A pack's bytes: each content from elsewhere, or from the damaged pack where it is sound there;
    /// what no living backup names is zeros.
    async fn rebuild_pack(
        &self,
        key: &str,
        target: &Target,
        sources: &HashMap<Content, Place>,
    ) -> VaultResult<Option<Bytes>> {
        if target.size > MAX_PACK {
            return Ok(None);
        }
        let mut pack = BytesMut::zeroed(usize::try_from(target.size).unwrap_or_default());
        for slot in &target.slots {
            let mut content = self.read_slot(&slot.at(key), slot).await?;
            if let (None, Some(source)) = (&content, sources.get(&(slot.size, slot.checksum))) {
                content = self.read_as(source, slot).await?;
            }
            let range = usize::try_from(slot.offset).ok().zip(usize::try_from(slot.end()).ok());
            match (content, range.and_then(|(from, to)| pack.get_mut(from..to))) {
                (Some(content), Some(room)) => room.copy_from_slice(&content),
                _ => return Ok(None),
            }
        }
        Ok(Some(pack.freeze()))
    }

    /// The slot's content, which lies at `source` too, as the slot stores it; `None` where it is not what it should be,
    /// or is compressed to another length here (by another release of zstd).
    async fn read_as(&self, source: &Place, slot: &Slot) -> VaultResult<Option<Bytes>> {
        if slot.size.max(source.stored(slot.size)) > MAX_PACK {
            return Ok(None);
        }
        let Some(stored) = self.read_slot(source, slot).await? else { return Ok(None) };
        if source.zstd == slot.zstd() {
            return Ok(Some(stored));
        }
        let plain = content::unpacked(source, slot.size, stored)?;
        if slot.zstd.is_none() {
            return Ok(Some(plain));
        }
        let compressed = tokio::task::spawn_blocking(move || compressed(&plain)).await;
        let compressed = compressed.map_err(|e| VaultError::Internal(e.to_string()))?;
        let compressed = compressed.map_err(|e| VaultError::Internal(e.to_string()))?;
        Ok(compressed.filter(|bytes| Some(bytes.len() as u64) == slot.zstd()))
    }

    /// Reads the slot's content at `source`, as it is stored there; `None` where it is not what it should be.
    pub(super) async fn read_slot(&self, source: &Place, slot: &Slot) -> VaultResult<Option<Bytes>> {
        match self.store().get_range(&source.key, source.offset(), source.stored(slot.size)).await {
            Ok(stored) => {
                let key = self.store().hash_key();
                let mut checker = StoredChecker::new(slot.checksum, slot.size, source.zstd.is_some(), &key);
                checker.take(&stored);
                Ok(checker.is_right().then_some(stored))
            }
            Err(error) if super::damage::kind_of(&error).is_some() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn is_sound(&self, key: &str, target: &Target, stop: &CancellationToken) -> VaultResult<bool> {
        match self.store().head(key).await {
            Ok(info) if info.size == self.store().stored_size(key, target.size) => {}
            Ok(_) => return Ok(false),
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let (_, damage) = self.check_object(key, target, &TransferProgress::new(), stop).await?;
        Ok(damage.is_none())
    }
}

/// What the damaged objects should hold, as far as living backups name it.
fn targets_of(manifests: &Manifests, bad: &HashSet<String>) -> VaultResult<BTreeMap<String, Target>> {
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    for (_, manifest) in manifests.iter() {
        let mut reader = manifest.reader()?;
        while let Some(entry) = reader.next_entry()? {
            for component in entry.components().iter().filter(|c| bad.contains(&c.place.key)) {
                target::add(&mut targets, component);
            }
        }
    }
    for target in targets.values_mut() {
        target.slots.sort_unstable();
        target.slots.dedup();
    }
    Ok(targets)
}
