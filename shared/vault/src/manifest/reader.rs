//! Reads a manifest line by line: memory holds one line, whatever the manifest's length.

use std::io::{BufRead, BufReader, Read};

use super::{
    Entry, Figures, Header, IMPORTED_VERSION, ManifestError, ManifestFault, OrderKey, PLAIN_VERSION, Trailer,
    VERSION, check,
    header::{Line, VersionLine},
};
use crate::{hash::ContentHasher, lines::decoder};

/// Longest header accepted, in bytes: room for a topology of a million tokens.
const MAX_HEADER_LEN: usize = 64 << 20;
/// Longest other line accepted, in bytes.
const MAX_LINE_LEN: usize = 8 << 20;

/// A manifest as a stream of checked entries: an iterator that ends with `None` only once the trailer
/// has agreed with all that came before, and after its first error.
pub struct ManifestReader<R: BufRead> {
    lines: R,
    manifest: String,
    header: Header,
    line: u64,
    buffer: Vec<u8>,
    hasher: ContentHasher,
    last: Option<OrderKey>,
    figures: Figures,
    trailer: Option<Trailer>,
    failed: bool,
}

impl<R: Read> ManifestReader<BufReader<zstd::Decoder<'static, BufReader<R>>>> {
    /// Reads a manifest as it lies in the vault. `manifest` names it in errors.
    pub fn open(compressed: R, manifest: &str) -> Result<Self, ManifestError> {
        let decoder = decoder(compressed).map_err(|cause| ManifestError {
            manifest: manifest.to_owned(),
            line: 0,
            fault: cause.into(),
        })?;
        Self::from_plain(BufReader::with_capacity(64 << 10, decoder), manifest)
    }
}

impl<R: BufRead> ManifestReader<R> {
    /// Reads a manifest that is decompressed already.
    pub fn from_plain(mut lines: R, manifest: &str) -> Result<Self, ManifestError> {
        let mut buffer = Vec::new();
        let mut hasher = ContentHasher::new();
        let header = read_line(&mut lines, MAX_HEADER_LEN, &mut buffer)
            .and_then(|found| if found { parse_header(&buffer) } else { Err(ManifestFault::Header) })
            .map_err(|fault| ManifestError { manifest: manifest.to_owned(), line: 1, fault })?;
        hasher.update(&buffer);
        Ok(Self {
            lines,
            manifest: manifest.to_owned(),
            header,
            line: 1,
            buffer,
            hasher,
            last: None,
            figures: Figures::default(),
            trailer: None,
            failed: false,
        })
    }

    /// The first line.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The last line, once the iterator has ended.
    pub const fn trailer(&self) -> Option<&Trailer> {
        self.trailer.as_ref()
    }

    /// The next entry; `None` once the trailer has been read and agrees.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ManifestError> {
        if self.trailer.is_some() || self.failed {
            return Ok(None);
        }
        self.line += 1;
        self.read_entry().map_err(|fault| {
            self.failed = true;
            ManifestError { manifest: self.manifest.clone(), line: self.line, fault }
        })
    }

    fn read_entry(&mut self) -> Result<Option<Entry>, ManifestFault> {
        if !read_line(&mut self.lines, MAX_LINE_LEN, &mut self.buffer)? {
            return Err(ManifestFault::NoTrailer);
        }
        let entry = match serde_json::from_slice(&self.buffer)? {
            Line::Header(_) => return Err(ManifestFault::Header),
            Line::End(trailer) => return self.end(trailer).map(|()| None),
            Line::Table(entry) => Entry::Table(entry),
            Line::Sstable(entry) => Entry::Sstable(entry),
        };
        check::check_entry(&entry, &self.header)?;
        let order = entry.order();
        if self.last.as_ref().is_some_and(|last| *last >= order) {
            return Err(ManifestFault::Order { what: order.to_string() });
        }
        self.last = Some(order);
        self.hasher.update(&self.buffer);
        self.figures.count(&entry);
        Ok(Some(entry))
    }

    fn end(&mut self, trailer: Trailer) -> Result<(), ManifestFault> {
        if trailer.blake3 != self.hasher.digest() {
            return Err(ManifestFault::Hash);
        }
        if trailer.figures != self.figures {
            return Err(ManifestFault::Counts);
        }
        if read_line(&mut self.lines, MAX_LINE_LEN, &mut self.buffer)? {
            return Err(ManifestFault::AfterTrailer);
        }
        self.trailer = Some(trailer);
        Ok(())
    }
}

impl<R: BufRead> Iterator for ManifestReader<R> {
    type Item = Result<Entry, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}

fn parse_header(line: &[u8]) -> Result<Header, ManifestFault> {
    let VersionLine { header } = serde_json::from_slice(line).map_err(|_| ManifestFault::Header)?;
    if !matches!(header.version, VERSION | PLAIN_VERSION | IMPORTED_VERSION) {
        return Err(ManifestFault::Version { found: header.version });
    }
    match serde_json::from_slice(line)? {
        Line::Header(header) => Ok(*header),
        _ => Err(ManifestFault::Header),
    }
}

/// Reads one line with its `\n` into `buffer`; `false` at the end. A last line without `\n` was cut
/// short and counts as missing its trailer.
fn read_line(lines: &mut impl BufRead, limit: usize, buffer: &mut Vec<u8>) -> Result<bool, ManifestFault> {
    buffer.clear();
    lines.take(limit as u64).read_until(b'\n', buffer)?;
    match buffer.last() {
        None => Ok(false),
        Some(b'\n') => Ok(true),
        Some(_) if buffer.len() == limit => Err(ManifestFault::LineTooLong { limit }),
        Some(_) => Err(ManifestFault::NoTrailer),
    }
}
