//! From rows to their digest.
//!
//! The encoding is unambiguous: the columns and their kinds are the same for every row of a table (and part of the
//! hash of its columns), a value has its length before it, and what may be absent has a byte that says so.
//! It is what stored digests were made by: whoever changes it raises [`ENCODING`].

use super::{ElementsDigest, Expiring, RangeDigest, RowHash};

/// The version of how rows are encoded: digests of two versions cannot be compared.
pub const ENCODING: u32 = 1;

/// Marks the beginning of each row.
const ROW: &[u8] = b"r";

/// What is known of one column of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnFacts<'a> {
    /// The value as Cassandra sends it; `None` is null.
    pub value: Option<&'a [u8]>,
    /// When it was written, and when it expires.
    pub times: Times,
}

/// What Cassandra tells of a column's cells. Which of the three it is hangs on the column and the release, and is the
/// same for every row of a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Times {
    /// Nothing: part of the key, a counter, or several cells before 5.0.
    Untold,
    /// One cell; both are `None` where it is null.
    Cell {
        /// Microseconds since 1970.
        written: Option<i64>,
        /// Seconds since 1970; `None` without TTL.
        expires: Option<i64>,
    },
    /// The elements of a collection, or the fields of a type, that is not frozen.
    Elements {
        /// One for each; `None` for a field that is null.
        written: Vec<Option<i64>>,
        /// One for each; `None` without TTL.
        expires: Vec<Option<i64>>,
    },
}

/// Takes the rows of one table in one range, in their order.
#[derive(Debug, Default)]
pub struct RangeHasher {
    rows: u64,
    cells: blake3::Hasher,
    expiring: Expiring,
    elements: Option<(blake3::Hasher, Expiring)>,
}

impl RangeHasher {
    /// The next row: its columns in the order of the table's [`columns_hash`].
    pub fn row<'a>(&mut self, columns: impl IntoIterator<Item = ColumnFacts<'a>>) {
        self.rows += 1;
        self.cells.update(ROW);
        if let Some((elements, _)) = &mut self.elements {
            elements.update(ROW);
        }
        for column in columns {
            value(&mut self.cells, column.value);
            match column.times {
                Times::Untold => {}
                Times::Cell { written, expires } => {
                    number(&mut self.cells, written);
                    expiry(&mut self.cells, &mut self.expiring, expires);
                }
                Times::Elements { written, expires } => self.elements(&written, &expires),
            }
        }
    }

    fn elements(&mut self, written: &[Option<i64>], expires: &[Option<i64>]) {
        let (hasher, expiring) = self.elements.get_or_insert_with(|| {
            let mut first = blake3::Hasher::new();
            first.update(ROW);
            (first, Expiring::default())
        });
        length(hasher, written.len());
        for written in written {
            number(hasher, *written);
        }
        length(hasher, expires.len());
        for expires in expires {
            expiry(hasher, expiring, *expires);
        }
    }

    /// What there is of the range at `range`; `None` if no row came.
    pub fn finish(self, range: u16) -> Option<RangeDigest> {
        let elements =
            self.elements.map(|(hasher, expiring)| ElementsDigest { digest: RowHash::of(&hasher), expiring });
        let digest = RowHash::of(&self.cells);
        (self.rows > 0).then_some(RangeDigest {
            range,
            rows: self.rows,
            digest,
            expiring: self.expiring,
            elements,
        })
    }
}

/// Of a table's columns in the order in which rows are hashed, each by name, type, and what it is in the table: words
/// that are the same for every table of the same columns.
pub fn columns_hash<'a>(columns: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> RowHash {
    let mut hasher = blake3::Hasher::new();
    for (name, cql_type, place) in columns {
        for word in [name, cql_type, place] {
            value(&mut hasher, Some(word.as_bytes()));
        }
    }
    RowHash::of(&hasher)
}

fn value(hasher: &mut blake3::Hasher, bytes: Option<&[u8]>) {
    match bytes {
        None => {
            hasher.update(&[0]);
        }
        Some(bytes) => {
            hasher.update(&[1]);
            length(hasher, bytes.len());
            hasher.update(bytes);
        }
    }
}

fn length(hasher: &mut blake3::Hasher, length: usize) {
    hasher.update(&(length as u64).to_le_bytes());
}

fn number(hasher: &mut blake3::Hasher, number: Option<i64>) {
    match number {
        None => hasher.update(&[0]),
        Some(number) => hasher.update(&[1]).update(&number.to_le_bytes()),
    };
}

fn expiry(hasher: &mut blake3::Hasher, expiring: &mut Expiring, at: Option<i64>) {
    hasher.update(&[u8::from(at.is_some())]);
    if let Some(at) = at {
        expiring.add(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 1 has it, and for ever: what was stored is compared with what is read later. The hashes were reckoned
    /// by another program, from the description alone.
    #[test]
    fn the_encoding_is_what_it_was() {
        let mut hasher = RangeHasher::default();
        for key in [&b"a"[..], b"bc"] {
            hasher.row([
                ColumnFacts { value: Some(key), times: Times::Untold },
                ColumnFacts { value: None, times: Times::Cell { written: None, expires: None } },
                ColumnFacts {
                    value: Some(b""),
                    times: Times::Cell { written: Some(-7), expires: Some(1_800_000_000) },
                },
                ColumnFacts {
                    value: Some(&[0; 4]),
                    times: Times::Elements {
                        written: vec![Some(1), None],
                        expires: vec![None, Some(1_800_000_001)],
                    },
                },
            ]);
        }
        let digest = hasher.finish(9).unwrap();
        let expected = serde_json::json!({
            "range": 9, "rows": 2, "digest": "14b6b0e54f7c79195b3e18b5ce9d3e8b",
            "expiring": { "cells": 2, "seconds": 3_600_000_000_u64 },
            "elements": { "digest": "aa6394df9c55a3ab8c6d0996eacaf1b1", "expiring": { "cells": 2, "seconds": 3_600_000_002_u64 } },
        });
        assert_eq!((ENCODING, serde_json::to_value(digest).unwrap()), (1, expected));
        let columns = columns_hash([("id", "int", "partition_key"), ("v", "text", "regular")]);
        assert_eq!(columns.to_string(), "bbacbe04601eac17b403d989d968f5be");
    }
}
