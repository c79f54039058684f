//! A Data.db that goes by: the checksum of the whole, and of each of its chunks.

use super::{Component, Problem, chunks::Chunks};

/// Damaged chunks that are named; more are counted.
const NAMED: usize = 4;

/// Takes a Data.db and its sidecar.
#[derive(Debug)]
pub(super) struct DataCheck {
    whole: crc32fast::Hasher,
    /// Bytes taken.
    at: u64,
    chunks: Chunks,
    /// The chunk that has begun: its checksum so far, its last bytes (at most four), its number.
    chunk: crc32fast::Hasher,
    tail: Vec<u8>,
    number: u64,
    damaged: u64,
    named: Vec<String>,
    problems: Vec<Problem>,
}

impl DataCheck {
    /// Of a Data.db of `data` bytes, with a CompressionInfo.db or CRC.db of so many.
    pub(super) fn new(data: u64, compression: Option<u64>, crc: Option<u64>) -> Self {
        Self {
            whole: crc32fast::Hasher::new(),
            at: 0,
            chunks: Chunks::new(data, compression, crc),
            chunk: crc32fast::Hasher::new(),
            tail: Vec::with_capacity(4),
            number: 0,
            damaged: 0,
            named: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub(super) fn sidecar(&self) -> Option<Component> {
        self.chunks.component.clone()
    }

    pub(super) fn is_sidecar(&self, component: &Component) -> bool {
        self.chunks.component.as_ref() == Some(component)
    }

    pub(super) fn wants_sidecar(&self, coming: usize) -> bool {
        self.chunks.wants(self.at + coming as u64)
    }

    pub(super) fn take_sidecar(&mut self, piece: &[u8]) {
        self.chunks.take(piece);
    }

    pub(super) fn end_sidecar(&mut self) {
        self.chunks.end();
    }

    pub(super) fn take(&mut self, piece: &[u8]) {
        self.whole.update(piece);
        let mut rest = piece;
        while let Some(chunk) = self.chunks.ahead.front().copied() {
            let left = usize::try_from(chunk.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
            let (here, behind) = rest.split_at(left.min(rest.len()));
            self.at += here.len() as u64;
            match chunk.crc {
                Some(_) => self.chunk.update(here),
                None => self.hold_back(here),
            }
            rest = behind;
            if here.len() < left {
                break;
            }
            self.chunk_ends(chunk.crc);
            self.chunks.ahead.pop_front();
        }
        // What no chunk holds: there is no sidecar, or a wrong one.
        self.at += rest.len() as u64;
    }

    /// Takes bytes of a chunk whose last four are its checksum.
    fn hold_back(&mut self, bytes: &[u8]) {
        let goes = (self.tail.len() + bytes.len()).saturating_sub(4);
        let of_tail = goes.min(self.tail.len());
        self.chunk.update(&self.tail[..of_tail]);
        self.tail.drain(..of_tail);
        let (body, tail) = bytes.split_at(goes - of_tail);
        self.chunk.update(body);
        self.tail.extend_from_slice(tail);
    }

    fn chunk_ends(&mut self, crc: Option<u32>) {
        let found = std::mem::take(&mut self.chunk).finalize();
        let expected = crc.or_else(|| self.tail.first_chunk::<4>().map(|last| u32::from_be_bytes(*last)));
        self.tail.clear();
        if Some(found) != expected {
            self.damaged += 1;
            if self.named.len() < NAMED {
                let end = self.at;
                self.named.push(format!("{} (up to byte {end})", self.number));
            }
        }
        self.number += 1;
    }

    /// All of Data.db was taken; the sidecar too, or it never comes.
    pub(super) fn end(&mut self) {
        if self.damaged > 0 {
            let more = if self.damaged > self.named.len() as u64 { ", …" } else { "" };
            let (damaged, named) = (self.damaged, self.named.join(", "));
            let what = format!("{damaged} of its chunks have a wrong checksum: {named}{more}");
            self.problems.push(Problem { component: Component::Data, what });
        }
    }

    /// CRC-32 of all that was taken.
    pub(super) fn checksum(&self) -> u32 {
        self.whole.clone().finalize()
    }

    /// What is wrong, once all was taken.
    pub(super) fn take_problems(&mut self) -> Vec<Problem> {
        if let (Some(component), Some(what)) = (self.sidecar(), self.chunks.wrong.take()) {
            self.problems.push(Problem { component, what });
        }
        std::mem::take(&mut self.problems)
    }

    /// Bytes of its uncompressed content, where they are known.
    pub(super) fn length(&self) -> Option<u64> {
        self.chunks.length
    }
}
