//! Fills packs.

use std::io;

use bytes::Bytes;

use crate::piece::Piece;

/// When a pack is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackLimits {
    /// Bytes after which no further part is added.
    pub bytes: usize,
    /// Parts after which no further part is added: lines of the manifest wait for their pack, so this
    /// bounds how many.
    pub parts: usize,
}

impl Default for PackLimits {
    fn default() -> Self {
        Self { bytes: 16 << 20, parts: 4096 }
    }
}

/// A pack ready to be stored. `T` is what the caller knows of each part.
#[derive(Debug)]
pub struct ClosedPack<T> {
    /// The content.
    pub body: Bytes,
    /// Every part with its offset, in order.
    pub parts: Vec<(u64, T)>,
}

/// The pack being filled, in memory.
#[derive(Debug)]
pub struct PackBuilder<T> {
    limits: PackLimits,
    body: Option<Piece>,
    parts: Vec<(u64, T)>,
}

impl<T> PackBuilder<T> {
    /// An empty pack.
    pub const fn new(limits: PackLimits) -> Self {
        Self { limits, body: None, parts: Vec::new() }
    }

    /// Adds a part. Returns the pack when that filled it; the next part then begins a new one. A pack
    /// is longer than its limit by less than one part. Fails only when there is no memory for it.
    pub fn add(&mut self, content: &[u8], about: T) -> io::Result<Option<ClosedPack<T>>> {
        // Half of it more, so that the last part seldom finds no room; what is not used takes none.
        let room = self.limits.bytes.saturating_add(self.limits.bytes / 2);
        let mut body = self.body.take().map_or_else(|| Piece::with_room(room), Ok)?;
        let offset = body.len();
        body.push(content)?;
        self.parts.push((offset as u64, about));
        let full = body.len() >= self.limits.bytes || self.parts.len() >= self.limits.parts;
        self.body = Some(body);
        Ok(if full { self.close() } else { None })
    }

    /// Ends the pack as it is; `None` when it has no part.
    pub fn close(&mut self) -> Option<ClosedPack<T>> {
        let body = self.body.take()?;
        Some(ClosedPack { body: body.share(), parts: std::mem::take(&mut self.parts) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_end_to_end_and_a_full_pack_is_handed_out() {
        let mut pack = PackBuilder::new(PackLimits { bytes: 5, parts: 10 });
        assert!(pack.add(b"abc", 'a').unwrap().is_none());
        assert!(pack.add(b"", 'b').unwrap().is_none(), "an empty file is a part too");
        let closed = pack.add(b"defg", 'c').unwrap().unwrap();
        assert_eq!(&closed.body[..], b"abcdefg");
        assert_eq!(closed.parts, [(0, 'a'), (3, 'b'), (3, 'c')]);
        assert!(pack.close().is_none());
    }

    #[test]
    fn the_number_of_parts_is_bounded() {
        let mut pack = PackBuilder::new(PackLimits { bytes: 100, parts: 2 });
        assert!(pack.add(b"a", ()).unwrap().is_none());
        assert_eq!(pack.add(b"b", ()).unwrap().unwrap().parts.len(), 2);
    }
}
