//! Compresses.

use std::io;

use bytes::Bytes;
use zstd::{bulk::Compressor, zstd_safe::CParameter};

use super::{FRAME, pays, table};

/// zstd's own default: what higher levels save costs more CPU than Cassandra should lose.
const LEVEL: i32 = 3;

/// Makes frames, one after the other.
pub(crate) struct Encoder {
    zstd: Compressor<'static>,
    /// Of the frames of this content, compressed and plain.
    sizes: Vec<(u32, u32)>,
}

impl Encoder {
    /// Takes about a megabyte of memory while it lives.
    pub(crate) fn new() -> io::Result<Self> {
        let mut zstd = Compressor::new(LEVEL)?;
        zstd.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self { zstd, sizes: Vec::new() })
    }

    /// The next frame, of [`FRAME`] bytes, or of fewer if it is the content's last.
    pub(crate) fn frame(&mut self, plain: &[u8]) -> io::Result<Bytes> {
        let frame = self.zstd.compress(plain)?;
        let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.sizes.push((size(&frame), size(plain)));
        Ok(frame.into())
    }

    /// Ends the content: what comes behind its frames. The next frame is another content's first.
    pub(crate) fn end(&mut self) -> Bytes {
        table::encode(&std::mem::take(&mut self.sizes)).into()
    }

    /// A content as it is stored; `None` where that does not pay, which is judged by its first frame too.
    pub(crate) fn all(&mut self, content: &[u8]) -> io::Result<Option<Bytes>> {
        let frame_len = usize::try_from(FRAME).unwrap_or(usize::MAX);
        let mut frames = content.chunks(frame_len);
        let Some(first) = frames.next() else { return Ok(None) };
        let begin = self.frame(first)?;
        if !pays(first.len() as u64, begin.len() as u64) {
            self.sizes.clear();
            return Ok(None);
        }
        if first.len() == content.len() {
            self.sizes.clear();
            return Ok(Some(begin));
        }
        let mut stored = Vec::with_capacity(content.len() / 2);
        stored.extend_from_slice(&begin);
        for frame in frames {
            stored.extend_from_slice(&self.frame(frame)?);
        }
        stored.extend_from_slice(&self.end());
        Ok(pays(content.len() as u64, stored.len() as u64).then(|| stored.into()))
    }
}

/// A content as it is stored; `None` where that does not pay.
pub(crate) fn compressed(content: &[u8]) -> io::Result<Option<Bytes>> {
    Encoder::new()?.all(content)
}
