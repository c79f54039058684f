//! Walking a snapshot.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
};

use ringvault_core::{selection::is_valid_cql_name, text};
use serde::Deserialize;
use uuid::Uuid;

use super::{SnapshotError, SnapshotSstable, SnapshotTable, TableSnapshot};
use crate::{control::is_valid_tag, sstable::list_directory};

/// Largest manifest that is read, in bytes: about a million `SSTables`.
const MAX_MANIFEST: u64 = 64 << 20;

/// The tables that have a snapshot `tag` in any of `data_dirs`, ordered by keyspace, table and id.
/// A data directory that does not exist is an error: its tables would be missed in silence.
pub fn find_tables(data_dirs: &[PathBuf], tag: &str) -> Result<Vec<TableSnapshot>, SnapshotError> {
    if !is_valid_tag(tag) {
        return Err(SnapshotError::Tag(tag.to_owned()));
    }
    let mut tables: BTreeMap<(String, String, Uuid), Vec<(usize, PathBuf)>> = BTreeMap::new();
    for (index, data_dir) in data_dirs.iter().enumerate() {
        for keyspace in sub_folders(data_dir, tag)? {
            if !is_valid_cql_name(&keyspace) {
                continue;
            }
            let keyspace_dir = data_dir.join(&keyspace);
            for folder in sub_folders(&keyspace_dir, tag)? {
                let Some((table, table_id)) = parse_table_folder(&folder) else {
                    continue;
                };
                let snapshots = keyspace_dir.join(&folder).join("snapshots");
                let path = snapshots.join(tag);
                if is_real_folder(&snapshots, tag)? && is_real_folder(&path, tag)? {
                    let key = (keyspace.clone(), table.to_owned(), table_id);
                    tables.entry(key).or_default().push((index, path));
                }
            }
        }
    }
    Ok(tables
        .into_iter()
        .map(|((keyspace, table, table_id), folders)| TableSnapshot { keyspace, table, table_id, folders })
        .collect())
}

/// Reads the files of one table's snapshot.
pub fn read_table(found: &TableSnapshot, tag: &str) -> Result<SnapshotTable, SnapshotError> {
    let mut table = SnapshotTable {
        keyspace: found.keyspace.clone(),
        table: found.table.clone(),
        table_id: found.table_id,
        manifest: None,
        sstables: Vec::new(),
    };
    for (data_dir, path) in &found.folders {
        let listing = list_directory(path).map_err(|source| io_error(tag, path, source))?;
        let mut add = |index_dir: Option<&String>, sstables: Vec<crate::sstable::SstableFiles>| {
            table.sstables.extend(sstables.into_iter().map(|sstable| SnapshotSstable {
                data_dir: *data_dir,
                index_dir: index_dir.cloned(),
                descriptor: sstable.descriptor,
                components: sstable.files,
            }));
        };
        add(None, listing.sstables);
        for folder in listing.folders.iter().filter(|name| is_index_folder(name)) {
            let path = path.join(folder);
            let listing = list_directory(&path).map_err(|source| io_error(tag, &path, source))?;
            add(Some(folder), listing.sstables);
        }
        if listing.others.iter().any(|name| name == "manifest.json") {
            let files = read_manifest(&path.join("manifest.json"), tag)?;
            table.manifest.get_or_insert_default().extend(files);
        }
    }
    Ok(table)
}

/// The whole snapshot at once: [`find_tables`], then [`read_table`] for each.
pub fn find_snapshot(data_dirs: &[PathBuf], tag: &str) -> Result<Vec<SnapshotTable>, SnapshotError> {
    find_tables(data_dirs, tag)?.iter().map(|found| read_table(found, tag)).collect()
}

/// `<table>-<32 hex digits>`. Folders without an id are of Cassandra 2.0 and before.
fn parse_table_folder(name: &str) -> Option<(&str, Uuid)> {
    let (table, id) = name.rsplit_once('-')?;
    let is_hex = id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex && is_valid_cql_name(table)).then(|| Some((table, Uuid::try_parse(id).ok()?)))?
}

/// `.<index>`.
fn is_index_folder(name: &str) -> bool {
    name.strip_prefix('.').is_some_and(is_valid_cql_name)
}

#[derive(Deserialize)]
struct Manifest {
    files: Vec<String>,
}

