//! Step three, the reading part: whose folders are looked through, and what in them stays.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt};
use ringvault_core::{BackupName, ClusterName};

use super::{Standing, standing};
use crate::{
    backup::{BackupEntry, SealPlace},
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
    manifest::ManifestFile,
    store::ObjectInfo,
};

/// Manifests read at the same time.
const MANIFESTS_AT_ONCE: usize = 4;
/// Times the records are read anew because another purge ended in between.
const TRIES: usize = 20;

/// What purge `n` may take.
#[derive(Debug)]
pub(super) struct Survey {
    /// The backups whose folders are looked through.
    pub(super) gone: BTreeMap<BackupName, Standing>,
    /// Objects in these folders that living backups name.
    pub(super) named: HashSet<String>,
}

/// What a purge of some backups would take away now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PurgePreview {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Backups that are running: they may come to name some of these, and are waited for.
    pub waits_on: Vec<BackupName>,
}

impl Vault {
    /// What a purge of `expire` would take away, with what earlier purges and dead backups left.
    /// Changes nothing.
    pub async fn purge_preview(
        &self,
        cluster: &ClusterName,
        expire: &[BackupName],
    ) -> VaultResult<PurgePreview> {
        let n = self.read_intents(cluster).await?.next_number();
        let survey = self.survey(cluster, n, expire).await?;
        let mut preview = PurgePreview::default();
        for backup in survey.gone.keys() {
            let mut objects = self.store().list(&layout::data_folder(cluster, backup));
            while let Some(object) = objects.try_next().await? {
                if survey.condemns(&object) {
                    preview.objects += 1;
                    preview.bytes = preview.bytes.saturating_add(object.size);
                }
            }
        }
        preview.waits_on = self.unsealed_backups(cluster).await?;
        Ok(preview)
    }

    /// Reads what purge `n` decides by; `also` counts as expired by it.
    pub(super) async fn survey(
        &self,
        cluster: &ClusterName,
        n: u64,
        also: &[BackupName],
    ) -> VaultResult<Survey> {
        let mut tombstones = None;
        for _ in 0..TRIES {
            let (mut backups, damaged) = self.backups_and_damaged(cluster).await?;
            // A tombstone says that whoever its purge waited for is sealed: read after it was seen,
            // the seals show that.
            let seen = tombstones_of(&backups);
            if tombstones.as_ref() != Some(&seen) {
                tombstones = Some(seen);
                continue;
            }
            for backup in &mut backups {
                if backup.expired_by.is_none() && also.contains(&backup.start.backup) {
                    backup.expired_by = Some(n);
                }
            }
            let gone: BTreeMap<_, _> = backups
                .iter()
                .map(|backup| (backup.start.backup.clone(), standing(backup, n)))
                .filter(|(_, standing)| standing.may_go())
                .collect();
            match self.named_in(cluster, &backups, &damaged, &gone, n).await {
                Ok(named) => return Ok(Survey { gone, named }),
                // The manifest went with its backup, by a later purge: the records have changed.
                Err(VaultError::Store(error)) if error.is_not_found() => {
                    let (now, _) = self.backups_and_damaged(cluster).await?;
                    if tombstones_of(&now) == tombstones_of(&backups) {
                        return Err(VaultError::Store(error));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let why = "other purges end all the time, so that its view never settles".to_owned();
        Err(VaultError::PurgeState { cluster: cluster.clone(), purge: n, why })
    }

    /// The objects in folders of `gone` that living backups name.
    async fn named_in(
        &self,
        cluster: &ClusterName,
        backups: &[BackupEntry],
        damaged: &[BackupName],
        gone: &BTreeMap<BackupName, Standing>,
        n: u64,
    ) -> VaultResult<HashSet<String>> {
        let gone: Arc<BTreeSet<BackupName>> = Arc::new(gone.keys().cloned().collect());
        let living = backups.iter().filter(|backup| standing(backup, n) == Standing::Living);
        let nodes = living.filter_map(|backup| match &backup.place {
            SealPlace::Sealed(seal) => Some(&seal.nodes),
            _ => None,
        });
        // The seal says of each node whose folders its manifest names.
        // Owned, so that the future may move between threads whatever it borrows.
        let mut manifests: Vec<_> = nodes
            .flatten()
            .filter(|node| !node.reuses.is_disjoint(&gone))
            .map(|node| (node.key.clone(), Some(node.blake3)))
            .collect();
        // Where nobody knows which manifests were accepted, or whether any were, all of them count.
        for backup in damaged {
            let mut objects = self.store().list(&layout::manifests_folder(cluster, backup));
            while let Some(object) = objects.try_next().await? {
                manifests.push((object.key, None));
            }
        }
        let read = futures::stream::iter(manifests).map(|(key, hash)| {
            let gone = gone.clone();
            async move {
                let fetched = ManifestFile::fetch(self.store(), &key, hash, self.scratch());
                names_of(fetched.await?, cluster.clone(), gone).await
            }
        });
        let sets: Vec<HashSet<String>> = read.buffer_unordered(MANIFESTS_AT_ONCE).try_collect().await?;
        Ok(sets.into_iter().flatten().collect())
    }
}

impl Survey {
    /// Whether an object, which lies in one of the folders looked through, goes.
    pub(super) fn condemns(&self, object: &ObjectInfo) -> bool {
        !self.named.contains(&object.key)
    }
}

fn tombstones_of(backups: &[BackupEntry]) -> BTreeSet<BackupName> {
    let is_tombstone = |backup: &&BackupEntry| matches!(backup.place, SealPlace::Tombstone(_));
    backups.iter().filter(is_tombstone).map(|backup| backup.start.backup.clone()).collect()
}

async fn names_of(
    manifest: ManifestFile,
    cluster: ClusterName,
    gone: Arc<BTreeSet<BackupName>>,
) -> VaultResult<HashSet<String>> {
    let read = tokio::task::spawn_blocking(move || {
        let mut names = HashSet::new();
        let mut reader = manifest.reader()?;
        while let Some(entry) = reader.next_entry()? {
            for component in entry.components() {
                let key = &component.place.key;
                // It lies in no folder of the vault.
                if component.checksum.is_foreign() {
                    continue;
                }
                let forbidden = |cause| VaultError::ForbiddenKey { inside: manifest.key().to_owned(), cause };
                let (of, backup) = layout::owner_of(key).map_err(forbidden)?;
                if of == cluster && gone.contains(&backup) && !names.contains(key) {
                    names.insert(key.clone());
                }
            }
        }
        Ok(names)
    });
    read.await.map_err(|e| VaultError::Internal(e.to_string()))?
}
