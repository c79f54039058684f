//! Rows as bytes, and numbers out of them: no conversion loses anything, and a null within a list can be read.

use scylla::{
    deserialize::{
        DeserializationError, TypeCheckError,
        row::{ColumnIterator, DeserializeRow},
    },
    frame::response::result::ColumnSpec,
};

/// A row's columns in the order of the statement; `None` is null.
#[derive(Debug)]
pub(super) struct RowSlices<'frame>(pub(super) Vec<Option<&'frame [u8]>>);

impl<'frame, 'metadata> DeserializeRow<'frame, 'metadata> for RowSlices<'frame> {
    fn type_check(_: &[ColumnSpec]) -> Result<(), TypeCheckError> {
        Ok(())
    }

    fn deserialize(row: ColumnIterator<'frame, 'metadata>) -> Result<Self, DeserializationError> {
        let columns = row.map(|column| Ok(column?.slice.map(|slice| slice.as_slice())));
        columns.collect::<Result<_, _>>().map(Self)
    }
}

/// A `bigint` or an `int`.
pub(super) fn number(bytes: &[u8]) -> Result<i64, String> {
    if let Ok(wide) = bytes.try_into() {
        return Ok(i64::from_be_bytes(wide));
    }
    match bytes.try_into() {
        Ok(narrow) => Ok(i64::from(i32::from_be_bytes(narrow))),
        Err(_) => Err(format!("a number of {} bytes, which is neither 4 nor 8", bytes.len())),
    }
}

/// A list of numbers, of which each may be null (native protocol, section 6: `[int]` elements, each of them `[bytes]`).
pub(super) fn numbers(mut bytes: &[u8]) -> Result<Vec<Option<i64>>, String> {
    let count = take_length(&mut bytes)?.unwrap_or(0);
    let mut numbers = Vec::new();
    for _ in 0..count {
        let element = match take_length(&mut bytes)? {
            None => None,
            Some(length) => {
                let (element, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
                bytes = rest;
                Some(number(element)?)
            }
        };
        numbers.push(element);
    }
    Ok(numbers)
}

/// A length; `None` is below zero.
fn take_length(bytes: &mut &[u8]) -> Result<Option<usize>, String> {
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
    *bytes = rest;
    Ok(usize::try_from(i32::from_be_bytes(*head)).ok())
}

fn cut() -> String {
    "a list that is cut off".to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the bytes say, no more comes out of them than they hold.
        #[test]
        fn damaged_lists_are_refused_or_short(bytes in proptest::collection::vec(any::<u8>(), 0..64), count in 0_i32..8) {
            let listed = [&count.to_be_bytes()[..], &bytes].concat();
            for bytes in [&bytes, &listed] {
                if let Ok(numbers) = numbers(bytes) {
                    prop_assert!(numbers.len() * 4 <= bytes.len());
                }
            }
        }
    }

    #[test]
    fn numbers_lists_and_nulls_are_read() {
        assert_eq!(number(&7_i64.to_be_bytes()), Ok(7));
        assert_eq!(number(&(-7_i32).to_be_bytes()), Ok(-7));
        assert!(number(&[1, 2, 3]).is_err());
        let list = [2_i32, 4, 9, -1].map(i32::to_be_bytes).concat();
        assert_eq!(numbers(&list), Ok(vec![Some(9), None]));
        assert_eq!(numbers(&list[..11]), Err(cut()));
        assert_eq!(numbers(&[2_i32, 8].map(i32::to_be_bytes).concat()), Err(cut()));
        assert_eq!(numbers(&0_i32.to_be_bytes()), Ok(Vec::new()));
    }
}
