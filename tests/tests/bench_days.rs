//! `bench/run days`: what daily backups of a table that changes bring to the vault, day by day, and what a backup
//! brings after a node was replaced by a new one that streamed its data. Real Cassandra, which compacts as it likes.
//!
//! `RINGVAULT_BENCH_MIB` of rows in each replica (64), `RINGVAULT_BENCH_DAYS` (30), of which each writes
//! `RINGVAULT_BENCH_CHURN` rows in a thousand anew (30). A line of JSON goes to the file `RINGVAULT_BENCH_OUT`.

use std::{env, fs};

use anyhow::Result;
use rand::Rng as _;
use ringvault_core::backup::BackupFigures;
use ringvault_tests::{Lab, Ringvault, cql::Cql, fault::Mend, ringvault::fresh, rows};
use serde_json::{Value, json};

/// Nodes, each of which holds every row.
const NODES: u32 = 3;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
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
    rows::create(&cql, NODES).await?;
    let rows = rows::of_mib(number("RINGVAULT_BENCH_MIB", 64));
    let churn = rows * number("RINGVAULT_BENCH_CHURN", 30) / 1_000;
    rows::write(&cql, 0..rows).await?;
    let fleet = Fleet { ringvault: Ringvault::of(&lab).await?, lab, cluster };

    let mut days = vec![fleet.back_up("day 1").await?];
    for day in 2..=number("RINGVAULT_BENCH_DAYS", 30) {
        let keys: Vec<u64> = (0..churn).map(|_| rand::rng().random_range(0..rows)).collect();
        rows::write(&cql, keys).await?;
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
