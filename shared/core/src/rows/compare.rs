//! What differs between two digests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Expiring, RangeDigest, TableDigest, rows_range};
use crate::{
    cluster::TokenRange,
    restore::Renames,
    selection::{Selection, TableName},
};

/// Seconds by which two readings of when a cell expires may differ: it is told in whole seconds that are left, by clocks
/// of two machines, and known as closely as a page takes to come.
const EXPIRY_TOLERANCE: u64 = 30;

/// Two digests, table by table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowComparison {
    /// In the order of the first one's names; tables that only the second has come last.
    pub tables: Vec<TableVerdict>,
}

/// Both sides of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableVerdict {
    /// Its name in the first; in the second where only that has it.
    pub table: TableName,
    /// Its name in the second, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<TableName>,
    /// What came of it.
    pub verdict: Verdict,
    /// Rows in the first.
    pub first_rows: u64,
    /// Rows in the second.
    pub second_rows: u64,
    /// Where they differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<RangeDifference>,
    /// One of the two was not told the write times and TTLs within collections (Cassandra before 5.0), so these were not
    /// compared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_elements: bool,
}

/// What came of comparing a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The same rows.
    Equal,
    /// Other rows, in the ranges that are named.
    Rows,
    /// Other columns, so rows cannot be compared.
    Columns,
    /// Only the first has it.
    OnlyFirst,
    /// Only the second has it.
    OnlySecond,
}

/// A range that is not the same on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeDifference {
    /// Which.
    pub range: u16,
    /// Its tokens: `token(…) > start AND token(…) <= end`.
    pub tokens: TokenRange,
    /// What differs.
    pub what: What,
    /// Rows in the first.
    pub first_rows: u64,
    /// Rows in the second.
    pub second_rows: u64,
}

/// What differs in a range; of several the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Rows, values, write times, or which cells have a TTL.
    Rows,
    /// Write times, or TTLs, within collections or types that are not frozen.
    Elements,
    /// Only when cells expire.
    Expiry,
}

/// Two tables of the first would be compared with one of the second.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} and {1} cannot both be compared with {2}: name what is to be compared")]
pub struct SameName(pub String, pub String, pub String);

impl RowComparison {
    /// Whether every table is on both sides with the same rows.
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(|table| table.verdict == Verdict::Equal)
    }
}

/// Compares two digests: of the first what `selection` holds, with what bears its name, or the one that `renames` gives it,
/// in the second. Everything of both where nothing is selected.
///
/// # Errors
/// Two tables with one counterpart.
pub fn compare(
    first: &[TableDigest],
    second: &[TableDigest],
    renames: &Renames,
    selection: &Selection,
) -> Result<RowComparison, SameName> {
    let mut by_target: BTreeMap<TableName, &TableDigest> = BTreeMap::new();
    let holds = |selection: &Selection, table: &TableName| selection.holds(&table.keyspace, &table.table);
    let mut tables = Vec::new();
    for table in first.iter().filter(|table| holds(selection, &table.table)) {
        let target = renames.target(&table.table);
        let counterpart = second.iter().find(|other| other.table == target);
        if let Some(before) = by_target.insert(target.clone(), table) {
            return Err(SameName(before.table.to_string(), table.table.to_string(), target.to_string()));
        }
        tables.push(match counterpart {
            Some(other) => both(table, other),
            None => alone(table, Verdict::OnlyFirst),
        });
    }
    let meant = renames.selected(selection);
    let others =
        second.iter().filter(|table| holds(&meant, &table.table) && !by_target.contains_key(&table.table));
    tables.extend(others.map(|table| alone(table, Verdict::OnlySecond)));
    Ok(RowComparison { tables })
}

fn alone(table: &TableDigest, verdict: Verdict) -> TableVerdict {
    let is_first = verdict == Verdict::OnlyFirst;
    let rows = table.rows();
    TableVerdict {
        table: table.table.clone(),
        other: None,
        verdict,
        first_rows: if is_first { rows } else { 0 },
        second_rows: if is_first { 0 } else { rows },
        differences: Vec::new(),
        without_elements: false,
    }
}

fn both(first: &TableDigest, second: &TableDigest) -> TableVerdict {
    let mut told = TableVerdict {
        table: first.table.clone(),
        other: (first.table != second.table).then(|| second.table.clone()),
        verdict: Verdict::Equal,
        first_rows: first.rows(),
        second_rows: second.rows(),
        differences: Vec::new(),
        without_elements: false,
    };
    if first.columns != second.columns {
        told.verdict = Verdict::Columns;
        return told;
    }
    let mut sides: BTreeMap<u16, [Option<&RangeDigest>; 2]> = BTreeMap::new();
    for (side, table) in [first, second].into_iter().enumerate() {
        for range in &table.ranges {
            sides.entry(range.range).or_default()[side] = Some(range);
        }
    }
    for (range, [first, second]) in sides {
        if let (Some(first), Some(second)) = (first, second) {
            told.without_elements |= first.elements.is_some() != second.elements.is_some();
        }
        let rows = |side: Option<&RangeDigest>| side.map_or(0, |range| range.rows);
        told.differences.extend(difference(first, second).map(|what| RangeDifference {
            range,
            tokens: rows_range(range),
            what,
            first_rows: rows(first),
            second_rows: rows(second),
        }));
    }
    if !told.differences.is_empty() {
        told.verdict = Verdict::Rows;
    }
    told
}

fn difference(first: Option<&RangeDigest>, second: Option<&RangeDigest>) -> Option<What> {
    let (Some(first), Some(second)) = (first, second) else { return Some(What::Rows) };
    if (first.rows, first.digest) != (second.rows, second.digest) {
        return Some(What::Rows);
    }
    if let (Some(first), Some(second)) = (first.elements, second.elements) {
        if first.digest != second.digest {
            return Some(What::Elements);
        }
        if !expire_alike(first.expiring, second.expiring) {
            return Some(What::Expiry);
        }
    }
    (!expire_alike(first.expiring, second.expiring)).then_some(What::Expiry)
}

/// Sums are modulo 2⁶⁴, and so is their difference, which is small where they are of the same cells.
const fn expire_alike(first: Expiring, second: Expiring) -> bool {
    let apart = first.seconds.wrapping_sub(second.seconds).cast_signed().unsigned_abs();
    first.cells == second.cells && apart <= first.cells.saturating_mul(EXPIRY_TOLERANCE)
}
