//! Reading a table with the write time and expiry of every cell.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use chrono::Utc;
use futures::TryStreamExt as _;
use scylla::statement::Statement;

use super::{Cell, Key, Row, raw::RawRow};
use crate::cql::Cql;

/// Rows a page.
const PAGE: i32 = 500;

/// A column, and what can be asked of its cells.
struct Column {
    name: String,
    is_key: bool,
    /// Whether `writetime` and `ttl` can be asked.
    is_timed: bool,
}

/// The tables of a keyspace.
pub(super) async fn tables(cql: &Cql, keyspace: &str) -> Result<Vec<String>> {
    names(cql, keyspace, "table").await
}

/// Its views.
pub(super) async fn views(cql: &Cql, keyspace: &str) -> Result<Vec<String>> {
    names(cql, keyspace, "view").await
}

async fn names(cql: &Cql, keyspace: &str, kind: &str) -> Result<Vec<String>> {
    let query = format!("SELECT {kind}_name FROM system_schema.{kind}s WHERE keyspace_name = '{keyspace}'");
    Ok(cql.rows::<(String,)>(&query).await?.into_iter().map(|row| row.0).collect())
}

/// Every row of a table.
pub(super) async fn table(cql: &Cql, keyspace: &str, table: &str) -> Result<BTreeMap<Key, Row>> {
    let columns = columns(cql, keyspace, table).await?;
    let mut asked: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    for column in columns.iter().filter(|column| column.is_timed) {
        let name = quoted(&column.name);
        asked.extend([format!("writetime({name})"), format!("ttl({name})")]);
    }
    let (keyspace, name) = (quoted(keyspace), quoted(table));
    let query = format!("SELECT {} FROM {keyspace}.{name}", asked.join(", "));
    let statement = Statement::new(&query).with_page_size(PAGE);
    let pager = cql.driver().query_iter(statement, ()).await.with_context(|| query.clone())?;
    let mut stream = pager.rows_stream::<RawRow>().with_context(|| query.clone())?;
    let mut rows = BTreeMap::new();
    while let Some(raw) = stream.try_next().await.with_context(|| query.clone())? {
        let (key, row) = split(&columns, &raw)?;
        ensure!(rows.insert(key, row).is_none(), "{keyspace}.{name} has a row twice");
    }
    Ok(rows)
}

async fn columns(cql: &Cql, keyspace: &str, table: &str) -> Result<Vec<Column>> {
    let query = format!(
        "SELECT column_name, kind, type FROM system_schema.columns \
         WHERE keyspace_name = '{keyspace}' AND table_name = '{table}'"
    );
    let rows = cql.rows::<(String, String, String)>(&query).await?;
    ensure!(!rows.is_empty(), "{keyspace}.{table} has no columns");
    let column = |(name, kind, of): (String, String, String)| {
        let is_key = kind == "partition_key" || kind == "clustering";
        Column { name, is_key, is_timed: !is_key && is_timed(&of, cql.is_five) }
    };
    Ok(rows.into_iter().map(column).collect())
}

/// Counters never have a write time to ask for; collections and types of several cells since 5.0.
fn is_timed(of: &str, is_five: bool) -> bool {
    const SINGLE: [&str; 22] = [
        "ascii",
        "bigint",
        "blob",
        "boolean",
        "date",
        "decimal",
        "double",
        "duration",
        "float",
        "inet",
        "int",
        "smallint",
        "text",
        "time",
        "timestamp",
        "timeuuid",
        "tinyint",
        "uuid",
        "varchar",
        "varint",
        "frozen",
        "tuple",
    ];
    let head = of.split('<').next().unwrap_or(of);
    of != "counter" && (is_five || SINGLE.contains(&head))
}

fn split(columns: &[Column], raw: &RawRow) -> Result<(Key, Row)> {
    let now = Utc::now().timestamp();
    let (values, mut times) = raw.0.split_at(columns.len());
    let (mut key, mut row) = (Key::new(), Row::new());
    for (column, value) in columns.iter().zip(values) {
        if column.is_key {
            key.push(value.bytes.clone());
            continue;
        }
        let mut cell = Cell { value: value.bytes.clone(), written: Vec::new(), expires: Vec::new() };
        if column.is_timed {
            let ([written, ttl], rest) =
                times.split_first_chunk::<2>().context("fewer columns than asked for")?;
            times = rest;
            cell.written = written.numbers()?;
            let left = ttl.numbers()?;
            cell.expires = left.into_iter().map(|left| left.map(|left| now + left)).collect();
        }
        row.insert(column.name.clone(), cell);
    }
    Ok((key, row))
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}
