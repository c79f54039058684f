//! A job's story: where its stages are, what its tasks came to, and everything that happened, in
//! order.

use std::{collections::BTreeMap, fmt::Write as _};

use chrono::{DateTime, Utc};
use ringvault_core::{
    TaskId,
    api::{JobDetail, TaskView},
    job::{JobState, NodeLimits},
    task::TaskState,
};
use serde::Serialize;

use crate::{
    output::{Cell, Facts, Output, Table, human, or_none, state_cell},
    watch::{self, Names},
};

/// `job show`.
pub(super) fn show(out: &Output, detail: &JobDetail) -> String {
    let job = &detail.summary;
    let mut facts = Facts::default();
    facts.add("Job", job.id.to_string());
    facts.add("Kind", job.kind.as_str());
    facts.add("Cluster", job.cluster.as_str());
    facts.add("Backup", or_none(job.backup.as_ref()));
    facts.add("State", job.state.as_str());
    facts.add("Asked by", asked_by(detail));
    facts.add("Created", out.time(job.created_at));
    facts.add("Started", out.time_or_none(job.started_at));
    facts.add("Ended", out.time_or_none(job.ended_at));
    let said = NodeLimits { rate_limit: detail.rate_limit, request_limit: detail.request_limit };
    let by_data_center = detail.data_center_limits.iter().map(|(dc, said)| (format!("in {dc} "), *said));
    for (of, said) in std::iter::once((String::new(), said)).chain(by_data_center) {
        if !said.is_empty() {
            facts.add("Each node", format!("{of}{}, as was said while it ran", limits(said)));
        }
    }
    if let Some(trace) = detail.trace_id {
        facts.add("Trace", trace.to_string());
    }
    facts.add("Stages", watch::stages_line(&detail.stages, None));
    if job.past_no_return && !job.state.is_final() {
        facts.add("Note", "the target tables were emptied: it cannot be cancelled");
    }
    if let Some(until) = job.retry_until.filter(|_| job.state == JobState::Failed) {
        let until = out.time(until);
        facts.add("Retry", format!("until {until}: ringvault job retry {}", job.id));
    }
    let mut text = facts.render();
    let tasks = tasks(detail);
    if !tasks.is_empty() {
        text.push('\n');
        text += &tasks.render(out.style.stdout);
    }
    for more in [doing(out, detail), tries(out, detail), orders(out, detail)].into_iter().flatten() {
        text.push('\n');
        text += &more;
    }
    let errors = detail
        .tasks
        .iter()
        .filter(|task| !task.state.is_over() || task.state.as_str() == "failed")
        .filter_map(|task| Some((place(task), task.error.as_ref()?)))
        .collect::<Vec<_>>();
    for trouble in watch::gather(errors.iter().map(|(place, error)| (place.as_str(), *error))) {
        let _ = writeln!(text, "\n{}", trouble.sentence());
        if let Some(next) = &trouble.error.next {
            let _ = writeln!(text, "Next: {next}");
        }
    }
    if job.state.is_settled() {
        text.push('\n');
        text += &watch::summary(out, detail, &Names::new());
    }
    text
}

