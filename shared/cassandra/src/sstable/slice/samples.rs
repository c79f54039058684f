//! Summary.db: samples of Index.db, and which parts of that tell of wanted tokens.
//!
//! Behind the head ([`SummaryHead`]) stand as many i32 as there are entries, each the place of one, from
//! where these numbers begin; then the entries: a key, and as i64 where in Index.db its entry begins.
//! Both are in the byte order of the machine that wrote them; that of big-endian ones is not read. The
//! first partition is always sampled, then every `interval`th; a summary that was thinned out lacks some
//! (`IndexSummaryBuilder`, `Downsampling`). Source: `IndexSummary`.
//!
//! A part reaches from the last sample below a wanted interval, as partitions of one token may lie on
//! both sides of a sample, to the first above it. It is right whatever the summary says as long as those
//! two keys do stand in Index.db where they are said to: partitions ascend there. The walk looks.

use std::{
    io::{Read, Seek},
    ops::Range,
};

use ringvault_core::cluster::{Token, TokenSet};

use super::pages::Pages;
use crate::sstable::{FormatError, bytes::Result, murmur3_token, summary::SummaryHead};

/// Parts of Index.db at most this many bytes apart come with one request.
const MAX_GAP: u64 = 16 << 10;
/// Bytes of an entry of Index.db behind its key, up to its promoted index, at most.
const NUMBERS: u64 = 2 * 9;
/// The place in an entry.
const PLACE: u64 = 8;

/// An entry of Summary.db.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    /// The partition's key, serialised.
    pub(super) key: Vec<u8>,
    /// Where its entry begins in Index.db, in bytes.
    pub(super) place: u64,
}

/// A part of Index.db.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// The sample that it begins with, and the one whose head it ends with: the number of samples where
    /// it ends with the file.
    pub(super) samples: Range<u64>,
    /// Its bytes.
    pub(super) bytes: Range<u64>,
}

/// The samples of an Index.db.
pub(super) struct Samples<R> {
    pages: Pages<R>,
    head: SummaryHead,
}

impl<R: Read + Seek> Samples<R> {
    pub(super) fn new(summary: R) -> Result<Self> {
        let mut pages = Pages::new(summary)?;
        let head = SummaryHead::parse(&pages.array(0)?, pages.length())?;
        let offsets = u64::from(head.entries) * 4;
        if head.entries == 0 || head.interval == 0 || offsets >= head.memory {
            return Err(FormatError::new("it has no samples"));
        }
        let mut samples = Self { pages, head };
        if samples.offset(0)? != offsets {
            return Err(FormatError::new("its samples do not begin where they should"));
        }
        match samples.sample(0)?.place {
            0 => Ok(samples),
            place => Err(FormatError(format!("its first sample lies at {place}"))),
        }
    }

    /// How many there are.
    pub(super) const fn count(&self) -> u64 {
        self.head.entries as u64
    }

    /// Partitions from one sample to the next, or a multiple of it.
    pub(super) const fn interval(&self) -> u64 {
        self.head.interval as u64
    }

    /// The sample of this number; `None` behind the last.
    pub(super) fn get(&mut self, number: u64) -> Result<Option<Sample>> {
        if number < self.count() { self.sample(number).map(Some) } else { Ok(None) }
    }

    fn sample(&mut self, number: u64) -> Result<Sample> {
        let is_last = number + 1 == self.count();
        let (begin, end) =
            (self.offset(number)?, if is_last { self.head.memory } else { self.offset(number + 1)? });
        let length = end.checked_sub(begin).and_then(|length| length.checked_sub(PLACE));
        let length = length.filter(|_| end <= self.head.memory).and_then(|length| u16::try_from(length).ok());
        let length =
            length.ok_or_else(|| FormatError(format!("its sample {number} lies at {begin} to {end}")))?;
        let mut key = vec![0; usize::from(length)];
        self.pages.fill(SummaryHead::LEN as u64 + begin, &mut key)?;
        let place = i64::from_le_bytes(self.pages.array(SummaryHead::LEN as u64 + end - PLACE)?);
        let place = u64::try_from(place)
            .map_err(|_| FormatError(format!("its sample {number} is of no place in the index")))?;
        Ok(Sample { key, place })
    }

    /// Where in the memory a sample begins.
    fn offset(&mut self, number: u64) -> Result<u64> {
        let offset = self.pages.array(SummaryHead::LEN as u64 + 4 * number)?;
        Ok(u64::from(u32::from_le_bytes(offset)))
    }

    /// How many samples stand before the first of which `is_before` does not hold.
    fn count_before(&mut self, is_before: impl Fn(Token) -> bool) -> Result<u64> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low.midpoint(high);
            if is_before(murmur3_token(&self.sample(middle)?.key)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The parts of an Index.db of `size` bytes that tell of the partitions of `wanted`, ascending.
    pub(super) fn parts(&mut self, wanted: &TokenSet, size: u64) -> Result<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::new();
        for (first, last) in wanted.intervals() {
            let begin = self.count_before(|token| token < first)?.saturating_sub(1);
            let end = self.count_before(|token| token <= last)?;
            let bytes = self.sample(begin)?.place..self.end(end, size)?;
            let part = Part { samples: begin..end, bytes };
            let is_behind = parts
                .last()
                .is_none_or(|before| before.samples.start <= begin && before.bytes.start <= part.bytes.start);
            if begin > end || part.bytes.is_empty() || !is_behind {
                return Err(FormatError(format!("its samples {begin} and {end} are out of order")));
            }
            match parts.last_mut() {
                Some(before) if part.bytes.start <= before.bytes.end.saturating_add(MAX_GAP) => {
                    before.samples.end = before.samples.end.max(end);
                    before.bytes.end = before.bytes.end.max(part.bytes.end);
                }
                _ => parts.push(part),
            }
        }
        Ok(parts)
    }

    /// Where a part ends that ends at this sample: behind what stands before its promoted index.
    fn end(&mut self, number: u64, size: u64) -> Result<u64> {
        let Some(Sample { key, place }) = self.get(number)? else { return Ok(size) };
        Ok(place.saturating_add(2 + key.len() as u64 + NUMBERS).min(size))
    }
}
