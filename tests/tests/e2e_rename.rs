//! A backup brought beside the live data under other names: every cell comes, and what bears the old
//! name is not touched, whatever became of it since.

use anyhow::{Result, ensure};
use ringvault_tests::{
    Content, Lab,
    cql::Cql,
    lab::T1,
    ringvault::exit,
    round_trip::{CAMEL, KEYSPACE, RoundTrip},
};

const BESIDE: &str = "e2e_beside";

async fn drop_beside(cql: &Cql) -> Result<()> {
    cql.run(&format!("DROP KEYSPACE IF EXISTS {BESIDE}")).await
}

async fn count(cql: &Cql, query: &str) -> Result<i64> {
    Ok(cql.rows::<(i64,)>(&format!("SELECT count(*) FROM {query}")).await?.first().map_or(0, |row| row.0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyspace_and_a_table_come_beside_the_live_ones() -> Result<()> {
    let lab = Lab::from_env();
    let trip = RoundTrip::begin(&lab, T1).await?;
    let (rv, cql) = (&trip.rv, &trip.cql);
    drop_beside(cql).await?;
    let live = trip.moved_on().await?;
    let rename = format!("{KEYSPACE}={BESIDE}");
    let from = ["--from", trip.name(), "--to", T1];

    let plan = rv.run(&[&["restore", "plan"][..], &from, &["--rename", &rename]].concat()).await?;
    ensure!(plan.code == exit::OK, "{} {}", plan.stdout, plan.stderr);
    ensure!(plan.stdout.contains(&format!("{KEYSPACE} comes as {BESIDE}")), "{}", plan.stdout);

    rv.restore(trip.name(), T1, &["--rename", &rename]).await?;
    Content::read(cql, BESIDE).await?.must_equal(&trip.variety)?;
    Content::read(cql, KEYSPACE).await?.must_equal(&live)?;
    for (query, rows) in [("kv WHERE a = 'a3'", 60), ("kv_by_n WHERE n = 300", 23)] {
        let found = count(cql, &format!("{BESIDE}.{query}")).await?;
        ensure!(found == rows, "{query}: {found}, not {rows}");
    }

    // Again: what lies there now is in the way, and is emptied only when that is asked for.
    let run = [&["restore", "run", "--wait"][..], &from, &["--rename", &rename]].concat();
    let refused = rv.run(&run).await?;
    ensure!(refused.code != exit::OK, "{}", refused.stdout);
    ensure!(refused.stderr.contains(&format!("{BESIDE}.altered, ")), "{}", refused.stderr);
    ensure!(
        refused.stderr.contains("are not empty: add --truncate or choose --rename"),
        "{}",
        refused.stderr
    );
    cql.run(&format!("DELETE FROM {BESIDE}.kv WHERE id = 7")).await?;
    let truncate = ["--rename", rename.as_str(), "--truncate", "--confirm", T1];
    rv.restore(trip.name(), T1, &truncate).await?;
    Content::read(cql, BESIDE).await?.must_equal(&trip.variety)?;
    Content::read(cql, KEYSPACE).await?.must_equal(&live)?;

    // One table beside itself, one with a name that needs quotes, in one restore.
    let one = format!("{KEYSPACE}.kv={KEYSPACE}.kv_old");
    let other = format!("{CAMEL}.CamelTable={CAMEL}.Camel_Old");
    let tables = ["--rename", one.as_str(), "--rename", other.as_str()];
    let plan = rv.run(&[&["restore", "plan"][..], &from, &tables].concat()).await?;
    ensure!(plan.stdout.contains("comes without view"), "{}", plan.stdout);
    rv.restore(trip.name(), T1, &tables).await?;
    let now = Content::read(cql, KEYSPACE).await?;
    ensure!(now.rows("kv_old") == trip.variety.rows("kv") && now.rows("kv") == live.rows("kv"), "rows of kv");
    ensure!(count(cql, &format!("{KEYSPACE}.kv_old WHERE id = 5")).await? == 1, "the deleted row");
    ensure!(count(cql, &format!("{KEYSPACE}.kv_old WHERE a = 'a3'")).await? == 60, "the index of the copy");
    now.without(&["kv_old"]).must_equal(&live)?;
    let camel = Content::read(cql, CAMEL).await?;
    ensure!(camel.rows("Camel_Old") == trip.camel.rows("CamelTable"), "rows of Camel_Old");
    camel.without(&["Camel_Old"]).must_equal(&trip.camel)?;

    let mistakes = [
        ("kv=a.kv2", "is no rename"),
        ("system_auth=x", "system keyspace"),
        (&format!("{KEYSPACE}.nothing={KEYSPACE}.x"), "holds no table"),
        (&format!("{KEYSPACE}.kv={KEYSPACE}.kv_by_n"), "is a view on the target"),
    ];
    for (rename, words) in mistakes {
        let plan = rv.run(&[&["restore", "plan"][..], &from, &["--rename", rename]].concat()).await?;
        let said = format!("{}{}", plan.stdout, plan.stderr);
        ensure!(plan.code != exit::OK && said.contains(words), "{rename}: {said}");
    }
    drop_beside(cql).await?;
    trip.close().await
}
