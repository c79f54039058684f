//! Restores by streams: each SSTable is fetched by one node and sent to its owners by Cassandra. Every cell with write
//! time and expiry is compared at ALL, deletions, counters, views and indexes (storage-attached ones too) are tried;
//! workers die between a stream's begin and its record; what cannot be streamed is refused before anything is
//! changed.

use anyhow::{Context as _, Result, ensure};
use ringvault_core::{
    api::JobDetail,
    job::{RestoreMethod, StageKind},
};
use ringvault_tests::{
    Content, Lab,
    cql::Cql,
    fault::Mend,
    faults::{Points, Supervisor},
    lab::T1,
    ringvault::{Ringvault, exit, fresh},
    round_trip::RoundTrip,
    shop::Shop,
    store::Store,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: dev/test --full and --shapes run it"]
async fn a_ring_of_another_size_gets_every_cell_by_streams() -> Result<()> {
    let lab = Lab::from_env();
    let trip = RoundTrip::begin(&lab, T1).await?;
    let target = fresh("stream");
    let _gone = Mend::with(&lab, &["down", "--cluster", &target, "--purge"]);
    lab.run(&["up", "--cluster", &target, "--nodes", "2", "--heap", "512m", "--no-build"]).await?;
    let cql = Cql::connect(&lab, &target).await?;
    let job = trip.restore_by(RestoreMethod::Stream, &target, &cql).await.context("the other ring")?;
    each_sstable_was_fetched_once(&job)?;
    trip.cassandra_finds_nothing_wrong(&target, &cql).await?;
    trip.is_whole(&trip.cql).await.context("the first ring, which nobody meant")?;
    trip.close().await
}

/// Two nodes with one replica together hold as much as was fetched, which is as much as the manifests name.
fn each_sstable_was_fetched_once(job: &JobDetail) -> Result<()> {
    let plan = job.outcome.plan.as_ref().context("a restore has a plan")?;
    let restored = job.outcome.restored.as_ref().context("a restore has an outcome")?;
    let fetched: u64 = plan.nodes.iter().map(|node| node.bytes).sum();
    let received: u64 = plan.nodes.iter().map(|node| node.receives).sum();
    let sstables: u64 = plan.nodes.iter().map(|node| node.sstables).sum();
    ensure!(restored.bytes_downloaded == fetched, "{} of {fetched}", restored.bytes_downloaded);
    ensure!(restored.sstables == sstables, "{} of {sstables}", restored.sstables);
    let differs = fetched.abs_diff(received);
    ensure!(differs <= plan.nodes.len() as u64 * sstables, "one owner each: {received} of {fetched}");
    let loads: Vec<u64> = plan.nodes.iter().map(|node| node.bytes).collect();
    ensure!(loads.iter().all(|load| *load > 0), "both take part: {loads:?}");
    Ok(())
}

/// A worker dies when Cassandra has begun to stream and nobody knows, another fails when it is noted; and a third
/// when all is over and not recorded.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: dev/test --full and --shapes run it"]
async fn fewer_replicas_on_the_same_ring_are_streamed_whoever_dies() -> Result<()> {
    let lab = Lab::from_env();
    let trip = RoundTrip::begin(&lab, T1).await?;
    let (points, supervisor) = (Points::of(&lab)?, Supervisor::over(&lab));
    points.arm("apply.stream-note.before", "crash")?;
    points.arm("apply.stream.after", "error")?;
    points.arm("apply.record.before", "crash")?;
    trip.drop_and_restore_by(RestoreMethod::Stream).await?;
    let hit = points.hit()?;
    ensure!(hit.len() == 3 && supervisor.restarts() == 2, "{hit:?}, {} restarts", supervisor.restarts());
    points.disarm()?;
    trip.close().await
}

/// What is there is emptied once and comes back, counters and a view as they were; twice over.
#[tokio::test(flavor = "multi_thread")]
async fn a_keyspace_in_use_with_a_view_and_counters_is_streamed_over() -> Result<()> {
    const SHOP: &str = "e2e_stream_shop";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, SHOP).await?;
    shop.cql()
        .run(&format!(
            "CREATE MATERIALIZED VIEW {SHOP}.by_state AS SELECT * FROM {SHOP}.orders WHERE state IS NOT NULL \
             AND customer IS NOT NULL AND nr IS NOT NULL PRIMARY KEY (state, customer, nr)"
        ))
        .await?;
    shop.write(0, 50, 200).await?;
    let content = Content::read(shop.cql(), SHOP).await?;
    let (rv, name) = (Ringvault::of(&lab).await?, fresh("stream-shop"));
    rv.backup(T1, &name, &["--keyspace", SHOP]).await?;
    for first in [1000, 2000] {
        shop.write(first, 10, 10).await?;
        let options = ["--keyspace", SHOP, "--method", "stream", "--truncate", "--confirm", T1];
        let job = rv.restore(&name, T1, &options).await?;
        let truncates = job.tasks.iter().filter(|task| task.stage == StageKind::Truncate).count();
        ensure!(truncates == 1, "{truncates} truncates");
        Content::read(shop.cql(), SHOP).await?.must_equal(&content)?;
    }
    let renamed = "e2e_stream_beside";
    let rename = format!("{SHOP}={renamed}");
    shop.cql().run(&format!("DROP KEYSPACE IF EXISTS {renamed}")).await?;
    rv.restore(&name, T1, &["--rename", &rename, "--method", "stream"]).await?;
    Content::read(shop.cql(), renamed).await?.must_equal(&content).context("under another name")?;
    shop.cql().run(&format!("DROP KEYSPACE {renamed}")).await?;
    shop.close().await
}

