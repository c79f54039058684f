//! Reading every row of a table, for a digest of them (`ringvault_core::rows`).
//!
//! Rows are read at consistency ALL, so what is hashed is what all replicas hold together; as with any read at ALL, a
//! replica that misses something is given it by Cassandra on the way. A page is read, hashed and let go, so no more is
//! ever held than one page; how many rows that is follows from how large they are. A page that does not come in
//! time is asked for again, with fewer rows: where a page begins does not hang on its size, so no row comes twice
//! and none is left out.

mod columns;
mod pages;
mod raw;

use chrono::Utc;
use ringvault_core::{
    cluster::TokenRange,
    rows::{RangeDigest, RangeHasher, RowHash},
    selection::TableName,
};
use scylla::{
    response::{PagingState, query_result::QueryRowsResult},
    statement::{Consistency, Statement, prepared::PreparedStatement},
};
use tracing::debug;

use self::{columns::Columns, pages::PageSize, raw::RowSlices};
use super::{CqlSession, Result, session::kind_of_execution};
use crate::{NodeErrorKind, schema::TableShape};

/// Reads one table.
pub struct RowReader<'a> {
    cql: &'a CqlSession,
    operation: String,
    columns: Columns,
    statement: PreparedStatement,
    page: PageSize,
}

impl std::fmt::Debug for RowReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowReader").field("operation", &self.operation).finish_non_exhaustive()
    }
}

/// How far one range is read.
#[derive(Debug)]
pub struct RangeReading {
    range: TokenRange,
    hasher: RangeHasher,
    /// Where the next page begins; `None`: there is none.
    next: Option<PagingState>,
}

impl CqlSession {
    /// A reader of every row of `table`, which has this shape.
    ///
    /// # Errors
    /// The ring's partitioner is not Murmur3, or the node refuses the statement.
    pub async fn row_reader(&self, table: &TableName, shape: &TableShape) -> Result<RowReader<'_>> {
        let operation = format!("read the rows of {table}");
        let partitioner = &self.local().partitioner;
        if !partitioner.ends_with("Murmur3Partitioner") {
            let what = format!("digests of rows by tokens of {partitioner}: only the Murmur3Partitioner's");
            return Err(self.error(&operation, NodeErrorKind::Unsupported(what)));
        }
        let columns = Columns::of(shape, self.tells_of_elements());
        let mut statement = Statement::new(columns.select(table));
        statement.set_consistency(Consistency::All);
        let prepared = self.driver().prepare(statement).await;
        let statement = prepared.map_err(|cause| self.error(&operation, kind_of_execution(&cause.into())))?;
        Ok(RowReader { cql: self, operation, columns, statement, page: PageSize::default() })
    }

    /// Whether `writetime` and `ttl` can be asked of collections: since 5.0.
    fn tells_of_elements(&self) -> bool {
        self.major_release().is_some_and(|major| major >= 5)
    }
}

impl RowReader<'_> {
    /// Of the table's columns, as rows are hashed.
    pub fn columns_hash(&self) -> RowHash {
        self.columns.hash()
    }

    /// Begins a range, which must not wrap.
    pub fn begin(range: TokenRange) -> RangeReading {
        RangeReading { range, hasher: RangeHasher::default(), next: Some(PagingState::start()) }
    }

    /// Reads the next page and says how many rows it had; `None` when the range is at its end.
    ///
    /// # Errors
    /// The reading cannot go on, and is of no use any more.
    pub async fn next_page(&mut self, reading: &mut RangeReading) -> Result<Option<u64>> {
        let Some(place) = reading.next.take() else { return Ok(None) };
        // Expiry is told as seconds left; asked before the answer is made, as all of a page are.
        let (asked_at, (page, next)) = loop {
            let asked_at = Utc::now().timestamp();
            match self.ask(reading.range, place.clone()).await {
                Ok(answer) => break (asked_at, answer),
                Err(kind) => self.back_off(kind).await?,
            }
        };
        reading.next = next;
        let rows = page.rows_num() as u64;
        self.page.passed(rows, page.rows_bytes_size() as u64);
        let unreadable = |cause: String| self.cql.failed(&self.operation, cause);
        for row in page.rows::<RowSlices<'_>>().map_err(|cause| unreadable(cause.to_string()))? {
            let row = row.map_err(|cause| unreadable(cause.to_string()))?;
            reading.hasher.row(self.columns.facts(&row, asked_at).map_err(unreadable)?);
        }
        Ok(Some(rows))
    }

    async fn ask(
        &mut self,
        range: TokenRange,
        place: PagingState,
    ) -> std::result::Result<(QueryRowsResult, Option<PagingState>), NodeErrorKind> {
        self.statement.set_page_size(self.page.rows());
        let bounds = (range.start.0, range.end.0);
        let answer = self.cql.driver().execute_single_page(&self.statement, bounds, place).await;
        let (answer, next) = answer.map_err(|cause| kind_of_execution(&cause))?;
        let page = answer.into_rows_result().map_err(|cause| NodeErrorKind::Failed(cause.to_string()))?;
        let next = match next.into_paging_control_flow() {
            std::ops::ControlFlow::Break(()) => None,
            std::ops::ControlFlow::Continue(next) => Some(next),
        };
        Ok((page, next))
    }

    /// Waits until a page may be asked for again, with fewer rows; an error where that is of no use.
    async fn back_off(&mut self, kind: NodeErrorKind) -> Result<()> {
        let may_pass = matches!(kind, NodeErrorKind::Timeout(_) | NodeErrorKind::Failed(_));
        match self.page.failed().filter(|_| may_pass) {
            Some(wait) => {
                debug!(operation = self.operation, %kind, rows = self.page.rows(), "a page is asked for again");
                tokio::time::sleep(wait).await;
                Ok(())
            }
            None => Err(self.cql.error(&self.operation, kind)),
        }
    }
}

impl RangeReading {
    /// What came of the range, which is at `index` among all; `None` if it holds no row.
    pub fn finish(self, index: u16) -> Option<RangeDigest> {
        self.hasher.finish(index)
    }
}
