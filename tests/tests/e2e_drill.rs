//! A drill brings a backup back beside everything, reads it, and leaves nothing: no keyspace, no file, no
//! changed row.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ringvault_core::{
    api::{Document, EvidenceItem, EvidenceKind, FleetStatus, Page, StageState},
    job::{JobState, StageKind},
};
use ringvault_tests::{
    Content, Lab, Ringvault,
    cql::Cql,
    lab::T1,
    ringvault::{exit, fresh},
    round_trip::{CAMEL, KEYSPACE, RoundTrip},
    shop::Shop,
    store::Store,
    wait::until,
};

const PREFIX: &str = "ringvault_drill_";

/// Files of drills in the data directories, snapshots that Cassandra took when it dropped them included.
async fn files(lab: &Lab) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for node in lab.cluster(T1).await?.nodes {
        for entry in node.data_dirs.iter().flat_map(walkdir::WalkDir::new) {
            // What is being deleted right now is no finding.
            let Ok(entry) = entry else { continue };
            let path = entry.path().display().to_string();
            if entry.file_type().is_file() && path.contains(PREFIX) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

async fn nothing_is_left(lab: &Lab, cql: &Cql) -> Result<()> {
    until("no node knows a keyspace of the drill", Duration::from_secs(30), async || {
        Ok(cql.keyspaces(PREFIX).await?.is_empty().then_some(()))
    })
    .await?;
    // Cassandra deletes them in the background.
    until("the files of the drill are gone", Duration::from_secs(30), async || {
        Ok(files(lab).await?.is_empty().then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_proves_a_backup_and_leaves_nothing() -> Result<()> {
    let lab = Lab::from_env();
    let trip = RoundTrip::begin(&lab, T1).await?;
    let (rv, cql) = (&trip.rv, &trip.cql);
    // Whatever became of the data since: it is not looked at, and stays.
    let live = trip.moved_on().await?;
    let drill = ["drill", "run", "--from", trip.name()];
    let would = rv.run(&[&drill[..], &["--dry-run"]].concat()).await?.expect(exit::OK)?;
    would.says(&[trip.name(), "keyspaces of its own", "drop it again"])?;
    ensure!(cql.keyspaces(PREFIX).await?.is_empty(), "a dry run changes nothing");

    let selected = ["--keyspace", KEYSPACE, "--keyspace", CAMEL];
    let job = rv.job(exit::OK, &[&drill[..], &selected].concat()).await?;
    let restored = job.outcome.restored.as_ref().context("what was restored")?;
    ensure!(restored.rows_read > 500 && restored.problems.is_empty(), "{restored:?}");
    ensure!(!job.summary.past_no_return, "{:?}", job.summary);
    nothing_is_left(&lab, cql).await?;
    Content::read(cql, KEYSPACE).await?.must_equal(&live)?;
    Content::read(cql, CAMEL).await?.must_equal(&trip.camel)?;

    // Everything that people keep here, of the newest backup, as a person sees it.
    let told = rv.run(&["drill", "run", "-c", T1, "--wait"]).await?.expect(exit::OK)?;
    told.says(&["succeeded", "Restored", "Read back", "Dropped", "everything it made"])?;
    nothing_is_left(&lab, cql).await?;
    let fleet = rv.json::<Document<FleetStatus>>(exit::OK, &["status"]).await?.body;
    let cluster = fleet.clusters.iter().find(|cluster| cluster.cluster.as_str() == T1).context(T1)?;
    let ended = cluster.last_drill_at.context("no drill is known of")?;
    ensure!(Some(ended) > job.summary.ended_at, "{ended}");
    let arguments = ["evidence", "list", "--kind", "drilled", "-c", T1];
    let evidence = rv.json::<Page<EvidenceItem>>(exit::OK, &arguments).await?.items;
    let item = evidence.iter().find(|item| item.job == Some(job.summary.id)).context("the first drill")?;
    ensure!(item.kind == EvidenceKind::Drilled && item.count == Some(restored.rows_read), "{item:?}");
    trip.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_finds_damage_and_a_cancelled_one_leaves_nothing() -> Result<()> {
    const SHOP: &str = "e2e_drill";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, SHOP).await?;
    shop.write(0, 150, 100).await?;
    let rv = Ringvault::of(&lab).await?;
    let backup = fresh("drill");
    rv.backup(T1, &backup, &["--keyspace", SHOP]).await?;
    let live = Content::read(shop.cql(), SHOP).await?;
    let drill = ["drill", "run", "--from", &backup, "--to", T1];

    let job = rv.start(&[&drill[..], &["--rate-limit", "256KiB"]].concat()).await?.job;
    until("download", Duration::from_secs(60), async || {
        let stages = rv.show_job(job).await?.stages;
        let open = |kind| stages.iter().any(|s| s.stage == kind && s.state == StageState::Open);
        Ok(open(StageKind::Download).then_some(()))
    })
    .await?;
    rv.run(&["job", "cancel", &job.to_string()]).await?.expect(exit::OK)?;
    over(&rv, job, JobState::Cancelled).await?;
    nothing_is_left(&lab, shop.cql()).await?;

    let store = Store::of(&lab).await?;
    let largest = store.data(T1, &backup)?.into_iter().max_by_key(|object| object.size).context("objects")?;
    store.flip(&largest)?;
    let failed = rv.job(exit::FAILED, &drill).await;
    // Other tests verify what is in the vault.
    store.flip(&largest)?;
    let failed = failed?;
    let error = failed.summary.error.clone().context("a failed job says why")?;
    ensure!(error.message.contains("photos") || error.message.contains(&largest.key), "{error}");
    rv.run(&["job", "abandon", &failed.summary.id.to_string()]).await?;
    over(&rv, failed.summary.id, JobState::Abandoned).await?;
    nothing_is_left(&lab, shop.cql()).await?;
    Content::read(shop.cql(), SHOP).await?.must_equal(&live)?;
    shop.close().await
}

async fn over(rv: &Ringvault, job: ringvault_core::JobId, wanted: JobState) -> Result<()> {
    until("the job is over", Duration::from_secs(90), async || {
        let state = rv.show_job(job).await?.summary.state;
        Ok((state == wanted).then_some(()))
    })
    .await
}
