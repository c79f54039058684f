//! A restore that fails half way because one node's Cassandra is gone is finished by a retry, and
//! only what failed runs again.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ringvault_core::{
    TaskId,
    api::{JobDetail, StageProgress, StageState, TaskView},
    job::{JobState, StageKind},
    task::TaskState,
};
use ringvault_tests::{
    Content, Lab, Ringvault,
    fault::Mend,
    lab::T1,
    own::OwnProgram,
    ringvault::{exit, fresh},
    shop::Shop,
    store::Store,
    wait::until,
};

const KEYSPACE: &str = "e2e_retry";
/// Gives up on a node after a few seconds instead of half an hour.
const IMPATIENT: &str = "[retry]\nmax_attempts = 2\nenvironment_interval = \"1s\"\n\
                         environment_patience = \"4s\"\nbackoff_base = \"500ms\"\n";
/// Tables beside those of the shop: so many that no node has loaded all before one is stopped.
const TABLES: i32 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_finishes_what_a_stopped_node_left_half_done() -> Result<()> {
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, 100, 200).await?;
    for table in 0..TABLES {
        shop.cql()
            .run_all(&[
                format!("CREATE TABLE {KEYSPACE}.small{table} (p int PRIMARY KEY, v text)"),
                format!("INSERT INTO {KEYSPACE}.small{table} (p, v) VALUES ({table}, 'v') USING TTL 86400"),
            ])
            .await?;
    }
    let content = Content::read(shop.cql(), KEYSPACE).await?;
    let rv = Ringvault::of(&lab).await?;
    let backup = fresh("retry");
    rv.backup(T1, &backup, &["--keyspace", KEYSPACE]).await?;
    shop.write(1000, 10, 10).await?;

    let own = OwnProgram::scheduler(&lab, IMPATIENT).await?;
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
    ];
    let job = rv.start(&restore).await?.job;
    until("apply stage", Duration::from_secs(120), async || {
        let detail = rv.show_job(job).await?;
        ensure!(!detail.summary.state.is_settled(), "{:?}", detail.summary);
        Ok(stage(&detail, StageKind::Apply).filter(|stage| stage.state == StageState::Open).map(|_| ()))
    })
    .await?;
    let mend = Mend::with(&lab, &["start-node", "3", "--cluster", T1]);
    lab.run(&["stop-node", "3", "--cluster", T1, "--kill"]).await?;

    let failed = until("failure of the restore", Duration::from_secs(180), async || {
        let detail = rv.show_job(job).await?;
        Ok(detail.summary.state.is_settled().then_some(detail))
    })
    .await?;
    says_which_node(&lab, &rv, &failed).await?;
    // The job is past its truncate: it can be retried, and not cancelled away.
    ensure!(failed.summary.past_no_return, "{:?}", failed.summary);
    rv.run(&["job", "cancel", &job.to_string()]).await?.expect(exit::CONFLICT)?;
    // A backup taken now would hold half a restore; it counts for no retention, and its own is held.
    let delete = ["backup", "delete", &backup, "-c", T1, "--confirm", &backup];
    rv.run(&delete).await?.expect(exit::REFUSED)?;

    // What the node had staged is lost with its disk: it is fetched again.
    let stage = stage_of(&lab, 3).await?;
    ensure!(stage.exists(), "{} is not where node 3 stages", stage.display());
    std::fs::remove_dir_all(&stage)?;
    mend.now().await?;
    let retried = rv.job(exit::OK, &["job", "retry", &job.to_string()]).await?;
    drop(own);
    only_what_failed_ran_again(&failed, &retried)?;
    each_table_was_emptied_once(&lab, &failed).await?;
    let again = Shop::attach(&lab, T1, KEYSPACE).await?;
    Content::read(again.cql(), KEYSPACE).await?.must_equal(&content)?;
    again.close().await
}

/// Where a node's worker stages what it downloads.
async fn stage_of(lab: &Lab, index: u32) -> Result<PathBuf> {
    let nodes = lab.cluster(T1).await?.nodes;
    let node = nodes.into_iter().find(|node| node.index == index).context("no such node")?;
    let data = node.data_dirs.first().and_then(|dir| dir.parent()).context("no data directory")?;
    Ok(data.join("ringvault-stage"))
}

/// The vault has a record of each table's truncate, and one that loading began.
async fn each_table_was_emptied_once(lab: &Lab, job: &JobDetail) -> Result<()> {
    let folder = format!("clusters/{T1}/restores/{}", job.summary.id);
    let store = Store::of(lab).await?;
    let truncated = store.objects(&format!("{folder}/truncated"))?.len();
    ensure!(truncated > usize::try_from(TABLES)?, "{truncated} tables have a record");
    let records = store.objects(&folder)?;
    ensure!(records.iter().any(|object| object.key.ends_with("/loading.json")), "{records:?}");
    Ok(())
}

async fn says_which_node(lab: &Lab, rv: &Ringvault, failed: &JobDetail) -> Result<()> {
    ensure!(failed.summary.state == JobState::Failed, "{:?}", failed.summary);
    let nodes = lab.cluster(T1).await?.nodes;
    let address = &nodes.iter().find(|node| node.index == 3).context("t1 has three nodes")?.address;
    let error = failed.summary.error.as_ref().context("a failed job says why")?;
    ensure!(error.message.contains(address.as_str()), "{error} does not name {address}");
    let shown = rv.run(&["job", "show", &failed.summary.id.to_string()]).await?.expect(exit::OK)?;
    shown.says(&[address, "failed", "ringvault job retry"])?;
    let broken: Vec<_> = failed.tasks.iter().filter(|task| task.state == TaskState::Failed).collect();
    ensure!(!broken.is_empty() && broken.iter().all(|task| task.address == *address), "{broken:?}");
    Ok(())
}

/// Tasks that were done have no new attempt, tasks that failed have; the truncate ran once.
fn only_what_failed_ran_again(before: &JobDetail, after: &JobDetail) -> Result<()> {
    ensure!(after.summary.state == JobState::Succeeded, "{:?}", after.summary);
    let of = |detail: &JobDetail| -> BTreeMap<TaskId, TaskView> {
        detail.tasks.iter().map(|task| (task.id, task.clone())).collect()
    };
    let (was, is) = (of(before), of(after));
    for (id, task) in &was {
        let now = is.get(id).context("a task is gone")?;
        let (tried, tries) = (task.attempts.len(), now.attempts.len());
        match task.state {
            TaskState::Succeeded => ensure!(tried == tries, "a task that was done ran again: {now:?}"),
            TaskState::Failed => ensure!(tries > tried, "a task that failed did not run again: {now:?}"),
            _ => {}
        }
        ensure!(now.state == TaskState::Succeeded, "{now:?}");
    }
    let truncates: Vec<_> = is.values().filter(|task| task.stage == StageKind::Truncate).collect();
    ensure!(truncates.len() == 1 && truncates[0].attempts.len() == 1, "{truncates:?}");
    Ok(())
}

fn stage(detail: &JobDetail, kind: StageKind) -> Option<&StageProgress> {
    detail.stages.iter().find(|stage| stage.stage == kind)
}