/// Limits that were set, in words.
pub(super) fn limits(said: NodeLimits) -> String {
    let rate = said.rate_limit.map(|rate| match rate {
        0 => "without a limit".to_owned(),
        rate => format!("at {} a second at most", human::size(rate)),
    });
    let requests = said.request_limit.map(|requests| match requests {
        0 => "with any number of requests".to_owned(),
        requests => format!("with {requests} requests a second at most"),
    });
    [rate, requests].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn asked_by(detail: &JobDetail) -> String {
    match &detail.summary.policy {
        Some(policy) => format!("policy {policy}"),
        None => detail.summary.requested_by.clone(),
    }
}

fn tasks(detail: &JobDetail) -> Table {
    let mut table = Table::new(&["STAGE", "NODE", "STATE", "TRIES", "DONE", "ERROR"]);
    for task in &detail.tasks {
        let progress = task.progress.as_ref();
        let share = progress.and_then(|progress| {
            human::percent(progress.bytes_done, progress.bytes_total)
                .or_else(|| human::percent(progress.items_done, progress.items_total))
        });
        let share = if task.state.as_str() == "succeeded" { Some(100) } else { share };
        table.row([
            task.stage.as_str().into(),
            place(task).into(),
            state_cell(task.state.as_str()),
            task.attempts.len().to_string().into(),
            or_none(share.map(|share| format!("{share}%"))).into(),
            Cell::from(or_none(task.error.as_ref().map(|error| &error.code))),
        ]);
    }
    table
}

/// What each running task says it is at: of one that seems to hang, what it waits for.
fn doing(out: &Output, detail: &JobDetail) -> Option<String> {
    let mut table = Table::new(&["STAGE", "NODE", "DOING"]);
    for task in detail.tasks.iter().filter(|task| task.state == TaskState::Running) {
        if let Some(doing) = task.progress.as_ref().and_then(|progress| progress.doing.as_ref()) {
            table.row([Cell::from(task.stage.as_str()), place(task).into(), doing.as_str().into()]);
        }
    }
    (!table.is_empty()).then(|| table.render(out.style.stdout))
}

/// Tries that are told one by one; `job logs` has them all.
const TRIES: usize = 40;

/// Each try that did not end well: of what, on whom, when, how and why it ended.
fn tries(out: &Output, detail: &JobDetail) -> Option<String> {
    let ended_badly = |outcome: &Option<String>| outcome.as_deref().is_some_and(|how| how != "succeeded");
    let bad: Vec<_> = detail
        .tasks
        .iter()
        .flat_map(|task| task.attempts.iter().map(move |attempt| (task, attempt)))
        .filter(|(_, attempt)| ended_badly(&attempt.outcome))
        .collect();
    let mut table = Table::new(&["STAGE", "NODE", "TRY", "WORKER", "BEGAN", "ENDED", "HOW", "WHY"]);
    for (task, attempt) in bad.iter().take(TRIES) {
        table.row([
            task.stage.as_str().into(),
            place(task).into(),
            attempt.epoch.to_string().into(),
            attempt.worker.to_string().into(),
            out.time(attempt.started_at.unwrap_or(attempt.placed_at)).into(),
            out.time_or_none(attempt.ended_at).into(),
            attempt.outcome.as_deref().unwrap_or(human::NONE).into(),
            Cell::from(or_none(attempt.error.as_ref().map(|error| &error.message))),
        ]);
    }
    let mut text = table.render(out.style.stdout);
    let more = bad.len().saturating_sub(TRIES);
    if more > 0 {
        let _ = writeln!(text, "{more} more: ringvault job logs {}", detail.summary.id);
    }
    (!bad.is_empty()).then_some(text)
}

/// What people, windows and clocks had it do.
fn orders(out: &Output, detail: &JobDetail) -> Option<String> {
    const ORDERS: [&str; 7] =
        ["pause", "resume", "cancel", "retry", "abandon", "retry_window_over", "time_over"];
    let mut table = Table::new(&["TIME", "ORDER", "BY"]);
    for line in detail.transitions.iter().filter(|line| line.task.is_none()) {
        if ORDERS.contains(&line.event.as_str()) {
            table.row([Cell::from(out.time(line.at)), line.event.as_str().into(), line.by.as_str().into()]);
        }
    }
    (!table.is_empty()).then(|| table.render(out.style.stdout))
}

/// What to call the place of a task.
fn place(task: &TaskView) -> String {
    if task.address.is_empty() { or_none(task.host_id) } else { task.address.clone() }
}

/// A line of `job logs`.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    at: DateTime<Utc>,
    /// `job`, or stage and node of a task.
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<TaskId>,
    event: String,
    detail: String,
    /// Told by another line too; people are spared it.
    #[serde(skip)]
    repeats: bool,
}

/// Transitions and attempts in one order of time.
pub(super) fn log(detail: &JobDetail) -> Vec<Entry> {
    let names: BTreeMap<TaskId, String> = detail
        .tasks
        .iter()
        .map(|task| match place(task).as_str() {
            human::NONE => (task.id, task.stage.as_str().to_owned()),
            place => (task.id, format!("{} {place}", task.stage.as_str())),
        })
        .collect();
    let name = |task: TaskId| names.get(&task).cloned().unwrap_or_else(|| task.to_string());
    let mut entries: Vec<Entry> = detail
        .transitions
        .iter()
        .map(|line| {
            let from = line.from.as_ref().map(|from| format!("{from} -> ")).unwrap_or_default();
            let why = line.detail.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            Entry {
                at: line.at,
                what: line.task.map_or_else(|| "job".to_owned(), name),
                task: line.task,
                event: line.event.clone(),
                detail: format!("{from}{} by {}{why}", line.to, line.by),
                repeats: line.task.is_some() && TOLD_BY_ATTEMPTS.contains(&line.event.as_str()),
            }
        })
        .collect();
    entries.extend(detail.tasks.iter().flat_map(|task| attempts(task, &name(task.id))));
    // Stable: what happened at one instant stays in the order it was written.
    entries.sort_by_key(|entry| entry.at);
    entries
}

/// Events of a task that its attempts tell better: with the worker, and how they ended.
const TOLD_BY_ATTEMPTS: [&str; 4] = ["created", "place", "started", "succeeded"];

/// Each placement of a task: when, on whom, how it ended.
fn attempts(task: &TaskView, name: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for attempt in &task.attempts {
        let who = format!("epoch {} on worker {}", attempt.epoch, attempt.worker);
        let mut entry = |at, event: &str, detail, repeats| {
            entries.push(Entry {
                at,
                what: name.to_owned(),
                task: Some(task.id),
                event: event.to_owned(),
                detail,
                repeats,
            });
        };
        entry(attempt.placed_at, "placed", who.clone(), attempt.started_at.is_some());
        if let Some(started) = attempt.started_at {
            entry(started, "granted", who.clone(), false);
        }
        if let Some(ended) = attempt.ended_at {
            let outcome = attempt.outcome.as_deref().unwrap_or("ended");
            let why = attempt.error.as_ref().map(|error| format!(": {error}"));
            entry(ended, outcome, format!("{who}{}", why.unwrap_or_default()), false);
        }
    }
    entries
}

/// The log for people.
pub(super) fn log_text(out: &Output, log: &[Entry]) -> String {
    let mut table = Table::new(&["TIME", "WHAT", "EVENT", "DETAIL"]);
    for entry in log.iter().filter(|entry| !entry.repeats) {
        table.row([
            Cell::from(out.time(entry.at)),
            entry.what.as_str().into(),
            entry.event.as_str().into(),
            entry.detail.as_str().into(),
        ]);
    }
    table.render(out.style.stdout)
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;
