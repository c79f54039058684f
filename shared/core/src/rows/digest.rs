//! What is kept of the rows that were read.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RANGES;
use crate::selection::TableName;

/// The first half of a BLAKE3 hash, 32 hexadecimal digits as text: two that differ by chance alone are as likely alike
/// as two random UUIDs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct RowHash(u128);

impl RowHash {
    /// Of what was put into `hasher`.
    pub(super) fn of(hasher: &blake3::Hasher) -> Self {
        let mut half = [0; 16];
        hasher.finalize_xof().fill(&mut half);
        Self(u128::from_be_bytes(half))
    }

    /// As bytes.
    pub(super) const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for RowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowHash({self})")
    }
}

impl From<RowHash> for String {
    fn from(hash: RowHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for RowHash {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let is_hash = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let read = is_hash.then(|| u128::from_str_radix(&text, 16).ok()).flatten();
        read.map(Self)
            .ok_or_else(|| format!("{:?} is not 32 hexadecimal digits", crate::text::excerpt(&text)))
    }
}

/// Cells that expire, and when. Cassandra tells of a cell the whole seconds that it has left when it answers, so two
/// readings of the same cell are seconds apart: that it expires at all is in the digest, the instants are added up here
/// and compared with a tolerance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expiring {
    /// How many.
    pub cells: u64,
    /// The seconds since 1970 at which they expire, added up, modulo 2⁶⁴.
    pub seconds: u64,
}

impl Expiring {
    /// Whether no cell expires.
    pub const fn is_none(&self) -> bool {
        self.cells == 0
    }

    /// One cell more.
    pub(super) const fn add(&mut self, at: i64) {
        self.cells += 1;
        self.seconds = self.seconds.wrapping_add(at.cast_unsigned());
    }
}

/// Of the elements of collections and types that are not frozen: Cassandra tells of them since 5.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ElementsDigest {
    /// Of their write times, and of which have a TTL. Their values are in the row's digest.
    pub digest: RowHash,
    /// Those with a TTL.
    #[serde(default, skip_serializing_if = "Expiring::is_none")]
    pub expiring: Expiring,
}

/// The rows of one table in one range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RangeDigest {
    /// Which, see [`rows_range`](super::rows_range).
    pub range: u16,
    /// Rows; a partition that has static columns alone is one.
    pub rows: u64,
    /// Of all of them, in order.
    pub digest: RowHash,
    /// Cells with a TTL, elements left out.
    #[serde(default, skip_serializing_if = "Expiring::is_none")]
    pub expiring: Expiring,
    /// Absent where the table has no such columns, or the release does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elements: Option<ElementsDigest>,
}

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TableDigest {
    /// The table.
    pub table: TableName,
    /// Of the names, types and order of its columns: what digests of rows hang on.
    pub columns: RowHash,
    /// By range, in order; without those that hold no row.
    pub ranges: Vec<RangeDigest>,
}

impl TableDigest {
    /// Rows in all.
    pub fn rows(&self) -> u64 {
        self.ranges.iter().fold(0, |rows, range| rows.saturating_add(range.rows))
    }

    /// Cells with a TTL, elements among them.
    pub fn expiring_cells(&self) -> u64 {
        let elements = |range: &RangeDigest| range.elements.map_or(0, |elements| elements.expiring.cells);
        let counts = self.ranges.iter().flat_map(|range| [range.expiring.cells, elements(range)]);
        counts.fold(0, u64::saturating_add)
    }

    /// The first range that is no range, or not after the one before: nobody has written such a digest.
    pub fn misplaced_range(&self) -> Option<u16> {
        let mut next = 0;
        for RangeDigest { range, .. } in &self.ranges {
            if *range < next || *range >= RANGES {
                return Some(*range);
            }
            next = *range + 1;
        }
        None
    }

    /// One digest of everything but elements and instants of expiry: the same for the same rows, under whatever name.
    pub fn whole(&self) -> RowHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.columns.to_bytes());
        for range in &self.ranges {
            hasher.update(&range.range.to_le_bytes());
            hasher.update(&range.digest.to_bytes());
        }
        RowHash::of(&hasher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_in_order_and_once() {
        let range = |range| RangeDigest {
            range,
            rows: u64::MAX,
            digest: RowHash(0),
            expiring: Expiring::default(),
            elements: None,
        };
        let table = |ranges: &[u16]| TableDigest {
            table: TableName::new("k", "t"),
            columns: RowHash(0),
            ranges: ranges.iter().map(|index| range(*index)).collect(),
        };
        assert_eq!(table(&[0, 5, RANGES - 1]).misplaced_range(), None);
        assert_eq!(table(&[0, 5, 5]).misplaced_range(), Some(5));
        assert_eq!(table(&[7, 2]).misplaced_range(), Some(2));
        assert_eq!(table(&[RANGES]).misplaced_range(), Some(RANGES));
        assert_eq!(table(&[0, 1]).rows(), u64::MAX);
    }

    #[test]
    fn a_hash_is_thirty_two_digits() {
        let hash = RowHash(0xab);
        let text = "000000000000000000000000000000ab";
        assert_eq!((hash.to_string(), RowHash::try_from(text.to_owned())), (text.to_owned(), Ok(hash)));
        for bad in
            ["", "ab", &text[1..], "+00000000000000000000000000000ab", "0000000000000000000000000000000é"]
        {
            assert!(RowHash::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
