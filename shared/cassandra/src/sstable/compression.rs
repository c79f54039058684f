//! CompressionInfo.db: how Data.db is cut into compressed chunks.
//!
//! Layout: u16-length compressor name; i32 options, each two u16-length texts; i32 chunk length;
//! i32 most bytes a compressed chunk may have (else it is stored raw); i64 uncompressed length; i32
//! chunks; i64 offset of each. Each chunk in Data.db ends with the CRC-32 of what comes before it.
//! Source: `CompressionMetadata`.

use std::io::{self, Read, Seek, SeekFrom};

use super::bytes::{Bytes, FormatError, Result};

/// Longest head (everything before the offsets) that is read, in bytes.
const MAX_HEAD: u64 = 64 << 10;

/// The head of a CompressionInfo.db; offsets are read one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressionInfo {
    /// Simple class name: `LZ4Compressor`.
    pub compressor: String,
    /// Options by name.
    pub options: Vec<(String, String)>,
    /// Uncompressed bytes of a chunk.
    pub chunk_length: u32,
    /// A chunk that would be longer than this when compressed is stored raw.
    pub max_compressed_length: u32,
    /// Uncompressed bytes of the whole Data.db.
    pub data_length: u64,
    /// Chunks.
    pub chunks: u32,
    /// Where the offsets begin in the file, in bytes.
    offsets_at: u64,
}

impl CompressionInfo {
    /// Reads the head. `length` is the file's size in bytes.
    pub fn parse(file: &mut (impl Read + Seek), length: u64) -> Result<Self> {
        file.seek(SeekFrom::Start(0)).map_err(|error| unreadable(&error))?;
        let mut head = Vec::new();
        file.take(MAX_HEAD).read_to_end(&mut head).map_err(|error| unreadable(&error))?;
        let mut bytes = Bytes::new(&head);
        let compressor = bytes.short_text()?.to_owned();
        let mut options = Vec::new();
        for _ in 0..bytes.count()? {
            options.push((bytes.short_text()?.to_owned(), bytes.short_text()?.to_owned()));
        }
        let unsigned =
            |number: i32| u32::try_from(number).map_err(|_| FormatError(format!("{number} is no length")));
        let chunk_length = unsigned(bytes.i32()?)?;
        let max_compressed_length = unsigned(bytes.i32()?)?;
        let data_length = u64::try_from(bytes.i64()?)
            .map_err(|_| FormatError::new("its uncompressed length is negative"))?;
        let chunks = unsigned(bytes.i32()?)?;
        let offsets_at = (head.len() - bytes.left()) as u64;
        if chunk_length == 0 || data_length.div_ceil(u64::from(chunk_length)) != u64::from(chunks) {
            return Err(FormatError::new("its lengths do not give its number of chunks"));
        }
        if offsets_at + u64::from(chunks) * 8 != length {
            return Err(FormatError::new("its length does not fit its number of chunks"));
        }
        Ok(Self { compressor, options, chunk_length, max_compressed_length, data_length, chunks, offsets_at })
    }

    /// Where the offsets begin in the file, in bytes.
    pub(super) const fn offsets_at(&self) -> u64 {
        self.offsets_at
    }

    /// Where chunk `index` begins in Data.db, in bytes; `None` past the last.
    pub fn chunk_offset(&self, file: &mut (impl Read + Seek), index: u32) -> Result<Option<u64>> {
        if index >= self.chunks {
            return Ok(None);
        }
        let place = self.offsets_at + u64::from(index) * 8;
        file.seek(SeekFrom::Start(place)).map_err(|error| unreadable(&error))?;
        let offset = super::bytes::read_exact(file).map_err(|error| unreadable(&error))?;
        let offset = i64::from_be_bytes(offset);
        u64::try_from(offset).map(Some).map_err(|_| FormatError(format!("chunk {index} begins at {offset}")))
    }
}

fn unreadable(error: &io::Error) -> FormatError {
    FormatError(format!("it cannot be read: {error}"))
}
