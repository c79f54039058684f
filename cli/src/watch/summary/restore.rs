//! A restore: the plan's block, and what was brought back.

use std::fmt::Write as _;

use ringvault_core::{
    api::{JobDetail, JobOutcome, TaskView},
    job::{JobSpec, JobState, StageKind},
    task::{NodePlan, PlanResult, PreflightResult, TaskState},
};

use crate::output::{Facts, Output, Table, human, state_cell};

/// What a restore fails with that its plan or a preflight does not let through.
const BLOCKED: &str = "RV-RESTORE-BLOCKED";

/// Whether it cannot run as it was asked for: a plan tells its blockers, a run fails with them.
pub(super) fn is_blocked(detail: &JobDetail) -> bool {
    let mut tasks = detail.tasks.iter().filter(|task| task.state == TaskState::Failed);
    let blocked = |task: &TaskView| task.error.as_ref().is_some_and(|error| error.code == BLOCKED);
    has_blockers(&detail.outcome) || (detail.summary.state != JobState::Succeeded && tasks.any(blocked))
}

fn has_blockers(outcome: &JobOutcome) -> bool {
    let plan = outcome.plan.iter().any(|plan| !plan.blockers.is_empty());
    plan || outcome.preflight.iter().any(|node| !node.blockers.is_empty())
}

/// What will be done, what it takes, and what stands in its way:
///
/// ```text
/// Mode      12 to 6 nodes: slice
/// Download  1.31 TiB, 18204 files, about 51m at 450 MiB/s
/// Disk      needs 2.7 TiB, free 3.9 TiB: ok
/// Checks    manifests 12/12, schema ok
/// BLOCKER   orders.events is not empty: add --truncate
/// ```
pub(crate) fn plan_block(detail: &JobDetail) -> String {
    let outcome = &detail.outcome;
    let Some(plan) = &outcome.plan else {
        return String::new();
    };
    let mut facts = Facts::default();
    facts.add("Mode", mode(plan));
    facts.each("Rename", renames(detail));
    facts.add("Download", download(plan, rate_limit(detail)));
    facts.each("Stream", streamed(plan));
    if !outcome.preflight.is_empty() {
        facts.add("Disk", disk(&outcome.preflight, plan));
    }
    if !plan.checks.is_empty() {
        facts.add("Checks", plan.checks.join(", "));
    }
    facts.each("WARNING", &plan.warnings);
    facts.each("BLOCKER", blockers(outcome));
    facts.render()
}

/// What was brought back, in all and by node.
pub(super) fn text(out: &Output, detail: &JobDetail) -> String {
    let outcome = &detail.outcome;
    if has_blockers(outcome) {
        return plan_block(detail);
    }
    let mut facts = Facts::default();
    if let Some(plan) = &outcome.plan {
        facts.add("Mode", mode(plan));
    }
    facts.each("Rename", renames(detail));
    let Some(restored) = &outcome.restored else {
        return facts.render();
    };
    let sstables = human::count(restored.sstables, "SSTable");
    facts.add("Restored", format!("{sstables}, {}", human::size(restored.bytes)));
    facts.add("Downloaded", human::size(restored.bytes_downloaded));
    if restored.rows_read > 0 {
        facts.add("Read back", human::count(restored.rows_read, "row"));
    }
    if matches!(detail.spec, JobSpec::Drill(_)) {
        facts.add("Dropped", dropped(detail));
    } else {
        facts.each("Created", &restored.created);
    }
    facts.each("Kept", &restored.kept);
    facts.each("PROBLEM", &restored.problems);
    format!("{}\n{}", facts.render(), nodes(detail).render(out.style.stdout))
}

/// What became of a drill's keyspaces.
fn dropped(detail: &JobDetail) -> &'static str {
    let mut released = detail.tasks.iter().filter(|task| task.stage == StageKind::Release).peekable();
    let all = released.peek().is_some() && released.all(|task| task.state == TaskState::Succeeded);
    if all { "everything it made" } else { "not yet" }
}

