//! Data.db as it is needed: in ascending order, by few requests, each chunk checked before a byte of
//! it is used.

use std::{
    collections::VecDeque,
    io::{self, Read, Seek},
    ops::Range,
};

use super::{Component, RangedRead, Result, SliceError, chunks::Chunks};

/// Longest head of a partition: the length of its key, and the key.
const MAX_HEAD: u64 = 2 + u16::MAX as u64;

/// Neighbouring chunks that come together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Their numbers.
    chunks: Range<u64>,
    /// Where they lie in Data.db.
    place: Range<u64>,
}

impl Request {
    /// Bytes that it asks for.
    pub(super) const fn bytes(&self) -> u64 {
        self.place.end - self.place.start
    }
}

/// The requests that bring `runs` of the content, which ascend. Chunks at most `max_gap` bytes apart
/// come together.
pub(super) fn requests<R: Read + Seek>(
    runs: &[Range<u64>],
    chunks: &mut Chunks<R>,
    max_gap: u64,
) -> Result<Vec<Request>> {
    let mut requests: Vec<Request> = Vec::new();
    for run in runs.iter().filter(|run| !run.is_empty()) {
        let (first, last) = (chunks.number(run.start), chunks.number(run.end - 1));
        let place = chunks.place(first)?.start..chunks.place(last)?.end;
        match requests.last_mut() {
            Some(request) if place.start <= request.place.end.saturating_add(max_gap) => {
                request.chunks.end = request.chunks.end.max(last + 1);
                request.place.end = request.place.end.max(place.end);
            }
            _ => requests.push(Request { chunks: Range { start: first, end: last + 1 }, place }),
        }
    }
    Ok(requests)
}

/// A body under way.
struct Open<'a> {
    body: Box<dyn Read + 'a>,
    /// The chunk that comes next, and the one behind the last.
    chunks: Range<u64>,
}

/// Brings chunks in ascending order.
pub(super) struct Feed<'a> {
    data: &'a dyn RangedRead,
    ahead: VecDeque<Request>,
    open: Option<Open<'a>>,
    /// The chunk at hand.
    number: Option<u64>,
    content: Vec<u8>,
    stored: Vec<u8>,
}

impl<'a> Feed<'a> {
    pub(super) fn new(data: &'a dyn RangedRead, requests: Vec<Request>) -> Self {
        let ahead = requests.into();
        Self { data, ahead, open: None, number: None, content: Vec::new(), stored: Vec::new() }
    }

    /// Hands over bytes `range` of the content, which begin where the last ones ended or later.
    pub(super) fn copy<R: Read + Seek>(
        &mut self,
        range: Range<u64>,
        chunks: &mut Chunks<R>,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        if range.start >= range.end || range.end > chunks.content() {
            let Range { start, end } = range;
            return Err(SliceError::data(format!("a partition reaches from {start} to {end}")));
        }
        for number in chunks.number(range.start)..=chunks.number(range.end - 1) {
            self.bring(number, chunks)?;
            let holds = chunks.holds(number);
            let within = |at: u64| usize::try_from(at.clamp(holds.start, holds.end) - holds.start);
            let part = within(range.start).ok().zip(within(range.end).ok());
            let part = part.and_then(|(from, to)| self.content.get(from..to));
            take(part.ok_or_else(|| SliceError::data(format!("chunk {number} is too short")))?)?;
        }
        Ok(())
    }

    /// The key of the partition that begins at `position`.
    pub(super) fn key<R: Read + Seek>(&mut self, position: u64, chunks: &mut Chunks<R>) -> Result<Vec<u8>> {
        let mut head = Vec::with_capacity(2);
        let begin = position.saturating_add(2);
        self.copy(position..begin, chunks, |piece| {
            head.extend_from_slice(piece);
            Ok(())
        })?;
        let length = head.first_chunk::<2>().map_or(0, |length| u16::from_be_bytes(*length));
        let mut key = Vec::with_capacity(usize::from(length));
        if length > 0 {
            self.copy(begin..begin.saturating_add(u64::from(length)), chunks, |piece| {
                key.extend_from_slice(piece);
                Ok(())
            })?;
        }
        Ok(key)
    }

    /// Sees to it that chunk `number` is at hand.
    fn bring<R: Read + Seek>(&mut self, number: u64, chunks: &mut Chunks<R>) -> Result<()> {
        if self.number == Some(number) {
            return Ok(());
        }
        self.number = None;
        while self.open.as_ref().is_none_or(|open| open.chunks.end <= number) {
            let request = self.ahead.pop_front();
            let request =
                request.ok_or_else(|| SliceError::data(format!("chunk {number} is of no partition")))?;
            if request.chunks.end > number {
                let body = self.data.open(request.place).map_err(unreadable)?;
                self.open = Some(Open { body, chunks: request.chunks });
            }
        }
        let Some(open) = &mut self.open else { return Err(SliceError::data("nothing is open")) };
        if open.chunks.start > number {
            return Err(SliceError::data(format!("chunk {number} has gone by")));
        }
        while open.chunks.start <= number {
            let next = open.chunks.start;
            let place = chunks.place(next)?;
            let length = place.end - place.start;
            if next < number {
                let skipped = io::copy(&mut (&mut open.body).take(length), &mut io::sink());
                if skipped.map_err(unreadable)? < length {
                    return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
                }
            } else {
                self.stored.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
                open.body.read_exact(&mut self.stored).map_err(unreadable)?;
                chunks.open(number, &self.stored, &mut self.content)?;
            }
            open.chunks.start += 1;
        }
        self.number = Some(number);
        Ok(())
    }
}

fn unreadable(source: io::Error) -> SliceError {
    SliceError::Unreadable { component: Component::Data, source }
}

/// The key of one partition, by a request of its own.
pub(super) fn key_at<R: Read + Seek>(
    data: &dyn RangedRead,
    chunks: &mut Chunks<R>,
    position: u64,
) -> Result<Vec<u8>> {
    let reach = position..position.saturating_add(MAX_HEAD).min(chunks.content());
    // Chunk by chunk, as nearly every key lies in the first.
    let numbers = chunks.number(reach.start)..=chunks.number(reach.end.saturating_sub(1));
    let requests = numbers
        .map(|number| {
            Ok(Request { chunks: Range { start: number, end: number + 1 }, place: chunks.place(number)? })
        })
        .collect::<Result<Vec<_>>>()?;
    Feed::new(data, requests).key(position, chunks)
}
