//! Moving over from cassandra-medusa: what it wrote of a living cluster is listed, verified, restored with every
//! cell and exported, as it lies; and stays its own.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use ringvault_core::{
    api::{BackupSummary, Page},
    backup::BackupState,
};
use ringvault_tests::{
    Content, Lab,
    fault::Mend,
    medusa::{Medusa, STORE, flip},
    ringvault::{exit, fresh},
    round_trip::{CAMEL, KEYSPACE, RoundTrip},
};
use serde_json::Value;

/// Medusa's schema does not know of a column that was dropped, so what holds cells of one cannot be loaded into the
/// table that it describes; Medusa's own restore cannot either.
const DROPPED: &str = "altered";

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_taken_over_and_every_cell_comes_back() -> Result<()> {
    let lab = Lab::from_env();
    let cluster = fresh("medusa");
    let _gone = Mend::with(&lab, &["down", "--cluster", &cluster, "--purge"]);
    lab.run(&["up", "--cluster", &cluster, "--nodes", "2", "--heap", "512m", "--no-build"]).await?;
    let trip = RoundTrip::begin(&lab, &cluster).await?;
    let medusa = Medusa::beside(&lab, &cluster).await?;
    let [first, full, half] = ["first", "full", "half"].map(fresh);
    medusa.backup(0..2, &first, "differential").await?;
    medusa.backup(0..2, &full, "full").await?;
    medusa.backup(0..1, &half, "differential").await?;
    let weight = medusa.weight()?;

    let import = ["catalog", "import-medusa", STORE, "-c", &cluster];
    let tried: Value = trip.rv.json(exit::OK, &[&import[..], &["--dry-run"]].concat()).await?;
    ensure!(tried["imported"] == 3 && listed(&trip).await?.is_empty(), "{tried}");
    let done: Value = trip.rv.json(exit::OK, &import).await?;
    ensure!(done["imported"] == 3 && done["problems"] == 0, "{done}");
    let again: Value = trip.rv.json(exit::OK, &import).await?;
    ensure!(again["imported"] == 0 && again["known"] == 3, "{again}");

    let backups = listed(&trip).await?;
    let names: BTreeSet<String> = backups.iter().map(|backup| backup.name.to_string()).collect();
    let theirs = medusa.list().await?;
    ensure!(names == theirs, "listed are {names:?}, Medusa lists {theirs:?}");
    for backup in &backups {
        let is_half = backup.name.as_str() == half;
        ensure!((backup.state == BackupState::Complete) != is_half, "{backup:?}");
        ensure!(backup.figures.bytes > 0 && backup.figures.bytes_new == 0, "{backup:?}");
        for level in ["presence", "digest"] {
            let verify = ["verify", "run", backup.name.as_str(), "-c", &cluster, "--level", level];
            trip.rv.job(exit::OK, &verify).await?;
        }
    }
    for (backup, method) in [(&first, "import"), (&full, "slice")] {
        restored(&trip, backup, method).await.with_context(|| format!("{backup} by {method}"))?;
    }
    exported(&lab, &trip, &full).await?;
    damage_is_named(&trip, &medusa, &first).await?;

    let delete = ["backup", "delete", &full, "-c", &cluster, "--confirm", &full];
    trip.rv.job(exit::OK, &delete).await?;
    ensure!(medusa.weight()? == weight, "a purge changed what is Medusa's");
    let after: Value = trip.rv.json(exit::OK, &import).await?;
    let outcomes = after["backups"].as_array().context("no backups")?;
    ensure!(outcomes.iter().any(|backup| backup["outcome"] == "expired"), "{after}");
    // And Medusa goes on with what is its own.
    medusa.run(0, &["verify", "--backup-name", &first]).await?;
    medusa.run(0, &["delete-backup", "--backup-name", &first, "--all-nodes"]).await?;
    let gone = ["verify", "run", &first, "-c", &cluster, "--level", "presence"];
    trip.rv.job(exit::PROBLEMS, &gone).await?;
    trip.close().await
}

/// The imported backups, the newest first.
async fn listed(trip: &RoundTrip) -> Result<Vec<BackupSummary>> {
    let page: Page<BackupSummary> = trip.rv.json(exit::OK, &["backup", "list", "-c", &trip.cluster]).await?;
    let is_medusas =
        |backup: &BackupSummary| backup.tags.get("origin").is_some_and(|origin| origin == "medusa");
    Ok(page.items.into_iter().filter(is_medusas).collect())
}

/// Drops everything and restores it.
async fn restored(trip: &RoundTrip, backup: &str, method: &str) -> Result<()> {
    trip.cql.run_all(&[format!("DROP KEYSPACE {KEYSPACE}"), format!("DROP KEYSPACE \"{CAMEL}\"")]).await?;
    let exclude = format!("{KEYSPACE}.{DROPPED}");
    let options = ["--keyspace", KEYSPACE, "--keyspace", CAMEL, "--exclude", &exclude, "--method", method];
    let job = trip.rv.restore(backup, &trip.cluster, &options).await?;
    let restored = job.outcome.restored.context("a restore has an outcome")?;
    ensure!(restored.problems.is_empty() && restored.sstables > 0, "{restored:?}");
    let all_but = |content: Content| content.without(&[DROPPED]);
    all_but(Content::read(&trip.cql, KEYSPACE).await?).must_equal(&all_but(trip.variety.clone()))?;
    Content::read(&trip.cql, CAMEL).await?.must_equal(&trip.camel)
}

/// With the vault and Medusa's bucket alone.
async fn exported(lab: &Lab, trip: &RoundTrip, backup: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let status = lab.status().await?;
    let config =
        status.services.schedulers.first().context("the lab has no scheduler")?.config.display().to_string();
    let to = folder.path().join("export").display().to_string();
    let mut alone = trip.rv.command()?;
    alone.env("RINGVAULT_SERVER", "http://127.0.0.1:9");
    alone.args(["backup", "export", backup, "-c", &trip.cluster, "--to", &to, "--config", &config]);
    alone.args(["--keyspace", KEYSPACE]);
    ringvault_tests::process::run(&mut alone).await?.expect(exit::OK)?;
    let files = walkdir::WalkDir::new(&to)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file());
    ensure!(files.count() > 50, "little was exported");
    Ok(())
}

/// A byte that changed behind everybody's back.
async fn damage_is_named(trip: &RoundTrip, medusa: &Medusa, backup: &str) -> Result<()> {
    // Of the objects that differential backups share: those of a full one lie below its name.
    let part = format!("/data/{KEYSPACE}/large-");
    let object =
        medusa.find(|path| path.contains(&part) && path.ends_with("-Data.db") && !path.contains("/full-"))?;
    flip(&object)?;
    let verify = ["verify", "run", backup, "-c", &trip.cluster, "--level", "digest", "--wait"];
    let ended = trip.rv.run(&verify).await?;
    flip(&object)?;
    ended.expect(exit::PROBLEMS)?.says(&["Data.db", "large"])?;
    trip.rv.verify(&trip.cluster, backup).await?;
    Ok(())
}
