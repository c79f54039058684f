//! A file that is read here and there, a page at a time.

use std::io::{self, Read, Seek, SeekFrom};

use super::super::bytes::{FormatError, Result};

const PAGE: usize = 4096;
/// Pages that are kept: half a megabyte.
const KEPT: usize = 128;

/// Reads at any place, and keeps the pages read last.
pub(super) struct Pages<R> {
    file: R,
    length: u64,
    kept: Vec<Option<(u64, Box<[u8]>)>>,
}

impl<R: Read + Seek> Pages<R> {
    pub(super) fn new(mut file: R) -> Result<Self> {
        let length = file.seek(SeekFrom::End(0)).map_err(|error| unreadable(&error))?;
        Ok(Self { file, length, kept: std::iter::repeat_with(|| None).take(KEPT).collect() })
    }

    /// Bytes of the file.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// The file, to be read from elsewhere for once.
    pub(super) const fn file(&mut self) -> &mut R {
        &mut self.file
    }

    /// Fills `buffer` from `at` on.
    pub(super) fn fill(&mut self, mut at: u64, mut buffer: &mut [u8]) -> Result<()> {
        let is_there = at.checked_add(buffer.len() as u64).is_some_and(|end| end <= self.length);
        if !is_there {
            return Err(FormatError(format!("it ends before {} bytes at {at}", buffer.len())));
        }
        while !buffer.is_empty() {
            let page = self.page(at / PAGE as u64)?;
            let offset = usize::try_from(at % PAGE as u64).unwrap_or_default();
            let part = page.get(offset..).unwrap_or_default();
            let taken = part.len().min(buffer.len());
            if taken == 0 {
                return Err(FormatError(format!("it has become shorter than {at}")));
            }
            let (filled, rest) = buffer.split_at_mut(taken);
            filled.copy_from_slice(&part[..taken]);
            buffer = rest;
            at += taken as u64;
        }
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self, at: u64) -> Result<[u8; N]> {
        let mut array = [0; N];
        self.fill(at, &mut array)?;
        Ok(array)
    }

    pub(super) fn u8(&mut self, at: u64) -> Result<u8> {
        self.array::<1>(at).map(|[byte]| byte)
    }

    fn page(&mut self, number: u64) -> Result<&[u8]> {
        let place = usize::try_from(number % KEPT as u64).unwrap_or_default();
        let slot = &mut self.kept[place];
        if slot.as_ref().is_none_or(|(kept, _)| *kept != number) {
            *slot = None;
            let begin = number * PAGE as u64;
            self.file.seek(SeekFrom::Start(begin)).map_err(|error| unreadable(&error))?;
            let mut page = Vec::with_capacity(PAGE);
            (&mut self.file).take(PAGE as u64).read_to_end(&mut page).map_err(|error| unreadable(&error))?;
            *slot = Some((number, page.into_boxed_slice()));
        }
        Ok(slot.as_ref().map_or(&[], |(_, page)| page))
    }
}

fn unreadable(error: &io::Error) -> FormatError {
    FormatError(format!("it cannot be read: {error}"))
}
