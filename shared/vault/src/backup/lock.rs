//! The locks of a backup: before it is sealed, all that it names is locked until its period is over.
//!
//! What a backup brings is locked as it is put, for its period and some time more. What it reuses may be locked for
//! less: that is made longer here, an object a request, all of a folder's that the backup names, and then for longer
//! than needed, so that the next backups find nothing to do.
//!
//! **How a lock is known without asking.** A seal says for each backup's folder until when *all* that it names there
//! is locked, at least. An object that is reused was named by one of the backups that its node was offered
//! ([`Header::bases`]); so the earliest of what these say of its folder holds for it. Who says nothing, a release or
//! settings without locks, makes the folder's locks unknown, and all are set.
//!
//! Locks are never made shorter, so whatever goes wrong on the way costs time in the store and loses nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use ringvault_core::{BackupName, ClusterName};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};

use super::{SealPlace, StartRecord};
use crate::{
    config::{LockConfig, LockMode},
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
    manifest::{Header, ManifestFile},
};

/// How far a worker's clock may be behind that of the scheduler, which says when a backup began: S3 refuses
/// requests from there on.
const SKEW: TimeDelta = TimeDelta::minutes(15);
/// Locks that are set at the same time.
const AT_ONCE: usize = 16;

/// What a seal says of the locks of what it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealLock {
    /// Who may end them before their time.
    pub mode: LockMode,
    /// Until then nothing that the backup needs can be deleted.
    pub until: DateTime<Utc>,
    /// Of each backup in whose folder some of it lies: until when all of that is locked, at least.
    pub folders: BTreeMap<BackupName, DateTime<Utc>>,
}

/// Whose locks are known, and until when: pure.
///
/// `bases` are the locks that the seals of the backups say which were offered to the nodes, `None` of one that says
/// nothing though it names something of the folder.
fn known_until(
    folder: &BackupName,
    bases: &[(&BTreeSet<BackupName>, Option<&SealLock>)],
) -> Option<DateTime<Utc>> {
    let mut least = None;
    for (names, lock) in bases {
        if !names.contains(folder) {
            continue;
        }
        let until = *lock.as_ref()?.folders.get(folder)?;
        least = Some(least.map_or(until, |least: DateTime<Utc>| least.min(until)));
    }
    least
}

/// Until when all that the nodes brought is locked, at least; `None` where a node did not say.
fn brought_until(start: &StartRecord, headers: &[Header]) -> Option<DateTime<Utc>> {
    let least = headers.iter().map(|header| header.locked_for).min().flatten()?;
    let least = TimeDelta::try_seconds(i64::try_from(least).ok()?)?;
    // Nothing was put before the backup began.
    start.started_at.checked_add_signed(least - SKEW.min(least))
}

impl Vault {
    /// Sees to it that all that the backup names, and what the vault cannot be opened without, is locked for the
    /// backup's period, which is this vault's ([`Vault::locking_for`]). `nodes` says of each manifest in whose folders lies what it names.
    pub(super) async fn lock_backup(
        &self,
        start: &StartRecord,
        headers: &[Header],
        manifests: &[ManifestFile],
        reuses: &BTreeSet<BackupName>,
    ) -> VaultResult<Option<SealLock>> {
        let Some(settings) = self.store().lock() else { return Ok(None) };
        let LockConfig { mode, .. } = *settings;
        let (cluster, backup) = (&start.cluster, &start.backup);
        let until = start.started_at + settings.period();
        let mut folders = BTreeMap::new();
        let mut short = BTreeSet::new();
        let bases: BTreeSet<&BackupName> = headers.iter().flat_map(|header| &header.bases).collect();
        let bases = self.locks_of(cluster, &bases).await?;
        let bases: Vec<_> = bases.iter().map(|(names, lock)| (names, lock.as_ref())).collect();
        for folder in reuses.iter().chain([backup]) {
            let known =
                if folder == backup { brought_until(start, headers) } else { known_until(folder, &bases) };
            match known.filter(|known| *known >= until) {
                Some(known) => {
                    folders.insert(folder.clone(), known);
                }
                None => {
                    short.insert(folder.clone());
                }
            }
        }
        let now = Utc::now();
        // As long as a lock that is set now lasts, and never less than what is needed.
        let longer = until.max(now + settings.set_for());
        if !short.is_empty() {
            let names = Arc::new(self.names_in(cluster, manifests, short.clone()).await?);
            let count = names.len();
            self.lock_keys(names.iter().cloned(), longer).await?;
            tracing::info!(%cluster, %backup, objects = count, until = %longer, "locks made longer");
            folders.extend(short.iter().map(|folder| (folder.clone(), longer)));
            if short.contains(backup) {
                let records = [layout::start(cluster, backup)].into_iter();
                let manifests = manifests.iter().map(|manifest| manifest.key().to_owned());
                let schemas =
                    headers.iter().map(|header| layout::schema(cluster, backup, &header.schema_hash));
                self.lock_keys(records.chain(manifests).chain(schemas.collect::<BTreeSet<_>>()), longer)
                    .await?;
            }
        }
        self.lock_identity(until, longer).await?;
        Ok(Some(SealLock { mode, until, folders }))
    }

