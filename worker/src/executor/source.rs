//! A node's snapshot as the vault's upload takes it: in the manifest's order, one table at a time.
//!
//! Every walk holds what it finds against the tables that the snapshot was noted to have, and every
//! table against its own manifest: a snapshot that somebody clears meanwhile ends the upload, and is
//! never taken for a smaller one.

use std::path::PathBuf;

use ringvault_cassandra::{
    snapshot::{
        ExpectedTable, SnapshotSstable, TableSnapshot, find_tables, missing_parts, missing_tables, read_table,
    },
    sstable::{ComponentFile, Descriptor, SstableFiles, read_key_span, read_statistics},
};
use ringvault_core::{TaskError, selection::Selection};
use ringvault_vault::{
    manifest::{SstableFacts, SstableName, TableRef},
    upload::{SnapshotSource, SourceFile, SourceItem, SourceSstable, SourceTable},
};

use tracing::warn;

use super::failure;

/// Snapshot `tag` of the tables in `selection`.
pub(super) struct NodeSnapshot {
    pub(super) data_dirs: Vec<PathBuf>,
    pub(super) tag: String,
    pub(super) selection: Selection,
    /// The tables that were in it when it was taken.
    pub(super) expected: Vec<ExpectedTable>,
}

impl NodeSnapshot {
    fn tables(&self) -> Result<Vec<TableSnapshot>, TaskError> {
        let mut tables = find_tables(&self.data_dirs, &self.tag).map_err(|e| failure::snapshot(&e))?;
        if let Some(first) = missing_tables(&tables, &self.expected).first() {
            return Err(gone(&self.tag, first));
        }
        tables.retain(|found| self.selection.is_backed_up(&found.keyspace, &found.table));
        tables.sort();
        Ok(tables)
    }

    fn items_of(&self, found: &TableSnapshot) -> Result<Vec<SourceItem>, TaskError> {
        let table = read_table(found, &self.tag).map_err(|error| failure::snapshot(&error))?;
        if let Some(first) = missing_parts(&table).first() {
            return Err(gone(&self.tag, first));
        }
        let mut items = Vec::new();
        for (data_dir, _) in &found.folders {
            let place = TableRef {
                keyspace: found.keyspace.clone(),
                table: found.table.clone(),
                table_id: found.table_id,
                data_dir: u32::try_from(*data_dir).unwrap_or(u32::MAX),
            };
            let mut sstables: Vec<SourceSstable> = table
                .sstables
                .iter()
                .filter(|sstable| sstable.data_dir == *data_dir)
                .map(|sstable| source_sstable(&place, sstable))
                .collect();
            sstables.sort_by(|a, b| a.name.cmp(&b.name));
            // Each snapshot writes `schema.cql` anew; the schema is in the vault as an object of its own.
            let files = Vec::new();
            items.push(SourceItem::Table(SourceTable { table: place, files }));
            items.extend(sstables.into_iter().map(SourceItem::Sstable));
        }
        Ok(items)
    }
}

impl SnapshotSource for NodeSnapshot {
    fn items(&self) -> Box<dyn Iterator<Item = Result<SourceItem, TaskError>> + Send + '_> {
        let tables = match self.tables() {
            Ok(tables) => tables,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        Box::new(tables.into_iter().flat_map(move |found| match self.items_of(&found) {
            Ok(items) => items.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }))
    }

    /// An SSTable that cannot be understood is backed up all the same, as it is; nothing is known of
    /// it then, and a restore brings it everywhere.
    fn facts(&self, sstable: &SourceSstable) -> Result<SstableFacts, TaskError> {
        let Some(files) = sstable_files(sstable) else { return Ok(SstableFacts::default()) };
        let name = format!("{} of {}.{}", files.descriptor, sstable.table.keyspace, sstable.table.table);
        let statistics = match read_statistics(&files) {
            Ok(statistics) => statistics,
            Err(error) => {
                warn!(%error, "{name} cannot be understood; it is backed up as it is");
                return Ok(SstableFacts::default());
            }
        };
        let mut facts = SstableFacts {
            partitions: Some(statistics.partitions),
            rows: statistics.rows,
            ..SstableFacts::default()
        };
        // Legacy indexes and some of the node's own tables are ordered by value, not by token.
        let by_token = sstable.name.index.is_none() && statistics.partitioner.ends_with("Murmur3Partitioner");
        if by_token {
            match read_key_span(&files) {
                Ok(span) => {
                    facts.first_token = Some(span.first);
                    facts.last_token = Some(span.last);
                }
                Err(error) => warn!(%error, "the keys of {name} cannot be read; it is backed up as it is"),
            }
        }
        Ok(facts)
    }
}

