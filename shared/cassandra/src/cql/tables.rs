//! What is done to one table: truncate it, see whether it is empty, read it to see that it can be
//! read.

use ringvault_core::{
    cluster::{Token, TokenRange},
    selection::TableName,
};
use scylla::{
    response::PagingState,
    statement::{Consistency, Statement},
};

use super::{CqlSession, Result};
use crate::schema::{TableShape, quote_name};

/// Rows to a page when a table is read only to see that it can be.
const SAMPLE_PAGE: i32 = 500;

pub(super) fn quoted(table: &TableName) -> String {
    format!("{}.{}", quote_name(&table.keyspace), quote_name(&table.table))
}

/// `token(…)` of a partition key with these columns, in their order.
pub(super) fn token_of<'a>(key: impl Iterator<Item = &'a str>) -> String {
    let key: Vec<String> = key.map(quote_name).collect();
    format!("token({})", key.join(", "))
}

/// What is `asked` of the rows in a range of tokens, of which both bounds are to be bound, of a table with this key.
pub(super) fn select_by_tokens<'a>(
    asked: &str,
    table: &TableName,
    key: impl Iterator<Item = &'a str>,
) -> String {
    let token = token_of(key);
    format!("SELECT {asked} FROM {} WHERE {token} > ? AND {token} <= ?", quoted(table))
}

impl CqlSession {
    /// Empties a table on all nodes. Every node must be up; else
    /// [`crate::NodeErrorKind::Unavailable`]. Views of it are emptied too, by Cassandra.
    pub async fn truncate(&self, table: &TableName) -> Result<()> {
        let operation = format!("truncate {table}");
        self.run(&operation, format!("TRUNCATE TABLE {}", quoted(table)), ()).await.map(drop)
    }

    /// Whether no row is found. At [`Consistency::All`] every replica is asked, at `One` just one.
    pub async fn is_empty(&self, table: &TableName, consistency: Consistency) -> Result<bool> {
        let operation = format!("see whether {table} is empty");
        let mut statement = Statement::new(format!("SELECT * FROM {} LIMIT 1", quoted(table)));
        statement.set_consistency(consistency);
        let answer = self.run(&operation, statement, ()).await?;
        let rows = answer.into_rows_result().map_err(|cause| self.failed(&operation, cause.to_string()))?;
        Ok(rows.rows_num() == 0)
    }

    /// Reads at most `limit` rows of each range, page by page, and says how many came. All columns
    /// are asked for, so the servers decode whole rows; nothing is kept.
    pub async fn read_sample(
        &self,
        table: &TableName,
        shape: &TableShape,
        ranges: &[TokenRange],
        limit: u32,
        consistency: Consistency,
    ) -> Result<u64> {
        let operation = format!("read a sample of {table}");
        let token = token_of(shape.partition_key());
        let mut read = 0;
        for (after, until) in ranges.iter().flat_map(bounds) {
            let bound = |sign: &str, at: Option<Token>| at.map(|t| format!("{token} {sign} {}", t.0));
            let bounds: Vec<String> = [bound(">", after), bound("<=", until)].into_iter().flatten().collect();
            let condition = match bounds.len() {
                0 => String::new(),
                _ => format!(" WHERE {}", bounds.join(" AND ")),
            };
            let text = format!("SELECT * FROM {}{condition} LIMIT {limit}", quoted(table));
            let mut statement = Statement::new(text);
            statement.set_consistency(consistency);
            statement.set_page_size(SAMPLE_PAGE);
            read += self.count_rows(&operation, &statement).await?;
        }
        Ok(read)
    }

    async fn count_rows(&self, operation: &str, statement: &Statement) -> Result<u64> {
        let mut paging = PagingState::start();
        let mut count = 0;
        loop {
            let (answer, next) = self
                .driver()
                .query_single_page(statement.clone(), (), paging)
                .await
                .map_err(|cause| self.error(operation, super::session::kind_of_execution(&cause)))?;
            let rows =
                answer.into_rows_result().map_err(|cause| self.failed(operation, cause.to_string()))?;
            count += rows.rows_num() as u64;
            match next.into_paging_control_flow() {
                std::ops::ControlFlow::Break(()) => return Ok(count),
                std::ops::ControlFlow::Continue(state) => paging = state,
            }
        }
    }
}

/// The range as conditions on the token, a wrapping one cut in two. `None`: no bound.
fn bounds(range: &TokenRange) -> Vec<(Option<Token>, Option<Token>)> {
    let TokenRange { start, end } = *range;
    if start == end {
        return vec![(None, None)];
    }
    // The lowest token is never a key's token (it is mapped to the highest).
    let lowest = Token(i64::MIN);
    match (start < end, end == lowest) {
        (true, _) => vec![(Some(start), Some(end))],
        (false, true) => vec![(Some(start), None)],
        (false, false) => vec![(Some(start), None), (None, Some(end))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapping_range_becomes_two_conditions() {
        let (a, b) = (Token(1), Token(9));
        assert_eq!(bounds(&TokenRange::new(a, b)), vec![(Some(a), Some(b))]);
        assert_eq!(bounds(&TokenRange::new(b, a)), vec![(Some(b), None), (None, Some(a))]);
        assert_eq!(bounds(&TokenRange::full()), vec![(None, None)]);
        assert_eq!(bounds(&TokenRange::new(a, Token(i64::MIN))), vec![(Some(a), None)]);
    }
}