    /// Of each of these backups the folders that it names something in, and its locks.
    async fn locks_of(
        &self,
        cluster: &ClusterName,
        backups: &BTreeSet<&BackupName>,
    ) -> VaultResult<Vec<(BTreeSet<BackupName>, Option<SealLock>)>> {
        let read = futures::stream::iter(backups.iter().map(|backup| (*backup).clone()).collect::<Vec<_>>());
        let read = read.map(|backup| async move {
            match self.seal_place(cluster, &backup).await {
                Ok(SealPlace::Sealed(seal)) => {
                    let names = seal.nodes.iter().flat_map(|node| node.reuses.iter().cloned()).collect();
                    Ok((names, seal.lock))
                }
                // Nobody knows what it named, so of no folder that it may have named the locks are known.
                Ok(_) | Err(VaultError::Malformed { .. }) => {
                    let names = self.backup_names(cluster).await?.into_iter().collect();
                    Ok((names, None))
                }
                Err(error) => Err(error),
            }
        });
        read.buffered(super::PARALLEL).try_collect().await
    }

    /// The keys that the manifests name in these backups' folders.
    async fn names_in(
        &self,
        cluster: &ClusterName,
        manifests: &[ManifestFile],
        folders: BTreeSet<BackupName>,
    ) -> VaultResult<HashSet<String>> {
        let mut names = HashSet::new();
        for manifest in manifests {
            let (mut reader, inside) = (manifest.reader()?, manifest.key().to_owned());
            let (cluster, folders) = (cluster.clone(), folders.clone());
            let read = tokio::task::spawn_blocking(move || {
                while let Some(entry) = reader.next_entry()? {
                    for component in entry.components() {
                        let key = &component.place.key;
                        let forbidden = |cause| VaultError::ForbiddenKey { inside: inside.clone(), cause };
                        let (of, backup) = layout::owner_of(key).map_err(forbidden)?;
                        if of == cluster && folders.contains(&backup) && !names.contains(key) {
                            names.insert(key.clone());
                        }
                    }
                }
                Ok::<_, VaultError>(names)
            });
            names = read.await.map_err(|e| VaultError::Internal(e.to_string()))??;
        }
        Ok(names)
    }

    async fn lock_keys(&self, keys: impl Iterator<Item = String>, until: DateTime<Utc>) -> VaultResult<()> {
        // By value: futures of borrowed items cannot be sent to another thread.
        let keys: Vec<String> = keys.collect();
        let set = futures::stream::iter(keys)
            .map(|key| async move { around!("vault.lock").run(self.store().extend_lock(&key, until)).await });
        set.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        Ok(())
    }

    /// Locks what the vault cannot be opened without.
    async fn lock_identity(&self, until: DateTime<Utc>, longer: DateTime<Utc>) -> VaultResult<()> {
        let mut keys = vec![layout::VAULT.to_owned()];
        let mut found = self.store().list(layout::KEYS);
        while let Some(object) = found.try_next().await? {
            keys.push(object.key);
        }
        let mut short = Vec::new();
        for key in keys {
            if self.store().locked_until(&key).await?.is_none_or(|locked| locked < until) {
                short.push(key);
            }
        }
        self.lock_keys(short.into_iter(), longer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> BackupName {
        BackupName::new(text).unwrap()
    }

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(day)
    }

    fn lock(folders: &[(&str, i64)]) -> SealLock {
        let folders = folders.iter().map(|(folder, day)| (name(folder), at(*day))).collect();
        SealLock { mode: LockMode::Governance, until: at(1), folders }
    }

    #[test]
    fn a_folder_is_locked_as_long_as_the_earliest_of_its_bases_says() {
        let names = |texts: &[&str]| texts.iter().map(|text| name(text)).collect::<BTreeSet<_>>();
        let (whole, table, old) = (names(&["a", "b"]), names(&["a"]), names(&["b"]));
        let (of_whole, of_table) = (lock(&[("a", 20), ("b", 9)]), lock(&[("a", 12)]));
        let both = [(&whole, Some(&of_whole)), (&table, Some(&of_table))];
        assert_eq!(known_until(&name("a"), &both), Some(at(12)));
        assert_eq!(known_until(&name("b"), &both), Some(at(9)), "the other names nothing there");
        assert_eq!(known_until(&name("c"), &both), None, "nobody names it");
        let with_old = [(&whole, Some(&of_whole)), (&old, None)];
        assert_eq!(known_until(&name("b"), &with_old), None, "one that says nothing");
        assert_eq!(known_until(&name("a"), &with_old), Some(at(20)));
    }
}
