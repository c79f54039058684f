//! What differs between two digests, for people: a line a table, then where to look.

use std::fmt::Write as _;

use ringvault_core::rows::{RANGES, RowComparison, TableVerdict, Verdict, What};

use crate::output::{Cell, Table, Tone};

/// Ranges that are named; the JSON has all.
const LISTED: usize = 20;

/// The comparison, with escape sequences if `colour`.
pub(super) fn text(colour: bool, compared: &RowComparison) -> String {
    let mut table = Table::new(&["TABLE", "RESULT", "ROWS", "IN THE SECOND"]);
    for one in &compared.tables {
        table.row([name(one).into(), verdict(one), rows(one, true).into(), rows(one, false).into()]);
    }
    let mut text = table.render(colour);
    let places = places(compared);
    if !places.is_empty() {
        text.push('\n');
        text += &places.render(colour);
    }
    let all: usize = compared.tables.iter().map(|table| table.differences.len()).sum();
    if all > LISTED {
        let _ = writeln!(text, "and {} ranges more: --json has all", all - LISTED);
    }
    text
}

fn name(table: &TableVerdict) -> String {
    match &table.other {
        Some(other) => format!("{} = {other}", table.table),
        None => table.table.to_string(),
    }
}

fn verdict(table: &TableVerdict) -> Cell {
    match table.verdict {
        Verdict::Equal => Cell::toned("equal", Tone::Good),
        Verdict::Rows => {
            Cell::toned(format!("differs in {} of {RANGES} ranges", table.differences.len()), Tone::Bad)
        }
        Verdict::Columns => Cell::toned("has other columns", Tone::Bad),
        Verdict::OnlyFirst => Cell::toned("only in the first", Tone::Bad),
        Verdict::OnlySecond => Cell::toned("only in the second", Tone::Bad),
    }
}

/// Rows on one side; nothing where the table is not there.
fn rows(table: &TableVerdict, of_first: bool) -> String {
    match (table.verdict, of_first) {
        (Verdict::OnlyFirst, false) | (Verdict::OnlySecond, true) => String::new(),
        (_, true) => table.first_rows.to_string(),
        (_, false) => table.second_rows.to_string(),
    }
}

fn places(compared: &RowComparison) -> Table {
    let mut table = Table::new(&["TABLE", "TOKEN AFTER", "UP TO", "DIFFERS IN", "ROWS", "IN THE SECOND"]);
    let all =
        compared.tables.iter().flat_map(|table| table.differences.iter().map(move |place| (table, place)));
    for (one, place) in all.take(LISTED) {
        let what = match place.what {
            What::Rows => "rows, values or write times",
            What::Elements => "write times within collections",
            What::Expiry => "when cells expire",
        };
        table.row([
            one.table.to_string().into(),
            place.tokens.start.0.to_string().into(),
            place.tokens.end.0.to_string().into(),
            what.into(),
            place.first_rows.to_string().into(),
            place.second_rows.to_string().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use ringvault_core::rows::{RangeDifference, rows_range};

    use super::*;

    fn table(name: &str, verdict: Verdict, rows: [u64; 2]) -> TableVerdict {
        TableVerdict {
            table: name.parse().unwrap(),
            other: None,
            verdict,
            first_rows: rows[0],
            second_rows: rows[1],
            differences: Vec::new(),
            without_elements: false,
        }
    }

    #[test]
    fn a_table_is_a_line_and_a_difference_has_its_place() {
        let place = RangeDifference {
            range: 17,
            tokens: rows_range(17),
            what: What::Rows,
            first_rows: 3,
            second_rows: 2,
        };
        let differs = TableVerdict {
            other: Some("copy.photos".parse().unwrap()),
            differences: vec![place],
            ..table("shop.photos", Verdict::Rows, [60, 59])
        };
        let compared = RowComparison {
            tables: vec![
                table("shop.orders", Verdict::Equal, [200, 200]),
                differs,
                table("shop.new", Verdict::OnlySecond, [0, 4]),
            ],
        };
        assert_eq!(
            text(false, &compared),
            "TABLE                      RESULT                     ROWS  IN THE SECOND\n\
             shop.orders                equal                      200   200\n\
             shop.photos = copy.photos  differs in 1 of 64 ranges  60    59\n\
             shop.new                   only in the second         -     4\n\
             \n\
             TABLE        TOKEN AFTER           UP TO                 DIFFERS IN                   ROWS  IN THE SECOND\n\
             shop.photos  -4323455642275676160  -4035225266123964416  rows, values or write times  3     2\n"
        );
    }
}
