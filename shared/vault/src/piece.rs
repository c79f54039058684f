//! Memory for the pieces of objects on their way.
//!
//! A large piece is a mapping of its own, which goes back to the system with it. The allocator would keep pieces of many
//! megabytes for later ones that do not fit: a worker then takes about twice what it may hold.

use std::io::{self, Read};

use bytes::Bytes;
use memmap2::MmapMut;

/// From so many bytes on a piece is mapped.
const MAPPED: usize = 256 << 10;

/// Bytes that are gathered, then shared.
#[derive(Debug)]
pub(crate) struct Piece {
    memory: Memory,
    len: usize,
}

#[derive(Debug)]
enum Memory {
    /// As long as it may become.
    Plain(Vec<u8>),
    /// As long as it may become; what was never written takes no memory.
    Mapped(MmapMut),
}

impl Piece {
    /// An empty one with room for `room` bytes.
    pub(crate) fn with_room(room: usize) -> io::Result<Self> {
        let memory = if room < MAPPED {
            Memory::Plain(vec![0; room])
        } else {
            Memory::Mapped(MmapMut::map_anon(room)?)
        };
        Ok(Self { memory, len: 0 })
    }

    /// Bytes in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends `more`. What has no room moves into a piece of twice the size.
    pub(crate) fn push(&mut self, more: &[u8]) -> io::Result<()> {
        let end = self.len + more.len();
        if end > self.room().len() {
            let mut larger = Self::with_room(end.max(self.room().len().saturating_mul(2)))?;
            larger.push(self.as_ref())?;
            *self = larger;
        }
        let begin = self.len;
        self.room()[begin..end].copy_from_slice(more);
        self.len = end;
        Ok(())
    }

    /// Fills what room there is from `from`; less where that ends.
    pub(crate) fn fill(&mut self, mut from: impl Read) -> io::Result<()> {
        loop {
            let begin = self.len;
            let room = &mut self.room()[begin..];
            if room.is_empty() {
                return Ok(());
            }
            match from.read(room) {
                Ok(0) => return Ok(()),
                Ok(read) => self.len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets `write` fill the beginning of what room there is; it says how much of it.
    pub(crate) fn fill_with(&mut self, write: impl FnOnce(&mut [u8]) -> usize) {
        let begin = self.len;
        let room = &mut self.room()[begin..];
        let most = room.len();
        self.len += write(room).min(most);
    }

    /// The bytes, to be shared and not changed any more.
    pub(crate) fn share(self) -> Bytes {
        Bytes::from_owner(self)
    }

    fn room(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Plain(bytes) => bytes,
            Memory::Mapped(map) => map,
        }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        let all: &[u8] = match &self.memory {
            Memory::Plain(bytes) => bytes,
            Memory::Mapped(map) => map,
        };
        &all[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_it_was_given_whatever_room_there_was() {
        for room in [0, 3, MAPPED - 1, MAPPED, MAPPED + 1] {
            let mut piece = Piece::with_room(room).unwrap();
            let mut all = Vec::new();
            let long = vec![7; MAPPED];
            for part in [&b"ab"[..], b"", &long, b"z"] {
                piece.push(part).unwrap();
                all.extend_from_slice(part);
            }
            assert_eq!(piece.len(), all.len());
            assert_eq!(&piece.share()[..], &all[..], "{room}");
        }
    }

    #[test]
    fn it_is_filled_to_its_room_or_to_the_end() {
        for (room, told) in [(0, 0), (2, 2), (5, 3), (MAPPED, 3)] {
            let mut piece = Piece::with_room(room).unwrap();
            piece.fill(&b"abc"[..]).unwrap();
            assert_eq!(piece.as_ref(), &b"abc"[..told]);
            piece.fill_with(|room| {
                room.fill(b'z');
                room.len().min(1)
            });
            let one_more = if room > told { "abcz" } else { "abc" };
            assert_eq!(piece.as_ref(), &one_more.as_bytes()[..piece.len()]);
        }
    }
}
