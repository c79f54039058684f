//! Folders that are handed to Cassandra's bulk loader, and the notes of the streams that came of them.
//!
//! The loader takes keyspace and table from the end of a folder's path. Files are linked, not moved: they stay
//! the stage's. A note stands beside its folder once the stream's id is known: so an attempt that follows one that
//! died knows which streams may still go on, or have ended well without anybody to record it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ringvault_core::{TaskError, selection::TableName};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    super::{batch::entries, staged::Staged},
    root,
};
use crate::{
    executor::{failure, workspace::make_dir},
    identity::write_durably,
};

/// Ends a note's name.
const NOTE: &str = "note";

/// One SSTable in a folder of its own.
pub(super) struct Handed {
    /// What the loader is given.
    pub(super) dir: PathBuf,
    folder: PathBuf,
}

/// Which stream an SSTable went by.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    place: String,
    plan: Uuid,
}

impl Handed {
    /// Links the files of an SSTable into the fresh folder `number` of `attempt`, as those of `table`.
    pub(super) fn link(
        stage: &Path,
        attempt: &str,
        number: usize,
        table: &TableName,
        sstable: &Staged,
    ) -> Result<Self, TaskError> {
        let folder = root(stage).join(attempt).join(format!("{number:06}"));
        let dir = folder.join(&table.keyspace).join(&table.table);
        make_dir(&dir)?;
        let Staged { version, format, .. } = sstable;
        for (file, component) in &sstable.files {
            let from = sstable.dir.join(file);
            std::fs::hard_link(&from, dir.join(format!("{version}-1-{format}-{component}")))
                .map_err(|error| failure::local(&from, "linking for the stream the staged file", &error))?;
        }
        Ok(Self { dir, folder })
    }

    /// Notes the stream that it goes by; on disk when it returns. Blocks for a moment.
    pub(super) fn note(&self, place: &str, plan: Uuid) -> Result<(), TaskError> {
        let path = self.folder.with_extension(NOTE);
        let text = serde_json::to_string(&Note { place: place.to_owned(), plan })
            .map_err(|error| TaskError::permanent("RV-INTERNAL", error.to_string()))?;
        around!("apply.stream-note")
            .run_blocking(|| write_durably(&path, &text))
            .map_err(|error: std::io::Error| failure::local(&path, "writing", &error))
    }

    /// Removes the folder once the stream is over. What cannot be removed goes with the job's other files.
    /// The note stays: what it says of is over.
    pub(super) fn tidy(&self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Streams that earlier attempts began.
#[derive(Debug, Default)]
pub(super) struct Earlier(BTreeMap<String, Vec<Uuid>>);

impl Earlier {
    /// Reads the notes. Blocks on the disk.
    pub(super) fn read(stage: &Path) -> Result<Self, TaskError> {
        let mut plans: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
        for attempt in entries(&root(stage))? {
            for path in entries(&attempt)? {
                if path.extension().is_none_or(|extension| extension != NOTE) {
                    continue;
                }
                let text = std::fs::read(&path).map_err(|error| failure::local(&path, "reading", &error))?;
                // One that cannot be read tells of nothing: what it is about is streamed once more.
                if let Ok(Note { place, plan }) = serde_json::from_slice(&text) {
                    plans.entry(place).or_default().push(plan);
                }
            }
        }
        Ok(Self(plans))
    }

    /// The streams of the SSTable at this place.
    pub(super) fn plans(&self, place: &str) -> impl Iterator<Item = Uuid> + '_ {
        self.0.get(place).into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(stage: &Path) -> Staged {
        let dir = stage.join("files");
        make_dir(&dir).unwrap();
        std::fs::write(dir.join("nb-7-big-Data.db"), b"x").unwrap();
        Staged {
            place: "p".to_owned(),
            dir,
            version: "nb".to_owned(),
            format: "big".to_owned(),
            files: vec![("nb-7-big-Data.db".to_owned(), "Data.db".to_owned())],
            bytes: 1,
            partitions: None,
        }
    }

    #[test]
    fn a_folder_bears_the_table_s_name_and_the_stage_keeps_its_files() {
        let root = tempfile::tempdir().unwrap();
        let stage = root.path();
        let handed = Handed::link(stage, "a1", 3, &TableName::new("ks", "t"), &staged(stage)).unwrap();
        assert!(handed.dir.ends_with("a1/000003/ks/t") && handed.dir.join("nb-1-big-Data.db").exists());
        handed.tidy();
        assert!(!handed.dir.exists() && stage.join("files/nb-7-big-Data.db").exists());
    }

    #[test]
    fn what_a_dead_attempt_began_is_known() {
        let root = tempfile::tempdir().unwrap();
        let stage = root.path();
        assert_eq!(Earlier::read(stage).unwrap().plans("p").count(), 0);
        let table = TableName::new("ks", "t");
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        Handed::link(stage, "a1", 1, &table, &staged(stage)).unwrap().note("p", one).unwrap();
        let handed = Handed::link(stage, "a2", 1, &table, &staged(stage)).unwrap();
        handed.note("p", two).unwrap();
        handed.tidy();
        std::fs::write(stage.join("stream/a2/000002.note"), b"torn").unwrap();
        let earlier = Earlier::read(stage).unwrap();
        assert_eq!(earlier.plans("p").collect::<Vec<_>>(), [one, two]);
        assert_eq!(earlier.plans("other").count(), 0);
    }
}
