//! The data of the round trip, in several flushes so that it lies in several SSTables, deletions in
//! others than what they delete.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rand::{RngCore as _, SeedableRng as _, rngs::SmallRng};

use super::schema::{CAMEL, KEYSPACE};
use crate::{Lab, cql::Cql};

/// Rows of `kv` written before each flush.
const KV_ROWS: i32 = 300;
/// Rows of the one partition of `large`; 2.4 MiB, so that its data is an object of its own.
const LARGE_ROWS: i32 = 150;

pub(super) async fn load(lab: &Lab, cluster: &str, cql: &Cql) -> Result<()> {
    kv(cql, 0).await?;
    run(cql, &types()).await?;
    run(cql, &collections()).await?;
    run(cql, &statics()).await?;
    run(cql, &counters()).await?;
    run(cql, &camel()).await?;
    run(cql, &written_to_be_deleted()).await?;
    if cql.is_five {
        let vectors =
            (0..20).map(|p| format!("INSERT INTO $.vectors (p, v) VALUES ({p}, [{p}.5, -{p}.25, 0.125])"));
        run(cql, &vectors.collect::<Vec<_>>()).await?;
    }
    large(cql).await?;
    lab.flush(cluster, KEYSPACE).await?;
    kv(cql, KV_ROWS / 2).await?;
    run(cql, &deletions()).await?;
    run(cql, &counters()).await?;
    run(cql, &expiring()).await?;
    lab.flush(cluster, KEYSPACE).await?;
    // Left in the memtable: the backup flushes.
    kv(cql, KV_ROWS).await?;
    run(cql, &["UPDATE $.collections SET m['late'] = 9, l = l + [99] WHERE p = 1".to_owned()]).await
}

async fn run(cql: &Cql, statements: &[String]) -> Result<()> {
    for statement in statements {
        cql.run(&statement.replace('$', KEYSPACE)).await?;
    }
    Ok(())
}

async fn kv(cql: &Cql, first: i32) -> Result<()> {
    let insert = format!("INSERT INTO {KEYSPACE}.kv (id, a, b, n) VALUES (?, ?, ?, ?)");
    let insert = cql.driver().prepare(insert).await?;
    stream::iter(first..first + KV_ROWS)
        .map(|id| {
            let (a, b) = (format!("a{}", id % 10), format!("b{}", id % 7));
            cql.driver().execute_unpaged(&insert, (id, a, b, first + id % 13))
        })
        .buffer_unordered(32)
        .try_for_each(async |_| Ok(()))
        .await?;
    Ok(())
}

async fn large(cql: &Cql) -> Result<()> {
    let insert = format!("INSERT INTO {KEYSPACE}.large (p, c, v) VALUES (1, ?, ?)");
    let insert = cql.driver().prepare(insert).await?;
    let mut random = SmallRng::seed_from_u64(1);
    for c in 0..LARGE_ROWS {
        let mut bytes = vec![0; 16 << 10];
        random.fill_bytes(&mut bytes);
        cql.driver().execute_unpaged(&insert, (c, bytes)).await?;
    }
    Ok(())
}

fn types() -> Vec<String> {
    let row = |p: i32| {
        format!(
            "INSERT INTO $.types (p, c, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12, t13, t14, t15) \
             VALUES ({p}, now(), 'ascii', 9223372036854775807, 0x00ff, true, '1965-01-02', \
             -12345678901234567890.0001, -0.0, 1mo2d3ns, '2001:db8::1', -32768, '23:59:59.999999999', \
             '1969-12-31T23:59:59.999Z', -128, 340282366920938463463374607431768211456, ({p}, null))"
        )
    };
    (0..10).map(row).chain([
        "INSERT INTO $.types (p, c, t1, t3) VALUES (100, now(), '', 0x) USING TIMESTAMP 1".to_owned(),
        "INSERT INTO $.types (p, c, t2) VALUES (101, now(), 1) USING TTL 999999 AND TIMESTAMP 5000000000000000".to_owned(),
    ]).collect()
}

