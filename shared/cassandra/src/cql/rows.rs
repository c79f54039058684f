//! A small table's rows made those of another: both are read whole, compared as bytes, and what
//! differs is written. Write times and TTLs are not carried over.

use std::collections::{HashMap, HashSet};

use ringvault_core::{cluster::Replication, selection::TableName};
use scylla::{
    cluster::metadata::ColumnType,
    deserialize::{
        DeserializationError, TypeCheckError,
        row::{ColumnIterator, DeserializeRow},
    },
    frame::response::result::ColumnSpec,
    serialize::{
        SerializationError,
        value::SerializeValue,
        writers::{CellWriter, WrittenCellProof},
    },
    statement::{Consistency, Statement},
};

use super::{CqlSession, Result, tables::quoted};
use crate::NodeErrorKind;
use crate::schema::{ClusteringOrder, Column, ColumnKind, TableShape, quote_name, replication_map};

/// What may be done to the table that is written to.
#[derive(Debug, Clone, Default)]
pub struct CopyRules {
    /// Rows that the other table lacks are deleted; else they stay.
    pub delete_others: bool,
    /// Rows in which one of these columns has this text are left as they are.
    pub untouched: Option<(Vec<String>, String)>,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowChanges {
    /// Rows written.
    pub written: u64,
    /// Rows deleted.
    pub deleted: u64,
}

impl RowChanges {
    /// Whether nothing was.
    pub const fn is_none(self) -> bool {
        self.written == 0 && self.deleted == 0
    }
}

/// A value as Cassandra sends it; `None` is null.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Cell(Option<Vec<u8>>);

/// A row's columns, in the order of the query.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RawRow(Vec<Cell>);

impl<'frame, 'metadata> DeserializeRow<'frame, 'metadata> for RawRow {
    fn type_check(_: &[ColumnSpec]) -> std::result::Result<(), TypeCheckError> {
        Ok(())
    }

    fn deserialize(
        row: ColumnIterator<'frame, 'metadata>,
    ) -> std::result::Result<Self, DeserializationError> {
        let cells = row.map(|column| Ok(Cell(column?.slice.map(|slice| slice.as_slice().to_vec()))));
        cells.collect::<std::result::Result<_, _>>().map(Self)
    }
}

impl SerializeValue for Cell {
    fn serialize<'b>(
        &self,
        _: &ColumnType<'_>,
        writer: CellWriter<'b>,
    ) -> std::result::Result<WrittenCellProof<'b>, SerializationError> {
        match &self.0 {
            None => Ok(writer.set_null()),
            Some(bytes) => writer.set_value(bytes).map_err(SerializationError::new),
        }
    }
}

impl CqlSession {
    /// Creates a keyspace with tables of these names and columns, where they are not there.
    /// Without static columns, user-defined types and options; dropping them leaves no snapshot.
    pub async fn create_copies(
        &self,
        keyspace: &str,
        replication: &Replication,
        tables: &[(&str, &TableShape)],
    ) -> Result<()> {
        let statement = format!(
            "CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {}",
            quote_name(keyspace),
            replication_map(replication)
        );
        self.run(&format!("create keyspace {keyspace}"), statement, ()).await?;
        for (name, shape) in tables {
            let table = TableName::new(keyspace, *name);
            self.run(&format!("create table {table}"), create_statement(&table, &shape.columns), ()).await?;
        }
        Ok(())
    }

    /// Has Cassandra take no snapshot of a table or view when it is dropped. `false`: it is gone already, or
    /// the version does not know of that (before 4.1), and will take one.
    pub async fn forgo_auto_snapshot(&self, table: &TableName, is_view: bool) -> Result<bool> {
        let what = if is_view { "MATERIALIZED VIEW" } else { "TABLE" };
        let statement = format!("ALTER {what} {} WITH allow_auto_snapshot = false", quoted(table));
        match self.run(&format!("alter {table}"), statement, ()).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind, NodeErrorKind::NotFound(_) | NodeErrorKind::Refused(_)) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Drops a keyspace, if it is there.
    pub async fn drop_keyspace(&self, keyspace: &str) -> Result<()> {
        let statement = format!("DROP KEYSPACE IF EXISTS {}", quote_name(keyspace));
        self.run(&format!("drop keyspace {keyspace}"), statement, ()).await.map(drop)
    }

