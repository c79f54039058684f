//! What came of a job, for people, and the exit code that says the same.

use std::fmt::Write as _;

use ringvault_core::{
    BackupName, TaskError,
    api::{JobDetail, JobOutcome, JobResult, JobSummary},
    job::{JobKind, JobSpec, JobState, RestoreSpec},
    task::{StillLocked, TaskState},
};

use super::trouble::{Trouble, gather};
use crate::{
    exit::Exit,
    output::{Facts, Output, human},
};

mod restore;
mod verify;

pub(crate) use restore::plan_block;
pub(crate) use verify::Names;

/// The exit code of a job that nobody works on any more.
pub(crate) fn exit_of(detail: &JobDetail) -> Exit {
    if restore::is_blocked(detail) {
        return Exit::Refused;
    }
    match detail.summary.result {
        Some(JobResult::Ok) => Exit::Ok,
        Some(JobResult::Partial) => Exit::Partial,
        Some(JobResult::Problems) => Exit::Problems,
        Some(JobResult::Failed) | None => Exit::Failed,
    }
}

/// The result in a few lines. `names` turns host ids into what people call their nodes.
pub(crate) fn summary(out: &Output, detail: &JobDetail, names: &Names) -> String {
    let job = &detail.summary;
    let mut text = head(job);
    match &detail.spec {
        JobSpec::Backup(_) => text += &backup(&detail.outcome).render(),
        JobSpec::Verify(spec) => text += &verify::text(out, detail, spec, names),
        JobSpec::Restore(RestoreSpec { plan_only: true, .. }) => text += &plan_block(detail),
        JobSpec::Restore(_) | JobSpec::Drill(_) => text += &restore::text(out, detail),
        JobSpec::Purge(_) => text += &purge(out, &detail.outcome).render(),
        JobSpec::Digest(_) => text += &rows(&detail.outcome).render(),
    }
    text
}

/// Why a job failed and what can be done: on stderr, after the summary. `None` if it did not fail.
pub(crate) fn failures(out: &Output, detail: &JobDetail) -> Option<String> {
    let job = &detail.summary;
    if !matches!(job.state, JobState::Failed | JobState::Abandoned | JobState::Abandoning) {
        return None;
    }
    let errors = task_errors(detail);
    let mut troubles = gather(errors.iter().map(|(place, error)| (place.as_str(), *error)));
    if let (true, Some(error)) = (troubles.is_empty(), &job.error) {
        troubles.push(Trouble::nowhere(error));
    }
    let mut text = String::new();
    for trouble in &troubles {
        let _ = writeln!(text, "{}", trouble.sentence());
    }
    let _ = writeln!(text, "{}", what_changed(job, detail));
    for next in next_steps(out, job, &troubles) {
        let _ = writeln!(text, "Next: {next}");
    }
    Some(text)
}

fn head(job: &JobSummary) -> String {
    let what = job.backup.as_ref().map_or(job.cluster.as_str(), |backup| backup.as_str());
    let mut text = format!("{} {what}  {}", job.kind.as_str(), job.state.as_str());
    if let (Some(started), Some(ended)) = (job.started_at, job.ended_at) {
        let _ = write!(text, " in {}", human::duration(ended - started));
    }
    text.push('\n');
    text
}

fn backup(outcome: &JobOutcome) -> Facts {
    let mut facts = Facts::default();
    let Some(seal) = &outcome.seal else {
        return facts;
    };
    let figures = &seal.figures;
    let (sstables, files) = (human::count(figures.sstables, "SSTable"), human::count(figures.files, "file"));
    let objects = human::count(figures.objects_new, "object");
    facts.add("State", seal.coverage.as_str());
    facts.add("Nodes", format!("{}/{}", figures.nodes_held, figures.nodes_total));
    facts.add("Size", format!("{}, {sstables}, {files}", human::size(figures.bytes)));
    facts.add("New", format!("{}, {objects}", human::size(figures.bytes_new)));
    facts.each("Remark", &seal.remarks);
    facts
}

