//! The chunks of the source's Data.db: where each lies, and what it holds once its checksum is right.
//!
//! A compressed chunk is its body and a CRC-32 of that. A body of `max_compressed_length` bytes or
//! more is the content itself, and may have zeros behind it (`CompressedSequentialWriter`). An
//! uncompressed Data.db is cut into chunks by CRC.db alone.

use std::{
    io::{Read, Seek},
    ops::Range,
};

use super::{
    super::{Component, CompressionInfo, bytes::FormatError},
    ChunkIndex, Result, SliceError,
    codec::Codec,
    pages::Pages,
};

/// Longest chunk that is read, uncompressed. Cassandra's default is 16 KiB.
const MAX_CHUNK: u64 = 16 << 20;
/// A compressor makes a chunk longer by a fraction and some bytes at most.
const MAX_GROWTH: u64 = 4 << 10;

/// What the new Data.db is written like.
pub(super) enum Format<'a> {
    Compressed {
        info: &'a CompressionInfo,
        codec: Codec,
    },
    /// In chunks of so many bytes, as far as checksums go.
    Plain {
        chunk: usize,
    },
}

enum Kind {
    Compressed { info: CompressionInfo, codec: Codec },
    Plain,
}

/// The chunks of a Data.db.
pub(super) struct Chunks<R> {
    pages: Pages<R>,
    kind: Kind,
    /// Bytes of a chunk's content but the last.
    chunk: u64,
    /// Bytes of the whole content.
    content: u64,
    /// Bytes of Data.db.
    data: u64,
}

impl<R: Read + Seek> Chunks<R> {
    pub(super) fn new(index: ChunkIndex<R>, data: u64) -> Result<Self> {
        match index {
            ChunkIndex::CompressionInfo(file) => Self::compressed(file, data),
            ChunkIndex::Crc(file) => Self::plain(file, data),
        }
    }

    fn compressed(file: R, data: u64) -> Result<Self> {
        let damaged = |source| SliceError::damaged(Component::CompressionInfo, source);
        let mut pages = Pages::new(file).map_err(damaged)?;
        let length = pages.length();
        let info = CompressionInfo::parse(pages.file(), length).map_err(damaged)?;
        let chunk = check_chunk(u64::from(info.chunk_length)).map_err(damaged)?;
        let codec = Codec::of(&info).map_err(damaged)?.ok_or_else(|| {
            let name = ringvault_core::text::excerpt(&info.compressor);
            SliceError::Unsupported(format!("it is compressed with {name}, which only Cassandra can read"))
        })?;
        let content = info.data_length;
        Ok(Self { pages, kind: Kind::Compressed { info, codec }, chunk, content, data })
    }

    fn plain(file: R, data: u64) -> Result<Self> {
        let damaged = |source| SliceError::damaged(Component::Crc, source);
        let mut pages = Pages::new(file).map_err(damaged)?;
        let chunk = i32::from_be_bytes(pages.array(0).map_err(damaged)?);
        let chunk = check_chunk(u64::try_from(chunk).unwrap_or_default()).map_err(damaged)?;
        let checksums = data.div_ceil(chunk);
        if checksums.checked_mul(4).and_then(|bytes| bytes.checked_add(4)) != Some(pages.length()) {
            let what = format!("it has not the {checksums} checksums that {data} bytes need");
            return Err(damaged(FormatError(what)));
        }
        Ok(Self { pages, kind: Kind::Plain, chunk, content: data, data })
    }

    /// Bytes of the uncompressed content.
    pub(super) const fn content(&self) -> u64 {
        self.content
    }

    /// The chunk that holds byte `at` of the content.
    pub(super) const fn number(&self, at: u64) -> u64 {
        at / self.chunk
    }

    /// Which bytes of the content chunk `number` holds.
    pub(super) fn holds(&self, number: u64) -> Range<u64> {
        let begin = number.saturating_mul(self.chunk).min(self.content);
        begin..begin.saturating_add(self.chunk).min(self.content)
    }

