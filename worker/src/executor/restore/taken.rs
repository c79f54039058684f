//! What of a restore a node is done with: SSTables that Cassandra has taken, tables that were counted
//! since, and tables that were cleaned up after that. Three records, so that a count that fell short is
//! made again, and an import is not.
//!
//! Lines at the end of files beside the staged ones; what stands there once is true for ever.

use std::{
    collections::HashSet,
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
};

use ringvault_core::{TaskError, selection::TableName};
use ringvault_fault::around;

use super::batch::Batch;
use crate::executor::failure;

/// The records of one job on one node.
pub(super) struct Taken {
    stage: PathBuf,
    sstables: HashSet<String>,
    counted: HashSet<String>,
    cleaned: HashSet<String>,
}

impl Taken {
    const SSTABLES: &str = "applied";
    const COUNTED: &str = "counted";
    const CLEANED: &str = "cleaned";

    /// Reads them, and adds what the import folders of earlier attempts prove. Blocks on the disk.
    pub(super) fn read(stage: &Path) -> Result<Self, TaskError> {
        let mut taken = Self {
            stage: stage.to_owned(),
            sstables: read_lines(&stage.join(Self::SSTABLES))?,
            counted: read_lines(&stage.join(Self::COUNTED))?,
            cleaned: read_lines(&stage.join(Self::CLEANED))?,
        };
        for batch in Batch::earlier(stage)? {
            taken.settle(&batch)?;
        }
        Ok(taken)
    }

    /// Records what became of a batch; on disk when it returns. What it left behind, by place.
    pub(super) fn settle(&mut self, batch: &Batch) -> Result<Vec<String>, TaskError> {
        let fate = batch.fate();
        self.took(&fate.taken)?;
        if fate.left.is_empty() {
            batch.tidy();
        }
        Ok(fate.left)
    }

    /// Records the SSTables at these places as taken; on disk when it returns.
    pub(super) fn took(&mut self, places: &[String]) -> Result<(), TaskError> {
        let new: Vec<String> =
            places.iter().filter(|place| !self.sstables.contains(*place)).cloned().collect();
        around!("apply.record").run_blocking(|| append(&self.stage.join(Self::SSTABLES), &new))?;
        self.sstables.extend(new);
        Ok(())
    }

    /// Whether Cassandra has taken the SSTable at this place.
    pub(super) fn has(&self, place: &str) -> bool {
        self.sstables.contains(place)
    }

    /// Whether the table was counted after all of it was taken.
    pub(super) fn is_counted(&self, table: &TableName) -> bool {
        self.counted.contains(&table.to_string())
    }

    /// Records that it was.
    pub(super) fn counted(&mut self, table: &TableName) -> Result<(), TaskError> {
        let path = self.stage.join(Self::COUNTED);
        around!("apply.counted").run_blocking(|| append(&path, &[table.to_string()]))?;
        self.counted.insert(table.to_string());
        Ok(())
    }

    /// Whether what the node does not own was taken out of the table after all of it was taken.
    pub(super) fn is_cleaned(&self, table: &TableName) -> bool {
        self.cleaned.contains(&table.to_string())
    }

    /// Records that it was.
    pub(super) fn cleaned(&mut self, table: &TableName) -> Result<(), TaskError> {
        let path = self.stage.join(Self::CLEANED);
        around!("apply.cleaned").run_blocking(|| append(&path, &[table.to_string()]))?;
        self.cleaned.insert(table.to_string());
        Ok(())
    }

    /// How many tables were.
    pub(super) fn tables_cleaned(&self) -> u64 {
        self.cleaned.len() as u64
    }
}

/// A torn last line is ignored, and so are the empty ones between what was appended.
fn read_lines(path: &Path) -> Result<HashSet<String>, TaskError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n').filter(|line| !line.is_empty()))
            .map(str::to_owned)
            .collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HashSet::new()),
        Err(error) => Err(failure::local(path, "reading", &error)),
    }
}

fn append(path: &Path, lines: &[String]) -> Result<(), TaskError> {
    if lines.is_empty() {
        return Ok(());
    }
    // Begins with a line's end: a torn line before it must not swallow the first of these.
    let text: String = std::iter::once("\n").chain(lines.iter().flat_map(|l| [l.as_str(), "\n"])).collect();
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_data()
        })
        .map_err(|error| failure::local(path, "writing", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_costs_only_itself() {
        let stage = tempfile::tempdir().unwrap();
        let path = stage.path().join(Taken::SSTABLES);
        append(&path, &["a".to_owned()]).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"tor").unwrap();
        append(&path, &["b".to_owned(), "c".to_owned()]).unwrap();
        let taken = Taken::read(stage.path()).unwrap();
        assert!(["a", "b", "c"].iter().all(|place| taken.has(place)) && !taken.has("torn"));
    }

    #[test]
    fn taken_counted_and_cleaned_are_three_things() {
        let stage = tempfile::tempdir().unwrap();
        let table = TableName::new("ks", "t");
        append(&stage.path().join(Taken::SSTABLES), &["a".to_owned()]).unwrap();
        let mut taken = Taken::read(stage.path()).unwrap();
        assert!(!taken.is_counted(&table));
        taken.counted(&table).unwrap();
        let mut taken = Taken::read(stage.path()).unwrap();
        assert!(taken.is_counted(&table) && !taken.is_cleaned(&table));
        taken.cleaned(&table).unwrap();
        let taken = Taken::read(stage.path()).unwrap();
        assert!(taken.is_cleaned(&table) && taken.tables_cleaned() == 1);
    }
}
