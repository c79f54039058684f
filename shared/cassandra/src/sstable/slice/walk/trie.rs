//! Partitions.db: a trie over the byte-comparable form of keys, walked depth first.
//!
//! A node's first byte has its type in the high four bits and, but for types 1 and 3, payload bits
//! in the low four; a child lies at the node's place less a distance, so that places descend and no
//! walk is endless.
//!
//! | type | layout |
//! |---|---|
//! | 0 | payload alone |
//! | 1, 3 | one child, distance of 4 or 12 bits in the first bytes, then its byte |
//! | 2, 4 | one child: its byte, distance of 8 or 16 bits |
//! | 5–9 | count, as many bytes, as many distances of 8, 12, 16, 24 or 40 bits |
//! | 10–15 | first byte, number of bytes less one, distances of 12, 16, 24, 32, 40 or 64 bits; 0: none |
//!
//! The payload stands behind. With bits of 8 or more a byte of the key's hash comes first, and the
//! number has bits − 7 bytes; else it has as many bytes as the bits say. A negative number is the
//! partition's place in Data.db, inverted; another a place in Rows.db, where u16-length key and vint
//! place in Data.db stand. A path is 0x40, the token with its sign turned round, 0x40 and the key,
//! cut where no other key begins alike. Source: `TrieNode`, `PartitionIndex`, `SizedInts`,
//! `TrieIndexEntry`, `DecoratedKey.asComparableBytes`.

use std::io::{Read, Seek};

use ringvault_core::cluster::Token;

use super::{
    super::{Result, SliceError, pages::Pages},
    Partition,
};
use crate::sstable::{Component, FormatError, bytes::Bytes, murmur3_token};

type Parsed<T> = std::result::Result<T, FormatError>;

/// Longest path: a key of 64 KiB each of whose bytes is written as two, and the token.
const MAX_DEPTH: usize = 2 * (u16::MAX as usize) + 64;
/// Begins a component of a path.
const NEXT_COMPONENT: u8 = 0x40;

pub(in crate::sstable::slice) struct TrieWalk<R> {
    nodes: Pages<R>,
    rows: Pages<R>,
    root: u64,
    /// Keys that the trie's end says it has.
    keys: u64,
    content: u64,
    stack: Vec<Frame>,
    path: Vec<u8>,
    found: u64,
    last: Option<u64>,
}

/// A node that the walk is in.
struct Frame {
    node: Node,
    /// The child that comes next.
    next: u16,
    /// Partitions found before the walk came to it.
    before: u64,
    is_new: bool,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    at: u64,
    kind: u8,
    /// Payload bits.
    payload: u8,
    children: u16,
}

fn damaged(source: FormatError) -> SliceError {
    SliceError::damaged(Component::Partitions, source)
}

fn in_rows(source: FormatError) -> SliceError {
    SliceError::damaged(Component::Rows, source)
}

impl<R: Read + Seek> TrieWalk<R> {
    pub(super) fn new(partitions: R, rows: R, content: u64) -> Result<Self> {
        let mut nodes = Pages::new(partitions).map_err(damaged)?;
        let rows = Pages::new(rows).map_err(in_rows)?;
        let footer = nodes.length().checked_sub(24);
        let footer = footer.ok_or_else(|| damaged(FormatError::new("it is shorter than its end")))?;
        let mut number = |at: u64| -> Result<u64> {
            let number = i64::from_be_bytes(nodes.array(at).map_err(damaged)?);
            u64::try_from(number).map_err(|_| damaged(FormatError(format!("{number} is no place or count"))))
        };
        let (keys, root) = (number(footer + 8)?, number(footer + 16)?);
        if root >= footer {
            return Err(damaged(FormatError::new("its end points outside of it")));
        }
        let (stack, path) = (Vec::new(), Vec::new());
        let mut walk = Self { nodes, rows, root, keys, content, stack, path, found: 0, last: None };
        walk.rewind()?;
        Ok(walk)
    }

    pub(super) fn rewind(&mut self) -> Result<()> {
        (self.found, self.last) = (0, None);
        self.path.clear();
        self.stack.clear();
        self.enter(self.root).map_err(damaged)
    }

    fn enter(&mut self, at: u64) -> Parsed<()> {
        if self.stack.len() > MAX_DEPTH {
            return Err(FormatError::new("it is deeper than any key is long"));
        }
        let node = self.node(at)?;
        self.stack.push(Frame { node, next: 0, before: self.found, is_new: true });
        Ok(())
    }

