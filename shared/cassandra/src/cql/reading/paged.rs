//! One statement over ranges of tokens, page by page, at consistency ALL.

use std::ops::ControlFlow;

use chrono::Utc;
use ringvault_core::cluster::TokenRange;
use scylla::{
    response::{PagingState, query_result::QueryRowsResult},
    statement::{Consistency, Statement, prepared::PreparedStatement},
};
use tracing::debug;

use super::pages::PageSize;
use crate::{
    NodeErrorKind,
    cql::{CqlSession, Result, session::kind_of_execution},
};

/// A statement with two bounds, which are the tokens of a range.
pub(super) struct Paged<'a> {
    cql: &'a CqlSession,
    pub(super) operation: String,
    statement: PreparedStatement,
    page: PageSize,
}

/// How far one range is read.
#[derive(Debug)]
pub(super) struct Place {
    range: TokenRange,
    /// Where the next page begins; `None`: there is none.
    next: Option<PagingState>,
}

impl Place {
    /// The begin of a range, which must not wrap.
    pub(super) fn begin(range: TokenRange) -> Self {
        Self { range, next: Some(PagingState::start()) }
    }
}

/// What came.
pub(super) struct Page {
    pub(super) rows: QueryRowsResult,
    /// When it was asked for, in seconds since 1970: before the answer was made.
    pub(super) asked_at: i64,
}

impl<'a> Paged<'a> {
    /// # Errors
    /// The node refuses the statement.
    pub(super) async fn of(cql: &'a CqlSession, operation: String, text: String) -> Result<Self> {
        let mut statement = Statement::new(text);
        statement.set_consistency(Consistency::All);
        let prepared = cql.driver().prepare(statement).await;
        let statement = prepared.map_err(|cause| cql.error(&operation, kind_of_execution(&cause.into())))?;
        Ok(Self { cql, operation, statement, page: PageSize::default() })
    }

    /// The next page; `None` at the range's end. One that does not come in time is asked for again, with fewer rows.
    ///
    /// # Errors
    /// The reading cannot go on, and is of no use any more.
    pub(super) async fn next(&mut self, place: &mut Place) -> Result<Option<Page>> {
        let Some(from) = place.next.take() else { return Ok(None) };
        let page = loop {
            let asked_at = Utc::now().timestamp();
            match self.ask(place.range, from.clone()).await {
                Ok((rows, next)) => {
                    place.next = next;
                    break Page { rows, asked_at };
                }
                Err(kind) => self.back_off(kind).await?,
            }
        };
        self.page.passed(page.rows.rows_num() as u64, page.rows.rows_bytes_size() as u64);
        Ok(Some(page))
    }

    /// The failure of what cannot be read.
    pub(super) fn unreadable(&self, cause: String) -> crate::NodeError {
        self.cql.failed(&self.operation, cause)
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
            ControlFlow::Break(()) => None,
            ControlFlow::Continue(next) => Some(next),
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
