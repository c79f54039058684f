//! Damaged objects, and the files of Cassandra's that the damage concerns.

use std::{
    collections::{HashMap, HashSet},
    io::Write,
    path::Path,
    sync::Arc,
};

use ringvault_core::{
    BackupName, HostId,
    selection::TableName,
    task::{CheckResult, Finding, FindingKind},
};
use tempfile::{NamedTempFile, TempPath};

use super::target::Slot;
use crate::{
    error::{VaultError, VaultResult},
    manifest::{Component, Entry, ManifestFile},
    store::{StoreError, StoreErrorKind},
};

/// What is wrong with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) kind: FindingKind,
    pub(super) detail: String,
    /// The contents in it that are damaged; `None`: all.
    pub(super) slots: Option<HashSet<Slot>>,
}

impl Damage {
    pub(super) fn whole(kind: FindingKind, detail: String) -> Self {
        Self { kind, detail, slots: None }
    }

    fn concerns(&self, component: &Component) -> bool {
        self.slots.as_ref().is_none_or(|slots| slots.contains(&Slot::of(component)))
    }
}

/// What a failed read says of the object; `None` where it says nothing of it.
pub(super) fn kind_of(error: &StoreError) -> Option<FindingKind> {
    match error.kind {
        StoreErrorKind::NotFound => Some(FindingKind::Missing),
        StoreErrorKind::Integrity => Some(FindingKind::Truncated),
        _ => None,
    }
}

/// All findings of a shard, as JSON lines in a temporary file.
pub(super) struct Named {
    /// The compressed lines.
    pub(super) path: TempPath,
    /// How many.
    pub(super) count: u64,
}

/// Names every file whose content is damaged: into a file all of them, and into `first`, which has
/// the records' findings already, as many as a result may hold.
pub(super) async fn name_files(
    manifests: &Arc<Vec<(HostId, ManifestFile)>>,
    damaged: HashMap<String, Damage>,
    backup: &BackupName,
    scratch: &Path,
    first: &mut Vec<Finding>,
) -> VaultResult<Named> {
    let (manifests, backup, scratch) = (manifests.clone(), backup.clone(), scratch.to_owned());
    let records = std::mem::take(first);
    let naming = tokio::task::spawn_blocking(move || {
        let failed = |e: std::io::Error| VaultError::scratch(&scratch, e);
        let (file, path) = NamedTempFile::with_prefix_in("findings-", &scratch).map_err(failed)?.into_parts();
        let mut lines = zstd::Encoder::new(std::io::BufWriter::new(file), 3).map_err(failed)?;
        let mut kept = Vec::new();
        let mut count = 0;
        let mut put = |finding: Finding| {
            serde_json::to_writer(&mut lines, &finding).map_err(|e| failed(e.into()))?;
            lines.write_all(b"\n").map_err(failed)?;
            count += 1;
            if kept.len() < CheckResult::MAX_FINDINGS {
                kept.push(finding);
            }
            Ok::<_, VaultError>(())
        };
        records.into_iter().try_for_each(&mut put)?;
        // Without damage there is nothing to name.
        let sources = if damaged.is_empty() { &[][..] } else { &manifests[..] };
        for (host_id, manifest) in sources {
            let mut reader = manifest.reader()?;
            while let Some(entry) = reader.next_entry()? {
                for component in entry.components() {
                    if let Some(damage) = damaged.get(&component.place.key)
                        && damage.concerns(component)
                    {
                        put(finding(&backup, *host_id, &entry, component, damage))?;
                    }
                }
            }
        }
        let mut file = lines.finish().map_err(failed)?;
        file.flush().map_err(failed)?;
        Ok::<_, VaultError>((Named { path, count }, kept))
    });
    let (named, kept) = naming.await.map_err(|e| VaultError::Internal(e.to_string()))??;
    *first = kept;
    Ok(named)
}

fn finding(
    backup: &BackupName,
    host_id: HostId,
    entry: &Entry,
    component: &Component,
    damage: &Damage,
) -> Finding {
    let table = entry.table();
    Finding {
        kind: damage.kind,
        backup: backup.clone(),
        host_id: Some(host_id),
        table: Some(TableName::new(&table.keyspace, &table.table)),
        file: Some(entry.file_name(component)),
        key: component.place.key.clone(),
        detail: damage.detail.clone(),
    }
}
