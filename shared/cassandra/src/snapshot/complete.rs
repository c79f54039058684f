//! Whether a snapshot is whole: every table that should have it has a manifest, and every `SSTable`
//! that the manifest names is there with its data.

use std::{collections::HashSet, fmt, path::PathBuf};

use uuid::Uuid;

use super::{SnapshotError, SnapshotTable, TableSnapshot, find_tables, read_table};
use crate::sstable::Component;

/// What a snapshot lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incomplete {
    /// The table has no snapshot at all.
    Table {
        /// Keyspace.
        keyspace: String,
        /// Table.
        table: String,
        /// Table id.
        table_id: Uuid,
    },
    /// The table has files but no manifest: the snapshot was broken off.
    Manifest {
        /// Keyspace.
        keyspace: String,
        /// Table.
        table: String,
    },
    /// A file that the manifest names is not there.
    File {
        /// Keyspace.
        keyspace: String,
        /// Table.
        table: String,
        /// As the manifest names it.
        file: String,
    },
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { keyspace, table, table_id } => {
                write!(f, "{keyspace}.{table} ({table_id}) has no snapshot")
            }
            Self::Manifest { keyspace, table } => write!(f, "{keyspace}.{table} has no manifest"),
            Self::File { keyspace, table, file } => {
                write!(f, "{keyspace}.{table} lacks {file}, which its manifest names")
            }
        }
    }
}

/// A table: keyspace, name, id.
pub type ExpectedTable = (String, String, Uuid);

/// The snapshot on disk: how many tables it has, and all that it lacks of `expected`. Reads one table
/// at a time. Tables that were not expected are checked all the same.
pub fn check_on_disk(
    data_dirs: &[PathBuf],
    tag: &str,
    expected: &[ExpectedTable],
) -> Result<(usize, Vec<Incomplete>), SnapshotError> {
    let found = find_tables(data_dirs, tag)?;
    let mut lacking = missing_tables(&found, expected);
    for table in &found {
        lacking.extend(missing_parts(&read_table(table, tag)?));
    }
    Ok((found.len(), lacking))
}

/// The tables that have no snapshot at all, though expected.
pub fn missing_tables(found: &[TableSnapshot], expected: &[ExpectedTable]) -> Vec<Incomplete> {
    let known = found.iter().map(|t| (t.keyspace.as_str(), t.table.as_str(), t.table_id)).collect();
    not_among(&known, expected).collect()
}

fn not_among<'a>(
    known: &'a HashSet<(&'a str, &'a str, Uuid)>,
    expected: &'a [ExpectedTable],
) -> impl Iterator<Item = Incomplete> + 'a {
    let missing = expected
        .iter()
        .filter(|(keyspace, table, id)| !known.contains(&(keyspace.as_str(), table.as_str(), *id)));
    missing.map(|(keyspace, table, table_id)| Incomplete::Table {
        keyspace: keyspace.clone(),
        table: table.clone(),
        table_id: *table_id,
    })
}

/// Everything that `found` lacks of `expected` (keyspace, table, table id). Empty: it is whole.
/// Tables that were not expected (dropped since) are checked all the same.
pub fn check_complete(found: &[SnapshotTable], expected: &[ExpectedTable]) -> Vec<Incomplete> {
    let known: HashSet<(&str, &str, Uuid)> =
        found.iter().map(|t| (t.keyspace.as_str(), t.table.as_str(), t.table_id)).collect();
    not_among(&known, expected).chain(found.iter().flat_map(missing_parts)).collect()
}

