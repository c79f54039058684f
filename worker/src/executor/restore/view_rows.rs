//! Whether a view that was made anew has all the rows that its table has for it.
//!
//! Cassandra (5.0.4) begins to build on the node that hears of the view first. A node that hears of it some tenths of a
//! second later acknowledges what it is sent meanwhile without having written it, so nobody sends it again; with one
//! replica such rows are lost to the view. Where there are more, the reading at ALL gives a replica what it lacks.

use std::fmt;

use ringvault_cassandra::{
    CqlSession,
    cql::{ValueCounter, ViewCounters},
    schema::SchemaDump,
};
use ringvault_core::{
    TaskError,
    rows::{RANGES, rows_range},
    selection::TableName,
};
use tracing::{info, warn};

use crate::agent::TaskHandle;

/// Rows of a table above which its views are not counted: counting takes a minute for some million rows.
const MOST: u64 = 10_000_000;
/// How often a view is found to lack rows before it is believed: the table may be written to meanwhile.
const LOOKS: usize = 3;

/// What a view has, and what its table had for it before and after the view was counted.
struct Counted {
    before: u64,
    view: u64,
    after: u64,
}

impl Counted {
    const fn lacks_some(&self) -> bool {
        self.view < self.before && self.view < self.after
    }
}

/// A view that lacks rows.
#[derive(Debug)]
pub(super) struct PoorView {
    pub(super) view: TableName,
    rows: u64,
    wanted: u64,
}

impl fmt::Display for PoorView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { view, rows, wanted } = self;
        write!(
            f,
            "view {view} has {rows} rows, and its table {wanted} for it: Cassandra lost some as it built the view"
        )
    }
}

/// Counts a view's rows and its table's, where that can be done and is not too much.
///
/// # Errors
/// The task is to stop. That the rows cannot be read is no error, and is logged.
pub(super) async fn look_for_rows(
    cql: &CqlSession,
    schema: &SchemaDump,
    view: &TableName,
    handle: &TaskHandle,
) -> Result<Option<PoorView>, TaskError> {
    let not_counted = |why: &dyn fmt::Display| {
        warn!(%view, %why, "the rows of the view are not counted");
        Ok(None)
    };
    let counters = match cql.view_counters(schema, view).await {
        Ok(Some(counters)) => counters,
        Ok(None) => return not_counted(&"it has not all rows of its table, by its own condition"),
        Err(cause) => return not_counted(&cause),
    };
    match count(counters, view, handle).await {
        Ok(Some(counted)) if counted.lacks_some() => {
            Ok(Some(PoorView { view: view.clone(), rows: counted.view, wanted: counted.after }))
        }
        Ok(Some(counted)) => {
            info!(%view, rows = counted.view, "the view has the rows of its table");
            Ok(None)
        }
        Ok(None) => not_counted(&format!("its table has more than {MOST} rows for it")),
        Err(cause) => {
            handle.go_on()?;
            not_counted(&cause)
        }
    }
}

/// Counts until the view lacks nothing, a few times at most; `None`: there are too many rows.
async fn count(
    counters: ViewCounters<'_>,
    view: &TableName,
    handle: &TaskHandle,
) -> Result<Option<Counted>, TaskError> {
    let ViewCounters { table: mut of_table, view: mut of_view } = counters;
    let Some(mut before) = sum(&mut of_table, view, handle).await? else { return Ok(None) };
    let mut looks = 0;
    loop {
        looks += 1;
        let Some(in_view) = sum(&mut of_view, view, handle).await? else { return Ok(None) };
        let mut counted = Counted { before, view: in_view, after: before };
        if counted.lacks_some() {
            let Some(after) = sum(&mut of_table, view, handle).await? else { return Ok(None) };
            counted.after = after;
        }
        if looks == LOOKS || !counted.lacks_some() {
            return Ok(Some(counted));
        }
        before = counted.after;
    }
}

async fn sum(
    counter: &mut ValueCounter<'_>,
    view: &TableName,
    handle: &TaskHandle,
) -> Result<Option<u64>, TaskError> {
    let mut rows = 0;
    for index in 0..RANGES {
        let mut counting = ValueCounter::begin(rows_range(index));
        while let Some(more) = counter.next_page(&mut counting).await? {
            handle.go_on()?;
            rows += more;
            if rows > MOST {
                return Ok(None);
            }
            handle.step(u64::from(index), u64::from(RANGES), format!("counting the rows of view {view}"));
        }
    }
    Ok(Some(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_written_to_does_not_make_its_view_poor() {
        let lacks = |before, view, after| Counted { before, view, after }.lacks_some();
        assert!(lacks(600, 599, 600));
        assert!(!lacks(600, 600, 600));
        assert!(!lacks(600, 590, 590), "rows expired");
        assert!(!lacks(590, 600, 620), "rows came");
        assert!(lacks(600, 590, 620));
    }
}
