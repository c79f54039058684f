//! Digests of made-up rows: whatever is changed in them is found, and nothing else is.

use proptest::{prelude::*, sample::Index};
use uuid::Uuid;

use super::*;
use crate::{
    HostId,
    restore::Renames,
    selection::{Selection, TableName},
    task::DigestResult,
};

/// A row of a table with a key, a cell and a set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    range: u16,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    written: Option<i64>,
    expires: Option<i64>,
    set: Vec<u8>,
    set_written: Vec<Option<i64>>,
}

fn any_row() -> impl Strategy<Value = Row> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..4);
    (
        0..RANGES,
        bytes.clone(),
        proptest::option::of(bytes.clone()),
        proptest::option::of(0..9_i64),
        proptest::option::of(1_000_000..2_000_000_i64),
        bytes,
        proptest::collection::vec(proptest::option::of(0..9_i64), 0..3),
    )
        .prop_map(|(range, key, value, written, expires, set, set_written)| Row {
            range,
            key,
            value,
            written,
            expires,
            set,
            set_written,
        })
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    proptest::collection::vec(any_row(), 1..40).prop_map(|mut rows| {
        rows.sort_by_key(|row| row.range);
        rows
    })
}

fn name(text: &str) -> TableName {
    text.parse().unwrap()
}

fn range_of(rows: &[Row], range: u16, with_elements: bool) -> Option<RangeDigest> {
    let mut hasher = RangeHasher::default();
    for row in rows.iter().filter(|row| row.range == range) {
        let times = if with_elements {
            Times::Elements { written: row.set_written.clone(), expires: vec![None; row.set_written.len()] }
        } else {
            Times::Untold
        };
        hasher.row([
            ColumnFacts { value: Some(&row.key), times: Times::Untold },
            ColumnFacts {
                value: row.value.as_deref(),
                times: Times::Cell { written: row.written, expires: row.expires },
            },
            ColumnFacts { value: Some(&row.set), times },
        ]);
    }
    hasher.finish(range)
}

/// As `nodes` nodes would read it.
fn read(rows: &[Row], table: &str, nodes: u128, with_elements: bool) -> Vec<TableDigest> {
    let results: Vec<DigestResult> = deal((0..nodes).map(|id| HostId(Uuid::from_u128(id))))
        .into_values()
        .map(|ranges| DigestResult {
            encoding: ENCODING,
            tables: vec![TableDigest {
                table: name(table),
                columns: columns_hash([("k", "int", "partition_key")]),
                ranges: ranges.iter().filter_map(|range| range_of(rows, *range, with_elements)).collect(),
            }],
            ranges,
        })
        .collect();
    gather(&results).unwrap().tables
}

fn compared(first: &[TableDigest], second: &[TableDigest]) -> TableVerdict {
    compare(first, second, &Renames::default(), &Selection::default()).unwrap().tables.swap_remove(0)
}

/// One change of one row, each kind in turn.
fn change(rows: &mut Vec<Row>, at: usize, kind: u8) -> What {
    let row = &mut rows[at];
    match kind {
        0 => row.key.push(7),
        1 => row.value = row.value.take().map_or(Some(Vec::new()), |_| None),
        2 => row.value.get_or_insert_default().push(0),
        3 => row.written = Some(row.written.map_or(1, |written| written + 1)),
        4 => row.expires = row.expires.map_or(Some(1_500_000), |_| None),
        5 => row.set.insert(0, 1),
        6 => {
            rows.remove(at);
        }
        7 => {
            let twin = row.clone();
            rows.insert(at, twin);
        }
        8 => {
            row.set_written.push(Some(3));
            return What::Elements;
        }
        _ => {
            row.expires = row.expires.map_or(Some(1), |at| Some(at + 100_000));
            return What::Expiry;
        }
    }
    What::Rows
}

proptest! {
    #[test]
    fn whatever_is_changed_in_a_row_is_found_in_its_range_alone(
        rows in any_rows(), at in any::<Index>(), kind in 0..10_u8,
    ) {
        let at = at.index(rows.len());
        let range = rows[at].range;
        // Only when a cell has a TTL already is it the instant alone that changes.
        prop_assume!(kind != 9 || rows[at].expires.is_some());
        let mut other = rows.clone();
        let what = change(&mut other, at, kind);
        let told = compared(&read(&rows, "k.t", 3, true), &read(&other, "k.t", 3, true));
        prop_assert_eq!(told.verdict, Verdict::Rows);
        prop_assert_eq!(told.differences.len(), 1);
        let found = told.differences[0];
        prop_assert_eq!((found.range, found.tokens), (range, rows_range(range)));
        prop_assert_eq!(found.what, what);
    }

    #[test]
    fn the_same_rows_are_equal_whoever_read_them(rows in any_rows(), nodes in 1..70_u128, others in 1..70_u128) {
        let (first, second) = (read(&rows, "k.t", nodes, true), read(&rows, "k.t", others, true));
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(first[0].whole(), second[0].whole());
        let told = compared(&first, &second);
        prop_assert!(told.verdict == Verdict::Equal && !told.without_elements);
        prop_assert_eq!(told.first_rows, rows.len() as u64);
    }

    #[test]
    fn rows_in_another_order_are_not_the_same(rows in any_rows(), at in any::<Index>()) {
        // All in one range, and no two alike.
        let numbered = |(number, row): (u8, Row)| Row { range: 7, key: vec![number], ..row };
        let rows: Vec<Row> = (0..).zip(rows).map(numbered).chain([numbered((200, one_row().remove(0)))]).collect();
        let at = at.index(rows.len() - 1);
        let mut other = rows.clone();
        other.swap(at, at + 1);
        prop_assert_ne!(read(&rows, "k.t", 1, true), read(&other, "k.t", 1, true));
    }

    #[test]
    fn what_one_side_was_not_told_is_not_compared_and_said(rows in any_rows()) {
        let told = compared(&read(&rows, "k.t", 2, true), &read(&rows, "k.t", 3, false));
        prop_assert!(told.verdict == Verdict::Equal && told.without_elements);
        let old = compared(&read(&rows, "k.t", 2, false), &read(&rows, "k.t", 3, false));
        prop_assert!(old.verdict == Verdict::Equal && !old.without_elements);
    }

    #[test]
    fn an_expiry_a_few_seconds_off_is_the_same(rows in any_rows(), off in -10..=10_i64) {
        let mut other = rows.clone();
        for row in &mut other {
            row.expires = row.expires.map(|at| at + off);
        }
        prop_assert_eq!(compared(&read(&rows, "k.t", 1, true), &read(&other, "k.t", 1, true)).verdict, Verdict::Equal);
    }
}

