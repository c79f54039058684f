//! What is asked of each column: its value, and when its cells were written and expire, as far as Cassandra tells.

use ringvault_core::{
    rows::{ColumnFacts, RowHash, Times, columns_hash},
    selection::TableName,
};

use super::raw::{RowSlices, number, numbers};
use crate::{
    cql::tables::select_by_tokens,
    schema::{ClusteringOrder, Column, ColumnKind, TableShape, quote_name},
};

/// What `writetime` and `ttl` say of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// They cannot be asked: keys, counters, and before 5.0 what has several cells.
    Nothing,
    /// A number each.
    Cell,
    /// A list of numbers each.
    Elements,
}

/// A table's columns: the partition key, the clustering key, static ones and the others, both by name.
#[derive(Debug)]
pub(super) struct Columns(Vec<(Column, Told)>);

impl Columns {
    pub(super) fn of(shape: &TableShape, tells_of_elements: bool) -> Self {
        // A compact table without regular columns lists one of no type, which nobody can ask for.
        let mut columns: Vec<Column> =
            shape.columns.iter().filter(|column| column.cql_type != "empty").cloned().collect();
        columns.sort_by(|a, b| (a.kind, a.position, &a.name).cmp(&(b.kind, b.position, &b.name)));
        let told = |column: Column| {
            let told = told(&column, tells_of_elements);
            (column, told)
        };
        Self(columns.into_iter().map(told).collect())
    }

    /// Of their names, types and places.
    pub(super) fn hash(&self) -> RowHash {
        let words = |column: &'_ Column| match (column.kind, column.order) {
            (ColumnKind::PartitionKey, _) => "partition_key",
            (ColumnKind::Clustering, ClusteringOrder::Desc) => "clustering desc",
            (ColumnKind::Clustering, _) => "clustering asc",
            (ColumnKind::Static, _) => "static",
            (ColumnKind::Regular, _) => "regular",
        };
        let columns = self.0.iter().map(|(column, _)| column);
        columns_hash(columns.map(|column| (column.name.as_str(), column.cql_type.as_str(), words(column))))
    }

    /// Everything of the rows in a range of tokens, which are to be bound: first the values in order, then the write time
    /// and TTL of those that have them.
    pub(super) fn select(&self, table: &TableName) -> String {
        let mut asked: Vec<String> = self.0.iter().map(|(column, _)| quote_name(&column.name)).collect();
        for (column, _) in self.0.iter().filter(|(_, told)| *told != Told::Nothing) {
            let name = quote_name(&column.name);
            asked.extend([format!("writetime({name})"), format!("ttl({name})")]);
        }
        let keys = self.0.iter().filter(|(column, _)| column.kind == ColumnKind::PartitionKey);
        select_by_tokens(&asked.join(", "), table, keys.map(|(column, _)| column.name.as_str()))
    }

    /// What a row of the answer says, which was asked for at `asked_at`, in seconds since 1970.
    ///
    /// # Errors
    /// What cannot be read.
    pub(super) fn facts<'a>(
        &self,
        row: &RowSlices<'a>,
        asked_at: i64,
    ) -> Result<Vec<ColumnFacts<'a>>, String> {
        let (values, times) =
            row.0.split_at_checked(self.0.len()).ok_or("a row of fewer columns than were asked for")?;
        let mut times = times.chunks_exact(2);
        let mut facts = Vec::with_capacity(values.len());
        for ((_, told), value) in self.0.iter().zip(values) {
            let told = match told {
                Told::Nothing => Times::Untold,
                Told::Cell | Told::Elements => {
                    let pair = times.next().ok_or("a row of fewer write times than were asked for")?;
                    read_times(*told, pair[0], pair[1], asked_at)?
                }
            };
            facts.push(ColumnFacts { value: *value, times: told });
        }
        Ok(facts)
    }
}

fn read_times(
    told: Told,
    written: Option<&[u8]>,
    ttl: Option<&[u8]>,
    asked_at: i64,
) -> Result<Times, String> {
    let expires = |left: Option<i64>| left.map(|left| asked_at + left);
    if told == Told::Cell {
        let written = written.map(number).transpose()?;
        return Ok(Times::Cell { written, expires: expires(ttl.map(number).transpose()?) });
    }
    let written = written.map(numbers).transpose()?.unwrap_or_default();
    let left = ttl.map(numbers).transpose()?.unwrap_or_default();
    Ok(Times::Elements { written, expires: left.into_iter().map(expires).collect() })
}

fn told(column: &Column, tells_of_elements: bool) -> Told {
    let is_key = matches!(column.kind, ColumnKind::PartitionKey | ColumnKind::Clustering);
    if is_key || column.cql_type == "counter" {
        Told::Nothing
    } else if !has_elements(&column.cql_type) {
        Told::Cell
    } else if tells_of_elements {
        Told::Elements
    } else {
        Told::Nothing
    }
}

