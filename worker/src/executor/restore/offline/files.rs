//! What a node held, from its manifest to folders that are ready to be put in place.
//!
//! Everything that the backup has of a node comes back as it was: system tables, indexes and SAI files too, as
//! `system` says which of them are built. Each SSTable goes to the data directory that it was in, counted round where
//! there are fewer now: what belongs to one range of tokens stays in one directory, and ids are unique over all
//! directories of a table, so nothing meets. Files that belong to no SSTable (`schema.cql`) are left.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
};

use ringvault_core::{BackupName, HostId, TaskError};
use ringvault_fault::around;
use ringvault_vault::{
    download::{DownloadConfig, Downloaded, FileOrigin, StagingFolder, WantedFile, download},
    manifest::{Component, Entry, ManifestFile, TableRef},
    transfer::TransferContext,
};

use super::places::DataDir;
use crate::executor::{Executor, failure, restore::record::PlannedManifest, workspace::make_dir};

/// A node's files and folders.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeFiles {
    /// Folders of tables, by data directory.
    folders: BTreeSet<(usize, Vec<String>)>,
    files: Vec<NodeFile>,
    pub(super) sstables: u64,
    pub(super) bytes: u64,
}

#[derive(Debug, Clone)]
struct NodeFile {
    dir: usize,
    /// Folders below the data directory, and the name.
    path: Vec<String>,
    component: Component,
    origin: FileOrigin,
}

impl NodeFiles {
    /// Adds a line of `host`'s manifest, on a node with `dirs` data directories.
    pub(super) fn add(&mut self, backup: &BackupName, host: HostId, entry: &Entry, dirs: usize) {
        let table = entry.table();
        let dir = table.data_dir as usize % dirs.max(1);
        let mut folder = vec![table.keyspace.clone(), table_folder(table)];
        self.folders.insert((dir, folder.clone()));
        let Entry::Sstable(sstable) = entry else { return };
        if let Some(index) = &sstable.name.index {
            folder.push(format!(".{index}"));
        }
        self.sstables += 1;
        for component in &sstable.components {
            let file = entry.file_name(component);
            let origin = FileOrigin {
                backup: backup.clone(),
                host_id: host,
                keyspace: table.keyspace.clone(),
                table: table.table.clone(),
                file: file.clone(),
            };
            let path = folder.iter().cloned().chain([file]).collect();
            self.bytes = self.bytes.saturating_add(component.size);
            self.files.push(NodeFile { dir, path, component: component.clone(), origin });
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.files.len() as u64
    }

    /// Bytes that come to a data directory.
    pub(super) fn bytes_of(&self, dir: usize) -> u64 {
        self.files
            .iter()
            .filter(|file| file.dir == dir)
            .map(|file| file.component.size)
            .fold(0, u64::saturating_add)
    }

    /// Tables.
    pub(super) fn tables(&self) -> u64 {
        self.folders.iter().map(|(_, path)| path).collect::<BTreeSet<_>>().len() as u64
    }

    fn wanted(&self, dirs: &[DataDir]) -> Result<Vec<WantedFile>, TaskError> {
        let folders: Vec<StagingFolder> = dirs.iter().map(|dir| StagingFolder::new(&dir.staged)).collect();
        let wanted = self.files.iter().map(|file| {
            let to = folders[file.dir]
                .path(file.path.iter().map(String::as_str))
                .map_err(|error| TaskError::permanent("RV-MANIFEST", error.to_string()))?;
            Ok(WantedFile {
                origin: file.origin.clone(),
                size: file.component.size,
                checksum: file.component.checksum,
                place: file.component.place.clone(),
                to,
            })
        });
        wanted.collect()
    }

    /// Stages the files: what is staged and hashes right stays, the rest is fetched.
    pub(super) async fn stage(
        &self,
        dirs: &[DataDir],
        transfer: &TransferContext,
    ) -> Result<Downloaded, TaskError> {
        let wanted = self.wanted(dirs)?;
        for dir in dirs {
            make_dir(&dir.staged)?;
        }
        download(transfer, DownloadConfig::default(), wanted.into_iter().map(Ok))
            .await
            .map_err(|error| error.to_task_error())
    }

    /// Makes the folders to be put in place, with links to the staged files, anew; on disk when it returns. Links, so
    /// that the stage is whole for another attempt: no component of an SSTable is ever written to in place. Blocks on
    /// the disk.
    pub(super) fn link(&self, dirs: &[DataDir]) -> Result<(), TaskError> {
        // The same checked names as the staged files have.
        let wanted = self.wanted(dirs)?;
        for dir in dirs {
            match std::fs::remove_dir_all(&dir.fresh) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failure::local(&dir.fresh, "removing", &error));
                }
                _ => make_dir(&dir.fresh)?,
            }
        }
        let mut made = BTreeSet::new();
        for (dir, path) in &self.folders {
            let checked = StagingFolder::new(&dirs[*dir].fresh).path(path.iter().map(String::as_str));
            let folder = checked.map_err(|error| TaskError::permanent("RV-MANIFEST", error.to_string()))?;
            make_with_parents(folder.as_path(), &dirs[*dir].fresh, &mut made)?;
        }
        for (file, wanted) in self.files.iter().zip(&wanted) {
            let DataDir { staged, fresh, .. } = &dirs[file.dir];
            let from = wanted.to.as_path();
            let within = from.strip_prefix(staged).unwrap_or(from);
            let to = fresh.join(within);
            if let Some(folder) = to.parent() {
                make_with_parents(folder, fresh, &mut made)?;
            }
            std::fs::hard_link(from, &to)
                .map_err(|error| failure::local(from, "linking the staged file", &error))?;
        }
        around!("offline.link").run_blocking(|| {
            made.iter().try_for_each(|dir| {
                File::open(dir)
                    .and_then(|dir| dir.sync_all())
                    .map_err(|error| failure::local(dir, "writing", &error))
            })
        })
    }
}

