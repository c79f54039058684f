//! The compressors that Cassandra brings, a chunk at a time.
//!
//! `LZ4Compressor`: the length as a little-endian i32, then an LZ4 block. `ZstdCompressor`: a frame
//! with a checksum. `SnappyCompressor`: a raw block. `DeflateCompressor`: a zlib stream.
//! `NoopCompressor`: the bytes. Source: `org.apache.cassandra.io.compress`.

use super::super::{CompressionInfo, bytes::FormatError};

type Result<T> = std::result::Result<T, FormatError>;

/// Level that Cassandra uses where none is set.
const ZSTD_LEVEL: i32 = 3;

/// A compressor.
pub(super) enum Codec {
    Lz4,
    Zstd(Box<Zstd>),
    Snappy,
    Deflate,
    Noop,
}

/// Both directions, each with its tables.
pub(super) struct Zstd {
    from: zstd::bulk::Decompressor<'static>,
    to: zstd::bulk::Compressor<'static>,
}

impl Codec {
    /// The compressor of an `SSTable`; `None` for one that is not Cassandra's own.
    pub(super) fn of(info: &CompressionInfo) -> Result<Option<Self>> {
        Ok(Some(match info.compressor.as_str() {
            "LZ4Compressor" => Self::Lz4,
            "ZstdCompressor" => {
                let level = info.options.iter().find(|(name, _)| name == "compression_level");
                let level = level.and_then(|(_, value)| value.parse().ok()).unwrap_or(ZSTD_LEVEL);
                let range = zstd::compression_level_range();
                let level = level.clamp(*range.start(), *range.end());
                let failed = |error| FormatError(format!("zstd: {error}"));
                let mut to = zstd::bulk::Compressor::new(level).map_err(failed)?;
                to.include_checksum(true).map_err(failed)?;
                let from = zstd::bulk::Decompressor::new().map_err(failed)?;
                Self::Zstd(Box::new(Zstd { from, to }))
            }
            "SnappyCompressor" => Self::Snappy,
            "DeflateCompressor" => Self::Deflate,
            "NoopCompressor" => Self::Noop,
            _ => return Ok(None),
        }))
    }

    /// Fills `into` with what `body` holds, which is as many bytes.
    pub(super) fn decompress(&mut self, body: &[u8], into: &mut [u8]) -> Result<()> {
        let length = into.len();
        let failed =
            |error: &dyn std::fmt::Display| FormatError(format!("it cannot be decompressed: {error}"));
        let found = match self {
            Self::Lz4 => {
                let (head, block) =
                    body.split_first_chunk::<4>().ok_or_else(|| FormatError::new("it has no length"))?;
                let told = u32::from_le_bytes(*head) as usize;
                if told != length {
                    return Err(FormatError(format!("it says {told} bytes and should have {length}")));
                }
                lz4_flex::block::decompress_into(block, into).map_err(|error| failed(&error))?
            }
            Self::Zstd(zstd) => zstd.from.decompress_to_buffer(body, into).map_err(|error| failed(&error))?,
            Self::Snappy => {
                snap::raw::Decoder::new().decompress(body, into).map_err(|error| failed(&error))?
            }
            Self::Deflate => {
                let mut stream = flate2::Decompress::new(true);
                let status = stream.decompress(body, into, flate2::FlushDecompress::Finish);
                match status.map_err(|error| failed(&error))? {
                    flate2::Status::StreamEnd => usize::try_from(stream.total_out()).unwrap_or(usize::MAX),
                    _ => return Err(FormatError::new("its stream does not end")),
                }
            }
            Self::Noop if body.len() == length => {
                into.copy_from_slice(body);
                length
            }
            Self::Noop => body.len(),
        };
        if found == length {
            Ok(())
        } else {
            Err(FormatError(format!("it holds {found} bytes, not {length}")))
        }
    }

    /// Replaces what is in `into` by the compressed `content`.
    pub(super) fn compress(&mut self, content: &[u8], into: &mut Vec<u8>) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| FormatError(format!("it cannot be compressed: {error}"));
        into.clear();
        match self {
            Self::Lz4 => {
                let length = u32::try_from(content.len()).map_err(|error| failed(&error))?;
                into.extend_from_slice(&length.to_le_bytes());
                into.resize(4 + lz4_flex::block::get_maximum_output_size(content.len()), 0);
                let written = lz4_flex::block::compress_into(content, &mut into[4..]);
                into.truncate(4 + written.map_err(|error| failed(&error))?);
            }
            Self::Zstd(zstd) => {
                into.resize(zstd::zstd_safe::compress_bound(content.len()), 0);
                let written = zstd.to.compress_to_buffer(content, into.as_mut_slice());
                into.truncate(written.map_err(|error| failed(&error))?);
            }
            Self::Snappy => {
                into.resize(snap::raw::max_compress_len(content.len()), 0);
                let written = snap::raw::Encoder::new().compress(content, into);
                into.truncate(written.map_err(|error| failed(&error))?);
            }
            Self::Deflate => {
                let mut stream = flate2::Compress::new(flate2::Compression::default(), true);
                // Stored blocks at worst: five bytes for each 16 KiB or so, and the frame.
                into.reserve(content.len() + content.len() / 512 + 128);
                let status = stream.compress_vec(content, into, flate2::FlushCompress::Finish);
                if !matches!(status.map_err(|error| failed(&error))?, flate2::Status::StreamEnd) {
                    return Err(FormatError::new("it became too long when compressed"));
                }
            }
            Self::Noop => into.extend_from_slice(content),
        }
        Ok(())
    }
}
