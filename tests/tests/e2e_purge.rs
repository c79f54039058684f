//! Retention and the sweep: what goes, what stays, and that what stays can be restored.

use anyhow::{Context as _, Result, ensure};
use ringvault_core::{
    api::{Document, PurgePreview},
    backup::BackupState,
};
use ringvault_tests::{
    Content, Lab, Ringvault,
    fault::stop_node,
    lab::T1,
    own::OwnProgram,
    ringvault::{exit, fresh},
    shop::Shop,
    store::Store,
};

const KEYSPACE: &str = "e2e_purge";

#[tokio::test(flavor = "multi_thread")]
async fn the_last_one_stays_whole_and_the_rest_goes() -> Result<()> {
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    let (rv, store) = (Ringvault::of(&lab).await?, Store::of(&lab).await?);
    let selection = ["--keyspace", KEYSPACE];
    let names: Vec<String> = (1..=3).map(|n| fresh(&format!("purge-{n}"))).collect();
    for (name, first) in names.iter().zip([0, 1000, 2000]) {
        shop.write(first, 300, 100).await?;
        if name == &names[2] {
            // Other files with the same rows: what the first two brought of this table goes with them. Its
            // files are too large for a pack, which stays while anything in it is named.
            for node in 1..=3 {
                lab.nodetool(T1, node, &["compact", KEYSPACE, "photos"]).await?;
            }
        }
        rv.backup(T1, name, &selection).await?;
    }
    let last = &names[2];
    let content = Content::read(shop.cql(), KEYSPACE).await?;
    let before = store.data(T1, &names[0])?;
    ensure!(!before.is_empty(), "the first backup brought nothing");

    // A name that exists is refused, whatever its state.
    let again = ["backup", "create", "-c", T1, "--name", &names[0], "--wait"];
    rv.run(&again).await?.expect(exit::CONFLICT)?;

    let plan = ["purge", "plan", "-c", T1, "--keep-last", "1"];
    let preview = rv.json::<Document<PurgePreview>>(exit::OK, &plan).await?.body;
    let goes: Vec<&str> = preview.expire.iter().map(|target| target.backup.as_str()).collect();
    ensure!(goes.contains(&names[0].as_str()) && goes.contains(&names[1].as_str()), "{goes:?}");
    ensure!(preview.keep.iter().any(|kept| kept.backup.as_str() == last), "{preview:?}");
    ensure!(store.data(T1, &names[0])?.len() == before.len(), "a plan changed something");
    let run = ["purge", "run", "-c", T1, "--keep-last", "1"];
    rv.run(&run).await?.expect(exit::REFUSED)?.says(&["--confirm=t1"])?;

    let job = rv.job(exit::OK, &[&run[..], &["--confirm", T1]].concat()).await?;
    let purged = job.outcome.purge.context("a purge has an outcome")?;
    ensure!(purged.expired.len() >= 2 && purged.objects > 0, "{purged:?}");
    for name in &names[..2] {
        let state = rv.show_backup(T1, name).await?.summary.state;
        ensure!(state == BackupState::Expired, "{name} is {}", state.as_str());
        let verify = ["verify", "run", name, "-c", T1, "--wait"];
        rv.run(&verify).await?.expect(exit::CONFLICT)?;
        // Its place is never freed.
        let reuse = ["backup", "create", "-c", T1, "--name", name];
        rv.run(&reuse).await?.expect(exit::CONFLICT)?;
    }
    let rest = store.data(T1, &names[0])?.len() + store.data(T1, &names[1])?.len();
    let named = purged.objects;
    ensure!(rest > 0, "the last backup is incremental: it names objects of the others");
    ensure!(named > 0, "objects that nobody names were not deleted");

    rv.verify(T1, last).await?;
    shop.cql().run(&format!("DROP KEYSPACE {KEYSPACE}")).await?;
    rv.restore(last, T1, &selection).await?;
    Content::read(shop.cql(), KEYSPACE).await?.must_equal(&content)?;

    // Deleting the last one by name takes all its objects, and those it alone named. A pack stays while
    // another backup names a part of it, such as a table of contents that all SSTables share.
    rv.backup(T1, &fresh("purge-other"), &["--keyspace", "system_distributed"]).await?;
    let delete = ["backup", "delete", last, "-c", T1];
    rv.run(&delete).await?.expect(exit::REFUSED)?;
    rv.job(exit::OK, &[&delete[..], &["--confirm", last]].concat()).await?;
    for name in &names {
        let mut left = store.data(T1, name)?;
        left.retain(|object| !object.key.contains("/packs/"));
        ensure!(left.is_empty(), "{name} left {left:?}");
    }
    shop.close().await
}