    pub(super) fn next(&mut self) -> Result<Option<Partition>> {
        while let Some(frame) = self.stack.last_mut() {
            let node = frame.node;
            if std::mem::take(&mut frame.is_new) && node.payload != 0 {
                return self.partition(node).map(Some);
            }
            if frame.next < node.children {
                let child = frame.next;
                frame.next += 1;
                if let Some((byte, at)) = self.child(node, child).map_err(damaged)? {
                    self.path.push(byte);
                    self.enter(at).map_err(damaged)?;
                }
                continue;
            }
            // So every part of a walk finds a partition, each behind the one before: it ends.
            if frame.before == self.found {
                return Err(damaged(FormatError(format!("its node at {} leads nowhere", node.at))));
            }
            self.stack.pop();
            self.path.pop();
        }
        if self.found == self.keys {
            return Ok(None);
        }
        let (found, keys) = (self.found, self.keys);
        Err(damaged(FormatError(format!("it has {found} keys and says that it has {keys}"))))
    }

    fn partition(&mut self, node: Node) -> Result<Partition> {
        let number = self.payload(node).map_err(damaged)?;
        let (position, key) = match u64::try_from(number) {
            Ok(at) => {
                let (key, position) = self.row_entry(at).map_err(in_rows)?;
                (position, Some(key))
            }
            Err(_) => ((!number).cast_unsigned(), None),
        };
        let wrong = |what: String| Err(damaged(FormatError(what)));
        if position >= self.content {
            return wrong(format!("a partition begins at {position} of {} bytes", self.content));
        }
        match self.last {
            None if position != 0 => return wrong(format!("its first partition begins at {position}")),
            Some(last) if last >= position => {
                return wrong(format!("a partition at {position} comes after one at {last}"));
            }
            _ => {}
        }
        self.last = Some(position);
        self.found += 1;
        let (first, last) = tokens(&self.path).map_err(damaged)?;
        let Some(key) = key else {
            return Ok(Partition { position, key: None, tokens: (first, last), promoted: 0 });
        };
        let token = murmur3_token(&key);
        if token < first || token > last {
            return wrong(format!("the key of the partition at {position} lies at another's place"));
        }
        Ok(Partition { position, key: Some(key), tokens: (token, token), promoted: 0 })
    }

    /// Key and place in Data.db of an entry of Rows.db.
    fn row_entry(&mut self, at: u64) -> Parsed<(Vec<u8>, u64)> {
        let length = u16::from_be_bytes(self.rows.array(at)?);
        let mut key = vec![0; usize::from(length)];
        self.rows.fill(at.saturating_add(2), &mut key)?;
        let behind = at.saturating_add(2 + u64::from(length));
        let mut number = [0; 9];
        let [first] = self.rows.array(behind)?;
        let extra = first.leading_ones() as usize;
        self.rows.fill(behind, &mut number[..=extra])?;
        Ok((key, Bytes::new(&number).vint()?))
    }

    fn node(&mut self, at: u64) -> Parsed<Node> {
        let first = self.nodes.u8(at)?;
        let kind = first >> 4;
        let children = match kind {
            0 => 0,
            1..=4 => 1,
            5..=9 => u16::from(self.nodes.u8(at + 1)?),
            _ => u16::from(self.nodes.u8(at + 2)?) + 1,
        };
        let payload = if matches!(kind, 1 | 3) { 0 } else { first & 0x0f };
        Ok(Node { at, kind, payload, children })
    }

