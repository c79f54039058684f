//! Row digests: a restored copy has the digests of what was backed up, and whatever is changed in it afterwards is found
//! in its table and token range, and nowhere else.

use anyhow::{Context as _, Result, bail, ensure};
use ringvault_core::{
    api::{Document, RowDigests},
    rows::{TableVerdict, Verdict, What},
};
use ringvault_tests::{
    Lab, Ringvault,
    cql::Cql,
    lab::T1,
    ringvault::{exit, fresh},
    shop::Shop,
};
use serde_json::Value;

const KEYSPACE: &str = "e2e_rows";
const COPY: &str = "e2e_rows_copy";
/// Rows of one partition: they come in several pages.
const ROWS: u64 = 130;

/// A table of what is stored in ways of its own: static cells, cells that expire, elements, an order turned round.
async fn write_mixed(cql: &Cql) -> Result<()> {
    let mut statements = vec![
        "CREATE TYPE $.address (street text, city text)".to_owned(),
        "CREATE TABLE $.mixed (a int, b text, c int, s text static, v text, l list<int>, u address, \
         f frozen<list<int>>, PRIMARY KEY ((a, b), c)) WITH CLUSTERING ORDER BY (c DESC)"
            .to_owned(),
        "INSERT INTO $.mixed (a, b, s) VALUES (2, 'y', 'no rows')".to_owned(),
        "INSERT INTO $.mixed (a, b, c, s, v, l, u, f) VALUES (3, 'z', 1, 's', 'v', [2, 1], \
         {street: 's', city: 'c'}, [1])"
            .to_owned(),
        "INSERT INTO $.mixed (a, b, c, v, l) VALUES (3, 'z', 2, 'v', [1]) USING TIMESTAMP 7 AND TTL 99999"
            .to_owned(),
        "INSERT INTO $.mixed (a, b, c) VALUES (3, 'z', 3)".to_owned(),
    ];
    statements
        .extend((0..ROWS).map(|c| format!("INSERT INTO $.mixed (a, b, c, v) VALUES (1, 'x', {c}, 'v')")));
    let statements: Vec<String> = statements.iter().map(|text| text.replace('$', KEYSPACE)).collect();
    cql.run_all(&statements).await
}

/// Compares two digests, which ends with `code`. What differs.
async fn compare(rv: &Ringvault, code: i32, sides: [&str; 2]) -> Result<Vec<TableVerdict>> {
    let rename = format!("{KEYSPACE}={COPY}");
    let answer: Value = rv.json(code, &["rows", "compare", sides[0], sides[1], "--rename", &rename]).await?;
    ensure!(answer["equal"] == (code == exit::OK), "{answer}");
    let tables: Vec<TableVerdict> = serde_json::from_value(answer["tables"].clone())?;
    ensure!(tables.len() == 4 && tables.iter().all(|table| !table.without_elements), "{answer}");
    Ok(tables.into_iter().filter(|table| table.verdict != Verdict::Equal).collect())
}

