//! What changes or is missing between a restore's plan and its work is found before data is lost.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ringvault_core::{
    api::StageState,
    job::{JobState, StageKind},
};
use ringvault_tests::{
    Content, Lab, Ringvault,
    disk::SmallDisk,
    lab::T1,
    own::{OwnProgram, section},
    ringvault::{exit, fresh},
    shop::Shop,
    wait::until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_lacks_a_column_is_a_blocker() -> Result<()> {
    const KEYSPACE: &str = "e2e_column";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, 5, 50).await?;
    let rv = Ringvault::of(&lab).await?;
    let backup = fresh("column");
    rv.backup(T1, &backup, &["--keyspace", KEYSPACE]).await?;
    shop.cql()
        .run_all(&[
            format!("DROP TABLE {KEYSPACE}.orders"),
            format!(
                "CREATE TABLE {KEYSPACE}.orders (customer int, nr int, state int, PRIMARY KEY (customer, nr))"
            ),
            format!("INSERT INTO {KEYSPACE}.orders (customer, nr, state) VALUES (1, 1, 1)"),
        ])
        .await?;
    let before = Content::read(shop.cql(), KEYSPACE).await?;
    let what = ["--from", &backup, "--to", T1, "--keyspace", KEYSPACE, "--truncate"];
    let plan = rv.run(&[&["restore", "plan"], &what[..]].concat()).await?.expect(exit::REFUSED)?;
    plan.says(&["BLOCKER", "orders does not fit", "lines", "state"])?;
    let run = [&["restore", "run"], &what[..], &["--confirm", T1]].concat();
    let job = rv.job(exit::REFUSED, &run).await?;
    ensure!(!job.summary.past_no_return, "{:?}", job.summary);
    Content::read(shop.cql(), KEYSPACE).await?.must_equal(&before)?;
    abandon(&rv, job.summary.id).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_dropped_after_the_plan_stops_the_restore_before_its_truncate() -> Result<()> {
    const KEYSPACE: &str = "e2e_dropped";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, 150, 100).await?;
    let rv = Ringvault::of(&lab).await?;
    let backup = fresh("dropped");
    rv.backup(T1, &backup, &["--keyspace", KEYSPACE]).await?;
    // The download takes some ten seconds at this rate.
    let restore = [
        "restore",
        "run",
        "--from",
        &backup,
        "--to",
        T1,
        "--keyspace",
        KEYSPACE,
        "--truncate",
        "--confirm",
        T1,
        "--skip-schema",
        "--rate-limit",
        "256KiB",
    ];
    let job = rv.start(&restore).await?.job;
    until("download", Duration::from_secs(60), async || {
        let stages = rv.show_job(job).await?.stages;
        let open = |kind| stages.iter().any(|s| s.stage == kind && s.state == StageState::Open);
        Ok(open(StageKind::Download).then_some(()))
    })
    .await?;
    shop.cql().run(&format!("DROP TABLE {KEYSPACE}.orders")).await?;
    let before = Content::read(shop.cql(), KEYSPACE).await?;
    let failed = until("end of the restore", Duration::from_secs(120), async || {
        let detail = rv.show_job(job).await?;
        Ok(detail.summary.state.is_settled().then_some(detail))
    })
    .await?;
    ensure!(failed.summary.state == JobState::Failed, "{:?}", failed.summary);
    ensure!(!failed.summary.past_no_return, "{:?}", failed.summary);
    let error = failed.summary.error.context("a failed job says why")?;
    ensure!(error.message.contains(&format!("{KEYSPACE}.orders")), "{error}");
    Content::read(shop.cql(), KEYSPACE).await?.must_equal(&before)?;
    abandon(&rv, job).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_too_small_for_the_download_is_found_before_it() -> Result<()> {
    const KEYSPACE: &str = "e2e_disk";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, 150, 50).await?;
    let rv = Ringvault::of(&lab).await?;
    let backup = fresh("disk");
    rv.backup(T1, &backup, &["--keyspace", KEYSPACE]).await?;
    let before = Content::read(shop.cql(), KEYSPACE).await?;
    let folder = tempfile::tempdir()?;
    let disk = SmallDisk::at(folder.path(), "size=1m,mode=777")?;
    let worker = OwnProgram::worker(&lab, T1, 2, |config| {
        let stage = folder.path().join("stage").display().to_string();
        section(config, "worker").insert("stage_dir".to_owned(), stage.into());
    })
    .await?;
    let what = ["--from", &backup, "--to", T1, "--keyspace", KEYSPACE, "--truncate"];
    let plan = rv.run(&[&["restore", "plan"], &what[..]].concat()).await?;
    let run = rv.job(exit::REFUSED, &[&["restore", "run"], &what[..], &["--confirm", T1]].concat()).await;
    drop((worker, disk));
    plan.expect(exit::REFUSED)?.says(&["BLOCKER", "free"])?;
    let job = run?;
    ensure!(!job.summary.past_no_return, "{:?}", job.summary);
    Content::read(shop.cql(), KEYSPACE).await?.must_equal(&before)?;
    // With room it goes on from where it stopped.
    rv.job(exit::OK, &["job", "retry", &job.summary.id.to_string()]).await?;
    Content::read(shop.cql(), KEYSPACE).await?.must_equal(&before)?;
    shop.close().await
}

async fn abandon(rv: &Ringvault, job: ringvault_core::JobId) -> Result<()> {
    rv.run(&["job", "abandon", &job.to_string(), "--wait"]).await?;
    until("end of the abandoned job", Duration::from_secs(60), async || {
        let state = rv.show_job(job).await?.summary.state;
        Ok((state == JobState::Abandoned).then_some(()))
    })
    .await
}