    /// Gives `to` the rows of `from` in these columns, which both tables have. Reads `from` at every
    /// replica, and `to` at a quorum, at which it is also written. The tables are held in memory.
    pub async fn copy_rows(
        &self,
        from: &TableName,
        to: &TableName,
        columns: &[Column],
        rules: &CopyRules,
    ) -> Result<RowChanges> {
        let columns = Columns::of(columns);
        let wanted = self.all_rows(from, &columns, Consistency::All).await?;
        let existing = self.all_rows(to, &columns, Consistency::Quorum).await?;
        let difference = difference(&columns, &wanted, &existing, rules);
        let mut insert = Statement::new(columns.insert(to));
        let mut delete = Statement::new(columns.delete(to));
        insert.set_consistency(Consistency::Quorum);
        delete.set_consistency(Consistency::Quorum);
        let operation = format!("write rows of {to}");
        for row in &difference.write {
            self.run(&operation, insert.clone(), &row.0).await?;
        }
        for key in &difference.delete {
            self.run(&operation, delete.clone(), key.to_vec()).await?;
        }
        Ok(RowChanges { written: difference.write.len() as u64, deleted: difference.delete.len() as u64 })
    }

    async fn all_rows(
        &self,
        table: &TableName,
        columns: &Columns,
        consistency: Consistency,
    ) -> Result<Vec<RawRow>> {
        let mut statement = Statement::new(columns.select(table));
        statement.set_consistency(consistency);
        self.rows(&format!("read {table}"), statement, ()).await
    }
}

/// Columns of a table, the primary key's first.
struct Columns {
    names: Vec<String>,
    keys: usize,
}

impl Columns {
    fn of(columns: &[Column]) -> Self {
        let (keys, others): (Vec<&Column>, Vec<&Column>) =
            in_order(columns).partition(|column| is_key(column));
        let names = keys.iter().chain(&others).map(|column| column.name.clone()).collect();
        Self { names, keys: keys.len() }
    }

    fn select(&self, table: &TableName) -> String {
        format!("SELECT {} FROM {}", quoted_list(&self.names), quoted(table))
    }

    fn insert(&self, table: &TableName) -> String {
        let marks = vec!["?"; self.names.len()].join(", ");
        format!("INSERT INTO {} ({}) VALUES ({marks})", quoted(table), quoted_list(&self.names))
    }

    fn delete(&self, table: &TableName) -> String {
        let keys: Vec<String> =
            self.names[..self.keys].iter().map(|name| format!("{} = ?", quote_name(name))).collect();
        format!("DELETE FROM {} WHERE {}", quoted(table), keys.join(" AND "))
    }
}

struct Difference<'a> {
    write: Vec<&'a RawRow>,
    /// By primary key.
    delete: Vec<&'a [Cell]>,
}

fn difference<'a>(
    columns: &Columns,
    wanted: &'a [RawRow],
    existing: &'a [RawRow],
    rules: &CopyRules,
) -> Difference<'a> {
    let is_untouched = |row: &RawRow| {
        rules.untouched.as_ref().is_some_and(|(names, text)| {
            columns
                .names
                .iter()
                .zip(&row.0)
                .any(|(name, cell)| names.contains(name) && cell.0.as_deref() == Some(text.as_bytes()))
        })
    };
    let key = |row: &'a RawRow| &row.0[..columns.keys];
    let known: HashMap<&[Cell], &RawRow> = existing.iter().map(|row| (key(row), row)).collect();
    let write = wanted.iter().filter(|row| known.get(key(row)) != Some(row) && !is_untouched(row)).collect();
    let mut delete = Vec::new();
    if rules.delete_others {
        let kept: HashSet<&[Cell]> = wanted.iter().map(key).collect();
        delete.extend(
            existing.iter().filter(|row| !is_untouched(row)).map(key).filter(|key| !kept.contains(key)),
        );
    }
    Difference { write, delete }
}

fn is_key(column: &Column) -> bool {
    matches!(column.kind, ColumnKind::PartitionKey | ColumnKind::Clustering)
}

/// The partition key, the clustering key, then the others.
fn in_order(columns: &[Column]) -> impl Iterator<Item = &Column> {
    let mut columns: Vec<&Column> = columns.iter().collect();
    columns.sort_by_key(|column| (column.kind, column.position));
    columns.into_iter()
}

fn quoted_list(names: &[String]) -> String {
    names.iter().map(|name| quote_name(name)).collect::<Vec<_>>().join(", ")
}