fn nodes(detail: &JobDetail) -> Table {
    let mut table = Table::new(&["NODE", "SSTABLES", "SIZE", "STATE"]);
    for node in detail.outcome.plan.iter().flat_map(|plan| &plan.nodes) {
        let applied = detail
            .tasks
            .iter()
            .find(|task| task.stage == StageKind::Apply && task.host_id == Some(node.host_id));
        let state = applied.map_or("not begun", |task| task.state.as_str());
        table.row([
            node.address.as_str().into(),
            node.sstables.to_string().into(),
            human::size(node.bytes).into(),
            state_cell(state),
        ]);
    }
    table
}

fn mode(plan: &PlanResult) -> String {
    let method = plan.method.as_str();
    let (from, to) = (plan.source_nodes, plan.nodes.len());
    format!("{from} to {to} nodes: {method} ({})", plan.reason)
}

fn download(plan: &PlanResult, rate_limit: Option<u64>) -> String {
    let bytes: u64 = plan.nodes.iter().map(|node| node.bytes).sum();
    let files: u64 = plan.nodes.iter().map(|node| node.files).sum();
    let mut text = format!(
        "{}, {}, {}",
        human::size(bytes),
        human::count(files, "file"),
        human::count(plan.tables, "table")
    );
    // Each node has the rate to itself, so the one with the most to fetch says how long it takes.
    let most = plan.nodes.iter().map(|node| node.bytes).max().unwrap_or(0);
    if let Some(rate) = rate_limit.filter(|rate| *rate > 0) {
        let seconds = i64::try_from(most.div_ceil(rate)).unwrap_or(i64::MAX / 1000);
        let time = chrono::Duration::seconds(seconds);
        let _ = write!(text, ", about {} at {}/s a node", human::rough(time), human::size(rate));
    } else {
        text += ", time unknown (no --rate-limit to reckon with)";
    }
    text
}

/// What goes from node to node, where it is streamed.
fn streamed(plan: &PlanResult) -> Option<String> {
    let receives = |node: &NodePlan| node.receives;
    let all = plan.nodes.iter().map(receives).fold(0, u64::saturating_add);
    let most = plan.nodes.iter().map(receives).max().unwrap_or(0);
    (all > 0).then(|| {
        format!("about {} from node to node, {} to one at most", human::size(all), human::size(most))
    })
}

fn renames(detail: &JobDetail) -> Vec<String> {
    match &detail.spec {
        JobSpec::Restore(spec) => {
            spec.rename.pairs().map(|(old, new)| format!("{old} comes as {new}")).collect()
        }
        _ => Vec::new(),
    }
}

fn rate_limit(detail: &JobDetail) -> Option<u64> {
    match &detail.spec {
        JobSpec::Restore(spec) => spec.rate_limit,
        JobSpec::Drill(spec) => spec.rate_limit,
        _ => None,
    }
}

fn disk(nodes: &[PreflightResult], plan: &PlanResult) -> String {
    let needed: u64 = nodes.iter().map(|node| node.disk_needed).sum();
    let free: u64 = nodes.iter().map(|node| node.disk_free).sum();
    let short: Vec<String> = nodes
        .iter()
        .filter(|node| node.disk_needed > node.disk_free)
        .map(|node| {
            let known = plan.nodes.iter().find(|known| known.host_id == node.host_id);
            let name = known.map_or_else(|| node.host_id.to_string(), |known| known.address.clone());
            let (needed, free) = (human::size(node.disk_needed), human::size(node.disk_free));
            format!("{name} needs {needed}, has {free}")
        })
        .collect();
    let verdict = if short.is_empty() { "ok".to_owned() } else { format!("too small: {}", short.join("; ")) };
    format!("needs {}, free {}: {verdict}", human::size(needed), human::size(free))
}

/// What stands in the way; what several nodes say alike is said once.
fn blockers(outcome: &JobOutcome) -> Vec<String> {
    let of_plan = outcome.plan.iter().flat_map(|plan| &plan.blockers);
    let of_nodes = outcome.preflight.iter().flat_map(|node| &node.blockers);
    let mut once: Vec<String> = Vec::new();
    for blocker in of_plan.chain(of_nodes) {
        if !once.contains(blocker) {
            once.push(blocker.clone());
        }
    }
    once
}
