//! What a cluster needs to be backed up and restored: a recovery point, a live worker a node, one
//! that may delete, one schema.

use std::collections::BTreeMap;

use ringvault_core::{
    ClusterName,
    api::{ClusterStatus, NodeState, NodeView, RpoState},
};

use super::Report;
use crate::client::Client;

/// The capability that purges need.
const DELETE: &str = "vault.delete";

/// Looks at all of it.
pub(super) async fn look(client: &Client, cluster: &ClusterStatus, report: &mut Report) {
    let before = report.problems();
    recovery_point(cluster, report);
    workers(client, &cluster.cluster, report).await;
    schema(client, &cluster.cluster, report).await;
    // The scheduler's own word, where nothing that was looked at here says it already.
    if let (Some(problem), true) = (&cluster.problem, report.problems() == before) {
        let name = &cluster.cluster;
        let next = cluster.next.clone();
        let next = next.unwrap_or_else(|| format!("ringvault node list -c {name}"));
        report.bad(format!("{name} problem"), problem, next);
    }
}

fn recovery_point(cluster: &ClusterStatus, report: &mut Report) {
    let name = &cluster.cluster;
    let what = format!("{name} recovery point");
    match (&cluster.last_good, cluster.rpo) {
        (None, _) => report.bad(
            what,
            "no backup of it can be restored",
            format!("ringvault backup create -c {name} --wait"),
        ),
        (Some(good), RpoState::Late) => report.bad(
            what,
            format!("{} is older than its policy allows", good.backup),
            format!("ringvault job list -c {name} --kind backup"),
        ),
        (Some(good), _) => report.well(what, format!("{} can be restored", good.backup)),
    }
}

async fn workers(client: &Client, cluster: &ClusterName, report: &mut Report) {
    let what = format!("{cluster} workers");
    let nodes = match client.nodes(cluster).await {
        Ok(page) => page.items,
        Err(failure) => return report.failure(&what, &failure),
    };
    let live = nodes.iter().filter(|node| node.state == NodeState::Live).count();
    if live == nodes.len() && live > 0 {
        report.well(&what, format!("{live}/{} live", nodes.len()));
    }
    let list = format!("ringvault node list -c {cluster}");
    for (state, words, next) in [
        (
            NodeState::NoWorker,
            "have no worker and cannot be backed up",
            "start a worker beside each".to_owned(),
        ),
        (
            NodeState::Silent,
            "have not been heard for too long",
            format!("see whether worker and broker run there; {list}"),
        ),
        (
            NodeState::Refused,
            "claim a cluster id that is another ring's",
            "give that ring an id of its own in its workers' settings".to_owned(),
        ),
    ] {
        let names: Vec<&str> = nodes.iter().filter(|node| node.state == state).map(NodeView::label).collect();
        if !names.is_empty() {
            report.bad(
                &what,
                format!("{} of {} {words}: {}", names.len(), nodes.len(), names.join(", ")),
                next,
            );
        }
    }
    for (problem, names) in problems(&nodes) {
        let next = format!("ringvault node show {} -c {cluster}", names[0]);
        report.bad(
            &what,
            format!("{} of {} ({}): {problem}", names.len(), nodes.len(), names.join(", ")),
            next,
        );
    }
    let sweeps =
        |node: &NodeView| node.state == NodeState::Live && node.capabilities.iter().any(|may| may == DELETE);
    if live > 0 && !nodes.iter().any(sweeps) {
        report.warn(
            &what,
            "none may delete from the vault: purges wait",
            "give one worker the right to delete, in its settings and at the store",
        );
    }
}

/// What workers say is wrong, and at which nodes: the same at many nodes is one problem.
fn problems(nodes: &[NodeView]) -> BTreeMap<&str, Vec<&str>> {
    let mut problems: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in nodes.iter().filter(|node| matches!(node.state, NodeState::Live | NodeState::Silent)) {
        if let Some(problem) = &node.problem {
            problems.entry(problem).or_default().push(node.label());
        }
    }
    problems
}

async fn schema(client: &Client, cluster: &ClusterName, report: &mut Report) {
    let what = format!("{cluster} schema");
    match client.schema(cluster).await {
        Ok(schema) if schema.versions.is_empty() => report.warn(
            what,
            "not known: no worker has told of it lately",
            format!("ringvault node list -c {cluster}"),
        ),
        Ok(schema) if schema.agreed => report.well(what, "all nodes agree"),
        Ok(schema) => report.bad(
            what,
            format!("nodes have {} different schemas", schema.versions.len()),
            "nodetool describecluster; a backup waits until they agree",
        ),
        Err(failure) => report.failure(&what, &failure),
    }
}

/// What to call a node.
trait Label {
    fn label(&self) -> &str;
}

impl Label for NodeView {
    fn label(&self) -> &str {
        if self.address.is_empty() { "(no address)" } else { &self.address }
    }
}
