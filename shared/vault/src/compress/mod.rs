//! Contents that are stored compressed: zstd, in its seekable format.
//!
//! A compressed content is a row of zstd frames, each of [`FRAME`] plain bytes but the last, which may have fewer. Behind
//! more than one frame comes the seek table of zstd's seekable format, in a skippable frame: the sizes of all frames, so
//! that a range is read without what comes before it. `zstd -d` makes the content of either. Each frame carries its own
//! checksum, so a part that is read alone is known to be right: it is handed out once its frame is.
//!
//! A content is compressed where that [pays]: Cassandra's own chunks (LZ4 and the like) are left as they are, and so is what
//! hardly shrinks. The digest in a manifest is of the plain content, so the same content is known again however it lies.

mod decode;
mod encode;
mod table;

pub(crate) use decode::{Decoder, damaged, decoded, decoded_part};
pub(crate) use encode::{Encoder, compressed};
pub(crate) use table::{MOST, SeekTable, Tail, table_len};

/// Plain bytes of a frame.
pub(crate) const FRAME: u64 = 256 << 10;

/// Least that is saved: less is not worth a decompression.
const LEAST: u64 = 64;

/// Why stored bytes are no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CompressFault {
    /// zstd says so.
    #[error("it cannot be decompressed: {0}")]
    Zstd(String),
    /// Another content.
    #[error("decompressed it is longer than the {0} bytes that are expected")]
    Long(u64),
    /// Something is missing.
    #[error("decompressed it is {0} bytes short")]
    Short(u64),
    /// The seek table is none, or not of this content.
    #[error("its seek table is damaged: {0}")]
    Table(&'static str),
}

/// Whether it is worth it that `plain` bytes become `stored` ones: an eighth is saved, or more.
pub(crate) fn pays(plain: u64, stored: u64) -> bool {
    stored.saturating_add(LEAST.max(plain / 8)) <= plain
}

/// Most bytes that `plain` ones can have once they are compressed.
pub(crate) fn bound(plain: u64) -> u64 {
    let frames = frames(plain);
    // zstd's own bound: a 256th more, and some bytes for each frame.
    plain
        .saturating_add(plain >> 8)
        .saturating_add(frames.saturating_mul(128))
        .saturating_add(table_len(frames))
}

/// How many frames `plain` bytes are in.
pub(crate) const fn frames(plain: u64) -> u64 {
    plain.div_ceil(FRAME)
}

#[cfg(test)]
mod tests;
