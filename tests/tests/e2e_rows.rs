//! Row digests: a restored copy has the digests of what was backed up, and whatever is changed in it afterwards is found
//! in its table and token range, and nowhere else.

use anyhow::{Context as _, Result, ensure};
use ringvault_core::{
    api::{Document, RowDigests},
    rows::{TableVerdict, Verdict, What},
};
use ringvault_tests::{
    Lab, Ringvault,
    cql::Cql,
    lab::T1,
    ringvault::exit,
    round_trip::{KEYSPACE, RoundTrip},
};
use serde_json::Value;

const COPY: &str = "e2e_rows_copy";
/// Rows of the table `large`, which come in several pages.
const LARGE: u64 = 150;

/// Reads every row of a keyspace. The job's id.
async fn digest(rv: &Ringvault, keyspace: &str) -> Result<String> {
    let job = rv.job(exit::OK, &["rows", "digest", "-c", T1, "--keyspace", keyspace]).await?;
    let read = job.outcome.rows.context("a digest has an outcome")?;
    ensure!(read.tables > 10 && read.rows > 1000, "{read:?}");
    Ok(job.summary.id.to_string())
}

/// Compares two digests; what it ends with, and what differs.
async fn compare(rv: &Ringvault, code: i32, sides: [&str; 2]) -> Result<Vec<TableVerdict>> {
    let rename = format!("{KEYSPACE}={COPY}");
    let answer: Value = rv.json(code, &["rows", "compare", sides[0], sides[1], "--rename", &rename]).await?;
    ensure!(answer["equal"] == (code == exit::OK), "{answer}");
    let tables: Vec<TableVerdict> = serde_json::from_value(answer["tables"].clone())?;
    ensure!(tables.len() > 10 && tables.iter().all(|table| !table.without_elements), "{answer}");
    Ok(tables.into_iter().filter(|table| table.verdict != Verdict::Equal).collect())
}

async fn token(cql: &Cql, query: &str) -> Result<i64> {
    let rows = cql.rows::<(i64,)>(&format!("SELECT token({query} LIMIT 1")).await?;
    Ok(rows.first().context("a row")?.0)
}

/// Exactly one range of the table differs, in this, and it is the one of `token`.
fn differs_at(tables: &[TableVerdict], table: &str, what: What, token: i64) -> Result<()> {
    let found = tables.iter().find(|found| found.table.table == table).with_context(|| table.to_owned())?;
    let [place] = found.differences.as_slice() else { anyhow::bail!("{found:?}") };
    ensure!(place.what == what, "{found:?}");
    ensure!(place.tokens.start.0 < token && token <= place.tokens.end.0, "{found:?} is not of {token}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_the_same_rows_until_one_is_changed() -> Result<()> {
    let lab = Lab::from_env();
    let trip = RoundTrip::begin(&lab, T1).await?;
    let (rv, cql) = (&trip.rv, &trip.cql);
    cql.run(&format!("DROP KEYSPACE IF EXISTS {COPY}")).await?;
    let source = digest(rv, KEYSPACE).await?;
    rv.restore(trip.name(), T1, &["--rename", &format!("{KEYSPACE}={COPY}")]).await?;
    let copy = digest(rv, COPY).await?;
    let unlike = compare(rv, exit::OK, [&source, &copy]).await?;
    ensure!(unlike.is_empty(), "{unlike:?}");

    // The same value, written later.
    cql.run(&format!("UPDATE {COPY}.kv SET a = 'a7' WHERE id = 7")).await?;
    let changed = digest(rv, COPY).await?;
    let unlike = compare(rv, exit::PROBLEMS, [&source, &changed]).await?;
    ensure!(unlike.len() == 1 && unlike[0].first_rows == unlike[0].second_rows, "{unlike:?}");
    differs_at(&unlike, "kv", What::Rows, token(cql, &format!("id) FROM {COPY}.kv WHERE id = 7")).await?)?;

    // An element of a map likewise, and a row fewer.
    cql.run_all(&[
        format!("UPDATE {COPY}.collections SET m['one'] = 1 WHERE p = 7"),
        format!("DELETE FROM {COPY}.large WHERE p = 1 AND c = 20"),
    ])
    .await?;
    let changed = digest(rv, COPY).await?;
    let unlike = compare(rv, exit::PROBLEMS, [&source, &changed]).await?;
    ensure!(unlike.len() == 3, "{unlike:?}");
    let at = token(cql, &format!("p) FROM {COPY}.collections WHERE p = 7")).await?;
    differs_at(&unlike, "collections", What::Elements, at)?;
    differs_at(
        &unlike,
        "large",
        What::Rows,
        token(cql, &format!("p) FROM {COPY}.large WHERE p = 1")).await?,
    )?;
    let large = unlike.iter().find(|table| table.table.table == "large").context("large")?;
    ensure!((large.first_rows, large.second_rows) == (LARGE, LARGE - 1), "{large:?}");

    a_stored_one_will_do_as_well(rv, &source, &copy, &changed).await?;
    what_cannot_be_compared_is_told(rv, trip.name()).await?;
    cql.run(&format!("DROP KEYSPACE {COPY}")).await?;
    trip.close().await
}

/// A file that one wrote stands for its job, wherever that may be; and people are told where to look.
async fn a_stored_one_will_do_as_well(rv: &Ringvault, source: &str, copy: &str, changed: &str) -> Result<()> {
    let shown = rv.run(&["rows", "show", source, "--json"]).await?.expect(exit::OK)?;
    let digests: Document<RowDigests> = shown.json()?;
    ensure!(digests.body.tables.iter().all(|table| table.table.table != "kv_by_n"), "a view");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("source.json");
    std::fs::write(&file, &shown.stdout)?;
    let file = file.to_str().context("a plain path")?;
    ensure!(compare(rv, exit::OK, [file, copy]).await?.is_empty(), "of a file");
    let rename = format!("{KEYSPACE}={COPY}");
    let told = rv.run(&["rows", "compare", file, changed, "--rename", &rename]).await?;
    told.expect(exit::PROBLEMS)?.says(&[
        &format!("{KEYSPACE}.types = {COPY}.types"),
        "equal",
        "differs in 1 of 64 ranges",
        "write times within collections",
    ])?;
    rv.run(&["rows", "show", file]).await?.expect(exit::OK)?.says(&[&format!("{KEYSPACE}.counters")])
}

async fn what_cannot_be_compared_is_told(rv: &Ringvault, backup: &str) -> Result<()> {
    let view = format!("{KEYSPACE}.kv_by_n");
    let view = ["rows", "digest", "-c", T1, "--table", &view, "--wait"];
    rv.run(&view).await?.expect(exit::FAILED)?.says(&["is a view"])?;
    let system = ["rows", "digest", "-c", T1, "--keyspace", "system"];
    rv.run(&system).await?.expect(exit::USAGE)?.says(&["another on each node"])?;
    let verify = rv.start(&["verify", "run", backup, "-c", T1]).await?.job.to_string();
    rv.run(&["rows", "show", &verify]).await?.expect(exit::CONFLICT)?.says(&["RV-ROWS-NONE"])
}
