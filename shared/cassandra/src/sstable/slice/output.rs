//! The new Data.db with its CompressionInfo.db or CRC.db and its checksum, as it grows.

use std::io::{Seek, SeekFrom, Write};

use super::{super::Component, Result, SliceError, chunks::Format, codec::Codec};
use crate::sstable::{CompressionInfo, FormatError};

/// Writes partitions end to end.
pub(super) struct DataWriter<'a, W> {
    data: &'a mut W,
    chunks: &'a mut W,
    format: How,
    /// What the last chunk has so far.
    chunk: Vec<u8>,
    compressed: Vec<u8>,
    /// Bytes taken.
    content: u64,
    /// Bytes of Data.db.
    written: u64,
    whole: crc32fast::Hasher,
}

enum How {
    Compressed {
        codec: Codec,
        length: usize,
        max: usize,
        /// Where the head's uncompressed length stands; the number of chunks is behind it.
        lengths_at: u64,
        count: u32,
    },
    Plain {
        length: usize,
    },
}

impl How {
    const fn chunk(&self) -> usize {
        match self {
            Self::Compressed { length, .. } | Self::Plain { length } => *length,
        }
    }
}

impl<'a, W: Write + Seek> DataWriter<'a, W> {
    pub(super) fn new(data: &'a mut W, chunks: &'a mut W, format: Result<Format<'_>>) -> Result<Self> {
        let format = match format? {
            Format::Plain { chunk } => {
                let length = i32::try_from(chunk).map_err(|_| SliceError::data("its chunks are too long"))?;
                chunks.write_all(&length.to_be_bytes()).map_err(SliceError::Write)?;
                How::Plain { length: chunk }
            }
            Format::Compressed { info, codec } => {
                let head =
                    head(info).map_err(|source| SliceError::damaged(Component::CompressionInfo, source))?;
                let begin = chunks.stream_position().map_err(SliceError::Write)?;
                chunks.write_all(&head).map_err(SliceError::Write)?;
                How::Compressed {
                    codec,
                    length: usize::try_from(info.chunk_length).unwrap_or(usize::MAX),
                    max: usize::try_from(info.max_compressed_length).unwrap_or(usize::MAX),
                    lengths_at: begin + head.len() as u64 - 12,
                    count: 0,
                }
            }
        };
        let (chunk, compressed) = (Vec::new(), Vec::new());
        let whole = crc32fast::Hasher::new();
        Ok(Self { data, chunks, format, chunk, compressed, content: 0, written: 0, whole })
    }

    /// Bytes taken so far: where what comes next begins in the uncompressed Data.db.
    pub(super) const fn content(&self) -> u64 {
        self.content
    }

    pub(super) fn write(&mut self, mut piece: &[u8]) -> Result<()> {
        self.content += piece.len() as u64;
        while !piece.is_empty() {
            let room = self.format.chunk().saturating_sub(self.chunk.len());
            let (taken, rest) = piece.split_at(room.min(piece.len()));
            self.chunk.extend_from_slice(taken);
            piece = rest;
            if self.chunk.len() >= self.format.chunk() {
                self.chunk_ends()?;
            }
        }
        Ok(())
    }

    fn chunk_ends(&mut self) -> Result<()> {
        match &mut self.format {
            How::Plain { .. } => {
                let crc = crc32fast::hash(&self.chunk).to_be_bytes();
                self.chunks.write_all(&crc).map_err(SliceError::Write)?;
                put(self.data, &mut self.whole, &self.chunk)?;
                self.written += self.chunk.len() as u64;
            }
            How::Compressed { codec, max, count, .. } => {
                let place = i64::try_from(self.written).map_err(|_| SliceError::data("it is too long"))?;
                self.chunks.write_all(&place.to_be_bytes()).map_err(SliceError::Write)?;
                *count = count.checked_add(1).ok_or_else(|| SliceError::data("it has too many chunks"))?;
                codec
                    .compress(&self.chunk, &mut self.compressed)
                    .map_err(|error| SliceError::data(error.0))?;
                if self.compressed.len() >= *max {
                    // Stored as it is, and told from a compressed one by its length.
                    std::mem::swap(&mut self.chunk, &mut self.compressed);
                    if self.compressed.len() < *max {
                        self.compressed.resize(*max, 0);
                    }
                }
                let crc = crc32fast::hash(&self.compressed).to_be_bytes();
                put(self.data, &mut self.whole, &self.compressed)?;
                put(self.data, &mut self.whole, &crc)?;
                self.written += self.compressed.len() as u64 + 4;
            }
        }
        self.chunk.clear();
        Ok(())
    }

