//! Backups that nobody can delete, of a real Cassandra: the round trip in a bucket with Object Lock, and a backup that
//! is locked for longer than the others.

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use ringvault_core::api::{BackupDetail, Document, PolicyView};
use ringvault_tests::{
    Lab, Ringvault,
    fault::Mend,
    ringvault::{exit, fresh},
    round_trip::RoundTrip,
};

const CLUSTER: &str = "locks";

fn until(backup: &BackupDetail) -> Result<DateTime<Utc>> {
    backup.summary.locked_until.with_context(|| format!("{} is not locked", backup.summary.name))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_locked_stays() -> Result<()> {
    let lab = Lab::from_env().beside("locks");
    let _gone = Mend::with(&lab, &["down", "--purge"]);
    let up = ["up", "--cluster", CLUSTER, "--nodes", "1", "--heap", "512m", "--no-build", "--lock", "1h"];
    lab.run(&up).await?;
    RoundTrip::turn(&lab, CLUSTER).await?;
    let ringvault = Ringvault::of(&lab).await?;

    let (every, longer) = (fresh("every"), fresh("longer"));
    let every = ringvault.backup(CLUSTER, &every, &[]).await?;
    ensure!(until(&every)? == every.summary.started_at + TimeDelta::hours(1), "{:?}", every.summary);
    let longer = ringvault.backup(CLUSTER, &longer, &["--lock", "3h"]).await?;
    ensure!(until(&longer)? == longer.summary.started_at + TimeDelta::hours(3), "{:?}", longer.summary);
    for backup in [&every, &longer] {
        let name = backup.summary.name.as_str();
        let confirm = format!("--confirm={name}");
        let refused = ringvault.run(&["backup", "delete", name, "-c", CLUSTER, &confirm]).await?;
        refused.expect(exit::REFUSED)?.says(&["locked until"])?;
        ringvault.verify(CLUSTER, name).await?;
    }

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("policies.toml");
    let policy = format!(
        "[policy.kept]\ncluster = \"{CLUSTER}\"\nschedule = \"@yearly\"\naction = \"backup\"\nlock = \"400d\"\n"
    );
    std::fs::write(&file, policy)?;
    let file = file.to_str().context("a path")?;
    ringvault.run(&["policy", "apply", file]).await?.expect(exit::OK)?;
    let shown = ringvault.run(&["policy", "show", "kept"]).await?.expect(exit::OK)?;
    ensure!(shown.stdout.contains("400d"), "{}", shown.stdout);
    let view: Document<PolicyView> = ringvault.json(exit::OK, &["policy", "show", "kept"]).await?;
    ensure!(view.body.policy.lock.is_some_and(|lock| lock.as_secs() == 400 * 86_400), "{view:?}");
    Ok(())
}