/// A backup that misses a node counts for nothing against one that can be restored.
#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_backup_pushes_nothing_out() -> Result<()> {
    const PARTIAL: &str = "e2e_purge_partial";
    let lab = Lab::from_env();
    // One replica: without one node, ranges are missing.
    let shop = Shop::open_in(&lab, T1, PARTIAL, 1).await?;
    shop.write(0, 30, 50).await?;
    let rv = Ringvault::of(&lab).await?;
    let (good, partial) = (fresh("purge-good"), fresh("purge-partial"));
    rv.backup(T1, &good, &["--keyspace", PARTIAL]).await?;
    let node = stop_node(&lab, T1, 3).await?;
    let own = OwnProgram::scheduler(&lab, IMPATIENT).await?;
    let create = ["backup", "create", "-c", T1, "--name", &partial, "--keyspace", PARTIAL, "--wait"];
    let ended = rv.run(&create).await?;
    drop(own);
    node.now().await?;
    ensure!(ended.code != exit::OK, "a backup without a node is not complete: {}", ended.stdout);

    let plan = ["purge", "plan", "-c", T1, "--keep-last", "1"];
    let preview = rv.json::<Document<PurgePreview>>(exit::OK, &plan).await?.body;
    let goes = preview.expire.iter().any(|target| target.backup.as_str() == good);
    ensure!(!goes, "the last restorable backup would go: {preview:?}");
    ensure!(preview.keep.iter().any(|kept| kept.backup.as_str() == good), "{preview:?}");
    let run = ["purge", "run", "-c", T1, "--keep-last", "1", "--confirm", T1];
    rv.job(exit::OK, &run).await?;
    rv.verify(T1, &good).await?;
    shop.close().await
}

/// A scheduler that does not wait long for a node that is away, and gives up soon on what failed: a
/// purge waits for a backup that may still be retried.
const IMPATIENT: &str = "[retry]\nenvironment_interval = \"1s\"\nenvironment_patience = \"3s\"\n\
                         [timing]\nretry_backup = \"3s\"\n";

/// They run at once, and the backup is restorable afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_a_purge_at_the_same_time() -> Result<()> {
    const BUSY: &str = "e2e_purge_busy";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, BUSY).await?;
    let rv = Ringvault::of(&lab).await?;
    let selection = ["--keyspace", BUSY];
    let base = fresh("busy-base");
    shop.write(0, 100, 100).await?;
    rv.backup(T1, &base, &selection).await?;
    for round in 1..=2 {
        shop.write(round * 100, 60, 60).await?;
        let name = fresh("busy");
        let create = ["backup", "create", "-c", T1, "--name", &name, "--keyspace", BUSY];
        let purge = ["purge", "run", "-c", T1, "--keep-last", "1", "--confirm", T1];
        let (backup, purge) = tokio::join!(rv.job(exit::OK, &create), rv.job(exit::OK, &purge));
        backup?;
        purge?;
        rv.verify(T1, &name).await?;
        if round == 2 {
            let content = Content::read(shop.cql(), BUSY).await?;
            shop.cql().run(&format!("DROP KEYSPACE {BUSY}")).await?;
            rv.restore(&name, T1, &selection).await?;
            Content::read(shop.cql(), BUSY).await?.must_equal(&content)?;
        }
    }
    shop.close().await
}
