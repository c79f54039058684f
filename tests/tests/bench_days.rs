//! `bench/run days`: what daily backups of a table that changes bring to the vault, day by day, and what a backup
//! brings after a node was replaced by a new one that streamed its data. Real Cassandra, which compacts as it likes.
//!
//! `RINGVAULT_BENCH_MIB` of rows in each replica (64), `RINGVAULT_BENCH_DAYS` (30), of which each writes
//! `RINGVAULT_BENCH_CHURN` rows in a thousand anew (30). A line of JSON goes to the file `RINGVAULT_BENCH_OUT`.

use std::{env, fs};

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rand::Rng as _;
use ringvault_core::backup::BackupFigures;
use ringvault_tests::{Lab, Ringvault, cql::Cql, fault::Mend, ringvault::fresh};
use serde_json::{Value, json};

/// Bytes of a row's value, which no compression makes smaller.
const ROW: usize = 1_024;
/// Nodes, each of which holds every row.
const NODES: u32 = 3;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Writes rows with new values.
async fn write(cql: &Cql, keys: impl IntoIterator<Item = u64>) -> Result<()> {
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

struct Fleet {
    lab: Lab,
    cluster: String,
    ringvault: Ringvault,
}

impl Fleet {
    /// A backup of the table as it is: its figures.
    async fn back_up(&self, title: &str) -> Result<Value> {
        self.lab.flush(&self.cluster, "bench").await?;
        let name = fresh("day");
        let backup = self.ringvault.backup(&self.cluster, &name, &["--keyspace", "bench"]).await?;
        let BackupFigures { bytes, bytes_new, objects_new, sstables, .. } = backup.summary.figures;
        let figures = json!({
            "title": title, "bytes": bytes, "bytes_new": bytes_new, "objects_new": objects_new, "sstables": sstables,
        });
        eprintln!("{figures}");
        Ok(figures)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a benchmark: bench/run days"]
async fn a_month_of_daily_backups() -> Result<()> {
    let lab = Lab::from_env();
    let cluster = fresh("days");
    let _gone = Mend::with(&lab, &["down", "--cluster", &cluster, "--purge"]);
    let nodes = NODES.to_string();
    lab.run(&["up", "--cluster", &cluster, "--nodes", &nodes, "--heap", "768m", "--no-build"]).await?;
    let cql = Cql::connect(&lab, &cluster).await?;
    cql.run("CREATE KEYSPACE bench WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}")
        .await?;
    cql.run("CREATE TABLE bench.rows (k bigint PRIMARY KEY, v blob)").await?;
    let rows = number("RINGVAULT_BENCH_MIB", 64) * 1_024 * 1_024 / ROW as u64;
    let churn = rows * number("RINGVAULT_BENCH_CHURN", 30) / 1_000;
    write(&cql, 0..rows).await?;
    let fleet = Fleet { ringvault: Ringvault::of(&lab).await?, lab, cluster };

    let mut days = vec![fleet.back_up("day 1").await?];
    for day in 2..=number("RINGVAULT_BENCH_DAYS", 30) {
        let keys: Vec<u64> = (0..churn).map(|_| rand::rng().random_range(0..rows)).collect();
        write(&cql, keys).await?;
        days.push(fleet.back_up(&format!("day {day}")).await?);
    }
    let last = NODES.to_string();
    let (lab, cluster) = (&fleet.lab, fleet.cluster.as_str());
    lab.run(&["wipe-node", &last, "--cluster", cluster, "--worker"]).await?;
    lab.run(&["start-node", &last, "--cluster", cluster, "--replace"]).await?;
    lab.run(&["start-worker", &last, "--cluster", cluster]).await?;
    let replaced = fleet.back_up("a node replaced").await?;
    let report = json!({"nodes": NODES, "rows": rows, "churn": churn, "days": days, "replaced": replaced});
    if let Ok(path) = env::var("RINGVAULT_BENCH_OUT") {
        fs::write(path, report.to_string())?;
    }
    Ok(())
}
