//! `bench/run neighbour`: how long Cassandra's readers wait while a backup of all of it is made beside it, and
//! while none is. Real Cassandra, real worker, real S3 server, all on one machine.
//!
//! Reads come at a steady rate whether the one before was answered or not, and each is measured from when it was
//! due, so that a stall counts for all that it held up. Phases take turns; a line of JSON goes to the file
//! `RINGVAULT_BENCH_OUT`. `RINGVAULT_BENCH_MIB` of rows (400), `RINGVAULT_BENCH_READS` a second (400),
//! `RINGVAULT_BENCH_PHASE` seconds of each phase (20), `RINGVAULT_BENCH_ROUNDS` of all phases (3).

use std::{
    env, fs,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rand::Rng as _;
use ringvault_tests::{
    Lab, Ringvault,
    cql::Cql,
    fault::Mend,
    ringvault::{exit, fresh},
    rows,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// What goes on beside the readers.
struct Phase {
    name: &'static str,
    /// Options of the backups that follow each other; `None`: no backup.
    backup: Option<&'static [&'static str]>,
}

const PHASES: [Phase; 3] = [
    Phase { name: "no backup", backup: None },
    Phase { name: "full backup", backup: Some(&["--mode", "full"]) },
    Phase { name: "full backup, 50 MiB/s", backup: Some(&["--mode", "full", "--rate-limit", "50MiB"]) },
];

/// Reads of single rows, each due at its own instant: how long each took from then.
async fn read(cql: &Arc<Cql>, rows: u64, a_second: u64, lasts: Duration) -> Result<Vec<Duration>> {
    let query = cql.driver().prepare("SELECT v FROM bench.rows WHERE k = ?").await?;
    let (began, every) = (Instant::now(), Duration::from_secs(1) / u32::try_from(a_second)?);
    let mut reads = JoinSet::new();
    for n in 0.. {
        let due = began + every * n;
        if due > began + lasts {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        let (cql, query) = (Arc::clone(cql), query.clone());
        let key = i64::try_from(rand::rng().random_range(0..rows))?;
        reads.spawn(async move {
            cql.driver().execute_unpaged(&query, (key,)).await.map(|answer| (answer, due.elapsed()))
        });
    }
    let mut took = Vec::with_capacity(reads.len());
    while let Some(done) = reads.join_next().await {
        let (answer, elapsed) = done??;
        ensure!(answer.into_rows_result()?.rows_num() == 1, "a row is missing");
        took.push(elapsed);
    }
    took.sort_unstable();
    Ok(took)
}

/// Backups one after the other, until nobody waits for them any more.
async fn back_up(ringvault: &Ringvault, cluster: &str, options: &[&str]) -> Result<()> {
    loop {
        let create = ["backup", "create", "-c", cluster];
        ringvault.job(exit::OK, &[&create, options].concat()).await?;
    }
}

/// Rows in SSTables.
async fn load(lab: &Lab, cql: &Cql, cluster: &str, rows: u64) -> Result<()> {
    rows::create(cql, 1).await?;
    rows::write(cql, 0..rows).await?;
    lab.flush(cluster, "bench").await?;
    // What the rows became settles before anything is measured.
    lab.nodetool(cluster, 1, &["compact", "bench"]).await?;
    Ok(())
}

fn milliseconds(sorted: &[Duration], part: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let at = ((sorted.len() - 1) as f64 * part) as usize;
    sorted[at].as_secs_f64() * 1_000.0
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a benchmark: bench/run neighbour"]
async fn readers_beside_a_backup() -> Result<()> {
    let lab = Lab::from_env();
    let cluster = fresh("neighbour");
    let _gone = Mend::with(&lab, &["down", "--cluster", &cluster, "--purge"]);
    lab.run(&["up", "--cluster", &cluster, "--nodes", "1", "--heap", "1g", "--no-build"]).await?;
    let ringvault = Ringvault::of(&lab).await?;
    let cql = Arc::new(Cql::connect(&lab, &cluster).await?);
    let rows = rows::of_mib(number("RINGVAULT_BENCH_MIB", 400));
    load(&lab, &cql, &cluster, rows).await?;
    let a_second = number("RINGVAULT_BENCH_READS", 400);
    let lasts = Duration::from_secs(number("RINGVAULT_BENCH_PHASE", 20));
    read(&cql, rows, a_second, lasts).await.context("while it warms up")?;

    let mut found: Vec<Vec<Value>> = PHASES.iter().map(|_| Vec::new()).collect();
    for _ in 0..number("RINGVAULT_BENCH_ROUNDS", 3) {
        for (phase, found) in PHASES.iter().zip(&mut found) {
            let took = match phase.backup {
                None => read(&cql, rows, a_second, lasts).await?,
                Some(options) => {
                    tokio::select! {
                        took = read(&cql, rows, a_second, lasts) => took?,
                        ended = back_up(&ringvault, &cluster, options) => {
                            ended?;
                            unreachable!("backups follow each other");
                        }
                    }
                }
            };
            found.push(json!({
                "reads": took.len(),
                "p50_ms": milliseconds(&took, 0.5),
                "p99_ms": milliseconds(&took, 0.99),
                "p999_ms": milliseconds(&took, 0.999),
            }));
            eprintln!("{}: {}", phase.name, found.last().context("it was just pushed")?);
            quiet(&ringvault, &cluster).await?;
        }
    }
    let phases: Vec<_> = PHASES
        .iter()
        .zip(found)
        .map(|(phase, rounds)| json!({"phase": phase.name, "rounds": rounds}))
        .collect();
    let report = json!({"rows": rows, "row_bytes": rows::ROW, "reads_a_second": a_second,
        "seconds": lasts.as_secs(), "phases": phases});
    if let Ok(path) = env::var("RINGVAULT_BENCH_OUT") {
        fs::write(path, report.to_string())?;
    }
    Ok(())
}

/// Waits until the backup that was left behind is over.
async fn quiet(ringvault: &Ringvault, cluster: &str) -> Result<()> {
    loop {
        let open: Value =
            ringvault.json(exit::OK, &["job", "list", "-c", cluster, "--state", "open"]).await?;
        if open["items"].as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
