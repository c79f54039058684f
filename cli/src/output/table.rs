//! Plain aligned columns: a heading, a row a thing, two blanks between columns, no borders. What
//! `cut`, `awk` and eyes can read.

use std::fmt::Write as _;

use super::style::{Tone, paint};

/// One field of a row.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Text that stands out by `tone`.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let heading = |text: &&str| Cell::toned(*text, Tone::Bold);
        Self { rows: vec![headings.iter().map(heading).collect()] }
    }

    /// Adds a row. Control characters in its fields (names come from outside) become blanks.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let clean = |mut cell: Cell| {
            if cell.text.is_empty() {
                super::human::NONE.clone_into(&mut cell.text);
            }
            cell.text = super::one_line(&cell.text);
            cell
        };
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// Whether there is nothing but headings.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The whole table, with escape sequences if `colour`.
    pub(crate) fn render(&self, colour: bool) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            for (index, cell) in row.iter().enumerate() {
                let painted = paint(&cell.text, cell.tone, colour);
                let last = index + 1 == row.len();
                let room = widths[index] + 2 - cell.text.chars().count();
                let _ = write!(text, "{painted}{:1$}", "", if last { 0 } else { room });
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let mut table = Table::new(&["BACKUP", "STATE", "HOLD"]);
        table.row(["orders-prod-20261122T020000Z".into(), "complete".into(), "".into()]);
        table.row(["é\u{1b}[2J".into(), Cell::toned("dead", Tone::Bad), "LIT-7".into()]);
        assert_eq!(
            table.render(false),
            "BACKUP                        STATE     HOLD\n\
             orders-prod-20261122T020000Z  complete  -\n\
             é [2J                         dead      LIT-7\n"
        );
        assert!(table.render(true).contains("\x1b[31mdead\x1b[0m      LIT-7"));
    }
}
