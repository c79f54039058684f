//! Steps two and three of a backup: what it may reuse.
//!
//! The order is the protocol's: this backup's `start.json` stands; then the purge intents are read;
//! then only sealed backups that none of them expires are offered. So a purge whose intent was not
//! seen here sees the start, and waits for this backup's seal before it condemns anything.
//!
//! Backups of different selections stand side by side: after one of a single table the next whole one
//! reuses the last whole one. So the newest seal of each selection is offered, the whole one first.

use std::sync::Arc;

use ringvault_core::{BackupName, ClusterName, HostId, job::BackupMode, selection::Selection};

use super::{SealIndex, SealPlace, SealRecord, SealedNode};
use crate::{
    error::{VaultError, VaultResult},
    identity::Vault,
    manifest::{ManifestFile, ManifestObjectError},
    upload::ReuseBase,
};

/// Selections whose last seals are offered.
const SELECTIONS: usize = 4;

/// What one selection offers.
struct Source<'a> {
    /// Its last seal: by content.
    newest: &'a SealRecord,
    /// Its last seal that has the node: by file.
    own: Option<(&'a SealRecord, &'a SealedNode)>,
}

/// The last seals of each selection, of seals that come newest first: those of everything before
/// others, then those sealed last.
fn sources(newest_first: &[SealRecord], host: HostId) -> Vec<Source<'_>> {
    let mut found: Vec<(Selection, Source<'_>)> = Vec::new();
    for seal in newest_first {
        let own = seal.node(host).map(|node| (seal, node));
        let mut selection = seal.start.selection.clone();
        selection.keyspaces.sort_unstable();
        selection.tables.sort_unstable();
        selection.exclude.sort_unstable();
        match found.iter_mut().find(|(known, _)| *known == selection) {
            Some((_, source)) => source.own = source.own.or(own),
            None => found.push((selection, Source { newest: seal, own })),
        }
    }
    // Stable: within each half the newest stay first.
    found.sort_by_key(|(selection, _)| !selection.names_nothing());
    found.truncate(SELECTIONS);
    found.into_iter().map(|(_, source)| source).collect()
}

impl Vault {
    /// What `backup`, which was begun, may reuse on the node `host`. Nothing, for a full backup.
    #[tracing::instrument(name = "reuse base", level = "debug", skip_all)]
    pub async fn reuse_base(
        &self,
        cluster: &ClusterName,
        backup: &BackupName,
        host: HostId,
    ) -> VaultResult<ReuseBase> {
        // What this backup brings goes under the data key of now.
        self.refresh_keys().await?;
        let start = self.start_record(cluster, backup).await?;
        if start.mode == BackupMode::Full {
            return Ok(ReuseBase::default());
        }
        // Reads the intents, and after them the seals.
        let newest_first = self.reusable_seals(cluster).await?;
        let mut base = ReuseBase { avoid: self.bad_keys(cluster).await?, ..ReuseBase::default() };
        for Source { newest, own } in sources(&newest_first, host) {
            base.avoid.extend(newest.sparse_packs.iter().cloned());
            base.bases.insert(newest.start.backup.clone());
            let (of, index) = (newest.start.backup.clone(), newest.index.clone());
            base.indexes.push(Arc::new(SealIndex::new(self.store().clone(), cluster.clone(), of, index)));
            let Some((seal, node)) = own else { continue };
            base.avoid.extend(seal.sparse_packs.iter().cloned());
            let fetched =
                ManifestFile::fetch(self.store(), &node.key, Some(node.blake3), self.scratch()).await;
            match fetched {
                Ok(manifest) => {
                    base.bases.insert(seal.start.backup.clone());
                    base.own.push(manifest);
                }
                Err(ManifestObjectError::Store(error)) if !error.is_damage() => return Err(error.into()),
                // It is a help only: without it files are known by content.
                Err(error) => {
                    tracing::warn!(%cluster, %backup, node = %host, %error, "the node's last manifest is of no use");
                }
            }
        }
        Ok(base)
    }

    /// Seals that may be reused, the last sealed first. A record that cannot be read is left out
    /// with a warning: it offers nothing.
    async fn reusable_seals(&self, cluster: &ClusterName) -> VaultResult<Vec<SealRecord>> {
        let mut seals = Vec::new();
        for (name, entry) in self.backups_leniently(cluster).await? {
            match entry {
                Ok(Some(entry)) if entry.expired_by.is_none() => {
                    if let SealPlace::Sealed(seal) = entry.place
                        && seal.start.mode == BackupMode::Incremental
                    {
                        seals.push(*seal);
                    }
                }
                Ok(_) => {}
                Err(error @ VaultError::UnsupportedVersion { .. }) => return Err(error),
                Err(error) => {
                    tracing::warn!(%cluster, backup = %name, %error, "a backup's record is damaged, it is not reused");
                }
            }
        }
        seals.sort_by_key(|seal| std::cmp::Reverse(seal.sealed_at));
        Ok(seals)
    }
}
