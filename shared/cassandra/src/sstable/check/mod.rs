//! Whether an `SSTable`'s own structure holds together, over its components as they go by.
//!
//! What only the `SSTable` itself can tell: that its components are those its TOC lists, that Data.db has
//! the checksum of Digest.crc32 and each chunk the one it should have, that index, summary and statistics
//! can be read and agree with each other and with what was known of it when it was backed up. A hash of
//! the whole says nothing of these: a file that was damaged before it was hashed has a good hash.
//!
//! Push only: whoever has the bytes hands them over in pieces of any size, each byte once. Memory: one
//! piece of chunk places, one key, and the small components (64 MiB of each at most), whatever the `SSTable`'s
//! size. Input may be damaged or hostile; it ends as a [`Problem`], never as a panic.
//!
//! The order: Statistics.db first; Data.db piece by piece, with as much of [`SstableCheck::sidecar`] before
//! each piece as [`SstableCheck::wants_sidecar`] asks for; the rest in any order.

mod chunks;
mod data;
mod index;

use std::{collections::BTreeMap, io::Cursor};

use ringvault_core::cluster::Token;

use super::{
    Component, Descriptor, Format, Statistics, murmur3_token, parse_digest, parse_partitions, parse_summary,
};
use data::DataCheck;
use index::IndexScan;

/// Most bytes of a component that is looked at as a whole; of a larger one only the end is kept. Real
/// statistics have some ten KiB, summaries some MiB.
const MAX_HELD: usize = 64 << 20;
/// What is kept of a Partitions.db: its end, with two keys of 64 KiB and their lengths.
const PARTITIONS_END: usize = 24 + 2 * (2 + u16::MAX as usize);

/// What is wrong with a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The component.
    pub component: Component,
    /// What is wrong with it, in words.
    pub what: String,
}

/// What was known of an `SSTable` when it was backed up; `None`: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Token of its first partition.
    pub first: Option<Token>,
    /// Token of its last partition.
    pub last: Option<Token>,
    /// Partitions.
    pub partitions: Option<u64>,
    /// Rows.
    pub rows: Option<u64>,
}

/// A check of one `SSTable`.
#[derive(Debug)]
pub struct SstableCheck {
    descriptor: Descriptor,
    known: Known,
    /// The components there are, with their sizes in bytes.
    sizes: BTreeMap<Component, u64>,
    data: DataCheck,
    index: IndexScan,
    held: BTreeMap<Component, Vec<u8>>,
    statistics: Option<Statistics>,
    problems: Vec<Problem>,
}

impl SstableCheck {
    /// Of an `SSTable` with these components, by their sizes in bytes.
    pub fn new(
        descriptor: Descriptor,
        components: impl IntoIterator<Item = (Component, u64)>,
        known: Known,
    ) -> Self {
        let sizes: BTreeMap<Component, u64> = components.into_iter().collect();
        let has_layout = descriptor.has_known_layout();
        let size_of = |component| sizes.get(&component).copied();
        let data = DataCheck::new(
            size_of(Component::Data).unwrap_or(0),
            size_of(Component::CompressionInfo).filter(|_| has_layout),
            size_of(Component::Crc).filter(|_| has_layout),
        );
        let index = IndexScan::new(known.first.is_some());
        let (held, problems) = (BTreeMap::new(), Vec::new());
        Self { descriptor, known, sizes, data, index, held, statistics: None, problems }
    }

    /// The component that says where the chunks of Data.db begin or what their checksums are.
    pub fn sidecar(&self) -> Option<Component> {
        self.data.sidecar()
    }

    /// Whether more of the sidecar is needed before the next `coming` bytes of Data.db. Not once it has
    /// ended.
    pub fn wants_sidecar(&self, coming: usize) -> bool {
        self.data.wants_sidecar(coming)
    }

    /// Takes the next bytes of a component.
    pub fn take(&mut self, component: &Component, piece: &[u8]) {
        match component {
            Component::Data => self.data.take(piece),
            Component::CompressionInfo | Component::Crc if self.data.is_sidecar(component) => {
                self.data.take_sidecar(piece);
            }
            Component::Index if self.descriptor.has_known_layout() => self.index.take(piece),
            Component::Statistics | Component::Summary | Component::Toc | Component::Digest => {
                let held = self.held.entry(component.clone()).or_default();
                let room = MAX_HELD.saturating_sub(held.len());
                held.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            Component::Partitions => {
                let held = self.held.entry(Component::Partitions).or_default();
                held.extend_from_slice(piece);
                // Cut now and then, not for every piece.
                if held.len() > 2 * PARTITIONS_END {
                    held.drain(..held.len() - PARTITIONS_END);
                }
            }
            _ => {}
        }
    }

    /// All of a component was taken.
    pub fn end(&mut self, component: &Component) {
        match component {
            Component::Data => self.data.end(),
            Component::CompressionInfo | Component::Crc if self.data.is_sidecar(component) => {
                self.data.end_sidecar();
            }
            Component::Statistics if self.descriptor.has_known_layout() => {
                let content = self.held.remove(component).unwrap_or_default();
                match Statistics::parse(&content, &self.descriptor) {
                    Ok(statistics) => {
                        self.index.is_by_token = statistics.partitioner.ends_with("Murmur3Partitioner");
                        self.statistics = Some(statistics);
                    }
                    Err(error) => self.problem(component, error.0),
                }
            }
            _ => {}
        }
    }

    fn problem(&mut self, component: &Component, what: impl Into<String>) {
        self.problems.push(Problem { component: component.clone(), what: what.into() });
    }

    /// What is wrong, once everything was taken.
    pub fn finish(mut self) -> Vec<Problem> {
        self.check_toc();
        self.check_components();
        let digest = self.held.remove(&Component::Digest).map(|content| parse_digest(&content));
        match digest {
            Some(Ok(expected)) if self.sizes.contains_key(&Component::Data) => {
                let found = self.data.checksum();
                if found != expected {
                    let what = format!("it has checksum {found:08x}, and Digest.crc32 says {expected:08x}");
                    self.problem(&Component::Data, what);
                }
            }
            Some(Err(error)) => self.problem(&Component::Digest, error.0),
            _ => {}
        }
        let of_data = self.data.take_problems();
        self.problems.extend(of_data);
        if self.descriptor.has_known_layout() {
            self.check_statistics();
            match self.descriptor.format {
                Format::Big => self.check_index(),
                Format::Bti => self.check_partitions(),
            }
        }
        self.problems
    }

    /// Files of secondary indexes come and go beside a TOC that does not follow, and are made anew by a
    /// restore: they are not looked at.
    fn check_toc(&mut self) {
        let Some(text) = self.held.remove(&Component::Toc) else { return };
        let Ok(text) = String::from_utf8(text) else {
            return self.problem(&Component::Toc, "it is not text");
        };
        let mut listed = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match Component::parse(line.trim()) {
                Some(Component::Other(_)) => {}
                Some(component) => listed.push(component),
                None => self.problem(&Component::Toc, format!("{:?} is no component", excerpt(line))),
            }
        }
        if listed.is_empty() {
            return self.problem(&Component::Toc, "it lists nothing");
        }
        for component in &listed {
            if !self.sizes.contains_key(component) {
                self.problem(&Component::Toc, format!("it lists {component}, which is not there"));
            }
        }
        let there: Vec<_> = self.sizes.keys().cloned().collect();
        for component in there {
            if !matches!(component, Component::Other(_) | Component::Toc) && !listed.contains(&component) {
                self.problem(&Component::Toc, format!("it does not list {component}, which is there"));
            }
        }
    }

