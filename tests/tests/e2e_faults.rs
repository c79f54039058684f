//! A few crashes and errors at named points, as an appetiser: `full_faults.rs` tries every point.

use anyhow::{Result, ensure};
use ringvault_tests::{
    Content, Lab,
    faults::{Ground, Kind, LATE_VIEW},
    lab::T1,
};

#[tokio::test(flavor = "multi_thread")]
async fn programs_die_and_the_work_ends_as_it_would_have() -> Result<()> {
    let lab = Lab::from_env();
    let mut ground = Ground::prepare(&lab, T1, "e2e_faults", 3).await?;
    for (kind, point, action) in [
        (Kind::Backup, "report.handle.after", "crash"),
        (Kind::Backup, "vault.manifest.after", "crash"),
        (Kind::Backup, "vault.seal.after", "error"),
        (Kind::Restore, "truncate.table.after", "crash"),
        (Kind::Restore, "apply.import.after", "crash"),
        (Kind::Purge, "vault.delete.after", "crash"),
    ] {
        ensure!(ground.run_with(kind, point, action).await?, "{point} was not reached");
    }
    ensure!(ground.restarts() >= 5, "{} programs were started again", ground.restarts());
    a_view_that_the_backup_does_not_know_is_not_forgotten(&mut ground).await?;
    ground.close().await
}

/// The worker dies between the drop of a view and its creation.
async fn a_view_that_the_backup_does_not_know_is_not_forgotten(ground: &mut Ground) -> Result<()> {
    let keyspace = ground.shop().keyspace.clone();
    let view = format!(
        "CREATE MATERIALIZED VIEW {keyspace}.{LATE_VIEW} AS SELECT * FROM {keyspace}.orders WHERE nr IS NOT NULL \
         AND customer IS NOT NULL PRIMARY KEY (nr, customer)"
    );
    ground.shop().cql().run(&view).await?;
    let point = "settle.drop-view.after";
    ensure!(ground.run_with(Kind::Restore, point, "crash").await?, "{point} was not reached");
    let content = Content::read(ground.shop().cql(), &keyspace).await?;
    let (rows, expected) = (content.rows(LATE_VIEW), content.rows("orders"));
    ensure!(rows == expected && rows > 0, "the view has {rows} rows, its table {expected}");
    Ok(())
}
