//! A few crashes and errors at named points, as an appetiser: `full_faults.rs` tries every point.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ringvault_tests::{
    Content, Lab,
    faults::{Ground, Kind, LATE_VIEW, Points},
    lab::{NodeStatus, T1},
    wait::until,
};
use rustix::process::{Pid, Signal, kill_process};

/// How long a node stands still: longer than its peers wait before they hold it for down, and than
/// what they sent it is worth delivering.
const AWAY: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn programs_die_and_the_work_ends_as_it_would_have() -> Result<()> {
    let lab = Lab::from_env();
    let mut ground = Ground::prepare(&lab, T1, "e2e_faults", 3).await?;
    for (kind, point, action) in [
        (Kind::Backup, "report.handle.after", "crash"),
        (Kind::Backup, "vault.manifest.after", "crash"),
        (Kind::Backup, "vault.seal.after", "error"),
        (Kind::Restore, "truncate.table.after", "crash"),
        (Kind::Restore, "apply.import.after", "crash"),
        (Kind::Purge, "vault.delete.after", "crash"),
    ] {
        ensure!(ground.run_with(kind, point, action).await?, "{point} was not reached");
    }
    ensure!(ground.restarts() >= 5, "{} programs were started again", ground.restarts());
    a_view_that_the_backup_does_not_know_is_not_forgotten(&mut ground).await?;
    a_node_that_was_away_while_views_were_dropped_builds_them_too(&mut ground, &lab).await?;
    a_view_that_lacks_rows_is_made_again(&mut ground, &lab).await?;
    ground.close().await
}

/// The worker dies between the drop of a view and its creation.
async fn a_view_that_the_backup_does_not_know_is_not_forgotten(ground: &mut Ground) -> Result<()> {
    let keyspace = ground.shop().keyspace.clone();
    let view = format!(
        "CREATE MATERIALIZED VIEW {keyspace}.{LATE_VIEW} AS SELECT * FROM {keyspace}.orders WHERE nr IS NOT NULL \
         AND customer IS NOT NULL PRIMARY KEY (nr, customer)"
    );
    ground.shop().cql().run(&view).await?;
    let point = "settle.drop-view.after";
    ensure!(ground.run_with(Kind::Restore, point, "crash").await?, "{point} was not reached");
    the_late_view_is_whole(ground).await
}

async fn the_late_view_is_whole(ground: &Ground) -> Result<()> {
    let content = Content::read(ground.shop().cql(), &ground.shop().keyspace).await?;
    let (rows, expected) = (content.rows(LATE_VIEW), content.rows("orders"));
    ensure!(rows == expected && rows > 0, "the view has {rows} rows, its table {expected}");
    Ok(())
}

/// A node that hears of the drop and of the creation at once would keep what it has, and tell nobody.
async fn a_node_that_was_away_while_views_were_dropped_builds_them_too(
    ground: &mut Ground,
    lab: &Lab,
) -> Result<()> {
    let node = a_node_that_does_not_see_to_the_views(lab).await?;
    let points = ground.points.clone();
    let point = "settle.drop-view.before";
    let (reached, away) =
        tokio::join!(ground.run_with(Kind::Restore, point, "pause"), stands_still(&points, point, &node));
    away?;
    ensure!(reached?, "{point} was not reached");
    Ok(())
}

/// Cassandra may lose rows of a view as it builds it: here all of them, when the view is made and not yet counted.
async fn a_view_that_lacks_rows_is_made_again(ground: &mut Ground, lab: &Lab) -> Result<()> {
    let keyspace = ground.shop().keyspace.clone();
    let points = ground.points.clone();
    let point = "settle.count-views";
    let emptied = async {
        pauses(&points, point).await?;
        let emptied = empty_view(lab, &keyspace, LATE_VIEW).await;
        points.go_on(point)?;
        emptied
    };
    let (reached, emptied) = tokio::join!(ground.run_with(Kind::Restore, point, "pause"), emptied);
    emptied?;
    ensure!(reached?, "{point} was not reached");
    the_late_view_is_whole(ground).await
}

/// As CQL does not allow.
async fn empty_view(lab: &Lab, keyspace: &str, view: &str) -> Result<()> {
    let node = lab.cluster(T1).await?.nodes.into_iter().next().context("a node")?;
    let request = serde_json::json!({
        "type": "exec", "mbean": "org.apache.cassandra.db:type=StorageService",
        "operation": "truncate(java.lang.String,java.lang.String)", "arguments": [keyspace, view],
    });
    let answer = reqwest::Client::new().post(node.jolokia_url).body(request.to_string()).send().await?;
    let answer: serde_json::Value = serde_json::from_str(&answer.text().await?)?;
    ensure!(answer["status"] == 200, "{answer}");
    Ok(())
}

/// Of the nodes of a plan the first drops and makes the views: that of the smallest host id.
async fn a_node_that_does_not_see_to_the_views(lab: &Lab) -> Result<NodeStatus> {
    let mut by_id = Vec::new();
    for node in lab.cluster(T1).await?.nodes {
        let info = lab.nodetool(T1, node.index, &["info"]).await?;
        let id =
            info.lines().find_map(|line| line.strip_prefix("ID")?.split(':').nth(1)).context("its ID")?;
        by_id.push((id.trim().to_owned(), node));
    }
    by_id.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(by_id.pop().context("a node")?.1)
}

/// Waits until a task pauses at the point.
async fn pauses(points: &Points, point: &str) -> Result<()> {
    until(&format!("pause at {point}"), Duration::from_mins(2), async || {
        Ok(points.hit()?.contains(point).then_some(()))
    })
    .await
}

/// Stops the node where the task pauses, lets the task go on, and the node a while later.
async fn stands_still(points: &Points, point: &str, node: &NodeStatus) -> Result<()> {
    pauses(points, point).await?;
    let pid = node.pid.and_then(|pid| Pid::from_raw(pid.cast_signed())).context("a node that runs")?;
    kill_process(pid, Signal::STOP)?;
    let go_on = points.go_on(point);
    tokio::time::sleep(AWAY).await;
    kill_process(pid, Signal::CONT)?;
    go_on
}