fn gone(tag: &str, lacks: &dyn std::fmt::Display) -> TaskError {
    let message = format!("snapshot {tag} is no longer whole, something else cleared it: {lacks}");
    TaskError::permanent("RV-SNAPSHOT-GONE", message).with_next("take another backup")
}

fn sstable_files(sstable: &SourceSstable) -> Option<SstableFiles> {
    let mut descriptor = None;
    let mut files = Vec::new();
    for file in &sstable.components {
        let name = sstable.name.file_name(&file.name);
        let (parsed, component) = Descriptor::parse_file_name(&name)?;
        descriptor = Some(parsed);
        let size = std::fs::symlink_metadata(&file.path).ok()?.len();
        files.push(ComponentFile { component, name, path: file.path.clone(), size });
    }
    files.sort_by(|a, b| a.component.cmp(&b.component));
    Some(SstableFiles { descriptor: descriptor?, files })
}

fn source_sstable(place: &TableRef, sstable: &SnapshotSstable) -> SourceSstable {
    let descriptor = &sstable.descriptor;
    SourceSstable {
        table: place.clone(),
        name: SstableName {
            index: sstable.index_dir.as_ref().map(|dir| dir.trim_start_matches('.').to_owned()),
            version: descriptor.version.clone(),
            id: descriptor.id.to_string(),
            format: descriptor.format.as_str().to_owned(),
        },
        components: sstable
            .components
            .iter()
            .map(|file| SourceFile { name: file.component.to_string(), path: file.path.clone() })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// A snapshot of two tables, one SSTable each.
    fn snapshot() -> (tempfile::TempDir, NodeSnapshot, [PathBuf; 2]) {
        let root = tempfile::tempdir().unwrap();
        let folder = |table: &str, id: u128| {
            let id = Uuid::from_u128(id).simple();
            let path = root.path().join(format!("ks/{table}-{id}/snapshots/tag"));
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("nb-1-big-Data.db"), b"x").unwrap();
            std::fs::write(path.join("manifest.json"), r#"{"files":["nb-1-big-Data.db"]}"#).unwrap();
            path
        };
        let folders = [folder("a", 1), folder("b", 2)];
        let expected = [("a", 1), ("b", 2)];
        let source = NodeSnapshot {
            data_dirs: vec![root.path().to_owned()],
            tag: "tag".into(),
            selection: Selection::default(),
            expected: expected.map(|(t, id)| ("ks".into(), t.into(), Uuid::from_u128(id))).into(),
        };
        (root, source, folders)
    }

    fn code(source: &NodeSnapshot) -> Option<String> {
        source.items().find_map(Result::err).map(|error| error.code)
    }

    #[test]
    fn a_snapshot_that_is_partly_cleared_is_not_walked_as_a_smaller_one() {
        let (_root, source, [a, b]) = snapshot();
        assert_eq!((source.items().count(), code(&source)), (4, None));
        std::fs::remove_file(a.join("nb-1-big-Data.db")).unwrap();
        assert_eq!(code(&source).as_deref(), Some("RV-SNAPSHOT-GONE"));
        std::fs::write(a.join("nb-1-big-Data.db"), b"x").unwrap();
        std::fs::remove_file(b.join("manifest.json")).unwrap();
        assert_eq!(code(&source).as_deref(), Some("RV-SNAPSHOT-GONE"));
        std::fs::remove_dir_all(&b).unwrap();
        assert_eq!(code(&source).as_deref(), Some("RV-SNAPSHOT-GONE"));
    }

    #[test]
    fn a_snapshot_that_is_cleared_during_the_walk_ends_it() {
        let (_root, source, [_, b]) = snapshot();
        let mut items = source.items();
        assert!(items.next().unwrap().is_ok());
        std::fs::remove_file(b.join("nb-1-big-Data.db")).unwrap();
        let error = items.find_map(Result::err).unwrap();
        assert_eq!(error.code, "RV-SNAPSHOT-GONE");
    }
}