fn collections() -> Vec<String> {
    let row = |p: i32| {
        format!(
            "INSERT INTO $.collections (p, l, s, m, fl, fm, u, fu, ml) VALUES ({p}, [3, 1, 2], {{'x', 'y'}}, \
             {{'one': 1, 'two': 2}}, [1, 1], {{1: 'a'}}, {{street: 's', city: 'c'}}, \
             {{name: 'n', home: {{street: null, city: 'h'}}}}, {{'k': [{{street: 'in a list', city: 'd'}}]}})"
        )
    };
    let mut all: Vec<String> = (0..10).map(row).collect();
    all.extend([
        "UPDATE $.collections USING TTL 888888 SET m['short'] = 3, s = s + {'brief'} WHERE p = 1".to_owned(),
        "UPDATE $.collections USING TIMESTAMP 7 SET m['old'] = 4, u.street = 'older' WHERE p = 2".to_owned(),
        "DELETE m['one'], s['x'] FROM $.collections WHERE p = 3".to_owned(),
        "UPDATE $.collections SET u.city = 'new', l[1] = 42 WHERE p = 4".to_owned(),
        "UPDATE $.collections SET l = [0] + l, s = {}, m = {} WHERE p = 5".to_owned(),
    ]);
    all
}

fn statics() -> Vec<String> {
    let mut all: Vec<String> = (0..30)
        .map(|i| format!("INSERT INTO $.statics (p, c, s, v) VALUES ({}, {i}, 's{i}', 'v{i}')", i % 5))
        .collect();
    all.push("INSERT INTO $.statics (p, s, m) VALUES (100, 'no rows', {1: 'a', 2: 'b'})".to_owned());
    all.push("INSERT INTO $.statics (p, s) VALUES (101, 'expires') USING TTL 777777".to_owned());
    all.extend((0..20).map(|i| format!("INSERT INTO $.keys_only (p, c) VALUES ({}, 'c{i}')", i % 3)));
    all
}

fn counters() -> Vec<String> {
    let mut all: Vec<String> = (0..20)
        .map(|i| format!("UPDATE $.counters SET a = a + {i}, b = b - 1 WHERE p = {} AND c = {i}", i % 4))
        .collect();
    all.push("DELETE a FROM $.counters WHERE p = 0 AND c = 4".to_owned());
    all
}

fn expiring() -> Vec<String> {
    let mut all: Vec<String> = (0..20)
        .map(|p| format!("INSERT INTO $.expiring (p, v, m) VALUES ({p}, 'default', {{1: 'a'}})"))
        .collect();
    all.push("UPDATE $.expiring USING TTL 99999 SET v = 'sooner', m[2] = 'b' WHERE p = 1".to_owned());
    all.push("UPDATE $.expiring USING TTL 0 SET v = 'never' WHERE p = 2".to_owned());
    all
}

fn camel() -> Vec<String> {
    (0..20)
        .map(|i| {
            format!(
                "INSERT INTO \"{CAMEL}\".\"CamelTable\" (\"Key\", \"Value\", \"value\") VALUES ('K{i}', 'V', {i})"
            )
        })
        .collect()
}

/// Written at 1000 µs after the epoch, so that later writes can fall before the deletions.
fn written_to_be_deleted() -> Vec<String> {
    (0..6)
        .flat_map(|p| (0..10).map(move |i| (p, i / 5, i % 5)))
        .map(|(p, c, d)| {
            format!(
                "INSERT INTO $.deleted (p, c, d, v, w) VALUES ({p}, {c}, {d}, 'v', 'w') USING TIMESTAMP 1000"
            )
        })
        .collect()
}

/// A partition, a range, a slice, a row, a cell: each at 2000 µs.
fn deletions() -> Vec<String> {
    ["p = 0", "p = 1 AND c = 0", "p = 2 AND c = 0 AND d >= 1 AND d < 4", "p = 3 AND c = 1 AND d = 2"]
        .iter()
        .map(|place| format!("DELETE FROM $.deleted USING TIMESTAMP 2000 WHERE {place}"))
        .chain(["DELETE v FROM $.deleted USING TIMESTAMP 2000 WHERE p = 4 AND c = 0 AND d = 0".to_owned()])
        .collect()
}

/// Writes from before the deletions: as long as these are kept, none of them shows.
pub(super) fn late_writes() -> Vec<String> {
    [(0, 1, 3), (1, 0, 4), (2, 0, 2), (3, 1, 2)]
        .map(|(p, c, d)| {
            format!(
                "INSERT INTO {KEYSPACE}.deleted (p, c, d, v, w) VALUES ({p}, {c}, {d}, 'late', 'late') \
                 USING TIMESTAMP 1500"
            )
        })
        .into_iter()
        .chain([format!(
            "UPDATE {KEYSPACE}.deleted USING TIMESTAMP 1500 SET v = 'late' WHERE p = 4 AND c = 0 AND d = 0"
        )])
        .collect()
}