/// Makes a folder below `root`, and remembers it and those above it.
fn make_with_parents(folder: &Path, root: &Path, made: &mut BTreeSet<PathBuf>) -> Result<(), TaskError> {
    if made.contains(folder) {
        return Ok(());
    }
    make_dir(folder)?;
    made.extend(folder.ancestors().take_while(|dir| dir.starts_with(root)).map(Path::to_owned));
    Ok(())
}

/// The folder of a table, as Cassandra names it.
fn table_folder(table: &TableRef) -> String {
    format!("{}-{}", table.table, table.table_id.simple())
}

impl Executor {
    /// Reads a node's manifest of the backup, line by line.
    pub(super) async fn each_entry<T: Send + 'static>(
        &self,
        manifest: &PlannedManifest,
        mut state: T,
        mut each: impl FnMut(&mut T, &Entry) + Send + 'static,
    ) -> Result<T, TaskError> {
        let scratch = self.config.scratch_dir();
        let file = ManifestFile::fetch(self.vault.store(), &manifest.key, Some(manifest.blake3), &scratch)
            .await
            .map_err(|error| error.to_task_error())?;
        let read = move || {
            let mut reader = file.reader().map_err(|error| error.to_task_error())?;
            while let Some(entry) = reader.next_entry().map_err(|error| error.to_task_error())? {
                each(&mut state, &entry);
            }
            Ok(state)
        };
        tokio::task::spawn_blocking(read).await.map_err(failure::internal)?
    }

    /// What comes to this machine, which has these data directories.
    pub(super) async fn node_files(
        &self,
        backup: &BackupName,
        manifest: &PlannedManifest,
        dirs: &[DataDir],
    ) -> Result<NodeFiles, TaskError> {
        let (backup, host, count) = (backup.clone(), manifest.host_id, dirs.len());
        self.each_entry(manifest, NodeFiles::default(), move |files, entry| {
            files.add(&backup, host, entry, count);
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use ringvault_vault::{
        checksum::Checksum,
        hash::Digest,
        manifest::{Place, SstableEntry, SstableFacts, SstableName, TableEntry},
    };
    use uuid::Uuid;

    use super::*;

    fn table(data_dir: u32) -> TableRef {
        TableRef { keyspace: "k".into(), table: "t".into(), table_id: Uuid::from_u128(0xab), data_dir }
    }

    fn sstable(data_dir: u32, id: &str, index: Option<&str>) -> Entry {
        let component = |name: &str| Component {
            name: name.to_owned(),
            size: 3,
            checksum: Checksum::Blake3(Digest::of(b"abc")),
            place: Place { key: "x".to_owned(), pack: None, zstd: None },
            file: None,
        };
        Entry::Sstable(SstableEntry {
            table: table(data_dir),
            name: SstableName {
                index: index.map(str::to_owned),
                version: "nb".into(),
                id: id.to_owned(),
                format: "big".into(),
            },
            facts: SstableFacts::default(),
            components: vec![component("Data.db"), component("SAI+aa+Meta.db")],
        })
    }

    fn dirs(root: &Path, count: usize) -> Vec<DataDir> {
        (0..count)
            .map(|number| DataDir {
                dir: root.join(format!("data{number}")),
                staged: root.join("staged").join(number.to_string()),
                fresh: root.join("new").join(number.to_string()),
            })
            .collect()
    }

    #[test]
    fn a_node_s_files_lie_as_cassandra_has_them() {
        let root = tempfile::tempdir().unwrap();
        let (backup, host) = (BackupName::new("b").unwrap(), HostId(Uuid::nil()));
        for count in [1, 2, 3] {
            let dirs = dirs(root.path(), count);
            let mut files = NodeFiles::default();
            let empty = Entry::Table(TableEntry { table: table(1), files: Vec::new() });
            for entry in [empty, sstable(0, "1", None), sstable(2, "2", None), sstable(0, "1", Some("idx"))] {
                files.add(&backup, host, &entry, count);
            }
            assert_eq!((files.sstables, files.count(), files.bytes), (3, 6, 18));
            assert_eq!((0..count).map(|dir| files.bytes_of(dir)).sum::<u64>(), 18);
            for wanted in files.wanted(&dirs).unwrap() {
                std::fs::create_dir_all(wanted.to.as_path().parent().unwrap()).unwrap();
                std::fs::write(wanted.to.as_path(), "abc").unwrap();
            }
            // Twice: what an earlier attempt linked is in nobody's way.
            for _ in 0..2 {
                files.link(&dirs).unwrap();
            }
            let folder = format!("k/t-{}", Uuid::from_u128(0xab).simple());
            let at = |dir: usize, file: &str| dirs[dir % count].fresh.join(&folder).join(file).is_file();
            assert!(at(0, "nb-1-big-Data.db") && at(0, "nb-1-big-SAI+aa+Meta.db"));
            assert!(at(0, ".idx/nb-1-big-Data.db") && at(2, "nb-2-big-Data.db"));
            assert!(dirs[1 % count].fresh.join(&folder).is_dir(), "the folder of a table without SSTables");
        }
    }
}