    /// Without these nothing can be read of it.
    fn check_components(&mut self) {
        let of_format: &[Component] = match self.descriptor.format {
            Format::Big => &[Component::Data, Component::Statistics, Component::Index],
            Format::Bti => &[Component::Data, Component::Statistics, Component::Partitions, Component::Rows],
        };
        for component in of_format {
            if !self.sizes.contains_key(component) {
                self.problem(component, "it is not there");
            }
        }
        let is_compressed = self.sizes.contains_key(&Component::CompressionInfo);
        if !is_compressed && !self.sizes.contains_key(&Component::Crc) {
            self.problem(&Component::Data, "neither CompressionInfo.db nor CRC.db is there for it");
        }
    }

    fn check_statistics(&mut self) {
        let Some(statistics) = &self.statistics else { return };
        let (partitions, rows) = (statistics.partitions, statistics.rows);
        if let Some(known) = self.known.partitions.filter(|known| *known != partitions) {
            let what = format!("it counts {partitions} partitions, the manifest {known}");
            self.problem(&Component::Statistics, what);
        }
        if let (Some(known), Some(rows)) = (self.known.rows, rows)
            && known != rows
        {
            self.problem(&Component::Statistics, format!("it counts {rows} rows, the manifest {known}"));
        }
    }

    fn check_index(&mut self) {
        if !self.sizes.contains_key(&Component::Index) {
            return;
        }
        if let Some(what) = self.index.end() {
            return self.problem(&Component::Index, what);
        }
        let Some((first, last, count, last_position)) = self.index.found() else {
            return self.problem(&Component::Index, "it names no partition");
        };
        if let Some(length) = self.data.length().filter(|length| last_position >= *length) {
            let what = format!("its last partition begins at {last_position}, Data.db ends at {length}");
            self.problem(&Component::Index, what);
        }
        if let Some(summary) = self.held.remove(&Component::Summary) {
            let length = summary.len() as u64;
            match parse_summary(&mut Cursor::new(summary), length) {
                Ok((of_first, of_last)) if of_first == first && of_last == last => {}
                Ok(_) => self.problem(&Component::Summary, "its first and last key are not Index.db's"),
                Err(error) => self.problem(&Component::Summary, error.0),
            }
        }
        self.check_keys(&Component::Index, (&first, &last), count);
    }

    fn check_partitions(&mut self) {
        let Some(end) = self.held.remove(&Component::Partitions) else { return };
        let size = self.sizes.get(&Component::Partitions).copied().unwrap_or_default();
        let mut end = index::EndOfFile::new(end, size);
        match parse_partitions(&mut end, size) {
            Ok((first, last, count)) => self.check_keys(&Component::Partitions, (&first, &last), count),
            Err(error) => self.problem(&Component::Partitions, error.0),
        }
    }

    /// Whether keys and their number are those of the statistics and of the manifest.
    fn check_keys(&mut self, component: &Component, (first, last): (&[u8], &[u8]), count: u64) {
        if let Some(counted) = self.statistics.as_ref().map(|statistics| statistics.partitions)
            && counted != count
        {
            self.problem(component, format!("it names {count} partitions, Statistics.db counts {counted}"));
        }
        if !self.index.is_by_token {
            return;
        }
        let ends = [("first", first, self.known.first), ("last", last, self.known.last)];
        for (which, key, known) in ends {
            let found = murmur3_token(key);
            if let Some(known) = known.filter(|known| *known != found) {
                let what =
                    format!("its {which} partition has token {}, the manifest says {}", found.0, known.0);
                self.problem(component, what);
            }
        }
        if (murmur3_token(first), first) > (murmur3_token(last), last) {
            self.problem(component, "its last key comes before its first");
        }
    }
}

/// The begin of a line from outside, fit to be printed.
fn excerpt(line: &str) -> String {
    ringvault_core::text::excerpt(line)
}

#[cfg(test)]
mod tests;
