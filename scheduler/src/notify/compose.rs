//! From an event of the workflow to words for people. Pure.

use ringvault_core::{TaskError, api::JobResult, cluster::Coverage, job::JobKind, notice::Happening};
use ringvault_queue::{
    Event, Message as _,
    message::{BackupEvent, JobEvent, RequestRejected},
};

use super::Telling;

/// What an event tells people, `outcome` being how its job ended.
pub(crate) fn of_event(event: &Event, outcome: Option<JobResult>) -> Telling {
    let (happening, job, title, text) = match event {
        Event::JobCreated(about) => of_job(Happening::Created, about, "was asked for", String::new()),
        Event::JobStarted(about) => of_job(Happening::Started, about, "began", String::new()),
        Event::JobSucceeded(about) => succeeded(about, outcome),
        Event::JobFailed(about) => of_job(
            Happening::Failed,
            about,
            "failed",
            cause(about, "ringvault job retry", "its failed tasks run again"),
        ),
        Event::JobCancelled(about) => of_job(Happening::Cancelled, about, "was cancelled", String::new()),
        Event::JobAbandoned(about) => of_job(
            Happening::Abandoned,
            about,
            "is over for good",
            cause(about, "ringvault job show", "what became of it"),
        ),
        Event::BackupSealed(about) => {
            let coverage = match about.coverage {
                Some(Coverage::Complete) | None => String::new(),
                Some(coverage) => format!("It is {}: nodes are missing.", coverage.as_str()),
            };
            of_backup(Happening::Sealed, about, "can be restored", coverage)
        }
        Event::BackupExpired(about) => of_backup(Happening::Expired, about, "was purged", String::new()),
        Event::BackupDamaged(about) => {
            let BackupEvent { cluster, backup, detail, .. } = about;
            let what = detail.clone().unwrap_or_else(|| "objects are damaged or missing".to_owned());
            let next = format!("{what}.\nNext: ringvault backup show -c {cluster} {backup}");
            of_backup(Happening::Damaged, about, "is damaged", next)
        }
        Event::RequestRejected(about) => rejected(about),
    };
    let text = if text.is_empty() { format!("{title}.") } else { text };
    let payload = event.to_payload().ok().and_then(|raw| serde_json::from_str(raw.get()).ok());
    let payload: serde_json::Value = payload.unwrap_or_default();
    Telling {
        event: happening,
        cluster: event.cluster().cloned(),
        job,
        title,
        text,
        data: Some(serde_json::json!({ "type": event.type_name(), "payload": payload })),
    }
}

type Words = (Happening, Option<JobKind>, String, String);

fn name(about: &JobEvent) -> String {
    let JobEvent { kind, cluster, backup, .. } = about;
    let kind = kind.as_str();
    match backup {
        Some(backup) => format!("{kind} of {cluster}, {backup},"),
        None => format!("{kind} of {cluster}"),
    }
}

fn of_job(happening: Happening, about: &JobEvent, did: &str, text: String) -> Words {
    (happening, Some(about.kind), format!("{} {did}", name(about)), text)
}

fn of_backup(happening: Happening, about: &BackupEvent, is: &str, text: String) -> Words {
    let BackupEvent { cluster, backup, .. } = about;
    (happening, None, format!("backup {backup} of {cluster} {is}"), text)
}

fn succeeded(about: &JobEvent, outcome: Option<JobResult>) -> Words {
    match (about.kind, outcome) {
        (JobKind::Verify, Some(JobResult::Ok)) => {
            of_job(Happening::Verified, about, "found its backup whole", String::new())
        }
        (JobKind::Drill, Some(JobResult::Ok)) => {
            of_job(Happening::Succeeded, about, "brought its backup back whole", String::new())
        }
        (JobKind::Digest, Some(JobResult::Ok)) => {
            of_job(Happening::Succeeded, about, "has read every row", String::new())
        }
        (_, Some(JobResult::Problems)) => {
            of_job(Happening::Succeeded, about, "ended, and found problems", String::new())
        }
        (_, Some(JobResult::Partial)) => {
            of_job(Happening::Succeeded, about, "succeeded in part: nodes are missing", String::new())
        }
        _ => of_job(Happening::Succeeded, about, "succeeded", String::new()),
    }
}

/// Why it failed, and what to do.
fn cause(about: &JobEvent, command: &str, does: &str) -> String {
    let next = format!("Next: {command} {} ({does})", about.job);
    match &about.error {
        Some(error @ TaskError { next: Some(first), .. }) => format!("{error}\nNext: {first}\n{next}"),
        Some(error) => format!("{error}\n{next}"),
        None => next,
    }
}

fn rejected(about: &RequestRejected) -> Words {
    let from = about.request_source.as_deref().unwrap_or("somebody");
    let text = format!("error[{}]: {}", about.code, about.reason);
    (Happening::Rejected, None, format!("a request of {from} was rejected"), text)
}
