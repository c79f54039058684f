//! Where the chunks of a Data.db end, and what their checksums are, from CompressionInfo.db or CRC.db as
//! they go by: a chunk is known when its line has come.

use std::{collections::VecDeque, io::Cursor};

use super::super::{Component, CompressionInfo};

/// Longest head of a CompressionInfo.db that is held, in bytes; see its parser.
const MAX_HEAD: u64 = 64 << 10;

/// A chunk: the bytes from the one before to `end`, with the checksum of them. Without `crc` it stands in
/// the chunk's own last four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) end: u64,
    pub(super) crc: Option<u32>,
}

#[derive(Debug)]
enum Layout {
    /// CompressionInfo.db, its head not whole yet.
    Head { size: u64 },
    /// CompressionInfo.db: places of chunks.
    Places { chunks: u32, come: u32, last: Option<u64> },
    /// CRC.db, its first number not read yet.
    Length,
    /// CRC.db: checksums of chunks of so many bytes.
    Checksums { chunk: u64, come: u64 },
    /// There is none, or it is wrong.
    Nothing,
}

/// Reads the sidecar.
#[derive(Debug)]
pub(super) struct Chunks {
    pub(super) component: Option<Component>,
    layout: Layout,
    held: Vec<u8>,
    /// Bytes of Data.db.
    data: u64,
    /// Chunks that are known and not begun.
    pub(super) ahead: VecDeque<Chunk>,
    /// Bytes of the uncompressed content.
    pub(super) length: Option<u64>,
    pub(super) wrong: Option<String>,
    ended: bool,
}

impl Chunks {
    pub(super) fn new(data: u64, compression: Option<u64>, crc: Option<u64>) -> Self {
        let (component, layout, length) = match (compression, crc) {
            (Some(size), _) => (Some(Component::CompressionInfo), Layout::Head { size }, None),
            (None, Some(_)) => (Some(Component::Crc), Layout::Length, Some(data)),
            (None, None) => (None, Layout::Nothing, None),
        };
        let ended = component.is_none();
        Self { component, layout, held: Vec::new(), data, ahead: VecDeque::new(), length, wrong: None, ended }
    }

    /// Whether more is needed to know all chunks that begin before `place`.
    pub(super) fn wants(&self, place: u64) -> bool {
        !self.ended && self.wrong.is_none() && self.ahead.back().is_none_or(|chunk| chunk.end < place)
    }

    fn fail(&mut self, why: String) {
        self.wrong = Some(why);
        self.layout = Layout::Nothing;
        self.held = Vec::new();
        self.ahead.clear();
    }

    pub(super) fn take(&mut self, piece: &[u8]) {
        if matches!(self.layout, Layout::Nothing) {
            return;
        }
        self.held.extend_from_slice(piece);
        if let Layout::Head { size } = self.layout {
            if (self.held.len() as u64) < size.min(MAX_HEAD) {
                return;
            }
            match CompressionInfo::parse(&mut Cursor::new(&self.held), size) {
                Ok(info) => {
                    self.length = Some(info.data_length);
                    self.held.drain(..usize::try_from(info.offsets_at()).unwrap_or(usize::MAX));
                    self.layout = Layout::Places { chunks: info.chunks, come: 0, last: None };
                }
                Err(error) => return self.fail(error.0),
            }
        }
        if matches!(self.layout, Layout::Length) {
            let Some(number) = self.held.first_chunk::<4>() else { return };
            match u64::try_from(i32::from_be_bytes(*number)) {
                Ok(chunk) if chunk > 0 => {
                    self.held.drain(..4);
                    self.layout = Layout::Checksums { chunk, come: 0 };
                }
                _ => return self.fail("its chunks have no length".to_owned()),
            }
        }
        let held = std::mem::take(&mut self.held);
        let mut rest: &[u8] = &held;
        loop {
            let next = match self.layout {
                Layout::Places { .. } => rest.split_first_chunk::<8>().map(|(number, rest)| {
                    self.place(i64::from_be_bytes(*number));
                    rest
                }),
                Layout::Checksums { .. } => rest.split_first_chunk::<4>().map(|(number, rest)| {
                    self.checksum(u32::from_be_bytes(*number));
                    rest
                }),
                _ => return,
            };
            let Some(next) = next else { break };
            rest = next;
        }
        self.held = rest.to_owned();
    }

    fn place(&mut self, place: i64) {
        let Layout::Places { chunks, come, last } = &mut self.layout else { return };
        let (n, before) = (*come, *last);
        *come += 1;
        let is_last = *come == *chunks;
        let place = match (u64::try_from(place), before) {
            (Ok(0), None) => 0,
            // A checksum and a byte at least.
            (Ok(place), Some(before)) if place > before + 4 && place < self.data => place,
            _ => return self.fail(format!("chunk {n} begins at {place} of {} bytes", self.data)),
        };
        *last = Some(place);
        if before.is_some() {
            self.ahead.push_back(Chunk { end: place, crc: None });
        }
        if is_last {
            if self.data - place <= 4 {
                return self.fail(format!("chunk {n} begins at {place} of {} bytes", self.data));
            }
            self.ahead.push_back(Chunk { end: self.data, crc: None });
        }
    }

    fn checksum(&mut self, crc: u32) {
        let Layout::Checksums { chunk, come } = &mut self.layout else { return };
        let begin = chunk.saturating_mul(*come);
        *come += 1;
        let end = begin.saturating_add(*chunk).min(self.data);
        if begin >= self.data {
            return self.fail(format!("it has more checksums than {} bytes have chunks", self.data));
        }
        self.ahead.push_back(Chunk { end, crc: Some(crc) });
    }

    /// All of it was taken.
    pub(super) fn end(&mut self) {
        self.ended = true;
        let whole = match &self.layout {
            Layout::Head { .. } | Layout::Length => false,
            Layout::Places { chunks, come, .. } => chunks == come && self.held.is_empty(),
            Layout::Checksums { chunk, come } => {
                chunk.saturating_mul(*come) >= self.data && self.held.is_empty()
            }
            Layout::Nothing => true,
        };
        if !whole {
            self.fail("it does not end where its last chunk does".to_owned());
        }
    }
}
