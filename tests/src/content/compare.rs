//! What differs between two contents, in words.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anyhow::{Result, bail};

use super::{Cell, Content, Key, Row};

/// Expiry is told by Cassandra as whole seconds left when it answers, so it is known to a few
/// seconds only, on a busy machine.
const EXPIRY_TOLERANCE: i64 = 20;

/// Differences listed before the rest is counted.
const LISTED: usize = 20;

impl Content {
    /// Fails with what differs, if anything does.
    pub fn must_equal(&self, expected: &Self) -> Result<()> {
        let differences = self.differences(expected);
        if differences.is_empty() {
            return Ok(());
        }
        let shown = differences.iter().take(LISTED).cloned().collect::<Vec<_>>().join("\n  ");
        bail!("the data is not the same: {} differences\n  {shown}", differences.len());
    }

    /// What differs from `expected`.
    pub fn differences(&self, expected: &Self) -> Vec<String> {
        let names: BTreeSet<_> = self.tables.keys().chain(expected.tables.keys()).collect();
        let mut found = Vec::new();
        for name in names {
            match (self.tables.get(name), expected.tables.get(name)) {
                (Some(is), Some(was)) => rows(name, is, was, &mut found),
                (None, _) => found.push(format!("{name} is gone")),
                (_, None) => found.push(format!("{name} is new")),
            }
        }
        found
    }
}

fn rows(table: &str, is: &BTreeMap<Key, Row>, was: &BTreeMap<Key, Row>, found: &mut Vec<String>) {
    for (key, expected) in was {
        let place = format!("{table} {}", shown_key(key));
        let Some(row) = is.get(key) else {
            found.push(format!("{place} is gone"));
            continue;
        };
        let columns: BTreeSet<_> = row.keys().chain(expected.keys()).collect();
        for column in columns {
            match (row.get(column), expected.get(column)) {
                (Some(is), Some(was)) => {
                    found.extend(cell(is, was).map(|what| format!("{place}.{column}: {what}")));
                }
                _ => found.push(format!("{place}.{column}: the column is not in both")),
            }
        }
    }
    for key in is.keys().filter(|key| !was.contains_key(*key)) {
        found.push(format!("{table} {} should not be there", shown_key(key)));
    }
}

fn cell(is: &Cell, was: &Cell) -> Option<String> {
    if is.value != was.value {
        let (is, was) = (shown(is.value.as_deref()), shown(was.value.as_deref()));
        return Some(format!("value {is}, not {was}"));
    }
    if is.written != was.written {
        return Some(format!("written at {:?}, not {:?}", is.written, was.written));
    }
    let near = |pair: (&Option<i64>, &Option<i64>)| match pair {
        (Some(is), Some(was)) => (is - was).abs() <= EXPIRY_TOLERANCE,
        (is, was) => is == was,
    };
    let same = is.expires.len() == was.expires.len() && is.expires.iter().zip(&was.expires).all(near);
    (!same).then(|| format!("expires at {:?}, not {:?}", is.expires, was.expires))
}

fn shown_key(key: &Key) -> String {
    let parts: Vec<_> = key.iter().map(|part| shown(part.as_deref())).collect();
    format!("[{}]", parts.join(", "))
}

/// The first bytes, as hex.
fn shown(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    let mut text = "0x".to_owned();
    for byte in bytes.iter().take(24) {
        let _ = write!(text, "{byte:02x}");
    }
    if bytes.len() > 24 {
        let _ = write!(text, "… ({} bytes)", bytes.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(cells: &[(u8, Cell)]) -> Content {
        let row = |cell: &Cell| Row::from([("v".to_owned(), cell.clone())]);
        let rows = cells.iter().map(|(key, cell)| (vec![Some(vec![*key])], row(cell)));
        Content { tables: BTreeMap::from([("t".to_owned(), rows.collect())]) }
    }

    fn plain() -> Cell {
        Cell { value: Some(vec![1]), written: vec![Some(5), None], expires: vec![Some(100), None] }
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let expected = content(&[(1, plain())]);
        assert!(expected.differences(&expected).is_empty());
        let value = Cell { value: None, ..plain() };
        let written = Cell { written: vec![Some(6), None], ..plain() };
        let element = Cell { written: vec![Some(5)], ..plain() };
        let expires = Cell { expires: vec![Some(121), None], ..plain() };
        let no_expiry = Cell { expires: vec![None, None], ..plain() };
        for (cell, word) in [
            (value, "value"),
            (written, "written"),
            (element, "written"),
            (expires, "expires"),
            (no_expiry, "expires"),
        ] {
            let found = content(&[(1, cell)]).differences(&expected);
            assert!(found.len() == 1 && found[0].contains(word), "{found:?}");
        }
        let gone = content(&[(2, plain())]).differences(&expected);
        assert!(gone[0].ends_with("is gone") && gone[1].ends_with("not be there"), "{gone:?}");
        assert_eq!(Content::default().differences(&expected), ["t is gone"]);
        assert!(content(&[]).must_equal(&expected).is_err());
    }

    #[test]
    fn an_expiry_a_few_seconds_off_is_the_same() {
        let near = Cell { expires: vec![Some(100 + EXPIRY_TOLERANCE), None], ..plain() };
        assert!(content(&[(1, near)]).differences(&content(&[(1, plain())])).is_empty());
    }
}
