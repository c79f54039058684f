//! A job's progress as a stream of server-sent events.
//!
//! The progress is read each second and sent when it has changed, and every few seconds in any
//! case. Every event carries the whole progress, so a listener that lost some, or connects again,
//! has missed nothing. The last event is named `end` and shows the job settled; after it the
//! stream is over.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::{Path, State},
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, stream};
use ringvault_core::{
    JobId,
    api::{Document, JobProgress},
};
use ringvault_state::read::progress;
use tokio::time::Instant;

use super::jobs::vanished;
use crate::api::{ApiState, prefix, problem::ApiResult};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// The longest time without an event.
const AT_LEAST: Duration = Duration::from_secs(5);

pub(super) async fn stream(
    State(api): State<ApiState>,
    Path(text): Path<String>,
) -> ApiResult<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let mut conn = api.conn().await?;
    let job = prefix::resolve(&mut conn, &text).await?;
    let first = progress::of_job(&mut conn, job).await?.ok_or_else(|| vanished(&text))?;
    drop(conn);
    let watch = Watch { api, job, next: Some(first), sent: None };
    let events = stream::unfold(Some(watch), |watch| async {
        let (event, watch) = watch?.next_event().await?;
        Some((Ok(event), watch))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(AT_LEAST * 3)))
}

/// Somebody watches a job.
struct Watch {
    api: ApiState,
    job: JobId,
    /// Read and not sent yet.
    next: Option<JobProgress>,
    /// Sent last, and when.
    sent: Option<(JobProgress, Instant)>,
}

impl Watch {
    /// The next event, and the watch to go on with unless that was the last one. `None` when the
    /// server stops, or the job is gone: whoever listens connects again.
    async fn next_event(mut self) -> Option<(Event, Option<Self>)> {
        let progress = loop {
            if let Some(progress) = self.next.take()
                && self.is_news(&progress)
            {
                break progress;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.api.stopping.cancelled() => return None,
            }
            match self.look().await {
                Ok(found) => self.next = Some(found?),
                Err(error) => tracing::warn!(job = %self.job, %error, "a watched job could not be read"),
            }
        };
        let over = progress.state.is_settled();
        let name = if over { "end" } else { "progress" };
        let event = Event::default().event(name).json_data(Document::new(&progress)).ok()?;
        self.sent = Some((progress, Instant::now()));
        Some((event, (!over).then_some(self)))
    }

    async fn look(&self) -> Result<Option<JobProgress>, ringvault_state::StateError> {
        let mut conn = self.api.ctx.db.acquire().await?;
        progress::of_job(&mut conn, self.job).await
    }

    fn is_news(&self, progress: &JobProgress) -> bool {
        let Some((sent, at)) = &self.sent else {
            return true;
        };
        // Time alone is no news; what follows from it is told at least every few seconds.
        let same = JobProgress {
            as_of: sent.as_of,
            bytes_per_second: sent.bytes_per_second,
            eta_seconds: sent.eta_seconds,
            ..progress.clone()
        };
        same != *sent || at.elapsed() >= AT_LEAST
    }
}
