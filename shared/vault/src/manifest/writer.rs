//! Writes a manifest line by line into a temporary file, from where it is stored.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use serde::Serialize;
use tempfile::NamedTempFile;

use super::{
    Entry, Figures, Header, ManifestError, ManifestFault, OrderKey, Trailer, check,
    header::{HeaderLine, TrailerLine},
};
use crate::hash::{ContentHasher, Digest};

/// zstd's own default: digests hardly compress, so higher levels only cost time on the node.
const COMPRESSION_LEVEL: i32 = 3;

/// A manifest being written. Dropped before [`finish`](Self::finish), it leaves nothing behind.
pub struct ManifestWriter {
    encoder: zstd::Encoder<'static, HashingFile>,
    path: tempfile::TempPath,
    header: Header,
    lines: u64,
    buffer: Vec<u8>,
    hasher: ContentHasher,
    last: Option<OrderKey>,
    figures: Figures,
}

/// A whole manifest in a temporary file, ready to be stored.
pub struct FinishedManifest {
    /// The file; removed when this is dropped.
    pub path: tempfile::TempPath,
    /// Bytes of the file.
    pub size: u64,
    /// BLAKE3 of the file: what the seal names.
    pub blake3: Digest,
    /// Its counts.
    pub figures: Figures,
}

impl ManifestWriter {
    /// Begins a manifest in a temporary file in `folder`.
    pub fn create(folder: &Path, header: Header) -> Result<Self, ManifestError> {
        let start = || {
            let (file, path) = NamedTempFile::with_prefix_in("manifest-", folder)?.into_parts();
            let sink = HashingFile { file: BufWriter::new(file), hasher: ContentHasher::new() };
            Ok((zstd::Encoder::new(sink, COMPRESSION_LEVEL)?, path))
        };
        let (encoder, path) = start().map_err(|cause: std::io::Error| ManifestError {
            manifest: folder.display().to_string(),
            line: 0,
            fault: cause.into(),
        })?;
        let mut writer = Self {
            encoder,
            path,
            header,
            lines: 0,
            buffer: Vec::new(),
            hasher: ContentHasher::new(),
            last: None,
            figures: Figures::default(),
        };
        let header = writer.header.clone();
        writer.write_line(&HeaderLine { header: &header }).map_err(|fault| writer.error(fault))?;
        Ok(writer)
    }

    /// Writes the next entry, which must come after the last in the manifest's order.
    pub fn push(&mut self, entry: &Entry) -> Result<(), ManifestError> {
        self.try_push(entry).map_err(|fault| self.error(fault))
    }

    /// Writes the trailer and closes the file.
    pub fn finish(mut self) -> Result<FinishedManifest, ManifestError> {
        let trailer = Trailer { figures: self.figures, blake3: self.hasher.digest() };
        self.write_line(&TrailerLine { end: &trailer }).map_err(|fault| self.error(fault))?;
        let Self { encoder, path, lines, figures, .. } = self;
        let close = || {
            let mut sink = encoder.finish()?;
            sink.file.flush()?;
            Ok(sink.hasher)
        };
        let hasher = close().map_err(|cause: std::io::Error| ManifestError {
            manifest: path.display().to_string(),
            line: lines,
            fault: cause.into(),
        })?;
        Ok(FinishedManifest { path, size: hasher.len(), blake3: hasher.digest(), figures })
    }

    fn try_push(&mut self, entry: &Entry) -> Result<(), ManifestFault> {
        check::check_entry(entry, &self.header)?;
        let order = entry.order();
        if self.last.as_ref().is_some_and(|last| *last >= order) {
            return Err(ManifestFault::Order { what: order.to_string() });
        }
        self.write_line(entry)?;
        self.last = Some(order);
        self.figures.count(entry);
        Ok(())
    }

    fn write_line(&mut self, line: &impl Serialize) -> Result<(), ManifestFault> {
        self.buffer.clear();
        serde_json::to_writer(&mut self.buffer, line)?;
        self.buffer.push(b'\n');
        self.hasher.update(&self.buffer);
        self.encoder.write_all(&self.buffer)?;
        self.lines += 1;
        Ok(())
    }

    fn error(&self, fault: ManifestFault) -> ManifestError {
        ManifestError { manifest: self.path.display().to_string(), line: self.lines + 1, fault }
    }
}

/// Hashes what goes into the file.
struct HashingFile {
    file: BufWriter<File>,
    hasher: ContentHasher,
}

impl std::io::Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
