//! Lines of the manifest that wait for their files to have a place.

use std::{collections::VecDeque, sync::Arc};

use super::{SourceItem, local::LocalFile, walk::LocalItem};
use crate::{
    checksum::Checksum,
    journal::Finished,
    manifest::{Component, Entry, SstableEntry, SstableFacts, TableEntry},
};

/// Most lines that wait. When it is reached, the open pack is closed, so that the first can go on.
const MAX_PENDING: usize = 4096;

/// A file of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    line: u64,
    file: usize,
}

/// A file that has its place.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) slot: Slot,
    pub(super) at: Finished,
}

/// Lines in order, each with what it still waits for.
#[derive(Debug, Default)]
pub(super) struct PendingLines {
    first: u64,
    lines: VecDeque<PendingLine>,
}

#[derive(Debug)]
struct PendingLine {
    item: SourceItem,
    facts: SstableFacts,
    files: Vec<(Arc<LocalFile>, Option<Finished>)>,
    missing: usize,
}

impl PendingLines {
    /// Adds the next line. Returns the slots of its files, in their order.
    pub(super) fn push(&mut self, local: LocalItem, facts: SstableFacts) -> Vec<(Slot, Arc<LocalFile>)> {
        let LocalItem { item, files } = local;
        let line = self.first + self.lines.len() as u64;
        let slots = files.iter().enumerate().map(|(file, about)| (Slot { line, file }, Arc::clone(about)));
        let slots = slots.collect();
        let missing = files.len();
        let files = files.into_iter().map(|file| (file, None)).collect();
        self.lines.push_back(PendingLine { item, facts, files, missing });
        slots
    }

    /// The item that a slot belongs to, while its line waits.
    pub(super) fn item(&self, slot: Slot) -> Option<&SourceItem> {
        let line = usize::try_from(slot.line.checked_sub(self.first)?).ok()?;
        self.lines.get(line).map(|line| &line.item)
    }

    /// Gives a file its place. A second place for the same file is ignored.
    pub(super) fn land(&mut self, landed: Landed) {
        let Landed { slot, at } = landed;
        let line = slot.line.checked_sub(self.first).and_then(|line| usize::try_from(line).ok());
        let Some(line) = line.and_then(|line| self.lines.get_mut(line)) else { return };
        if let Some((_, place @ None)) = line.files.get_mut(slot.file) {
            *place = Some(at);
            line.missing -= 1;
        }
    }

    /// The next line in order, once it waits for nothing.
    pub(super) fn pop_ready(&mut self) -> Option<Entry> {
        if self.lines.front()?.missing > 0 {
            return None;
        }
        self.first += 1;
        self.lines.pop_front().map(PendingLine::into_entry)
    }

    /// Whether no more lines should be added.
    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= MAX_PENDING
    }

    /// Whether every line was popped.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl PendingLine {
    fn into_entry(self) -> Entry {
        let component = |(file, at): (Arc<LocalFile>, Option<Finished>)| {
            at.map(|at| Component {
                name: file.component.clone(),
                size: file.size,
                checksum: Checksum::Blake3(at.blake3),
                place: at.place,
                file: Some(file.identity),
            })
        };
        let components = self.files.into_iter().filter_map(component).collect();
        match self.item {
            SourceItem::Table(item) => Entry::Table(TableEntry { table: item.table, files: components }),
            SourceItem::Sstable(item) => Entry::Sstable(SstableEntry {
                table: item.table,
                name: item.name,
                facts: self.facts,
                components,
            }),
        }
    }
}