    /// Byte and place of a node's child; `None` where a dense node has none.
    fn child(&mut self, node: Node, index: u16) -> Parsed<Option<(u8, u64)>> {
        let (at, count, nth) = (node.at, u64::from(node.children), u64::from(index));
        let (byte, distance) = match node.kind {
            1 => (self.nodes.u8(at + 1)?, u64::from(self.nodes.u8(at)? & 0x0f)),
            2 => (self.nodes.u8(at + 1)?, u64::from(self.nodes.u8(at + 2)?)),
            3 => (self.nodes.u8(at + 2)?, self.number(at, 2)? & 0x0fff),
            4 => (self.nodes.u8(at + 1)?, self.number(at + 2, 2)?),
            5..=9 => {
                let distances = at + 2 + count;
                let distance = match node.kind {
                    5 => self.number(distances + nth, 1)?,
                    6 => self.twelve_bits(distances, nth)?,
                    7 => self.number(distances + 2 * nth, 2)?,
                    8 => self.number(distances + 3 * nth, 3)?,
                    _ => self.number(distances + 5 * nth, 5)?,
                };
                (self.nodes.u8(at + 2 + nth)?, distance)
            }
            _ => {
                let first = u16::from(self.nodes.u8(at + 1)?);
                let byte = u8::try_from(first + index)
                    .map_err(|_| FormatError(format!("its node at {at} has more children than bytes")))?;
                let distances = at + 3;
                let distance = match node.kind {
                    10 => self.twelve_bits(distances, nth)?,
                    11 => self.number(distances + 2 * nth, 2)?,
                    12 => self.number(distances + 3 * nth, 3)?,
                    13 => self.number(distances + 4 * nth, 4)?,
                    14 => self.number(distances + 5 * nth, 5)?,
                    _ => self.number(distances + 8 * nth, 8)?,
                };
                if distance == 0 {
                    return Ok(None);
                }
                (byte, distance)
            }
        };
        match at.checked_sub(distance) {
            Some(child) if distance > 0 => Ok(Some((byte, child))),
            _ => Err(FormatError(format!("its node at {at} has a child {distance} before it"))),
        }
    }

    fn payload(&mut self, node: Node) -> Parsed<i64> {
        let count = u64::from(node.children);
        let behind = match node.kind {
            0 => 1,
            2 => 3,
            4 => 4,
            5 => 2 + 2 * count,
            6 => 2 + (5 * count).div_ceil(2),
            7 => 2 + 3 * count,
            8 => 2 + 4 * count,
            9 => 2 + 6 * count,
            10 => 3 + (3 * count).div_ceil(2),
            11 => 3 + 2 * count,
            12 => 3 + 3 * count,
            13 => 3 + 4 * count,
            14 => 3 + 5 * count,
            _ => 3 + 8 * count,
        };
        let (skip, length) = match node.payload {
            bits @ 8.. => (1, usize::from(bits - 7)),
            bits => (0, usize::from(bits)),
        };
        let mut number = [0; 8];
        self.nodes.fill(node.at + behind + skip, &mut number[8 - length..])?;
        if number.get(8 - length).is_some_and(|first| *first >= 0x80) {
            number[..8 - length].fill(0xff);
        }
        Ok(i64::from_be_bytes(number))
    }

    /// An unsigned number of up to eight bytes.
    fn number(&mut self, at: u64, length: usize) -> Parsed<u64> {
        let mut number = [0; 8];
        self.nodes.fill(at, &mut number[8 - length..])?;
        Ok(u64::from_be_bytes(number))
    }

    /// The `nth` of numbers of twelve bits, two in three bytes.
    fn twelve_bits(&mut self, at: u64, nth: u64) -> Parsed<u64> {
        let pair = self.number(at + 3 * nth / 2, 2)?;
        Ok(if nth.is_multiple_of(2) { pair >> 4 } else { pair & 0x0fff })
    }
}

/// The first and the last token that a key at this path can have.
fn tokens(path: &[u8]) -> Parsed<(Token, Token)> {
    let Some((begin, rest)) = path.split_first() else {
        return Ok((Token(i64::MIN), Token(i64::MAX)));
    };
    if *begin != NEXT_COMPONENT {
        return Err(FormatError::new("its paths do not begin with a token"));
    }
    let known = rest.get(..8).unwrap_or(rest);
    let token = |fill: u8| {
        let mut bytes = [fill; 8];
        bytes[..known.len()].copy_from_slice(known);
        bytes[0] ^= 0x80;
        Token(i64::from_be_bytes(bytes))
    };
    // The sign is turned round whether it was read or filled in, so the order stays.
    Ok((token(0x00), token(0xff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_gives_as_much_of_a_token_as_it_has() {
        let of = |path: &[u8]| tokens(path).map(|(first, last)| (first.0, last.0));
        assert_eq!(of(&[]), Ok((i64::MIN, i64::MAX)));
        assert_eq!(of(&[0x40]), Ok((i64::MIN, i64::MAX)));
        assert_eq!(of(&[0x40, 0x80]), Ok((0, 0x00ff_ffff_ffff_ffff)));
        assert_eq!(of(&[0x40, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Ok((-1, -1)));
        assert_eq!(of(&[0x40, 0x80, 0, 0, 0, 0, 0, 0, 5, 0x40, 9]), Ok((5, 5)));
        assert!(of(&[0x41, 0x80]).is_err());
    }
}
