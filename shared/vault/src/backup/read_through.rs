//! What a seal reads of each manifest before it accepts it.

use std::collections::{BTreeSet, HashSet};

use ringvault_core::{BackupName, ClusterName, task::SealTask};
use uuid::Uuid;

use crate::{
    error::{VaultError, VaultResult},
    hash::Digest,
    layout,
    manifest::{Component, Entry, Figures, Header, ManifestFile},
    store::Store,
};

/// The tables that a manifest names, with or without SSTables.
#[derive(Debug, Default)]
pub(super) struct NamedTables(HashSet<(String, String, Uuid)>);

impl NamedTables {
    pub(super) fn hold(&self, keyspace: &str, table: &str, id: Uuid) -> bool {
        self.0.contains(&(keyspace.to_owned(), table.to_owned(), id))
    }
}

/// The objects of the backup's own that its manifests name, until each was seen in a listing. Sixteen
/// bytes an object: a digest of key and size.
#[derive(Debug)]
pub(super) struct OwnObjects {
    store: Store,
    folder: String,
    named: HashSet<[u8; 16]>,
}

impl OwnObjects {
    pub(super) fn of(store: &Store, cluster: &ClusterName, backup: &BackupName) -> Self {
        Self { store: store.clone(), folder: layout::data_folder(cluster, backup), named: HashSet::new() }
    }

    fn name(&mut self, component: &Component) {
        let place = &component.place;
        if place.key.starts_with(&self.folder) {
            let size = self.store.stored_size(&place.key, place.object_size(component.size));
            self.named.insert(mark(&place.key, size));
        }
    }

    /// An object that is there.
    pub(super) fn found(&mut self, key: &str, size: u64) {
        self.named.remove(&mark(key, size));
    }

    /// Refuses if some object was not there, or not of its size.
    pub(super) fn check(self) -> VaultResult<()> {
        if self.named.is_empty() {
            return Ok(());
        }
        let why = format!("{} objects that the manifests name are not there at their size", self.named.len());
        Err(VaultError::malformed(&self.folder, why))
    }
}

fn mark(key: &str, size: u64) -> [u8; 16] {
    let digest = Digest::of(format!("{size} {key}").as_bytes());
    let mut mark = [0; 16];
    mark.copy_from_slice(&digest.as_bytes()[..16]);
    mark
}

/// What was read.
#[derive(Debug)]
pub(super) struct ReadThrough {
    pub(super) header: Header,
    pub(super) figures: Figures,
    /// The backups in whose folders lies what it names.
    pub(super) reuses: BTreeSet<BackupName>,
    pub(super) tables: NamedTables,
}

/// Reads a manifest to its end, so that every line of it was checked, and checks whose it is. Adds what
/// it names of the backup's own objects to `own`.
pub(super) async fn read_through(
    manifest: &ManifestFile,
    task: &SealTask,
    mut own: OwnObjects,
) -> VaultResult<(ReadThrough, OwnObjects)> {
    let mut reader = manifest.reader()?;
    let inside = manifest.key().to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let mut reuses = BTreeSet::new();
        let mut tables = NamedTables::default();
        while let Some(entry) = reader.next_entry()? {
            if let Entry::Table(entry) = &entry {
                let table = &entry.table;
                tables.0.insert((table.keyspace.clone(), table.table.clone(), table.table_id));
            }
            for component in entry.components() {
                let owner = layout::owner_of(&component.place.key);
                let forbidden = |cause| VaultError::ForbiddenKey { inside: inside.clone(), cause };
                reuses.insert(owner.map_err(forbidden)?.1);
                own.name(component);
            }
        }
        let figures = reader.trailer().map(|trailer| trailer.figures).unwrap_or_default();
        Ok::<_, VaultError>((ReadThrough { header: reader.header().clone(), figures, reuses, tables }, own))
    });
    let (read, own) = read.await.map_err(|e| VaultError::Internal(e.to_string()))??;
    let header = &read.header;
    let expected = (&task.cluster, &task.backup, task.job);
    if (&header.cluster, &header.backup, header.job) != expected {
        let why = format!("it is of {} of {}, job {}", header.backup, header.cluster, header.job);
        return Err(VaultError::malformed(manifest.key(), why));
    }
    let key = layout::manifest(&header.cluster, &header.backup, header.host_id, header.epoch);
    if key == manifest.key() {
        Ok((read, own))
    } else {
        Err(VaultError::malformed(manifest.key(), format!("it says it is {key}")))
    }
}
