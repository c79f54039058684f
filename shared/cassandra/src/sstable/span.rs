//! From which key to which an `SSTable` reaches.

use std::{fs::File, io::BufReader, path::Path};

use ringvault_core::cluster::Token;

use super::{
    Component, Format, IndexReader, SstableError, SstableFiles,
    bytes::{FormatError, Result},
    murmur3_token, parse_partitions, parse_summary,
};

/// First and last key of an `SSTable`, in token order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpan {
    /// First key, serialised.
    pub first_key: Vec<u8>,
    /// Last key, serialised.
    pub last_key: Vec<u8>,
    /// Token of the first key.
    pub first: Token,
    /// Token of the last key.
    pub last: Token,
}

impl KeySpan {
    fn new(first_key: Vec<u8>, last_key: Vec<u8>) -> Result<Self> {
        let (first, last) = (murmur3_token(&first_key), murmur3_token(&last_key));
        if first > last {
            return Err(FormatError(format!(
                "its first key (token {}) comes after its last (token {})",
                first.0, last.0
            )));
        }
        Ok(Self { first_key, last_key, first, last })
    }
}

/// Reads the span off Summary.db (BIG) or Partitions.db (BTI). A BIG `SSTable` whose summary is
/// missing or damaged has its index read instead, from end to end: Cassandra rebuilds summaries,
/// so a bad one is no reason to give an `SSTable` up.
pub fn read_key_span(sstable: &SstableFiles) -> std::result::Result<KeySpan, SstableError> {
    if !sstable.descriptor.has_known_layout() {
        return Err(SstableError::Unknown(sstable.descriptor.to_string()));
    }
    let path_of = |component| sstable.file(&component).map(|file| file.path.as_path());
    let missing = |missing| SstableError::Missing { sstable: sstable.descriptor.to_string(), missing };
    match sstable.descriptor.format {
        Format::Bti => {
            let path = path_of(Component::Partitions).ok_or_else(|| missing("Partitions.db"))?;
            read(path, |file, length| {
                let (first, last, _) = parse_partitions(file, length)?;
                KeySpan::new(first, last)
            })
        }
        Format::Big => {
            let by_summary = path_of(Component::Summary).map(|path| {
                read(path, |file, length| {
                    let (first, last) = parse_summary(file, length)?;
                    KeySpan::new(first, last)
                })
            });
            if let Some(Ok(span)) = by_summary {
                return Ok(span);
            }
            let path = path_of(Component::Index).ok_or_else(|| missing("Summary.db and no Index.db"))?;
            read(path, |file, _| span_of_index(IndexReader::new(BufReader::new(file))))
        }
    }
}

fn read(
    path: &Path,
    parse: impl FnOnce(&mut File, u64) -> Result<KeySpan>,
) -> std::result::Result<KeySpan, SstableError> {
    let mut file = File::open(path).map_err(|error| SstableError::io(path, error))?;
    let length = file.metadata().map_err(|error| SstableError::io(path, error))?.len();
    parse(&mut file, length).map_err(|error| SstableError::damaged(path, error))
}

fn span_of_index(entries: impl Iterator<Item = Result<super::IndexEntry>>) -> Result<KeySpan> {
    let mut span: Option<(Vec<u8>, Vec<u8>)> = None;
    for entry in entries {
        let key = entry?.key;
        match &mut span {
            Some((_, last)) => *last = key,
            None => span = Some((key.clone(), key)),
        }
    }
    let (first, last) = span.ok_or_else(|| FormatError::new("it names no partition"))?;
    KeySpan::new(first, last)
}