/// A damaged object is handed to nobody, and a table with a storage-attached index is not streamed into.
#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_streamed_is_refused_before_anything_is_changed() -> Result<()> {
    const SHOP: &str = "e2e_stream_refused";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, SHOP).await?;
    shop.write(0, 100, 100).await?;
    let (rv, name) = (Ringvault::of(&lab).await?, fresh("stream-refused"));
    rv.backup(T1, &name, &["--keyspace", SHOP]).await?;
    let before = Content::read(shop.cql(), SHOP).await?;
    let what = ["--from", &name, "--to", T1, "--keyspace", SHOP, "--method", "stream", "--truncate"];
    let run = [&["restore", "run"], &what[..], &["--confirm", T1]].concat();

    if shop.cql().is_five {
        shop.cql().run(&format!("CREATE INDEX attached ON {SHOP}.orders (state) USING 'sai'")).await?;
        let plan = rv.run(&[&["restore", "plan"], &what[..]].concat()).await?.expect(exit::REFUSED)?;
        plan.says(&["BLOCKER", "attached", "storage-attached index"])?;
        let job = rv.job(exit::REFUSED, &run).await?;
        ensure!(!job.summary.past_no_return, "it went past the point of no return");
        rv.run(&["job", "abandon", &job.summary.id.to_string(), "--wait"]).await?;
        shop.cql().run(&format!("DROP INDEX {SHOP}.attached")).await?;
    }

    let store = Store::of(&lab).await?;
    let largest = store.data(T1, &name)?.into_iter().next().context("a backup has objects")?;
    store.flip(&largest)?;
    let job = rv.job(exit::FAILED, &run).await?;
    ensure!(!job.summary.past_no_return, "it went past the point of no return");
    let error = job.summary.error.as_ref().context("a failed job says why")?;
    ensure!(error.code == "RV-DIGEST" && error.message.contains("Data.db"), "{error}");
    Content::read(shop.cql(), SHOP).await?.must_equal(&before)?;
    rv.run(&["job", "abandon", &job.summary.id.to_string(), "--wait"]).await?;
    // Later backups name what is in it: it is whole again.
    store.flip(&largest)?;
    rv.verify(T1, &name).await?;
    shop.close().await
}