fn create_statement(table: &TableName, columns: &[Column]) -> String {
    let of = |kind: ColumnKind| -> Vec<&Column> {
        in_order(columns).filter(|column| column.kind == kind).collect()
    };
    let names = |columns: &[&Column]| -> Vec<String> {
        columns.iter().map(|column| quote_name(&column.name)).collect()
    };
    let (partition, clustering) = (of(ColumnKind::PartitionKey), of(ColumnKind::Clustering));
    let definitions: Vec<String> =
        in_order(columns).map(|column| format!("{} {}", quote_name(&column.name), column.cql_type)).collect();
    let mut key = vec![format!("({})", names(&partition).join(", "))];
    key.extend(names(&clustering));
    let mut options = vec!["allow_auto_snapshot = false".to_owned()];
    if !clustering.is_empty() {
        let order = |column: &&Column| {
            let word = if column.order == ClusteringOrder::Desc { "DESC" } else { "ASC" };
            format!("{} {word}", quote_name(&column.name))
        };
        let orders: Vec<String> = clustering.iter().map(order).collect();
        options.insert(0, format!("CLUSTERING ORDER BY ({})", orders.join(", ")));
    }
    format!(
        "CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY ({})) WITH {}",
        quoted(table),
        definitions.join(", "),
        key.join(", "),
        options.join(" AND ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, cql_type: &str, kind: ColumnKind, position: i32) -> Column {
        let order =
            if kind == ColumnKind::Clustering { ClusteringOrder::Desc } else { ClusteringOrder::None };
        Column { name: name.into(), cql_type: cql_type.into(), kind, position, order }
    }

    fn grants() -> Vec<Column> {
        vec![
            column("permissions", "set<text>", ColumnKind::Regular, -1),
            column("resource", "text", ColumnKind::Clustering, 0),
            column("role", "text", ColumnKind::PartitionKey, 0),
        ]
    }

    fn row(cells: &[&str]) -> RawRow {
        let cell = |text: &&str| Cell((!text.is_empty()).then(|| text.as_bytes().to_vec()));
        RawRow(cells.iter().map(cell).collect())
    }

    #[test]
    fn statements_name_every_column_and_the_key_first() {
        let table = TableName::new("c", "role_permissions");
        let columns = Columns::of(&grants());
        assert_eq!(
            create_statement(&table, &grants()),
            "CREATE TABLE IF NOT EXISTS \"c\".\"role_permissions\" (\"role\" text, \"resource\" text, \
             \"permissions\" set<text>, PRIMARY KEY ((\"role\"), \"resource\")) WITH CLUSTERING ORDER BY \
             (\"resource\" DESC) AND allow_auto_snapshot = false"
        );
        assert_eq!(
            columns.insert(&table),
            "INSERT INTO \"c\".\"role_permissions\" (\"role\", \"resource\", \"permissions\") VALUES (?, ?, ?)"
        );
        assert_eq!(
            columns.delete(&table),
            "DELETE FROM \"c\".\"role_permissions\" WHERE \"role\" = ? AND \"resource\" = ?"
        );
    }

    #[test]
    fn only_what_differs_is_written_and_a_row_of_ones_own_never() {
        let columns = Columns::of(&grants());
        let wanted = [row(&["alice", "t", "SELECT"]), row(&["same", "t", ""]), row(&["me", "t", "old"])];
        let existing = [
            row(&["alice", "t", "MODIFY"]),
            row(&["same", "t", ""]),
            row(&["me", "t", "new"]),
            row(&["me", "u", "new"]),
            row(&["bob", "t", "SELECT"]),
        ];
        let untouched = Some((vec!["role".to_owned(), "member".to_owned()], "me".to_owned()));
        let rules = |delete_others| CopyRules { delete_others, untouched: untouched.clone() };
        let rules_all = rules(true);
        let all = difference(&columns, &wanted, &existing, &rules_all);
        assert_eq!(all.write, [&wanted[0]]);
        assert_eq!(all.delete, [&existing[4].0[..2]]);
        let merged = difference(&columns, &wanted, &existing, &rules(false));
        assert!(merged.write.len() == 1 && merged.delete.is_empty());
        let plain = CopyRules { delete_others: true, untouched: None };
        let mine = difference(&columns, &wanted, &existing, &plain);
        assert_eq!((mine.write.len(), mine.delete.len()), (2, 2));
        // A row of which only the value is gone differs; without any difference nothing is done.
        assert_eq!(difference(&columns, &wanted[1..2], &[row(&["same", "t", "x"])], &plain).write.len(), 1);
        let none = difference(&columns, &existing, &existing, &plain);
        assert!(none.write.is_empty() && none.delete.is_empty());
    }
}
