//! Rows of a table that benchmarks fill: a key and a value that no compression makes smaller.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rand::Rng as _;

use crate::cql::Cql;

/// Bytes of a row's value.
pub const ROW: usize = 1_024;

/// Makes `bench.rows` with so many replicas.
pub async fn create(cql: &Cql, replicas: u32) -> Result<()> {
    let replication = format!("{{'class': 'SimpleStrategy', 'replication_factor': {replicas}}}");
    cql.run(&format!("CREATE KEYSPACE bench WITH replication = {replication}")).await?;
    cql.run("CREATE TABLE bench.rows (k bigint PRIMARY KEY, v blob)").await
}

/// Writes these rows with new values.
pub async fn write(cql: &Cql, keys: impl IntoIterator<Item = u64>) -> Result<()> {
    let insert = cql.driver().prepare("INSERT INTO bench.rows (k, v) VALUES (?, ?)").await?;
    let writes = stream::iter(keys).map(|key| {
        let mut value = vec![0_u8; ROW];
        rand::rng().fill(&mut value[..]);
        let (insert, key) = (&insert, i64::try_from(key));
        async move {
            cql.driver().execute_unpaged(insert, (key?, value)).await?;
            anyhow::Ok(())
        }
    });
    writes.buffer_unordered(64).try_collect().await
}

/// How many rows are so many MiB.
pub const fn of_mib(mib: u64) -> u64 {
    mib * 1_024 * 1_024 / ROW as u64
}
