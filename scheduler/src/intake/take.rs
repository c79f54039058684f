//! Doing what a readable request asks for.
//!
//! Exactly once: the key is taken in the transaction that does it, so a repeat finds either both or
//! neither. Who asks is whom the broker has let in (the validated `user-id`); a message without one may
//! come from anybody who may publish, and counts as everybody's. What a user may ask for is decided as
//! over HTTP.

use ringvault_core::{
    JobId,
    api::Role,
    job::{JobKind, JobSpec},
    trace::TraceParent,
};
use ringvault_fault::around;
use ringvault_queue::{Envelope, Request};
use ringvault_state::{Connection, StateError, inbox};
use ringvault_telemetry::Entry;
use sha2::{Digest, Sha256};
use tracing::{Instrument as _, field::Empty};

use super::answer;
use crate::{
    Context,
    jobs::{self, Action, ControlError, Submission, SubmitError},
    workflow::DriveError,
};

/// A request and its author.
pub(super) struct Asked {
    /// What was asked.
    pub(super) envelope: Envelope<Request>,
    /// The broker's validated user.
    pub(super) author: Option<String>,
}

/// Who asks, with a role.
struct Author<'a> {
    /// The broker's validated user; empty where the message has none.
    user: &'a str,
    role: Role,
}

impl Author<'_> {
    fn told(&self) -> &str {
        if self.user.is_empty() { "(no user-id)" } else { self.user }
    }
}

impl Asked {
    fn key(&self) -> &str {
        self.envelope.idempotency_key.as_deref().unwrap_or_default()
    }

    /// Where in a trace its sender is.
    pub(super) fn trace(&self) -> Option<TraceParent> {
        self.envelope.traceparent.as_deref()?.parse().ok()
    }

    /// The source under which the key counts: a user's keys are its own, and nobody can pass for a
    /// policy or for another system.
    fn source(&self, author: &Author<'_>) -> String {
        // A user's name may hold what separates it from the source.
        let user = author.user.replace('%', "%25").replace('/', "%2F");
        format!("amqp/{user}/{}", self.envelope.source)
    }

    /// Who is responsible: the broker's user, and the one it says it speaks for.
    fn requested_by(&self, author: &Author<'_>) -> String {
        match &self.envelope.requested_by {
            Some(name) => format!("amqp {} for {name}", author.told()),
            None => format!("amqp {}", author.told()),
        }
    }
}

/// The role that a request needs, as over HTTP.
const fn needed(request: &Request) -> Role {
    match request {
        Request::CreateJob(spec) => needed_for(spec),
        Request::RetryJob(_) | Request::CancelJob(_) => Role::Operator,
    }
}

const fn needed_for(spec: &JobSpec) -> Role {
    match spec.kind() {
        JobKind::Purge => Role::Admin,
        JobKind::Backup | JobKind::Verify | JobKind::Restore | JobKind::Drill | JobKind::Digest => {
            Role::Operator
        }
    }
}

/// Does what is asked for, or answers why not. A failure that no further try can mend is answered too.
pub(super) async fn take(ctx: &Context, asked: &Asked) -> Result<(), DriveError> {
    let envelope = &asked.envelope;
    let span = tracing::info_span!(
        "request",
        request = %envelope.id,
        trace_id = Empty,
    );
    ringvault_telemetry::enters(&span, Some(Entry::Message), envelope.type_name(), asked.trace());
    take_or_answer(ctx, asked).instrument(span).await
}

async fn take_or_answer(ctx: &Context, asked: &Asked) -> Result<(), DriveError> {
    let done = try_take(ctx, asked).await;
    if let Err(error) = &done
        && !error.is_passing()
    {
        answer::write(ctx, answer::refused(&asked.envelope, "RV-UNHANDLED", error)).await?;
    }
    done
}

