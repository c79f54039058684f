//! Jobs that are not let run to their end: cancelled, killed, or no longer waited for.

use std::time::Duration;

use anyhow::{Result, ensure};
use ringvault_core::{
    JobId,
    api::{Document, JobDetail},
    backup::BackupState,
    job::JobState,
};
use ringvault_tests::{
    Content, Lab, Ringvault,
    fault::stop_node,
    lab::T1,
    own::OwnProgram,
    ringvault::{exit, fresh},
    shop::Shop,
    store::Store,
    wait::until,
};
use tokio::process::Command;

/// So slow that a test catches it at work.
const SLOW: &str = "1MiB";
/// Photos that are several parts of an upload on each node, whatever share of its data directories.
const PHOTOS: i32 = 1800;

/// A worker that uploads in the smallest parts there are, so that an upload in parts is open for long.
async fn small_parts(lab: &Lab) -> Result<OwnProgram> {
    OwnProgram::worker(lab, T1, 1, |config| {
        let part_size = i64::from(5 << 20).into();
        config.insert(
            "upload".to_owned(),
            toml::Table::from_iter([("part_size".to_owned(), part_size)]).into(),
        );
    })
    .await
}

/// The words for a backup of the keyspace at this rate.
const fn slowly<'a>(name: &'a str, keyspace: &'a str, rate: &'a str) -> [&'a str; 10] {
    ["backup", "create", "-c", T1, "--name", name, "--keyspace", keyspace, "--rate-limit", rate]
}

async fn caught_uploading(rv: &Ringvault, store: &Store, job: JobId) -> Result<()> {
    until("upload in parts under way", Duration::from_secs(120), async || {
        let state = rv.show_job(job).await?.summary.state;
        ensure!(!state.is_settled(), "the backup was over before it was caught: {}", state.as_str());
        Ok((!store.open_uploads()?.is_empty()).then_some(()))
    })
    .await
}