/// What one table's snapshot lacks of what its own manifest names.
pub fn missing_parts(table: &SnapshotTable) -> Vec<Incomplete> {
    let (keyspace, name) = (table.keyspace.clone(), table.table.clone());
    let Some(manifest) = &table.manifest else {
        return vec![Incomplete::Manifest { keyspace, table: name }];
    };
    let there: HashSet<String> = table
        .sstables
        .iter()
        .flat_map(|sstable| {
            sstable.components.iter().filter(|file| file.component == Component::Data).map(|file| {
                match &sstable.index_dir {
                    Some(index) => format!("{index}/{}", file.name),
                    None => file.name.clone(),
                }
            })
        })
        .collect();
    manifest
        .iter()
        .filter(|file| !there.contains(*file))
        .map(|file| Incomplete::File { keyspace: keyspace.clone(), table: name.clone(), file: file.clone() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        snapshot::SnapshotSstable,
        sstable::{ComponentFile, Descriptor},
    };

    fn table(name: &str, manifest: Option<&[&str]>, files: &[&str]) -> SnapshotTable {
        let sstables = files
            .iter()
            .map(|path| {
                let (index_dir, file) = match path.split_once('/') {
                    Some((index, file)) => (Some(index.to_owned()), file),
                    None => (None, *path),
                };
                let (descriptor, component) = Descriptor::parse_file_name(file).unwrap();
                let (name, path) = (file.to_owned(), path.into());
                let components = vec![ComponentFile { component, name, path, size: 1 }];
                SnapshotSstable { data_dir: 0, index_dir, descriptor, components }
            })
            .collect();
        SnapshotTable {
            keyspace: "ks".into(),
            table: name.into(),
            table_id: Uuid::from_u128(1),
            manifest: manifest.map(|files| files.iter().map(|f| (*f).to_owned()).collect()),
            sstables,
        }
    }

    #[test]
    fn each_lack_is_named() {
        let expected = [("ks".to_owned(), "t".to_owned(), Uuid::from_u128(1))];
        let whole = table(
            "t",
            Some(&["nb-1-big-Data.db", ".i/nb-1-big-Data.db"]),
            &["nb-1-big-Data.db", ".i/nb-1-big-Data.db"],
        );
        assert_eq!(check_complete(&[whole], &expected), vec![]);
        let index_lost = table("t", Some(&[".i/nb-1-big-Data.db"]), &["nb-1-big-Data.db"]);
        assert!(matches!(check_complete(&[index_lost], &expected)[..], [Incomplete::File { .. }]));
        let broken_off = table("t", None, &["nb-1-big-Data.db"]);
        assert!(matches!(check_complete(&[broken_off], &expected)[..], [Incomplete::Manifest { .. }]));
        assert!(matches!(check_complete(&[], &expected)[..], [Incomplete::Table { .. }]));
        let empty = table("t", Some(&[]), &[]);
        assert_eq!(check_complete(&[empty], &expected), vec![]);
    }

    #[test]
    fn a_snapshot_that_was_partly_cleared_is_found_out() {
        let root = tempfile::tempdir().unwrap();
        let table = |name: &str, id: u128| {
            let folder = format!("ks/{name}-{}/snapshots/tag", Uuid::from_u128(id).simple());
            let folder = root.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("nb-1-big-Data.db"), b"x").unwrap();
            std::fs::write(folder.join("manifest.json"), r#"{"files":["nb-1-big-Data.db"]}"#).unwrap();
            folder
        };
        let (one, other) = (table("one", 1), table("other", 2));
        let expected = |name: &str, id| ("ks".to_owned(), name.to_owned(), Uuid::from_u128(id));
        let expected = [expected("one", 1), expected("other", 2)];
        let check = || check_on_disk(&[root.path().to_owned()], "tag", &expected).unwrap();
        assert_eq!(check(), (2, vec![]));
        std::fs::remove_file(one.join("nb-1-big-Data.db")).unwrap();
        assert!(matches!(check(), (2, lacks) if matches!(lacks[..], [Incomplete::File { .. }])));
        std::fs::remove_dir_all(&other).unwrap();
        assert!(
            matches!(check(), (1, lacks) if matches!(lacks[0], Incomplete::Table { .. }) && lacks.len() == 2)
        );
    }

    #[test]
    fn another_table_of_the_same_name_is_not_the_one_expected() {
        let expected = [("ks".to_owned(), "t".to_owned(), Uuid::from_u128(2))];
        let lacks = check_complete(&[table("t", Some(&[]), &[])], &expected);
        assert!(matches!(lacks[..], [Incomplete::Table { .. }]));
    }
}
