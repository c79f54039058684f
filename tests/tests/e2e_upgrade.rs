//! An upgrade of Ringvault itself: every worker and every scheduler is restarted, one after the
//! other, while a backup runs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ringvault_core::job::{JobState, StageKind};
use ringvault_tests::{Lab, Ringvault, lab::T1, ringvault::fresh, shop::Shop, store::Store, wait::until};

/// So slow that all restarts fall into the upload.
const SLOW: &str = "512KiB";
/// How long a program may take to end once it is told to.
const TO_END: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_during_a_backup_costs_no_job() -> Result<()> {
    const KEYSPACE: &str = "e2e_rolling";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, 1000, 50).await?;
    let (rv, store) = (Ringvault::of(&lab).await?, Store::of(&lab).await?);
    let name = fresh("rolling");
    let create =
        ["backup", "create", "-c", T1, "--name", &name, "--keyspace", KEYSPACE, "--rate-limit", SLOW];
    let job = rv.start(&create).await?.job;
    until("upload on every node", Duration::from_secs(60), async || {
        let detail = rv.show_job(job).await?;
        ensure!(!detail.summary.state.is_settled(), "it was over before it was caught: {:?}", detail.summary);
        let uploads = detail.tasks.iter().filter(|task| task.stage == StageKind::Upload);
        Ok((uploads.filter(|task| task.progress.is_some()).count() == 3).then_some(()))
    })
    .await?;

    let workers = ["1", "2", "3"].map(|number| ("worker", vec![number, "--cluster", T1]));
    let schedulers = ["1", "2"].map(|number| ("scheduler", vec![number]));
    for (kind, which) in workers.into_iter().chain(schedulers) {
        let began = Instant::now();
        lab.run(&[&[format!("stop-{kind}").as_str()], which.as_slice()].concat()).await?;
        let took = began.elapsed();
        ensure!(took < TO_END, "{kind} {which:?} took {took:?} to end");
        lab.run(&[&[format!("start-{kind}").as_str()], which.as_slice()].concat()).await?;
    }
    let state = rv.show_job(job).await?.summary.state;
    ensure!(!state.is_settled(), "the backup was {} before the last restart", state.as_str());

    let done = until("end of the backup", Duration::from_secs(240), async || {
        let detail = rv.show_job(job).await?;
        Ok(detail.summary.state.is_settled().then_some(detail))
    })
    .await?;
    ensure!(done.summary.state == JobState::Succeeded, "{:?}", done.summary);
    // Work that is handed back is taken up at once: nothing had to be lost first, and nothing failed.
    let mut handed_back = 0;
    for attempt in done.tasks.iter().flat_map(|task| &task.attempts) {
        match attempt.outcome.as_deref() {
            Some("stopped") => handed_back += 1,
            Some("succeeded" | "unreachable") => {}
            other => anyhow::bail!("an attempt ended {other:?}: {attempt:?}"),
        }
    }
    ensure!(handed_back >= 3, "each worker had work to hand back, and {handed_back} did");
    rv.verify(T1, &name).await?;
    let uploads = store.open_uploads()?;
    ensure!(uploads.is_empty(), "uploads were left open: {uploads:?}");
    shop.close().await
}