/// Exactly one range of the table differs, in this, and it is the one of the partition where `key` holds.
async fn differs_at(
    cql: &Cql,
    tables: &[TableVerdict],
    table: &str,
    what: What,
    key: [&str; 2],
) -> Result<()> {
    let found = tables.iter().find(|found| found.table.table == table).with_context(|| table.to_owned())?;
    let [place] = found.differences.as_slice() else { bail!("{found:?}") };
    let query = format!("SELECT token({}) FROM {KEYSPACE}.{table} WHERE {} LIMIT 1", key[0], key[1]);
    let (token,) = *cql.rows::<(i64,)>(&query).await?.first().context("a row")?;
    ensure!(place.what == what, "{found:?}");
    ensure!(place.tokens.start.0 < token && token <= place.tokens.end.0, "{found:?} is not of {token}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_the_same_rows_until_one_is_changed() -> Result<()> {
    let lab = Lab::from_env();
    let rv = Ringvault::of(&lab).await?;
    let replicas = u32::try_from(lab.cluster(T1).await?.nodes.len().min(3))?;
    let shop = Shop::open_in(&lab, T1, KEYSPACE, replicas).await?;
    let cql = shop.cql();
    cql.run(&format!("DROP KEYSPACE IF EXISTS {COPY}")).await?;
    shop.write(0, 60, 200).await?;
    write_mixed(cql).await?;
    let backup = fresh("rows");
    rv.backup(T1, &backup, &["--keyspace", KEYSPACE]).await?;
    let source = rv.digest(T1, KEYSPACE).await?;
    rv.restore(&backup, T1, &["--rename", &format!("{KEYSPACE}={COPY}")]).await?;
    let copy = rv.digest(T1, COPY).await?;
    let unlike = compare(&rv, exit::OK, [&source, &copy]).await?;
    ensure!(unlike.is_empty(), "{unlike:?}");

    // The same value, written later.
    cql.run(&format!("UPDATE {COPY}.orders SET state = 'state 0' WHERE customer = 7 AND nr = 7")).await?;
    let changed = rv.digest(T1, COPY).await?;
    let unlike = compare(&rv, exit::PROBLEMS, [&source, &changed]).await?;
    ensure!(unlike.len() == 1 && unlike[0].first_rows == unlike[0].second_rows, "{unlike:?}");
    differs_at(cql, &unlike, "orders", What::Rows, ["customer", "customer = 7"]).await?;

    // A field of a type likewise, and a row fewer.
    cql.run_all(&[
        format!("UPDATE {COPY}.mixed SET u.city = 'c' WHERE a = 3 AND b = 'z' AND c = 1"),
        format!("DELETE FROM {COPY}.photos WHERE id = 20"),
    ])
    .await?;
    let changed = rv.digest(T1, COPY).await?;
    let unlike = compare(&rv, exit::PROBLEMS, [&source, &changed]).await?;
    ensure!(unlike.len() == 3, "{unlike:?}");
    differs_at(cql, &unlike, "mixed", What::Elements, ["a, b", "a = 3 AND b = 'z'"]).await?;
    differs_at(cql, &unlike, "photos", What::Rows, ["id", "id = 20"]).await?;
    let photos = unlike.iter().find(|table| table.table.table == "photos").context("photos")?;
    ensure!((photos.first_rows, photos.second_rows) == (60, 59), "{photos:?}");

    a_stored_one_will_do_as_well(&rv, &source, &copy, &changed).await?;
    what_cannot_be_read_is_told(&rv, &backup).await?;
    cql.run(&format!("DROP KEYSPACE {COPY}")).await?;
    shop.close().await
}

/// A file that one wrote stands for its job, wherever that may be; and people are told where to look.
async fn a_stored_one_will_do_as_well(rv: &Ringvault, source: &str, copy: &str, changed: &str) -> Result<()> {
    let shown = rv.run(&["rows", "show", source, "--json"]).await?.expect(exit::OK)?;
    let digests: Document<RowDigests> = shown.json()?;
    let mixed = digests.body.tables.iter().find(|table| table.table.table == "mixed").context("mixed")?;
    // Of the row that expires its value and its list's only element do.
    ensure!((mixed.rows(), mixed.expiring_cells()) == (ROWS + 4, 2), "{mixed:?}");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("source.json");
    std::fs::write(&file, &shown.stdout)?;
    let file = file.to_str().context("a plain path")?;
    ensure!(compare(rv, exit::OK, [file, copy]).await?.is_empty(), "of a file");
    let rename = format!("{KEYSPACE}={COPY}");
    let told = rv.run(&["rows", "compare", file, changed, "--rename", &rename]).await?;
    told.expect(exit::PROBLEMS)?.says(&[
        &format!("{KEYSPACE}.hits = {COPY}.hits"),
        "equal",
        "differs in 1 of 64 ranges",
        "write times within collections",
    ])?;
    rv.run(&["rows", "show", file]).await?.expect(exit::OK)?.says(&[&format!("{KEYSPACE}.photos")])
}

async fn what_cannot_be_read_is_told(rv: &Ringvault, backup: &str) -> Result<()> {
    let absent = format!("{KEYSPACE}.absent");
    let absent = ["rows", "digest", "-c", T1, "--table", &absent, "--wait"];
    rv.run(&absent).await?.expect(exit::FAILED)?.says(&["RV-ROWS-SELECTION", "there is no table"])?;
    let system = ["rows", "digest", "-c", T1, "--keyspace", "system"];
    rv.run(&system).await?.expect(exit::USAGE)?.says(&["another on each node"])?;
    let verify = rv.start(&["verify", "run", backup, "-c", T1]).await?.job.to_string();
    rv.run(&["rows", "show", &verify]).await?.expect(exit::CONFLICT)?.says(&["RV-ROWS-NONE"])
}