    /// Ends both files; the checksum of the whole Data.db.
    pub(super) fn finish(mut self) -> Result<u32> {
        if !self.chunk.is_empty() {
            self.chunk_ends()?;
        }
        if let How::Compressed { lengths_at, count, .. } = self.format {
            let absurd = |_| SliceError::data("it is too long");
            let mut lengths = i64::try_from(self.content).map_err(absurd)?.to_be_bytes().to_vec();
            lengths.extend_from_slice(&i32::try_from(count).map_err(absurd)?.to_be_bytes());
            self.chunks.seek(SeekFrom::Start(lengths_at)).map_err(SliceError::Write)?;
            self.chunks.write_all(&lengths).map_err(SliceError::Write)?;
            self.chunks.seek(SeekFrom::End(0)).map_err(SliceError::Write)?;
        }
        self.chunks.flush().map_err(SliceError::Write)?;
        self.data.flush().map_err(SliceError::Write)?;
        Ok(self.whole.finalize())
    }
}

fn put(data: &mut impl Write, whole: &mut crc32fast::Hasher, bytes: &[u8]) -> Result<()> {
    whole.update(bytes);
    data.write_all(bytes).map_err(SliceError::Write)
}

/// A CompressionInfo.db up to the places of its chunks, the content's length and the number of chunks
/// not known yet.
fn head(info: &CompressionInfo) -> std::result::Result<Vec<u8>, FormatError> {
    let mut head = Vec::new();
    let absurd = |_| FormatError::new("its head is too long");
    let text = |head: &mut Vec<u8>, text: &str| -> std::result::Result<(), FormatError> {
        head.extend_from_slice(&u16::try_from(text.len()).map_err(absurd)?.to_be_bytes());
        head.extend_from_slice(text.as_bytes());
        Ok(())
    };
    text(&mut head, &info.compressor)?;
    head.extend_from_slice(&i32::try_from(info.options.len()).map_err(absurd)?.to_be_bytes());
    for (name, value) in &info.options {
        text(&mut head, name)?;
        text(&mut head, value)?;
    }
    head.extend_from_slice(&info.chunk_length.to_be_bytes());
    head.extend_from_slice(&info.max_compressed_length.to_be_bytes());
    head.extend_from_slice(&[0; 12]);
    Ok(head)
}

/// Writes an unsigned vint; the opposite of the reader's.
pub(super) fn push_vint(into: &mut Vec<u8>, value: u64) {
    let bits = 64 - (value | 1).leading_zeros();
    // Seven bits for each byte, as the first gives up one for each that follows; nine bytes hold all.
    let extra = if bits > 56 { 8 } else { (bits - 1) / 7 };
    let bytes = value.to_be_bytes();
    match extra {
        8 => {
            into.push(0xff);
            into.extend_from_slice(&bytes);
        }
        extra => {
            let begin = into.len();
            into.extend_from_slice(&bytes[7 - extra as usize..]);
            // As many leading ones as bytes follow; these bits of the value are zero.
            into[begin] |= !(0xff_u8 >> extra);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sstable::bytes::Bytes;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn vints_are_read_back_in_as_few_bytes_as_can_be(value in any::<u64>(), shift in 0_u32..64) {
            let value = value >> shift;
            let mut written = Vec::new();
            push_vint(&mut written, value);
            prop_assert_eq!(Bytes::new(&written).vint(), Ok(value));
            prop_assert_eq!(written.len(), (1..9).find(|n| value < 1 << (7 * n)).unwrap_or(9));
        }
    }
}