fn read_manifest(path: &Path, tag: &str) -> Result<Vec<String>, SnapshotError> {
    let file = std::fs::File::open(path).map_err(|source| io_error(tag, path, source))?;
    let mut text = Vec::new();
    file.take(MAX_MANIFEST + 1).read_to_end(&mut text).map_err(|source| io_error(tag, path, source))?;
    let refuse = |why: String| SnapshotError::Manifest { tag: tag.to_owned(), path: path.to_owned(), why };
    if text.len() as u64 > MAX_MANIFEST {
        return Err(refuse(format!("it is larger than {MAX_MANIFEST} bytes")));
    }
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| refuse(text::cause(error)))?;
    Ok(manifest.files)
}

fn sub_folders(dir: &Path, tag: &str) -> Result<Vec<String>, SnapshotError> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    };
    read().map_err(|source| io_error(tag, dir, source))
}

/// Whether there is a folder, not a link to one. Nothing there is `false`.
fn is_real_folder(path: &Path, tag: &str) -> Result<bool, SnapshotError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(io_error(tag, path, source)),
    }
}

fn io_error(tag: &str, path: &Path, source: io::Error) -> SnapshotError {
    SnapshotError::Io { tag: tag.to_owned(), path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "707cb0c0e71711f19d7c0555bee2f84b";

    fn put(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    #[test]
    fn a_table_is_found_across_data_directories() {
        let root = tempfile::tempdir().unwrap();
        let dirs = [root.path().join("d1"), root.path().join("d2")];
        let snap = |d: usize| format!("d{d}/ks/T_1-{ID}/snapshots/tag");
        let names = r#"{"files":["nb-2-big-Data.db","nb-10-big-Data.db",".idx/nb-2-big-Data.db"],"x":1}"#;
        put(root.path(), &format!("{}/nb-10-big-Data.db", snap(1)), "12345");
        put(root.path(), &format!("{}/nb-10-big-Index.db", snap(1)), "1");
        put(root.path(), &format!("{}/nb-2-big-Data.db", snap(2)), "1");
        put(root.path(), &format!("{}/.idx/nb-2-big-Data.db", snap(2)), "1");
        put(root.path(), &format!("{}/manifest.json", snap(2)), names);
        put(root.path(), &format!("{}/schema.cql", snap(1)), "");
        put(root.path(), &format!("d1/ks/other-{ID}/snapshots/tag2/manifest.json"), "{}");
        put(root.path(), "d1/ks/noid/snapshots/tag/manifest.json", "{}");
        put(root.path(), &format!("d1/k s/t-{ID}/snapshots/tag/manifest.json"), "{}");

        let tables = find_snapshot(&dirs, "tag").unwrap();
        assert_eq!(tables.len(), 1);
        let table = &tables[0];
        assert_eq!((table.keyspace.as_str(), table.table.as_str()), ("ks", "T_1"));
        assert_eq!(table.table_id.simple().to_string(), ID);
        assert_eq!(table.manifest.as_ref().unwrap().len(), 3);
        let seen: Vec<_> = table
            .sstables
            .iter()
            .map(|s| (s.data_dir, s.index_dir.as_deref(), s.descriptor.to_string(), s.components.len()))
            .collect();
        assert_eq!(
            seen,
            vec![
                (0, None, "nb-10-big".to_owned(), 2),
                (1, None, "nb-2-big".to_owned(), 1),
                (1, Some(".idx"), "nb-2-big".to_owned(), 1),
            ]
        );
        assert_eq!(table.sstables[0].components[0].size, 5);
    }

    #[test]
    fn links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "elsewhere/nb-1-big-Data.db", "1");
        let dir = root.path().join(format!("d1/ks/t-{ID}/snapshots"));
        std::fs::create_dir_all(&dir).unwrap();
        std::os::unix::fs::symlink(root.path().join("elsewhere"), dir.join("tag")).unwrap();
        assert_eq!(find_tables(&[root.path().join("d1")], "tag").unwrap(), vec![]);
    }

    #[test]
    fn a_missing_data_directory_and_an_odd_tag_are_errors() {
        let root = tempfile::tempdir().unwrap();
        let missing = find_tables(&[root.path().join("none")], "tag").unwrap_err();
        assert!(matches!(missing, SnapshotError::Io { .. }), "{missing}");
        let odd = find_tables(&[root.path().to_owned()], "../x").unwrap_err();
        assert!(matches!(odd, SnapshotError::Tag(_)), "{odd}");
    }

    #[test]
    fn a_broken_manifest_is_named() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), &format!("d1/ks/t-{ID}/snapshots/tag/manifest.json"), "{\"files\":");
        let error = find_snapshot(&[root.path().join("d1")], "tag").unwrap_err();
        assert!(error.to_string().contains("manifest.json is not a snapshot manifest"), "{error}");
    }
}
