//! How many rows to ask for at once.
//!
//! Cassandra's pages are counted in rows, memory in bytes: so it follows the size of the rows that came, growing no
//! faster than twofold, and never again to what did not come in time.

use std::time::Duration;

/// Rows of the first page of a table, of which nothing is known.
const FIRST: i32 = 50;
/// Rows of the largest page.
const MOST: i32 = 1000;
/// Bytes that a page should have.
const BYTES: u64 = 1 << 20;
/// Failures of one page before it is given up.
const FAILURES: u32 = 7;
/// The wait after the first; doubled with each.
const FIRST_WAIT: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageSize {
    rows: i32,
    most: i32,
    failures: u32,
}

impl Default for PageSize {
    fn default() -> Self {
        Self { rows: FIRST, most: MOST, failures: 0 }
    }
}

impl PageSize {
    /// Rows to ask for; 1 at least.
    pub(super) const fn rows(&self) -> i32 {
        self.rows
    }

    /// A page came, with so many rows and bytes.
    pub(super) fn passed(&mut self, rows: u64, bytes: u64) {
        self.failures = 0;
        if rows == 0 {
            return;
        }
        let a_row = bytes.div_ceil(rows).max(1);
        let fit = i32::try_from(BYTES / a_row).unwrap_or(i32::MAX);
        self.rows = fit.clamp(1, self.rows.saturating_mul(2)).min(self.most);
    }

    /// It did not come: how long to wait before it is asked for again, with half as many rows. `None`: too often.
    pub(super) fn failed(&mut self) -> Option<Duration> {
        self.most = (self.rows / 2).max(1);
        self.rows = self.most;
        self.failures += 1;
        (self.failures < FAILURES).then(|| FIRST_WAIT * 2_u32.pow(self.failures - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_rows_come_in_many_and_large_ones_by_themselves() {
        let mut page = PageSize::default();
        let mut asked = Vec::new();
        for _ in 0..6 {
            asked.push(page.rows());
            page.passed(50, 5_000);
        }
        assert_eq!(asked, [50, 100, 200, 400, 800, 1000]);
        page.passed(1000, 16 << 20);
        assert_eq!(page.rows(), 62);
        page.passed(62, 62 << 24);
        assert_eq!(page.rows(), 1);
        page.passed(0, 0);
        assert_eq!(page.rows(), 1);
    }

    #[test]
    fn what_did_not_come_is_asked_for_in_smaller_pieces_and_given_up_in_the_end() {
        let mut page = PageSize::default();
        assert_eq!(page.failed(), Some(FIRST_WAIT));
        assert_eq!(page.rows(), 25);
        page.passed(25, 100);
        assert_eq!(page.rows(), 25, "never again what was too much");
        let waits: Vec<Duration> = std::iter::from_fn(|| page.failed()).collect();
        assert_eq!(waits.len(), 6);
        assert!(waits.is_sorted() && page.rows() == 1);
    }
}
