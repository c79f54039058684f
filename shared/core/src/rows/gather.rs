//! The digests of a cluster from those that its nodes made of their ranges.

use std::collections::BTreeMap;

use super::{RANGES, TableDigest};
use crate::{selection::TableName, task::DigestResult};

/// What all nodes have read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// By which [encoding](super::ENCODING).
    pub encoding: u32,
    /// In the order of their names.
    pub tables: Vec<TableDigest>,
}

/// What nodes read does not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Torn {
    /// Not of one schema.
    #[error("{0} was made, changed or dropped while the rows were read: make the digest again")]
    Changed(TableName),
    /// Nobody has read a range, or two have: a defect.
    #[error("range {0} was not read exactly once")]
    Range(u16),
    /// By workers of two releases.
    #[error("its rows were encoded by workers of different releases: make the digest again with all of one")]
    Encoding,
}

/// Puts together what nodes read: every range once, and every table in the same columns by all of them.
///
/// # Errors
/// What does not fit.
pub fn gather(results: &[DigestResult]) -> Result<Gathered, Torn> {
    for range in 0..RANGES {
        let readers = results.iter().flat_map(|result| &result.ranges).filter(|read| **read == range);
        if readers.count() != 1 {
            return Err(Torn::Range(range));
        }
    }
    let encoding = results.first().map_or(0, |result| result.encoding);
    if results.iter().any(|result| result.encoding != encoding) {
        return Err(Torn::Encoding);
    }
    let mut tables: BTreeMap<&TableName, (usize, TableDigest)> = BTreeMap::new();
    for table in results.iter().flat_map(|result| &result.tables) {
        let (readers, whole) = tables.entry(&table.table).or_insert_with(|| {
            (0, TableDigest { ranges: Vec::new(), table: table.table.clone(), columns: table.columns })
        });
        if whole.columns != table.columns {
            return Err(Torn::Changed(table.table.clone()));
        }
        *readers += 1;
        whole.ranges.extend(&table.ranges);
    }
    let in_order = |(readers, mut table): (usize, TableDigest)| {
        if readers != results.len() {
            return Err(Torn::Changed(table.table));
        }
        table.ranges.sort_by_key(|range| range.range);
        Ok(table)
    };
    let tables = tables.into_values().map(in_order).collect::<Result<_, _>>()?;
    Ok(Gathered { encoding, tables })
}