async fn try_take(ctx: &Context, asked: &Asked) -> Result<(), DriveError> {
    let request = &asked.envelope;
    let user = asked.author.as_deref().unwrap_or_default();
    let roles = &ctx.config.requests;
    let role = if user.is_empty() { roles.role_of_nobody() } else { roles.role_of(user) };
    let author = Author { user, role };
    let needed = needed(&request.body);
    if author.role < needed {
        let reason = format!(
            "broker user {} is {} here, and this needs {}; `[requests]` in the scheduler's configuration \
             says who is what",
            author.told(),
            author.role.as_str(),
            needed.as_str()
        );
        return answer::write(ctx, answer::refused(request, "RV-REQUEST-FORBIDDEN", reason)).await;
    }
    let now = ringvault_state::now(&mut *ctx.db.acquire().await.map_err(StateError::from)?).await?;
    if request.is_expired(now) {
        let reason = "it expired before it was read; nothing was done";
        return answer::write(ctx, answer::refused(request, "RV-REQUEST-EXPIRED", reason)).await;
    }
    match &request.body {
        Request::CreateJob(spec) => {
            let submission = Submission {
                spec: spec.clone(),
                source: asked.source(&author),
                idempotency_key: asked.key().to_owned(),
                requested_by: asked.requested_by(&author),
                max_attempts: None,
                trace: ringvault_telemetry::current().or(asked.trace()),
            };
            let Err(error) = jobs::submit_job(ctx, submission).await else { return Ok(()) };
            let refusal = match error.into_failure() {
                Ok(failure) => return Err(failure),
                Err(refusal) => refusal,
            };
            answer::write(ctx, answer::refused(request, refusal.code(), &refusal)).await
        }
        Request::RetryJob(retry) => control(ctx, (asked, &author), retry.job, Action::Retry).await,
        Request::CancelJob(cancel) => control(ctx, (asked, &author), cancel.job, Action::Cancel).await,
    }
}

/// Takes the key, does what is asked for or answers why not, all in one transaction.
async fn control(
    ctx: &Context,
    (asked, author): (&Asked, &Author<'_>),
    job: JobId,
    action: Action,
) -> Result<(), DriveError> {
    let request = &asked.envelope;
    let source = asked.source(author);
    let hash = Sha256::new()
        .chain_update(request.type_name())
        .chain_update("\n")
        .chain_update(job.to_string())
        .finalize();
    let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
    if !inbox::take(&mut tx, &source, asked.key(), &hash, Some(job)).await? {
        let earlier = inbox::find(&mut tx, &source, asked.key()).await?;
        if earlier.is_some_and(|earlier| earlier.body_hash == hash.as_slice()) {
            return Ok(());
        }
        let error = SubmitError::KeyReused { source_name: source, key: asked.key().to_owned() };
        return answer::write(ctx, answer::refused(request, error.code(), &error)).await;
    }
    // In a savepoint: what is refused leaves nothing but the taken key and the answer.
    let mut inner = tx.begin().await.map_err(StateError::from)?;
    let done = jobs::control_in(ctx, &mut inner, job, action, &asked.requested_by(author)).await;
    match done.map_err(ControlError::into_failure) {
        Ok(_) => inner.commit().await.map_err(StateError::from)?,
        Err(Ok(failure)) => return Err(failure),
        Err(Err(refusal)) => {
            inner.rollback().await.map_err(StateError::from)?;
            answer::write_in(ctx, &mut tx, answer::refused(request, refusal.code(), &refusal)).await?;
        }
    }
    ringvault_state::commit(tx, around!("intake.control")).await?;
    ctx.wake.all();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_needs_what_it_needs_over_http() {
        for (spec, role) in [
            (r#"{"kind":"backup","cluster":"c"}"#, Role::Operator),
            (r#"{"kind":"restore","source":"c","backup":"b","target":"c","truncate":true}"#, Role::Operator),
            (r#"{"kind":"verify","cluster":"c","backup":"b"}"#, Role::Operator),
            (r#"{"kind":"digest","cluster":"c"}"#, Role::Operator),
            (r#"{"kind":"purge","cluster":"c"}"#, Role::Admin),
        ] {
            assert_eq!(needed_for(&serde_json::from_str(spec).unwrap()), role, "{spec}");
        }
    }
}