    /// How the new Data.db is to be written: like the source's.
    pub(super) fn format(&self) -> Result<Format<'_>> {
        match &self.kind {
            Kind::Compressed { info, .. } => {
                let codec = Codec::of(info)
                    .map_err(|source| SliceError::damaged(Component::CompressionInfo, source))?;
                let codec = codec.ok_or_else(|| SliceError::Unsupported(info.compressor.clone()))?;
                Ok(Format::Compressed { info, codec })
            }
            Kind::Plain => Ok(Format::Plain { chunk: usize::try_from(self.chunk).unwrap_or(usize::MAX) }),
        }
    }

    /// Where chunk `number` lies in Data.db, its checksum with it.
    pub(super) fn place(&mut self, number: u64) -> Result<Range<u64>> {
        let Kind::Compressed { info, .. } = &self.kind else { return Ok(self.holds(number)) };
        let (chunks, offsets) = (u64::from(info.chunks), info.offsets_at());
        let damaged = |what: String| SliceError::damaged(Component::CompressionInfo, FormatError(what));
        if number >= chunks {
            return Err(damaged(format!("there is no chunk {number}, but {chunks}")));
        }
        let mut offset = |number: u64| -> Result<u64> {
            if number == chunks {
                return Ok(self.data);
            }
            let bytes = self.pages.array(offsets + number * 8).map_err(|error| damaged(error.0))?;
            u64::try_from(i64::from_be_bytes(bytes))
                .map_err(|_| damaged(format!("chunk {number} has no place")))
        };
        let (begin, end) = (offset(number)?, offset(number + 1)?);
        let length = end.saturating_sub(begin);
        if length <= 4 || end > self.data || length > self.chunk.saturating_mul(2) + MAX_GROWTH {
            return Err(damaged(format!("chunk {number} lies at {begin} to {end} of {} bytes", self.data)));
        }
        Ok(begin..end)
    }

    /// Checks chunk `number`, as it lies in Data.db, and puts its content in the place of what is in
    /// `into`.
    pub(super) fn open(&mut self, number: u64, stored: &[u8], into: &mut Vec<u8>) -> Result<()> {
        let holds = self.holds(number);
        let length = usize::try_from(holds.end - holds.start).unwrap_or(usize::MAX);
        let wrong = |what: &str| SliceError::data(format!("chunk {number}: {what}"));
        match &mut self.kind {
            Kind::Plain => {
                let known = self.pages.array(4 + number.saturating_mul(4));
                let known = known.map_err(|source| SliceError::damaged(Component::Crc, source))?;
                if crc32fast::hash(stored) != u32::from_be_bytes(known) {
                    return Err(wrong("its checksum is not that of CRC.db"));
                }
                into.clear();
                into.extend_from_slice(stored);
            }
            Kind::Compressed { info, codec } => {
                let (body, crc) = stored.split_last_chunk::<4>().ok_or_else(|| wrong("it is too short"))?;
                if crc32fast::hash(body) != u32::from_be_bytes(*crc) {
                    return Err(wrong("its checksum is wrong"));
                }
                into.clear();
                if body.len() as u64 >= u64::from(info.max_compressed_length) {
                    into.extend_from_slice(body.get(..length).ok_or_else(|| wrong("it is too short"))?);
                } else {
                    into.resize(length, 0);
                    codec.decompress(body, into).map_err(|error| wrong(&error.0))?;
                }
            }
        }
        if into.len() == length { Ok(()) } else { Err(wrong("it is not as long as it should be")) }
    }
}

fn check_chunk(length: u64) -> std::result::Result<u64, FormatError> {
    if (1..=MAX_CHUNK).contains(&length) {
        return Ok(length);
    }
    Err(FormatError(format!("its chunks are {length} bytes long; 1 to {MAX_CHUNK} are read")))
}
