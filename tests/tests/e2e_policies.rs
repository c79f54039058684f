//! Policies: applied whole or not at all, and firing on time, once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use ringvault_core::{
    JobId,
    api::{Document, FireState, NextFires, Page, PolicyDiff, PolicyView},
    backup::BackupState,
    job::JobState,
};
use ringvault_tests::{Lab, Ringvault, lab::T1, ringvault::exit, shop::Shop, wait::until};
use tempfile::NamedTempFile;

const KEYSPACE: &str = "e2e_policies";
const POLICY: &str = "e2e-often";

fn file(text: &str) -> Result<NamedTempFile> {
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    Ok(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_field_is_refused_with_its_line_and_nothing_is_applied() -> Result<()> {
    let lab = Lab::from_env();
    let rv = Ringvault::of(&lab).await?;
    let text = "[policy.e2e-good]\ncluster = \"t1\"\nschedule = \"0 2 * * *\"\naction = \"backup\"\n\
                [policy.e2e-bad]\ncluster = \"t1\"\nshedule = \"0 2 * * *\"\naction = \"backup\"\n";
    let bad = file(text)?;
    let path = bad.path().display().to_string();
    rv.run(&["policy", "apply", &path]).await?.expect(exit::USAGE)?.says(&["line 7", "shedule"])?;
    rv.run(&["policy", "show", "e2e-good"]).await?.expect(exit::NOT_FOUND)?;
    let zone = text.replace("shedule", "timezone = \"Mars/Olympus\"\nschedule");
    std::fs::write(bad.path(), zone)?;
    rv.run(&["policy", "apply", &path]).await?.expect(exit::USAGE)?.says(&["Mars/Olympus"])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_fires_on_the_minute_once_and_not_while_it_is_paused() -> Result<()> {
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, 5, 10).await?;
    let rv = Ringvault::of(&lab).await?;
    let text = format!(
        "[policy.{POLICY}]\ncluster = \"{T1}\"\nschedule = \"* * * * *\"\ntimezone = \"Asia/Kathmandu\"\n\
         action = \"backup\"\nkeyspaces = [\"{KEYSPACE}\"]\nrpo = \"1h\"\n"
    );
    let policies = file(&text)?;
    let path = policies.path().display().to_string();
    let dry = ["policy", "apply", &path, "--dry-run"];
    let diff = rv.json::<Document<PolicyDiff>>(exit::OK, &dry).await?.body;
    ensure!(diff.dry_run && diff.added.len() == 1, "{diff:?}");
    rv.run(&["policy", "show", POLICY]).await?.expect(exit::NOT_FOUND)?;

    let applied_at = Utc::now();
    rv.run(&["policy", "apply", &path]).await?.expect(exit::OK)?;
    let outcome = watch_it_fire(&rv, applied_at).await;
    // Whatever came of it: a policy that fires each minute must not outlive its test.
    rv.run(&["policy", "delete", POLICY, "--yes"]).await?.expect(exit::OK)?;
    outcome?;
    rv.run(&["policy", "show", POLICY]).await?.expect(exit::NOT_FOUND)?;
    shop.close().await
}

async fn watch_it_fire(rv: &Ringvault, applied_at: DateTime<Utc>) -> Result<()> {
    let again = rv.json::<Page<PolicyView>>(exit::OK, &["policy", "list"]).await?;
    let listed = again.items.iter().find(|view| view.name.as_str() == POLICY);
    ensure!(listed.is_some_and(|view| !view.paused), "{again:?}");
    let next = ["policy", "next", POLICY, "-n", "3"];
    let next = rv.json::<Document<NextFires>>(exit::OK, &next).await?.body;
    let fires = &next.fires;
    ensure!(fires.len() == 3 && fires.iter().all(|at| at.second() == 0), "{fires:?}");
    ensure!(fires[1] - fires[0] == TimeDelta::minutes(1), "{fires:?}");
    ensure!(fires[0] > applied_at && fires[0] - Utc::now() <= TimeDelta::minutes(1), "{fires:?}");

    let fire = until("fire of the policy", Duration::from_secs(75), async || {
        let view = rv.json::<Document<PolicyView>>(exit::OK, &["policy", "show", POLICY]).await?;
        Ok(view.body.last_fire)
    })
    .await?;
    let paused = rv.json::<Document<PolicyView>>(exit::OK, &["policy", "pause", POLICY]).await?.body;
    ensure!(paused.paused && paused.next_fire.is_none(), "{paused:?}");
    ensure!(fire.state == FireState::Fired && fire.at >= fires[0], "{fire:?}");
    let job = fire.job.context("a fire has a job")?;
    let done = finished(rv, job).await?;
    let late = done.summary.created_at - fire.at;
    ensure!(late >= TimeDelta::zero() && late < TimeDelta::seconds(40), "it fired {late} late");
    ensure!(done.summary.policy.is_some_and(|policy| policy.as_str() == POLICY), "{:?}", done.spec);
    let backup = done.summary.backup.context("a backup job has a backup")?;
    let backup = rv.show_backup(T1, backup.as_str()).await?;
    ensure!(backup.summary.state == BackupState::Complete, "{:?}", backup.summary);

    // One fire, one job: no other backup of the policy began at that instant.
    let list = ["job", "list", "-c", T1, "--kind", "backup", "-n", "200"];
    let jobs = rv.json::<Page<ringvault_core::api::JobSummary>>(exit::OK, &list).await?;
    let of_fire = jobs.items.iter().filter(|job| {
        let near = (job.created_at - fire.at).abs() < TimeDelta::seconds(30);
        near && job.policy.as_ref().is_some_and(|policy| policy.as_str() == POLICY)
    });
    ensure!(of_fire.count() == 1, "one instant, one job");
    Ok(())
}

async fn finished(rv: &Ringvault, job: JobId) -> Result<ringvault_core::api::JobDetail> {
    until("end of the policy's backup", Duration::from_secs(120), async || {
        let detail = rv.show_job(job).await?;
        Ok((detail.summary.state == JobState::Succeeded).then_some(detail))
    })
    .await
}
