//! A keyspace's whole content, and what differs between two of them.
//!
//! Read at consistency ALL: every row of every table and view, and of every cell the value byte for
//! byte as Cassandra sends it, its write time, and the instant at which it expires. Of a collection
//! or type that is not frozen, the write time and expiry of each element (Cassandra 5.0 tells them
//! as lists; 4.1 does not tell them). Counters have a value alone. Rows that have nothing but a
//! primary key, and partitions with static columns only, are rows too.

mod compare;
mod raw;
mod read;

use std::collections::BTreeMap;

use anyhow::Result;

use crate::cql::Cql;

/// Tables and views by name; rows by primary key.
#[derive(Debug, Clone, Default)]
pub struct Content {
    tables: BTreeMap<String, BTreeMap<Key, Row>>,
}

/// The primary key's columns as bytes; a clustering column of a static row is absent.
type Key = Vec<Option<Vec<u8>>>;

/// Cells by column.
type Row = BTreeMap<String, Cell>;

/// A cell, or a collection's cells.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cell {
    /// As Cassandra sends it; absent if null.
    value: Option<Vec<u8>>,
    /// Microseconds since the epoch, one for each element.
    written: Vec<Option<i64>>,
    /// Seconds since the epoch, one for each element; absent without TTL.
    expires: Vec<Option<i64>>,
}

impl Content {
    /// Reads every table and view of a keyspace.
    pub async fn read(cql: &Cql, keyspace: &str) -> Result<Self> {
        let (tables, views) = (read::tables(cql, keyspace).await?, read::views(cql, keyspace).await?);
        Self::of(cql, keyspace, tables.into_iter().chain(views)).await
    }

    /// Reads every table of a keyspace, and no view.
    pub async fn read_tables(cql: &Cql, keyspace: &str) -> Result<Self> {
        Self::of(cql, keyspace, read::tables(cql, keyspace).await?).await
    }

    async fn of(cql: &Cql, keyspace: &str, names: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut tables = BTreeMap::new();
        for name in names {
            let rows = read::table(cql, keyspace, &name).await?;
            tables.insert(name, rows);
        }
        Ok(Self { tables })
    }

    /// Rows of a table or view; 0 if there is none of that name.
    pub fn rows(&self, table: &str) -> usize {
        self.tables.get(table).map_or(0, BTreeMap::len)
    }

    /// Rows in all.
    pub fn len(&self) -> usize {
        self.tables.values().map(BTreeMap::len).sum()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same without some tables.
    #[must_use]
    pub fn without(mut self, tables: &[&str]) -> Self {
        self.tables.retain(|name, _| !tables.contains(&name.as_str()));
        self
    }
}
