//! Import folders: staged files linked under names of their own, a bounded amount at a time, and
//! what became of them.
//!
//! SSTables of several nodes and data directories share names, so each gets a number of its own
//! within its folder; Cassandra gives fresh names anyway. The links are moved out by the import: a
//! folder that still holds a data file was not taken, and one that has lost it was, whatever the
//! worker or Cassandra said meanwhile. That evidence outlives a crash, because what was linked is
//! noted beside the folder before the import begins. (A slice without a partition has no files: it
//! counts as taken.) Every attempt has folders of its own, so that
//! an import that Cassandra is still at, after the worker gave up waiting, finds its files.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
};

use ringvault_core::TaskError;
use ringvault_fault::around;
use serde::{Deserialize, Serialize};

use super::{share::SharedSstable, staged::Staged};
use crate::{
    executor::{failure, workspace::make_dir},
    identity::write_durably,
};

/// Most SSTables in one import folder.
const MAX_SSTABLES: usize = 32;
/// Most bytes in one, unless a single SSTable is larger: what Cassandra reads through in minutes, so
/// that an import's progress is kept in such steps.
const MAX_BYTES: u64 = 32 << 30;
/// Ends the name of the note beside a folder.
const NOTE: &str = "batch";

/// How SSTables of these sizes are divided, in their order.
pub(super) fn divide(sizes: &[u64]) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0_u64);
    for (index, size) in sizes.iter().enumerate() {
        let is_full = index - start >= MAX_SSTABLES || bytes.saturating_add(*size) > MAX_BYTES;
        if is_full && index > start {
            batches.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes = bytes.saturating_add(*size);
    }
    if start < sizes.len() {
        batches.push(start..sizes.len());
    }
    batches
}

/// One import folder and what was linked into it.
pub(super) struct Batch {
    pub(super) dir: PathBuf,
    note: PathBuf,
    linked: Linked,
}

/// The note beside a folder: places of SSTables by the number in the linked name.
#[derive(Debug, Serialize, Deserialize)]
struct Linked {
    sstables: BTreeMap<usize, String>,
}

/// What became of a folder's SSTables, by place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    /// Moved out.
    pub(super) taken: Vec<String>,
    /// Still there, or without evidence.
    pub(super) left: Vec<String>,
}

/// Where an SSTable's files are staged.
pub(super) fn staged_dir(stage: &Path, sstable: &SharedSstable) -> PathBuf {
    stage.join("files").join(sstable.place())
}

/// The folder of import folders.
fn import_root(stage: &Path) -> PathBuf {
    stage.join("import")
}

impl Batch {
    /// Links the files of `sstables` (of one table) into the fresh folder `number` of
    /// `attempt`. Cassandra wants names of letters, digits and `_` at a path's end.
    pub(super) fn link(
        stage: &Path,
        attempt: &str,
        number: usize,
        sstables: &[Staged],
    ) -> Result<Self, TaskError> {
        let parent = import_root(stage).join(attempt);
        let dir = parent.join(format!("{number:06}"));
        make_dir(&dir)?;
        let mut linked = BTreeMap::new();
        for (number, sstable) in (1..).zip(sstables) {
            let Staged { version, format, .. } = sstable;
            for (file, component) in &sstable.files {
                let from = sstable.dir.join(file);
                let to = dir.join(format!("{version}-{number}-{format}-{component}"));
                std::fs::hard_link(&from, &to).map_err(|error| {
                    failure::local(&from, "linking for the import the staged file", &error)
                })?;
            }
            linked.insert(number, sstable.place.clone());
        }
        let linked = Linked { sstables: linked };
        let note = parent.join(format!("{number:06}.{NOTE}"));
        let text = serde_json::to_string(&linked)
            .map_err(|error| TaskError::permanent("RV-INTERNAL", error.to_string()))?;
        // The links first, or a crash between would let the note call files taken that never came.
        File::open(&dir)
            .and_then(|dir| dir.sync_all())
            .and_then(|()| around!("apply.batch-note").run_blocking(|| write_durably(&note, &text)))
            .map_err(|error| failure::local(&note, "writing", &error))?;
        Ok(Self { dir, note, linked })
    }

    /// Batches that earlier attempts handed over, or were about to.
    pub(super) fn earlier(stage: &Path) -> Result<Vec<Self>, TaskError> {
        let root = import_root(stage);
        let mut found = Vec::new();
        for attempt in entries(&root)? {
            for note in entries(&attempt)? {
                if note.extension().is_some_and(|extension| extension == NOTE) {
                    let text =
                        std::fs::read(&note).map_err(|error| failure::local(&note, "reading", &error))?;
                    // A note that cannot be read is evidence of nothing.
                    if let Ok(linked) = serde_json::from_slice(&text) {
                        found.push(Self { dir: note.with_extension(""), note, linked });
                    }
                }
            }
        }
        Ok(found)
    }

    /// Whether no file was linked: there is nothing to import.
    pub(super) fn is_empty(&self) -> bool {
        std::fs::read_dir(&self.dir).is_ok_and(|mut entries| entries.next().is_none())
    }

    /// What became of its SSTables, as the folder shows.
    pub(super) fn fate(&self) -> Fate {
        let Ok(entries) = std::fs::read_dir(&self.dir) else {
            let left = self.linked.sstables.values().cloned().collect();
            return Fate { left, ..Fate::default() };
        };
        let still_there: HashSet<usize> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with("-Data.db"))
            .filter_map(|name| name.split('-').nth(1)?.parse().ok())
            .collect();
        let mut fate = Fate::default();
        for (number, place) in &self.linked.sstables {
            let list = if still_there.contains(number) { &mut fate.left } else { &mut fate.taken };
            list.push(place.clone());
        }
        fate
    }

    /// Removes a folder whose SSTables are all recorded as taken. What cannot be removed goes with
    /// the job's other files.
    pub(super) fn tidy(&self) {
        if std::fs::remove_file(&self.note).is_ok() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// The entries of a folder, in order; none if it is not there.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, TaskError> {
    let listed = match std::fs::read_dir(dir) {
        Ok(listed) => listed,
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failure::local(dir, "reading", &error)),
    };
    let mut paths = Vec::new();
    for entry in listed {
        paths.push(entry.map_err(|error| failure::local(dir, "reading", &error))?.path());
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
