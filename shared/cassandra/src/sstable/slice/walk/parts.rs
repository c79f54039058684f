//! Parts of an Index.db instead of the whole: fetched once, kept in a file with holes, and walked with
//! the summary beside them.
//!
//! No hash tells whether a part is what was written, so what it says is held against what was hashed:
//! the summary and, by the caller, Data.db. The walk must come by each sample at the very place that the
//! summary says, and find its key there, and a whole number of intervals between two. A promoted index
//! can be held against nothing: where parts are not authentic, one means that the whole is needed.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
};

use ringvault_core::cluster::TokenSet;

use super::super::{
    Fetched, RangedRead, Result, SliceError,
    samples::{Part, Sample, Samples},
};
use crate::sstable::{Component, FormatError, IndexEntry};

/// Bytes copied at a time.
const BUFFER: usize = 64 << 10;

/// The parts, and where in them a walk is.
pub(super) struct Parts<R> {
    samples: Samples<R>,
    all: Vec<Part>,
    is_checked: bool,
    /// The part that comes next.
    next: usize,
    /// The part at hand; none where it was walked to its end.
    open: Option<Open>,
}

/// A part under way.
struct Open {
    /// The number of the sample that comes next.
    number: u64,
    /// That sample; none behind the last.
    due: Option<Sample>,
    /// Entries since the one before.
    since: u64,
    /// The sample that the part ends with, and where its bytes end.
    end: (u64, u64),
}

fn unfit(what: impl Into<String>) -> SliceError {
    SliceError::Parts(what.into())
}

fn in_summary(error: FormatError) -> SliceError {
    unfit(format!("Summary.db: {error}"))
}

impl<R: Read + Seek> Parts<R> {
    /// Brings what tells of the tokens `wanted` into `kept`, each part to the place that it has in `index`.
    pub(super) fn fetch(
        summary: R,
        index: &dyn RangedRead,
        kept: &mut (impl Write + Seek),
        wanted: &TokenSet,
    ) -> Result<(Self, Fetched)> {
        let mut samples = Samples::new(summary).map_err(in_summary)?;
        let parts = samples.parts(wanted, index.size()).map_err(in_summary)?;
        let mut fetched = Fetched::default();
        for part in &parts {
            copy(index, &part.bytes, kept)?;
            fetched.bytes += part.bytes.end - part.bytes.start;
            fetched.requests += 1;
        }
        let is_checked = index.is_checked();
        Ok((Self { samples, all: parts, is_checked, next: 0, open: None }, fetched))
    }

    /// Whether each part was held against a checksum of its own, or is authenticated.
    pub(super) const fn is_checked(&self) -> bool {
        self.is_checked
    }

    /// Begins anew.
    pub(super) fn rewind(&mut self) {
        (self.next, self.open) = (0, None);
    }

    /// Whether a walk that has come to `at` is at the end of the part at hand, or has not begun one.
    pub(super) fn is_over(&self, at: u64) -> bool {
        self.open.as_ref().is_none_or(|open| open.due.is_none() && at >= open.end.1)
    }

    /// Goes on to the next part; where it begins, or `None` behind the last.
    pub(super) fn open_next(&mut self) -> Result<Option<u64>> {
        let Some(part) = self.all.get(self.next) else { return Ok(None) };
        let (number, place) = (part.samples.start, part.bytes.start);
        let end = (part.samples.end, part.bytes.end);
        self.open = Some(Open { number, due: self.samples.get(number).map_err(in_summary)?, since: 0, end });
        self.next += 1;
        Ok(Some(place))
    }

    /// Looks at the entry that begins at `at`; whether it only ends the part, and is not to be read on.
    pub(super) fn see(&mut self, at: u64, entry: &IndexEntry) -> Result<bool> {
        let Some(open) = &mut self.open else { return Err(unfit("none is open")) };
        if let Some(sample) = open.due.as_ref().filter(|sample| at >= sample.place) {
            let (number, place) = (open.number, sample.place);
            if at > place || entry.key != sample.key || !open.since.is_multiple_of(self.samples.interval()) {
                return Err(unfit(format!(
                    "Index.db is not at {place} as sample {number} of Summary.db says"
                )));
            }
            if number == open.end.0 {
                self.open = None;
                return Ok(true);
            }
            (open.number, open.since) = (number + 1, 0);
            open.due = self.samples.get(number + 1).map_err(in_summary)?;
        }
        open.since += 1;
        if entry.promoted > 0 && !self.is_checked {
            return Err(SliceError::Unverifiable);
        }
        Ok(false)
    }
}

/// Copies bytes `range` of the index to the same place in `kept`.
fn copy(index: &dyn RangedRead, range: &Range<u64>, kept: &mut (impl Write + Seek)) -> Result<()> {
    let unreadable = |source| SliceError::Unreadable { component: Component::Index, source };
    let mut body = index.open(range.clone()).map_err(unreadable)?;
    kept.seek(SeekFrom::Start(range.start)).map_err(SliceError::Write)?;
    let mut left = range.end - range.start;
    let mut buffer = vec![0; BUFFER];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER);
        let read = match body.read(&mut buffer[..most]) {
            Ok(0) => return Err(unreadable(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        kept.write_all(&buffer[..read]).map_err(SliceError::Write)?;
        left -= read as u64;
    }
    Ok(())
}
