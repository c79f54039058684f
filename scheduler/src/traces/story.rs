//! A settled job's spans, read from its log.
//!
//! A job that was retried has a span for each time that it ran: the first one ended when it failed. What is done to a
//! failed job besides (it is given up, and what it left is cleared) belongs to no span any more.

use std::time::Duration;

use chrono::{DateTime, Utc};
use ringvault_core::{
    job::{JobState, StageKind},
    trace::JobTrace,
};
use ringvault_state::{jobs::JobRow, log::Milestone};
use ringvault_telemetry::Finished;

type Attributes = Vec<(&'static str, String)>;

/// The spans of the job's last run, its own first; none where that has not settled, or was told of before.
pub(super) fn spans_of(job: &JobRow, milestones: &[Milestone]) -> Vec<Finished> {
    let Some(trace) = job.trace else { return Vec::new() };
    let is = |milestone: &Milestone, word: &str| milestone.event.as_deref() == Some(word);
    let begins = milestones.iter().rposition(|milestone| is(milestone, "retry")).unwrap_or_default();
    let run = &milestones[begins..];
    // Once failed and then given up: told of when it failed.
    let Some(end) = run.iter().position(|milestone| milestone.to.is_settled()) else { return Vec::new() };
    if end + 1 != run.len() {
        return Vec::new();
    }
    let settled = &run[end];
    let mut index = milestones[..begins].iter().filter(|milestone| is(milestone, "stage_passed")).count();
    let mut spans = vec![Finished {
        name: format!("job {}", job.machine.kind.as_str()),
        place: trace.own,
        parent: trace.caller,
        began: run[0].at.into(),
        took: between(run[0].at, settled.at),
        attributes: attributes_of(job),
        error: error_of(job, settled.to),
    }];
    let mut opened = is(&run[0], "retry").then_some(run[0].at);
    for milestone in run {
        let passes = is(milestone, "stage_passed");
        if let (Some(since), true) = (opened, passes || milestone.to.is_settled()) {
            let error = if passes { None } else { error_of(job, milestone.to) };
            spans.extend(stage(job, (trace, index), (since, milestone.at), error));
        }
        if passes || is(milestone, "start") {
            index += usize::from(passes);
            opened = Some(milestone.at);
        }
    }
    spans
}

fn stage(
    job: &JobRow,
    (trace, index): (JobTrace, usize),
    (opened, closed): (DateTime<Utc>, DateTime<Utc>),
    error: Option<String>,
) -> Option<Finished> {
    let kind: StageKind = job.machine.stages.get(index).copied()?;
    let mut attributes = attributes_of(job);
    attributes.push(("stage", kind.as_str().to_owned()));
    Some(Finished {
        name: format!("stage {}", kind.as_str()),
        place: trace.stage(index),
        parent: Some(trace.own.span),
        began: opened.into(),
        took: between(opened, closed),
        attributes,
        error,
    })
}

/// The same names as in log lines.
fn attributes_of(job: &JobRow) -> Attributes {
    let mut attributes = vec![
        ("job", job.id.to_string()),
        ("kind", job.machine.kind.as_str().to_owned()),
        ("cluster", job.cluster().to_string()),
        ("state", job.machine.state.as_str().to_owned()),
        ("requested_by", job.requested_by.clone()),
    ];
    attributes.extend(job.backup().map(|(_, backup)| ("backup", backup.to_string())));
    attributes.extend(job.policy.as_ref().map(|policy| ("policy", policy.to_string())));
    attributes
}

fn error_of(job: &JobRow, settled: JobState) -> Option<String> {
    match settled {
        JobState::Failed => {
            Some(job.error.as_ref().map_or_else(|| "it failed".to_owned(), ToString::to_string))
        }
        JobState::Abandoned => {
            Some("it took longer than others could wait for it, and was given up".to_owned())
        }
        _ => None,
    }
}

/// Zero where clocks were set back.
fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    (to - from).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use ringvault_core::{
        ClusterName, JobId, TaskError,
        job::{Job, JobSpec, stages_of},
        trace::{SpanId, TraceParent},
    };

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    fn job(state: JobState) -> JobRow {
        let spec: JobSpec = serde_json::from_str(r#"{"kind":"backup","cluster":"c","name":"b"}"#).unwrap();
        let own: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
        JobRow {
            id: JobId::generate(),
            machine: Job { state, ..Job::new(spec.kind(), stages_of(&spec)) },
            spec,
            source: "test".to_owned(),
            idempotency_key: "k".to_owned(),
            requested_by: "tester".to_owned(),
            policy: None,
            max_attempts: None,
            said: ringvault_core::job::Limits::default(),
            created_at: at(0),
            state_since: at(0),
            started_at: None,
            ended_at: None,
            outcome: None,
            error: Some(TaskError::permanent("RV-X", "the disk is full")),
            cleanup_opened: false,
            cleanup_until: None,
            trace: Some(JobTrace { own, caller: SpanId::new([9; 8]) }),
        }
    }

    fn log(lines: &[(&str, JobState, i64)]) -> Vec<Milestone> {
        let read = |(event, to, second): &(&str, JobState, i64)| Milestone {
            event: (*event != "created").then(|| (*event).to_owned()),
            to: *to,
            at: at(*second),
        };
        lines.iter().map(read).collect()
    }

    /// Names, with seconds from the job's creation to their begin, and how many they took.
    fn told(spans: &[Finished]) -> Vec<(&str, i64, u64)> {
        let begin = |span: &Finished| DateTime::<Utc>::from(span.began).timestamp() - at(0).timestamp();
        spans.iter().map(|span| (span.name.as_str(), begin(span), span.took.as_secs())).collect()
    }

    #[test]
    fn a_job_has_a_span_and_its_stages_lie_in_it() {
        use JobState::{Queued, Running, Succeeded};
        let job = job(Succeeded);
        assert_eq!(job.cluster(), &ClusterName::new("c").unwrap());
        let spans = spans_of(
            &job,
            &log(&[
                ("created", Queued, 0),
                ("start", Running, 5),
                ("stage_passed", Running, 7),
                ("pause", JobState::Paused, 8),
                ("resume", Running, 60),
                ("stage_passed", Running, 100),
                ("stage_passed", Running, 101),
                ("stage_passed", Succeeded, 103),
            ]),
        );
        assert_eq!(
            told(&spans),
            [
                ("job backup", 0, 103),
                ("stage snapshot", 5, 2),
                ("stage upload", 7, 93),
                ("stage seal", 100, 1),
                ("stage release", 101, 2),
            ]
        );
        let trace = job.trace.unwrap();
        assert_eq!((spans[0].place, spans[0].parent), (trace.own, trace.caller));
        for (index, stage) in spans[1..].iter().enumerate() {
            assert_eq!((stage.place, stage.parent), (trace.stage(index), Some(trace.own.span)));
        }
        assert!(spans.iter().all(|span| span.error.is_none()));
        assert!(spans[2].attributes.contains(&("backup", "b".to_owned())));
    }

    #[test]
    fn a_failure_marks_its_stage_and_a_retry_is_told_of_by_itself() {
        use JobState::{Abandoned, Abandoning, Failed, Queued, Running, Succeeded};
        let mut lines = vec![
            ("created", Queued, 0),
            ("start", Running, 1),
            ("stage_passed", Running, 2),
            ("stage_failed", Failed, 9),
        ];
        let failed = spans_of(&job(Failed), &log(&lines));
        assert_eq!(told(&failed), [("job backup", 0, 9), ("stage snapshot", 1, 1), ("stage upload", 2, 7)]);
        let marked: Vec<bool> = failed.iter().map(|span| span.error.is_some()).collect();
        assert_eq!(marked, [true, false, true]);
        assert!(failed[0].error.as_ref().unwrap().contains("the disk is full"));

        let given_up = [&lines[..], &[("abandon", Abandoning, 20), ("cleaned_up", Abandoned, 21)]].concat();
        assert_eq!(spans_of(&job(Abandoned), &log(&given_up)), [], "told of when it failed");

        lines.extend([
            ("retry", Running, 50),
            ("stage_passed", Running, 54),
            ("stage_passed", Running, 55),
            ("stage_passed", Succeeded, 56),
        ]);
        let again = spans_of(&job(Succeeded), &log(&lines));
        assert_eq!(
            told(&again),
            [("job backup", 50, 6), ("stage upload", 50, 4), ("stage seal", 54, 1), ("stage release", 55, 1)]
        );
    }

    #[test]
    fn one_that_is_cancelled_ends_without_an_error() {
        use JobState::{Cancelled, Cancelling, Queued, Running};
        let never_begun =
            spans_of(&job(Cancelled), &log(&[("created", Queued, 0), ("cancel", Cancelled, 3)]));
        assert_eq!(told(&never_begun), [("job backup", 0, 3)]);
        let stopped = log(&[
            ("created", Queued, 0),
            ("start", Running, 1),
            ("cancel", Cancelling, 4),
            ("cleaned_up", Cancelled, 6),
        ]);
        let spans = spans_of(&job(Cancelled), &stopped);
        assert_eq!(told(&spans), [("job backup", 0, 6), ("stage snapshot", 1, 5)]);
        assert!(spans.iter().all(|span| span.error.is_none()));
        assert_eq!(spans_of(&job(Cancelling), &stopped[..3]), [], "not yet");
    }
}