fn rows(outcome: &JobOutcome) -> Facts {
    let mut facts = Facts::default();
    if let Some(read) = &outcome.rows {
        facts.add(
            "Read",
            format!("{}, {}", human::count(read.tables, "table"), human::count(read.rows, "row")),
        );
    }
    facts
}

/// What a purge had to leave, and until when.
pub(crate) fn still_locked(out: &Output, locked: &StillLocked) -> String {
    let what = match locked.objects {
        0 => "records of expired backups".to_owned(),
        count => format!("{}, {}", human::count(count, "object"), human::size(locked.bytes)),
    };
    let until = out.time(locked.until);
    format!("{what}, until {until}: the first purge after that deletes it")
}

fn purge(out: &Output, outcome: &JobOutcome) -> Facts {
    let names = |names: &[BackupName]| {
        let names: Vec<&str> = names.iter().map(BackupName::as_str).collect();
        names.join(", ")
    };
    let mut facts = Facts::default();
    if let Some(purge) = &outcome.purge {
        facts.add("Expired", names(&purge.expired));
        if !purge.aborted.is_empty() {
            facts.add("Leftovers", format!("of {}", names(&purge.aborted)));
        }
    }
    let objects = human::count(outcome.objects, "object");
    facts.add("Deleted", format!("{objects}, {}", human::size(outcome.bytes)));
    if let Some(locked) = outcome.purge.as_ref().and_then(|purge| purge.locked.as_ref()) {
        facts.add("Locked", still_locked(out, locked));
    }
    facts
}

/// The failed tasks' errors with their places.
fn task_errors(detail: &JobDetail) -> Vec<(String, &TaskError)> {
    let failed = detail.tasks.iter().filter(|task| task.state == TaskState::Failed);
    let named = failed.filter_map(|task| Some((task.address.clone(), task.error.as_ref()?)));
    named.collect()
}

fn is_offline(detail: &JobDetail) -> bool {
    matches!(&detail.spec, JobSpec::Restore(spec) if spec.offline)
}

/// What stands after a failure, and what does not.
fn what_changed(job: &JobSummary, detail: &JobDetail) -> &'static str {
    match (job.kind, job.past_no_return) {
        (JobKind::Backup, _) => {
            "The backup is not sealed and cannot be restored; other backups are as they were."
        }
        (JobKind::Verify | JobKind::Digest, _) => "Nothing was changed.",
        (JobKind::Drill, _) => {
            "Nothing that was there before was touched; what the drill made is dropped when it is abandoned."
        }
        (JobKind::Restore, true) if is_offline(detail) => {
            "A node that failed has what it had; others of the restore may be what they were at the backup already."
        }
        (JobKind::Restore, true) => {
            "The target tables were emptied and are not whole yet: finish the restore before they are used."
        }
        (JobKind::Restore, false) if applied(detail) => {
            "Some of the data was brought back, not all of it; nothing was emptied."
        }
        (JobKind::Restore, false) => "No data of the target was changed.",
        (JobKind::Purge, _) => {
            "What the purge has expired stays expired; the rest of its objects go with the next one."
        }
    }
}

fn applied(detail: &JobDetail) -> bool {
    let done = |stage: &ringvault_core::api::StageProgress| {
        stage.stage == ringvault_core::job::StageKind::Apply && stage.tasks > 0
    };
    detail.stages.iter().any(done)
}

fn next_steps(out: &Output, job: &JobSummary, troubles: &[Trouble<'_>]) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    for next in troubles.iter().filter_map(|trouble| trouble.error.next.clone()) {
        if !steps.contains(&next) {
            steps.push(next);
        }
    }
    if job.state == JobState::Failed {
        let until = job.retry_until.map(|until| format!(" (until {})", out.time(until)));
        let (id, until) = (job.id, until.unwrap_or_default());
        steps.push(format!("ringvault job retry {id}{until}, or ringvault job abandon {id}"));
    }
    steps
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
