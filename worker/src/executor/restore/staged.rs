//! What is staged of an SSTable for the import: its files as they were, or the slice that was made.

use std::path::{Path, PathBuf};

use ringvault_core::TaskError;

use super::{batch::staged_dir, share::SharedSstable, slices::SliceRecord};

/// An SSTable ready to be linked.
#[derive(Debug, Clone)]
pub(super) struct Staged {
    /// Tells it from every other SSTable of the backup.
    pub(super) place: String,
    /// Where its files lie.
    pub(super) dir: PathBuf,
    /// What their names begin with.
    pub(super) version: String,
    pub(super) format: String,
    /// File name and component of each; none where the node has nothing to take.
    pub(super) files: Vec<(String, String)>,
    pub(super) bytes: u64,
    /// Partitions, where they were counted.
    pub(super) partitions: Option<u64>,
}

impl Staged {
    /// What lies in the stage. Blocks on the disk.
    pub(super) fn of(stage: &Path, sstable: &SharedSstable) -> Result<Self, TaskError> {
        let (place, dir) = (sstable.place(), staged_dir(stage, sstable));
        if sstable.slice.is_some() {
            return SliceRecord::staged(place, &dir);
        }
        let name = &sstable.entry.name;
        let files = sstable.components();
        let files = files.map(|component| (name.file_name(&component.name), component.name.clone()));
        Ok(Self {
            place,
            dir,
            version: name.version.clone(),
            format: name.format.clone(),
            files: files.collect(),
            bytes: sstable.components().map(|component| component.size).sum(),
            partitions: None,
        })
    }

    /// The path of one of its files.
    pub(super) fn path_of(&self, component: &str) -> Option<PathBuf> {
        let (file, _) = self.files.iter().find(|(_, name)| name == component)?;
        Some(self.dir.join(file))
    }
}

/// About how many bytes an import of it is: what is staged, or what will be.
pub(super) fn size(stage: &Path, sstable: &SharedSstable) -> u64 {
    match Staged::of(stage, sstable) {
        Ok(staged) => staged.bytes,
        Err(_) => sstable.data_share(),
    }
}