/// Whether a column of this type has several cells: a collection, or a type of the user's, that is not frozen.
/// A class of somebody's own (`'org.example.Type'`) has one.
fn has_elements(cql_type: &str) -> bool {
    const OF_ONE_CELL: [&str; 23] = [
        "ascii",
        "bigint",
        "blob",
        "boolean",
        "date",
        "decimal",
        "double",
        "duration",
        "float",
        "frozen",
        "inet",
        "int",
        "smallint",
        "text",
        "time",
        "timestamp",
        "timeuuid",
        "tinyint",
        "tuple",
        "uuid",
        "varchar",
        "varint",
        "vector",
    ];
    let head = cql_type.split('<').next().unwrap_or(cql_type);
    !head.starts_with('\'') && !OF_ONE_CELL.contains(&head)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn column(name: &str, cql_type: &str, kind: ColumnKind, position: i32, order: ClusteringOrder) -> Column {
        Column { name: name.into(), cql_type: cql_type.into(), kind, position, order }
    }

    fn shape(order: ClusteringOrder) -> TableShape {
        let none = ClusteringOrder::None;
        TableShape {
            table_id: Uuid::nil(),
            columns: vec![
                column("tags", "set<text>", ColumnKind::Regular, -1, none),
                column("Kind", "text", ColumnKind::Static, -1, none),
                column("b", "int", ColumnKind::PartitionKey, 1, none),
                column("c", "int", ColumnKind::Clustering, 0, order),
                column("a", "int", ColumnKind::PartitionKey, 0, none),
            ],
            is_counter: false,
            dropped: None,
        }
    }

    #[test]
    fn times_are_asked_for_where_the_release_tells_them() {
        let table = TableName::new("k", "t");
        let asked = |elements| Columns::of(&shape(ClusteringOrder::Asc), elements).select(&table);
        assert_eq!(
            asked(false),
            "SELECT \"a\", \"b\", \"c\", \"Kind\", \"tags\", writetime(\"Kind\"), ttl(\"Kind\") FROM \"k\".\"t\" \
             WHERE token(\"a\", \"b\") > ? AND token(\"a\", \"b\") <= ?"
        );
        assert!(asked(true).contains("ttl(\"Kind\"), writetime(\"tags\"), ttl(\"tags\") FROM"));
        for (cql_type, several) in [
            ("text", false),
            ("frozen<map<text, int>>", false),
            ("vector<float, 3>", false),
            ("'org.example.Type'", false),
            ("map<text, int>", true),
            ("list<frozen<list<int>>>", true),
            ("address", true),
            ("\"Address\"", true),
        ] {
            assert_eq!(has_elements(cql_type), several, "{cql_type}");
        }
        let counter = column("n", "counter", ColumnKind::Regular, -1, ClusteringOrder::None);
        assert_eq!(told(&counter, true), Told::Nothing);
    }

    #[test]
    fn the_columns_hash_is_of_what_decides_how_rows_come() {
        let hash = |shape: &TableShape, elements| Columns::of(shape, elements).hash();
        let ascending = shape(ClusteringOrder::Asc);
        assert_eq!(hash(&ascending, true), hash(&ascending, false), "the release is no matter");
        assert_ne!(hash(&ascending, true), hash(&shape(ClusteringOrder::Desc), true));
        let mut other = ascending.clone();
        other.columns[0].cql_type = "list<text>".into();
        assert_ne!(hash(&ascending, true), hash(&other, true));
        let mut turned = ascending.clone();
        turned.columns.reverse();
        assert_eq!(hash(&ascending, true), hash(&turned, true), "in whatever order they are listed");
    }

    #[test]
    fn a_row_is_read_value_by_value() {
        let columns = Columns::of(&shape(ClusteringOrder::Asc), true);
        let (written, left) = (9_i64.to_be_bytes(), 60_i32.to_be_bytes());
        let list = [2_i32, 4, 30, -1].map(i32::to_be_bytes).concat();
        let row = RowSlices(vec![
            Some(b"a"),
            Some(b"b"),
            None,
            Some(b"v"),
            Some(b"set"),
            Some(&written),
            Some(&left),
            Some(&list),
            None,
        ]);
        let facts = columns.facts(&row, 1000).unwrap();
        let times: Vec<&Times> = facts.iter().map(|facts| &facts.times).collect();
        assert_eq!((facts[2].value, times[2]), (None, &Times::Untold), "a static row has no clustering key");
        assert_eq!(times[3], &Times::Cell { written: Some(9), expires: Some(1060) });
        assert_eq!(times[4], &Times::Elements { written: vec![Some(30), None], expires: Vec::new() });
        assert!(columns.facts(&RowSlices(vec![None; 7]), 0).is_err());
        assert!(columns.facts(&RowSlices(vec![None; 4]), 0).is_err());
    }
}