fn one_row() -> Vec<Row> {
    vec![Row {
        range: 5,
        key: vec![1],
        value: None,
        written: None,
        expires: None,
        set: Vec::new(),
        set_written: Vec::new(),
    }]
}

fn tables(names: &[&str]) -> Vec<TableDigest> {
    names.iter().flat_map(|name| read(&one_row(), name, 1, false)).collect()
}

fn verdicts(told: &RowComparison) -> Vec<(String, Verdict)> {
    told.tables.iter().map(|table| (table.table.to_string(), table.verdict)).collect()
}

#[test]
fn tables_are_found_by_their_other_names_and_missed() {
    let mut renames = Renames::default();
    renames.add("shop=copy").unwrap();
    renames.add("shop.hits=old.hits_1").unwrap();
    let first = tables(&["shop.hits", "shop.orders", "shop.photos"]);
    let second = tables(&["copy.orders", "copy.new", "old.hits_1", "other.table"]);
    let told = compare(&first, &second, &renames, &renames.selection()).unwrap();
    let expected = [
        ("shop.hits", Verdict::Equal),
        ("shop.orders", Verdict::Equal),
        ("shop.photos", Verdict::OnlyFirst),
        ("copy.new", Verdict::OnlySecond),
    ];
    assert_eq!(verdicts(&told), expected.map(|(name, verdict)| (name.to_owned(), verdict)));
    assert_eq!(told.tables[0].other, Some(name("old.hits_1")));
    assert!(!told.is_equal());
    let all = compare(&first, &second, &renames, &Selection::default()).unwrap();
    assert!(verdicts(&all).contains(&("other.table".to_owned(), Verdict::OnlySecond)));
}

#[test]
fn one_digest_is_compared_with_itself_under_other_names() {
    let both = tables(&["copy.orders", "shop.orders"]);
    let mut renames = Renames::default();
    renames.add("shop=copy").unwrap();
    let told = compare(&both, &both, &renames, &renames.selection()).unwrap();
    assert_eq!(verdicts(&told), [("shop.orders".to_owned(), Verdict::Equal)]);
    let refused = compare(&both, &both, &renames, &Selection::default()).unwrap_err();
    assert_eq!(refused, SameName("copy.orders".into(), "shop.orders".into(), "copy.orders".into()));
}

#[test]
fn a_table_of_other_columns_is_another() {
    let first = tables(&["k.t"]);
    let columns = columns_hash([("k", "bigint", "partition_key")]);
    let second = [TableDigest { columns, ..first[0].clone() }];
    assert_eq!(compared(&first, &second).verdict, Verdict::Columns);
    assert_ne!(columns_hash([("ab", "c", "")]), columns_hash([("a", "bc", "")]));
}

#[test]
fn what_nodes_read_of_two_schemas_or_twice_does_not_fit() {
    let result = |ranges: Vec<u16>, names: &[&str]| DigestResult {
        encoding: ENCODING,
        ranges,
        tables: names.iter().flat_map(|name| read(&[], name, 1, false)).collect(),
    };
    let halves =
        |names: [&[&str]; 2]| [result((0..32).collect(), names[0]), result((32..64).collect(), names[1])];
    assert_eq!(gather(&halves([&["k.t"], &["k.t"]])).unwrap().tables.len(), 1);
    assert_eq!(gather(&halves([&["k.t", "k.u"], &["k.t"]])), Err(Torn::Changed(name("k.u"))));
    let mut changed = halves([&["k.t"], &["k.t"]]);
    changed[1].tables[0].columns = columns_hash([("k", "bigint", "partition_key")]);
    assert_eq!(gather(&changed), Err(Torn::Changed(name("k.t"))));
    let mut encoded = halves([&["k.t"], &["k.t"]]);
    encoded[1].encoding += 1;
    assert_eq!(gather(&encoded), Err(Torn::Encoding));
    assert_eq!(gather(&[]), Err(Torn::Range(0)));
    let twice = [result((0..RANGES).collect(), &["k.t"]), result(vec![9], &["k.t"])];
    assert_eq!(gather(&twice), Err(Torn::Range(9)));
}
