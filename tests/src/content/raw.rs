//! Rows as bytes: nothing is lost in a conversion, and a null inside a list can be read.

use anyhow::{Context as _, Result};
use scylla::{
    cluster::metadata::ColumnType,
    deserialize::{
        DeserializationError, TypeCheckError,
        row::{ColumnIterator, DeserializeRow},
    },
    frame::response::result::ColumnSpec,
};

/// A row's columns in the order of the query.
#[derive(Debug)]
pub(super) struct RawRow(pub(super) Vec<RawColumn>);

/// A column as it was sent.
#[derive(Debug)]
pub(super) struct RawColumn {
    /// Absent if null.
    pub(super) bytes: Option<Vec<u8>>,
    /// It is a list.
    pub(super) is_list: bool,
}

impl<'frame, 'metadata> DeserializeRow<'frame, 'metadata> for RawRow {
    fn type_check(_: &[ColumnSpec]) -> Result<(), TypeCheckError> {
        Ok(())
    }

    fn deserialize(row: ColumnIterator<'frame, 'metadata>) -> Result<Self, DeserializationError> {
        let columns = row.map(|column| {
            let column = column?;
            Ok(RawColumn {
                bytes: column.slice.map(|slice| slice.as_slice().to_vec()),
                is_list: matches!(column.spec.typ(), ColumnType::Collection { .. }),
            })
        });
        columns.collect::<Result<_, _>>().map(Self)
    }
}

impl RawColumn {
    /// A number, or a list of numbers of which each may be null: what `writetime` and `ttl` give.
    pub(super) fn numbers(&self) -> Result<Vec<Option<i64>>> {
        let Some(bytes) = &self.bytes else { return Ok(Vec::new()) };
        if !self.is_list {
            return Ok(vec![Some(number(bytes)?)]);
        }
        let mut rest = bytes.as_slice();
        let count = take_i32(&mut rest)?;
        let mut numbers = Vec::new();
        for _ in 0..count {
            let length = take_i32(&mut rest)?;
            numbers.push(match usize::try_from(length) {
                Err(_) => None,
                Ok(length) => {
                    let (element, behind) = rest.split_at_checked(length).context("a cut list")?;
                    rest = behind;
                    Some(number(element)?)
                }
            });
        }
        Ok(numbers)
    }
}

fn take_i32(bytes: &mut &[u8]) -> Result<i32> {
    let (head, rest) = bytes.split_first_chunk::<4>().context("a cut list")?;
    *bytes = rest;
    Ok(i32::from_be_bytes(*head))
}

/// `bigint` or `int`.
fn number(bytes: &[u8]) -> Result<i64> {
    if let Ok(wide) = bytes.try_into() {
        return Ok(i64::from_be_bytes(wide));
    }
    let narrow = bytes.try_into().context("a number of neither 4 nor 8 bytes")?;
    Ok(i64::from(i32::from_be_bytes(narrow)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(bytes: &[u8], is_list: bool) -> RawColumn {
        RawColumn { bytes: Some(bytes.to_vec()), is_list }
    }

    #[test]
    fn numbers_lists_and_nulls_are_read() {
        assert_eq!(column(&7_i64.to_be_bytes(), false).numbers().unwrap(), [Some(7)]);
        assert_eq!(column(&(-7_i32).to_be_bytes(), false).numbers().unwrap(), [Some(-7)]);
        let list = [2_i32, 4, 9, -1].map(i32::to_be_bytes).concat();
        assert_eq!(column(&list, true).numbers().unwrap(), [Some(9), None]);
        assert!(column(&list[..11], true).numbers().is_err());
        assert!(RawColumn { bytes: None, is_list: true }.numbers().unwrap().is_empty());
    }
}
