//! What is sent of a file: its bytes as they are, or compressed, cut into parts. Blocks on the disk.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::{
    UploadError,
    local::{LocalFile, OpenFile},
};
use crate::{
    compress::{Encoder, FRAME, pays},
    hash::{Digest, HashKey},
    piece::Piece,
};

/// A file on its way.
pub(super) enum Outgoing {
    AsItIs(OpenFile),
    Compressed(Compressing),
}

/// The next bytes to send.
pub(super) struct Part {
    pub(super) bytes: Bytes,
    /// Bytes of the file that were read for them.
    pub(super) plain: u64,
}

impl Outgoing {
    /// Opens the file; with the begin of one that shrinks it is compressed.
    pub(super) fn open(
        about: Arc<LocalFile>,
        begin: Option<Bytes>,
        key: &HashKey,
    ) -> Result<Self, UploadError> {
        let Some(begin) = begin else { return Ok(Self::AsItIs(OpenFile::open(about, key)?)) };
        let encoder = Encoder::new().map_err(|cause| no_memory(&about, cause))?;
        let file = OpenFile::open_behind(Arc::clone(&about), begin, key)?;
        Ok(Self::Compressed(Compressing { about, file, encoder, rest: Bytes::new(), ended: false }))
    }

    /// The next `max` bytes, fewer at the end, none after it.
    pub(super) fn next(&mut self, max: u64) -> Result<Part, UploadError> {
        match self {
            Self::AsItIs(file) => {
                let bytes = file.next(max)?;
                let plain = bytes.len() as u64;
                Ok(Part { bytes, plain })
            }
            Self::Compressed(file) => file.next(max),
        }
    }

    /// The digest of the file, once all of it was read.
    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::AsItIs(file) => file.digest(),
            Self::Compressed(file) => file.file.digest(),
        }
    }
}

/// A file that is compressed on its way. Memory: the part that is made, and a frame or the seek table.
pub(super) struct Compressing {
    about: Arc<LocalFile>,
    file: OpenFile,
    encoder: Encoder,
    /// What is made and had no room in the last part.
    rest: Bytes,
    ended: bool,
}

impl Compressing {
    fn next(&mut self, max: u64) -> Result<Part, UploadError> {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let no_memory = |cause| no_memory(&self.about, cause);
        let mut part = Piece::with_room(max).map_err(no_memory)?;
        let mut plain = 0;
        loop {
            let fits = self.rest.len().min(max - part.len());
            part.push(&self.rest.split_to(fits)).map_err(no_memory)?;
            if part.len() == max || (self.ended && self.rest.is_empty()) {
                return Ok(Part { bytes: part.share(), plain });
            }
            let piece = self.file.next(FRAME)?;
            plain += piece.len() as u64;
            if piece.is_empty() {
                self.ended = true;
                self.rest = self.encoder.end();
            } else {
                self.rest = self.encoder.frame(&piece).map_err(no_memory)?;
            }
        }
    }
}

pub(super) fn no_memory(about: &LocalFile, cause: io::Error) -> UploadError {
    UploadError::Read { path: about.path.clone(), cause }
}

/// A content as it is stored; `None` where to compress it does not pay. The encoder is made when it is wanted first.
pub(super) fn shrunk(content: &[u8], encoder: &mut Option<Encoder>) -> io::Result<Option<Bytes>> {
    match encoder {
        Some(encoder) => encoder.all(content),
        None => encoder.insert(Encoder::new()?).all(content),
    }
}

/// The begin of a file, if it shrinks.
pub(super) fn shrinking_begin(about: Arc<LocalFile>, key: &HashKey) -> Result<Option<Bytes>, UploadError> {
    let begin = OpenFile::open(Arc::clone(&about), key)?.next(FRAME)?;
    let frame = Encoder::new().and_then(|mut encoder| encoder.frame(&begin));
    let frame = frame.map_err(|cause| no_memory(&about, cause))?;
    Ok(pays(begin.len() as u64, frame.len() as u64).then_some(begin))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::{compress::bound, upload::local::FileSystems};

    #[test]
    fn parts_of_a_compressed_file_are_the_content_whatever_their_size() {
        let content: Vec<u8> = (0..400_000_u32).flat_map(|n| format!("{n};").into_bytes()).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&content).unwrap();
        let about =
            Arc::new(LocalFile::measure("Index.db", file.path(), &mut FileSystems::default()).unwrap());
        let key = HashKey::default();
        for size in [1000, 100_000, 1 << 20, 8 << 20] {
            let begin = shrinking_begin(Arc::clone(&about), &key).unwrap();
            assert_eq!(begin.as_ref().map(Bytes::len), Some(256 << 10));
            let mut outgoing = Outgoing::open(Arc::clone(&about), begin, &key).unwrap();
            let (mut stored, mut plain) = (Vec::new(), 0);
            loop {
                let part = outgoing.next(size).unwrap();
                assert!(part.bytes.len() as u64 <= size);
                plain += part.plain;
                if part.bytes.is_empty() {
                    break;
                }
                stored.extend_from_slice(&part.bytes);
            }
            assert_eq!(plain, content.len() as u64);
            assert!(stored.len() as u64 <= bound(plain) && stored.len() < content.len() / 2);
            assert!(zstd::decode_all(&stored[..]).unwrap() == content);
            assert_eq!(outgoing.digest(), Digest::of(&content));
        }
    }
}
