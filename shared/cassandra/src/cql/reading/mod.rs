//! Reading every row of a table, for a digest of them (`ringvault_core::rows`), or to count them.
//!
//! Rows are read at consistency ALL, so what is hashed is what all replicas hold together; as with any read at ALL, a
//! replica that misses something is given it by Cassandra on the way. A page is read, hashed and let go, so no more is
//! ever held than one page; how many rows that is follows from how large they are. A page that does not come in
//! time is asked for again, with fewer rows: where a page begins does not hang on its size, so no row comes twice
//! and none is left out.

mod columns;
mod paged;
mod pages;
mod raw;
mod view_rows;

use ringvault_core::{
    cluster::TokenRange,
    rows::{RangeDigest, RangeHasher, RowHash},
    selection::TableName,
};

pub use self::view_rows::{RangeCounting, ValueCounter, ViewCounters};
use self::{
    columns::Columns,
    paged::{Paged, Place},
    raw::RowSlices,
};
use super::{CqlSession, Result};
use crate::{NodeErrorKind, schema::TableShape};

/// Reads one table.
pub struct RowReader<'a> {
    columns: Columns,
    paged: Paged<'a>,
}

impl std::fmt::Debug for RowReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowReader").field("operation", &self.paged.operation).finish_non_exhaustive()
    }
}

/// How far one range is read.
#[derive(Debug)]
pub struct RangeReading {
    place: Place,
    hasher: RangeHasher,
}

/// Tokens are 64-bit numbers.
///
/// # Errors
/// The ring's are not.
fn murmur3_only(cql: &CqlSession, operation: &str) -> Result<()> {
    let partitioner = &cql.local().partitioner;
    if partitioner.ends_with("Murmur3Partitioner") {
        return Ok(());
    }
    let what = format!("reading by tokens of {partitioner}: only by the Murmur3Partitioner's");
    Err(cql.error(operation, NodeErrorKind::Unsupported(what)))
}

impl CqlSession {
    /// A reader of every row of `table`, which has this shape.
    ///
    /// # Errors
    /// The ring's partitioner is not Murmur3, or the node refuses the statement.
    pub async fn row_reader(&self, table: &TableName, shape: &TableShape) -> Result<RowReader<'_>> {
        let operation = format!("read the rows of {table}");
        murmur3_only(self, &operation)?;
        let columns = Columns::of(shape, self.tells_of_elements());
        let paged = Paged::of(self, operation, columns.select(table)).await?;
        Ok(RowReader { columns, paged })
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
        RangeReading { place: Place::begin(range), hasher: RangeHasher::default() }
    }

    /// Reads the next page and says how many rows it had; `None` when the range is at its end.
    ///
    /// # Errors
    /// The reading cannot go on, and is of no use any more.
    pub async fn next_page(&mut self, reading: &mut RangeReading) -> Result<Option<u64>> {
        let Some(page) = self.paged.next(&mut reading.place).await? else { return Ok(None) };
        let rows = page.rows.rows::<RowSlices<'_>>();
        for row in rows.map_err(|cause| self.paged.unreadable(cause.to_string()))? {
            let row = row.map_err(|cause| self.paged.unreadable(cause.to_string()))?;
            // Expiry is told as seconds left.
            let facts = self.columns.facts(&row, page.asked_at);
            reading.hasher.row(facts.map_err(|cause| self.paged.unreadable(cause))?);
        }
        Ok(Some(page.rows.rows_num() as u64))
    }
}

impl RangeReading {
    /// What came of the range, which is at `index` among all; `None` if it holds no row.
    pub fn finish(self, index: u16) -> Option<RangeDigest> {
        self.hasher.finish(index)
    }
}
