//! How many rows a view has, and how many its table has for it.

use ringvault_core::{cluster::TokenRange, selection::TableName};

use super::{
    murmur3_only,
    paged::{Paged, Place},
    raw::RowSlices,
};
use crate::{
    cql::{CqlSession, Result, tables::select_by_tokens},
    schema::{ColumnKind, SchemaDump, TableShape, quote_name},
};

/// Counts the rows of a table, or of a view, in which a column has a value.
pub struct ValueCounter<'a>(Paged<'a>);

impl std::fmt::Debug for ValueCounter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ValueCounter").field(&self.0.operation).finish()
    }
}

/// How far one range is counted.
#[derive(Debug)]
pub struct RangeCounting(Place);

/// Counters whose sums agree when a view has all that its table has for it.
#[derive(Debug)]
pub struct ViewCounters<'a> {
    /// Of the table.
    pub table: ValueCounter<'a>,
    /// Of the view.
    pub view: ValueCounter<'a>,
}

impl CqlSession {
    /// Counters for a view and its table, both as `schema` has them. `None`: it cannot be told by counting, as the view
    /// leaves out rows for what is in them, or as one of the two is not there.
    ///
    /// # Errors
    /// The ring's partitioner is not Murmur3, or the node refuses a statement.
    pub async fn view_counters(
        &self,
        schema: &SchemaDump,
        view: &TableName,
    ) -> Result<Option<ViewCounters<'_>>> {
        let operation = format!("count the rows of view {view}");
        murmur3_only(self, &operation)?;
        let text = "SELECT base_table_name, where_clause FROM system_schema.views WHERE keyspace_name = ? AND view_name = ?";
        let rows: Vec<(String, String)> = self.rows(&operation, text, (&view.keyspace, &view.table)).await?;
        let Some((base, condition)) = rows.into_iter().next() else { return Ok(None) };
        let table = TableName::new(&view.keyspace, base);
        let shape = |name: &TableName| schema.shape(&name.keyspace, &name.table);
        let (Some(of_table), Some(of_view), true) = (shape(&table), shape(view), takes_all(&condition))
        else {
            return Ok(None);
        };
        let Some(column) = counted_column(of_table, of_view) else { return Ok(None) };
        let counter = async |name: &TableName, shape: &TableShape| {
            let text = select_by_tokens(&quote_name(column), name, shape.partition_key());
            Paged::of(self, operation.clone(), text).await.map(ValueCounter)
        };
        Ok(Some(ViewCounters {
            table: counter(&table, of_table).await?,
            view: counter(view, of_view).await?,
        }))
    }
}

impl ValueCounter<'_> {
    /// Begins a range, which must not wrap.
    pub fn begin(range: TokenRange) -> RangeCounting {
        RangeCounting(Place::begin(range))
    }

    /// Reads the next page and says in how many of its rows the column has a value; `None` when the range is at its end.
    ///
    /// # Errors
    /// The reading cannot go on.
    pub async fn next_page(&mut self, counting: &mut RangeCounting) -> Result<Option<u64>> {
        let Some(page) = self.0.next(&mut counting.0).await? else { return Ok(None) };
        let mut values = 0;
        let rows = page.rows.rows::<RowSlices<'_>>();
        for row in rows.map_err(|cause| self.0.unreadable(cause.to_string()))? {
            let row = row.map_err(|cause| self.0.unreadable(cause.to_string()))?;
            // An empty value makes no row of a view whose partition key it would be.
            values +=
                u64::from(row.0.first().is_some_and(|value| value.is_some_and(|bytes| !bytes.is_empty())));
        }
        Ok(Some(values))
    }
}

/// The column to count by: the one that the view's key has beside its table's. Where there is none, one that each row of
/// the table has, and a partition of nothing but static columns has not.
fn counted_column<'a>(table: &'a TableShape, view: &'a TableShape) -> Option<&'a str> {
    let is_key = |kind| matches!(kind, ColumnKind::PartitionKey | ColumnKind::Clustering);
    let key_of_table = |name: &str| table.columns.iter().any(|own| own.name == name && is_key(own.kind));
    let keys_of_view = view.columns.iter().filter(|column| is_key(column.kind));
    let added = keys_of_view.map(|column| column.name.as_str()).find(|name| !key_of_table(name));
    let of_kind = |kind| table.columns.iter().find(|column| column.kind == kind);
    let own = || of_kind(ColumnKind::Clustering).or_else(|| of_kind(ColumnKind::PartitionKey));
    added.or_else(|| own().map(|column| column.name.as_str()))
}

/// Whether a view's condition asks for nothing but that its key has values.
fn takes_all(condition: &str) -> bool {
    condition.to_ascii_lowercase().split(" and ").all(|part| part.trim_end().ends_with(" is not null"))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::schema::{ClusteringOrder, Column};

    fn shape(columns: &[(&str, ColumnKind)]) -> TableShape {
        let column = |(name, kind): &(&str, ColumnKind)| Column {
            name: (*name).to_owned(),
            cql_type: "int".to_owned(),
            kind: *kind,
            position: 0,
            order: ClusteringOrder::None,
        };
        let columns = columns.iter().map(column).collect();
        TableShape { table_id: Uuid::nil(), columns, is_counter: false, dropped: None }
    }

    #[test]
    fn the_column_that_decides_is_counted() {
        use ColumnKind::{Clustering, PartitionKey, Regular, Static};
        let orders =
            shape(&[("customer", PartitionKey), ("nr", Clustering), ("name", Static), ("state", Regular)]);
        let by_state = shape(&[("state", PartitionKey), ("customer", Clustering), ("nr", Clustering)]);
        assert_eq!(counted_column(&orders, &by_state), Some("state"));
        let turned = shape(&[("nr", PartitionKey), ("customer", Clustering), ("state", Regular)]);
        assert_eq!(counted_column(&orders, &turned), Some("nr"), "a partition of statics alone has none");
        let plain = shape(&[("id", PartitionKey), ("v", Regular)]);
        assert_eq!(counted_column(&plain, &plain), Some("id"));
    }

    #[test]
    fn a_view_with_a_condition_of_its_own_is_not_counted() {
        for all in
            ["n IS NOT NULL", "\"N\" IS NOT NULL AND id IS NOT NULL", "a is not null and b is not null"]
        {
            assert!(takes_all(all), "{all}");
        }
        for some in
            ["n IS NOT NULL AND id > 5", "n = 'x and y is not null'", "id IN (1, 2) AND n IS NOT NULL"]
        {
            assert!(!takes_all(some), "{some}");
        }
    }
}
