//! `request.rejected`: as much of the asker's own words as could be read, and why.

use std::time::Duration;

use ringvault_fault::around;
use ringvault_queue::{Envelope, EnvelopeError, RawEnvelope, Request, message::RequestRejected};
use ringvault_state::{PgConnection, StateError};
use tokio_util::sync::CancellationToken;

use crate::{
    Context,
    workflow::{DriveError, announce},
};

/// Before an answer that could not be written is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Of a message that could not be read.
pub(super) fn unreadable(raw: Option<&RawEnvelope<'_>>, error: &EnvelopeError) -> RequestRejected {
    RequestRejected {
        code: error.code().to_owned(),
        reason: error.to_string(),
        request: raw.map(|raw| raw.id),
        request_type: raw.map(|raw| raw.type_name.clone()),
        request_source: raw.map(|raw| raw.source.clone()),
        request_key: raw.and_then(|raw| raw.idempotency_key.clone()),
        cluster: None,
    }
}

/// Of a request that may not be done.
pub(super) fn refused(request: &Envelope<Request>, code: &str, reason: impl ToString) -> RequestRejected {
    RequestRejected {
        code: code.to_owned(),
        reason: reason.to_string(),
        request: Some(request.id),
        request_type: Some(request.type_name().to_owned()),
        request_source: Some(request.source.clone()),
        request_key: request.idempotency_key.clone(),
        cluster: match &request.body {
            Request::CreateJob(spec) => Some(spec.cluster().clone()),
            Request::RetryJob(_) | Request::CancelJob(_) => None,
        },
    }
}

/// Writes the answer, on its own.
pub(super) async fn write(ctx: &Context, rejected: RequestRejected) -> Result<(), DriveError> {
    let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
    around!("intake.answer").run(write_in(ctx, &mut conn, rejected)).await?;
    ctx.wake.relay.notify_one();
    ctx.wake.notices.notify_waiters();
    Ok(())
}

/// Writes the answer in the caller's transaction.
pub(super) async fn write_in(
    ctx: &Context,
    conn: &mut PgConnection,
    rejected: RequestRejected,
) -> Result<(), DriveError> {
    tracing::warn!(code = rejected.code, reason = rejected.reason, "a request is rejected");
    announce::request_rejected(ctx, conn, rejected).await
}

/// Writes the answer, waiting for a database that is away.
pub(super) async fn send(ctx: &Context, stop: &CancellationToken, rejected: &RequestRejected) {
    while let Err(error) = write(ctx, rejected.clone()).await {
        if !error.is_passing() {
            tracing::error!(%error, "a rejected request could not be answered");
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => return,
        }
    }
}