/// What the next purge must have done away with: nothing of the backup but its marker is left.
async fn only_the_marker_is_left(rv: &Ringvault, store: &Store, backup: &str) -> Result<()> {
    rv.job(exit::OK, &["purge", "run", "-c", T1, "--keep-last", "1", "--confirm", T1]).await?;
    let mut left = store.objects(&format!("clusters/{T1}/backups/{backup}"))?;
    left.retain(|object| !object.key.ends_with("/backup.json") && !object.key.ends_with("/start.json"));
    ensure!(left.is_empty(), "{backup} left {left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_backup_leaves_nothing_and_a_killed_worker_goes_on() -> Result<()> {
    const KEYSPACE: &str = "e2e_stopped";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, PHOTOS, 50).await?;
    let (rv, store) = (Ringvault::of(&lab).await?, Store::of(&lab).await?);
    let start = async |name: &str| rv.start(&slowly(name, KEYSPACE, SLOW)).await;

    let worker = small_parts(&lab).await?;
    let cancelled = fresh("cancelled");
    let job = start(&cancelled).await?.job;
    caught_uploading(&rv, &store, job).await?;
    rv.run(&["job", "cancel", &job.to_string(), "--wait"]).await?.expect(exit::OK)?;
    ensure!(rv.show_job(job).await?.summary.state == JobState::Cancelled, "it was cancelled");
    let snapshots = lab.snapshots(T1).await?;
    ensure!(snapshots.is_empty(), "snapshots were left: {snapshots:?}");
    let uploads = store.open_uploads()?;
    ensure!(uploads.is_empty(), "uploads were left open: {uploads:?}");
    let state = rv.show_backup(T1, &cancelled).await?.summary.state;
    ensure!(state == BackupState::Dead, "a cancelled backup is {}", state.as_str());

    let killed = fresh("killed");
    let job = start(&killed).await?.job;
    caught_uploading(&rv, &store, job).await?;
    // Kills it; the lab's own worker takes its place, with the same folder.
    drop(worker);
    let done = until("end of the backup", Duration::from_secs(240), async || {
        let detail = rv.show_job(job).await?;
        Ok(detail.summary.state.is_settled().then_some(detail))
    })
    .await?;
    ensure!(done.summary.state == JobState::Succeeded, "{:?}", done.summary);
    rv.verify(T1, &killed).await?;
    let snapshots = lab.snapshots(T1).await?;
    ensure!(snapshots.is_empty(), "snapshots were left: {snapshots:?}");
    only_the_marker_is_left(&rv, &store, &cancelled).await?;
    let uploads = store.open_uploads()?;
    ensure!(uploads.is_empty(), "uploads were left open: {uploads:?}");

    let content = Content::read(shop.cql(), KEYSPACE).await?;
    shop.cql().run(&format!("DROP KEYSPACE {KEYSPACE}")).await?;
    rv.restore(&killed, T1, &["--keyspace", KEYSPACE]).await?;
    Content::read(shop.cql(), KEYSPACE).await?.must_equal(&content)?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_over_or_interrupted_leaves_the_job_alone_and_says_so() -> Result<()> {
    const KEYSPACE: &str = "e2e_detached";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, 600, 50).await?;
    let rv = Ringvault::of(&lab).await?;
    let name = fresh("detached");
    let create = slowly(&name, KEYSPACE, SLOW);
    let ended = rv
        .run(&[&create[..], &["--wait", "--timeout", "1s", "--json"]].concat())
        .await?
        .expect(exit::TIMED_OUT)?;
    ended.says(&["the job goes on", "Next: ringvault job watch"])?;
    let job = ended.json::<Document<JobDetail>>()?.body.summary;
    ensure!(!job.state.is_settled(), "{job:?}");

    let id = job.id.to_string();
    let mut watch = rv.command()?;
    watch.args(["job", "watch", &id, "--json"]).stdout(std::process::Stdio::piped());
    let mut watch = watch.stderr(std::process::Stdio::piped()).kill_on_drop(true).spawn()?;
    let pid = watch.id().unwrap_or_default().to_string();
    // Its first line says that it listens.
    let mut lines = tokio::io::BufReader::new(watch.stdout.take().expect("it is piped"));
    let mut first = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut first).await?;
    ensure!(first.contains(&id), "{first}");
    Command::new("kill").args(["-INT", &pid]).status().await?;
    let detached = watch.wait_with_output().await?;
    let said = String::from_utf8_lossy(&detached.stderr).into_owned();
    ensure!(detached.status.code() == Some(exit::DETACHED), "{:?}: {said}", detached.status);
    ensure!(said.contains("detached; the job goes on. Next: ringvault job watch"), "{said}");

    rv.run(&["job", "watch", &id]).await?.expect(exit::OK)?;
    rv.verify(T1, &name).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_too_slow_or_too_fast_is_told_so_while_it_runs() -> Result<()> {
    const KEYSPACE: &str = "e2e_rate";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, PHOTOS, 50).await?;
    let rv = Ringvault::of(&lab).await?;
    let name = fresh("rate");
    let job = rv.start(&slowly(&name, KEYSPACE, "64KiB")).await?.job;
    let id = job.to_string();
    let left = until("every node's upload held back", Duration::from_secs(120), async || {
        let detail = rv.show_job(job).await?;
        ensure!(!detail.summary.state.is_settled(), "it was over before it was caught");
        let uploads = detail.tasks.iter().filter_map(|task| task.progress.as_ref());
        let held = uploads.filter(|progress| progress.bytes_total > 0).collect::<Vec<_>>();
        let begun = held.len() == 3 && held.iter().any(|progress| progress.bytes_done > 0);
        Ok(begun.then(|| held.iter().map(|progress| progress.bytes_total - progress.bytes_done).sum::<u64>()))
    })
    .await?;
    // More than three nodes send at this rate in the minute that it then has.
    ensure!(left > 3 * 60 * (64 << 10), "only {left} bytes are left");
    let said = rv.run(&["job", "limit", &id, "none"]).await?.expect(exit::OK)?;
    said.says(&["without a limit from now on"])?;
    let done = until("end of the backup", Duration::from_secs(60), async || {
        let detail = rv.show_job(job).await?;
        Ok(detail.summary.state.is_settled().then_some(detail))
    })
    .await?;
    ensure!(done.summary.state == JobState::Succeeded && done.rate_limit == Some(0), "{:?}", done.summary);
    rv.run(&["job", "limit", &id, "1MiB"])
        .await?
        .expect(exit::CONFLICT)?
        .says(&["RV-JOB-RATE", "succeeded"])?;
    shop.close().await
}

/// A backup without one node that still holds every range succeeds in part, where that was allowed.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_misses_a_node_but_no_range_is_covering_and_partial() -> Result<()> {
    const KEYSPACE: &str = "e2e_covering";
    const IMPATIENT: &str = "[retry]\nenvironment_interval = \"1s\"\nenvironment_patience = \"3s\"\n";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, 20, 50).await?;
    let rv = Ringvault::of(&lab).await?;
    let content = Content::read(shop.cql(), KEYSPACE).await?;
    let name = fresh("covering");
    let node = stop_node(&lab, T1, 3).await?;
    let own = OwnProgram::scheduler(&lab, IMPATIENT).await?;
    let create = ["backup", "create", "-c", T1, "--name", &name, "--keyspace", KEYSPACE];
    let job = rv.job(exit::PARTIAL, &[&create[..], &["--coverage", "quorum"]].concat()).await;
    drop(own);
    node.now().await?;
    ensure!(job?.summary.state == JobState::Succeeded, "it is done, in part");
    let backup = rv.show_backup(T1, &name).await?.summary;
    ensure!(backup.state == BackupState::Covering && backup.figures.nodes_held == 2, "{backup:?}");
    shop.cql().run(&format!("DROP KEYSPACE {KEYSPACE}")).await?;
    rv.restore(&name, T1, &["--keyspace", KEYSPACE]).await?;
    Content::read(shop.cql(), KEYSPACE).await?.must_equal(&content)?;
    shop.close().await
}
