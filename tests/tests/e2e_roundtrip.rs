//! Backup, loss, restore: of everything Cassandra stores, compared cell by cell.

use anyhow::{Context as _, Result, ensure};
use ringvault_core::job::JobState;
use ringvault_tests::{
    Content, Lab,
    lab::T1,
    ringvault::{exit, fresh},
    round_trip::{CAMEL, KEYSPACE, RoundTrip},
};
use serde_json::Value;

/// Bytes of unchanged small files that may be brought again: those in packs which what changed left less
/// than half alive.
const PACKED: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn everything_survives_the_loss_of_a_table_of_a_keyspace_and_of_all_rows() -> Result<()> {
    let lab = Lab::from_env();
    let trip = RoundTrip::begin(&lab, T1).await?;
    let rv = &trip.rv;
    let left = lab.snapshots(T1).await?;
    ensure!(left.is_empty(), "snapshots were left behind: {left:?}");
    ensure!(trip.backup.summary.figures.nodes_held == 3, "{:?}", trip.backup.summary.figures);

    unchanged_brings_nothing(&trip).await?;
    rv.job(exit::OK, &["verify", "run", trip.name(), "-c", T1]).await?;
    let verified = rv.verify(T1, trip.name()).await?;
    ensure!(verified.outcome.bytes >= trip.backup.summary.figures.bytes / 3, "too few bytes were read");

    one_table_comes_back(&trip).await.context("one table")?;
    let was = rv.digest(T1, KEYSPACE).await?;
    trip.drop_and_restore().await.context("dropped keyspaces")?;
    let is = rv.digest(T1, KEYSPACE).await?;
    rv.run(&["rows", "compare", &was, &is]).await?.expect(exit::OK).context("row for row")?;
    refused_while_there_are_rows(&trip).await.context("refusals")?;
    other_rows_give_way(&trip).await.context("truncate")?;
    everything_comes_back_unnamed(&trip).await.context("the whole cluster")?;
    trip.deletions_hold().await.context("deletions")?;
    trip.close().await
}

/// A second backup of the same files reads and brings nothing; of the whole cluster, what Cassandra
/// itself has written to its own tables meanwhile. Its name is the beginning of nobody's and everybody's.
async fn unchanged_brings_nothing(trip: &RoundTrip) -> Result<()> {
    let begins_alike = format!("{}-2", trip.name());
    let again = trip.rv.backup(T1, &begins_alike, &[]).await?;
    let (figures, changed) = (again.summary.figures, changed(trip, &begins_alike).await?);
    let users: Vec<_> = changed.iter().filter(|(keyspace, ..)| !keyspace.starts_with("system")).collect();
    ensure!(users.is_empty(), "tables that nobody wrote to have changed: {users:?}");
    let system: u64 = changed.iter().map(|(_, _, bytes)| bytes).sum();
    ensure!(figures.bytes_new <= system + PACKED, "{figures:?} for no more than {changed:?}");
    let users = trip.rv.backup(T1, &fresh("users"), &["--keyspace", KEYSPACE]).await?;
    let figures = users.summary.figures;
    ensure!(figures.bytes_new == 0 && figures.objects_new == 0, "unchanged tables brought {figures:?}");
    ensure!(figures.bytes > 2 << 20, "three nodes hold more than {figures:?}");
    // The longer name is another backup: taking it away leaves the shorter one.
    let delete = ["backup", "delete", &begins_alike, "-c", T1, "--confirm", &begins_alike];
    trip.rv.job(exit::OK, &delete).await?;
    trip.rv.verify(T1, trip.name()).await?;
    let shorter = &trip.name()[..trip.name().len() - 1];
    trip.rv.run(&["backup", "show", shorter, "-c", T1]).await?.expect(exit::NOT_FOUND)?;
    Ok(())
}

/// The tables of which the later backup has something that the first has not, and how many bytes.
async fn changed(trip: &RoundTrip, later: &str) -> Result<Vec<(String, String, u64)>> {
    let schedulers = trip.lab.status().await?.services.schedulers;
    let config = schedulers.first().context("the lab has no scheduler")?.config.display().to_string();
    let diff = ["backup", "diff", trip.name(), later, "-c", T1, "--config", &config];
    let difference: Value = trip.rv.json(exit::OK, &diff).await?;
    let tables = difference["tables"].as_array().context("a difference has tables")?;
    let text = |table: &Value, field: &str| table[field].as_str().unwrap_or_default().to_owned();
    let all = tables.iter().map(|table| {
        let bytes = table["bytes_new"].as_u64().with_context(|| format!("bytes_new of {table}"))?;
        Ok((text(table, "keyspace"), text(table, "table"), bytes))
    });
    let all: Vec<_> = all.collect::<Result<_>>()?;
    ensure!(all.iter().any(|(keyspace, ..)| keyspace == KEYSPACE), "{KEYSPACE} is in neither: {all:?}");
    Ok(all.into_iter().filter(|(_, _, bytes)| *bytes > 0).collect())
}

async fn one_table_comes_back(trip: &RoundTrip) -> Result<()> {
    let table = format!("{KEYSPACE}.collections");
    let ids = trip.cql.describe(KEYSPACE).await?;
    trip.cql.run(&format!("DROP TABLE {table}")).await?;
    let others = trip.variety.clone().without(&["collections"]);
    Content::read(&trip.cql, KEYSPACE).await?.must_equal(&others)?;
    let job = trip.rv.restore(trip.name(), T1, &["--table", &table]).await?;
    let restored = job.outcome.restored.context("a restore has an outcome")?;
    ensure!(restored.created.iter().any(|what| what.contains("collections")), "{restored:?}");
    trip.is_whole(&trip.cql).await?;
    let after = trip.cql.describe(KEYSPACE).await?;
    ensure!(ids.iter().all(|statement| after.contains(statement)), "the table came back with another id");
    Ok(())
}

/// Without a filter all that was backed up comes back, but what is Cassandra's own.
async fn everything_comes_back_unnamed(trip: &RoundTrip) -> Result<()> {
    trip.cql
        .run_all(&[
            format!("DROP KEYSPACE \"{CAMEL}\""),
            format!("INSERT INTO {KEYSPACE}.kv (id, a, b, n) VALUES (5000, 'a3', 'b3', 300)"),
        ])
        .await?;
    let job = trip.rv.restore(trip.name(), T1, &["--truncate", "--confirm", T1]).await?;
    let restored = job.outcome.restored.context("a restore has an outcome")?;
    ensure!(restored.problems.is_empty(), "{:?}", restored.problems);
    trip.is_whole(&trip.cql).await
}

/// Neither rows that are there nor a missing confirmation let anything happen.
async fn refused_while_there_are_rows(trip: &RoundTrip) -> Result<()> {
    let rv = &trip.rv;
    let what = ["--from", trip.name(), "--to", T1, "--keyspace", KEYSPACE];
    let plan = rv.run(&[&["restore", "plan"], what.as_slice()].concat()).await?.expect(exit::REFUSED)?;
    plan.says(&["BLOCKER", "are not empty", "--truncate", "--rename"])?;
    let run = [&["restore", "run"], what.as_slice()].concat();
    let job = rv.job(exit::REFUSED, &run).await?;
    ensure!(job.summary.state == JobState::Failed, "{:?}", job.summary);
    rv.run(&["job", "abandon", &job.summary.id.to_string(), "--wait"]).await?;
    let truncate = [&run[..], &["--truncate"]].concat();
    rv.run(&truncate).await?.expect(exit::REFUSED)?.says(&["--confirm=t1"])?;
    let wrong = [&truncate[..], &["--confirm", "t2"]].concat();
    rv.run(&wrong).await?.expect(exit::REFUSED)?;
    trip.is_whole(&trip.cql).await
}

/// Rows written since go, rows lost since come back.
async fn other_rows_give_way(trip: &RoundTrip) -> Result<()> {
    trip.cql
        .run_all(&[
            format!("TRUNCATE {KEYSPACE}.statics"),
            format!("INSERT INTO {KEYSPACE}.kv (id, a, b, n) VALUES (5000, 'a3', 'b3', 300)"),
            format!("UPDATE {KEYSPACE}.kv SET a = 'a4', n = 1 WHERE id = 3"),
            format!("DELETE FROM {KEYSPACE}.large WHERE p = 1"),
            format!("UPDATE {KEYSPACE}.counters SET b = b + 100 WHERE p = 1 AND c = 1"),
            format!("INSERT INTO {KEYSPACE}.empty (p, v) VALUES (1, 'no longer')"),
        ])
        .await?;
    let before = Content::read(&trip.cql, KEYSPACE).await?;
    ensure!(!before.differences(&trip.variety).is_empty(), "nothing was changed");
    let options = ["--keyspace", KEYSPACE, "--truncate", "--confirm", T1];
    let job = trip.rv.restore(trip.name(), T1, &options).await?;
    ensure!(job.summary.past_no_return, "a truncate is past the point of no return");
    trip.is_whole(&trip.cql).await
}
