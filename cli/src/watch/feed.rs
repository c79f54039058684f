//! Where progress comes from: the job's event stream, connected again when it breaks, and plain
//! questions while it cannot be had (a proxy that holds streams back, a scheduler restarting).
//!
//! A job outlives its scheduler, so losing it is no reason to stop watching at once; after
//! [`PATIENCE`] without any answer it is.

use std::time::Duration;

use ringvault_core::{JobId, api::JobProgress};
use tokio::time::Instant;

use crate::{
    client::{Client, Events, UNREADABLE},
    exit::Exit,
    failure::{Failure, Outcome},
};

/// How long the scheduler may be away.
const PATIENCE: Duration = Duration::from_mins(5);
/// Between questions while there is no stream.
const POLL: Duration = Duration::from_secs(2);
/// Streams that broke before their first event, in a row, until it is only asked.
const BROKEN_STREAMS: u32 = 3;

/// Progress of one job, for ever.
pub(super) struct Feed<'a> {
    client: &'a Client,
    id: String,
    events: Option<Events>,
    broken: u32,
    heard: Instant,
    said: bool,
}

impl<'a> Feed<'a> {
    pub(super) fn new(client: &'a Client, job: JobId) -> Self {
        Self { client, id: job.to_string(), events: None, broken: 0, heard: Instant::now(), said: false }
    }

    /// The next document.
    pub(super) async fn next(&mut self) -> Outcome<JobProgress> {
        loop {
            match self.attempt().await {
                Ok(Some(progress)) => {
                    self.heard = Instant::now();
                    self.said = false;
                    return Ok(progress);
                }
                Ok(None) => {}
                Err(failure) if is_lasting(&failure) => return Err(failure),
                Err(failure) => self.wait_for_the_server(failure).await?,
            }
        }
    }

    /// One document; `None` when a stream ended.
    async fn attempt(&mut self) -> Outcome<Option<JobProgress>> {
        if let Some(events) = &mut self.events {
            if let Some(progress) = events.next().await.and_then(|data| parse(&data)) {
                self.broken = 0;
                return Ok(Some(progress));
            }
            self.events = None;
            self.broken += 1;
        }
        if self.broken < BROKEN_STREAMS {
            self.events = Some(self.client.job_events(&self.id).await?);
            return Ok(None);
        }
        tokio::time::sleep(POLL).await;
        self.client.job_progress(&self.id).await.map(Some)
    }

    async fn wait_for_the_server(&mut self, failure: Failure) -> Outcome<()> {
        if self.heard.elapsed() > PATIENCE {
            let next = format!("ringvault job watch {}, later: the job goes on", self.id);
            return Err(failure.with_next(next));
        }
        if !self.said {
            self.said = true;
            eprintln!("{}; the job goes on, trying again", failure.message);
        }
        tokio::time::sleep(POLL).await;
        Ok(())
    }
}

/// Whether asking again cannot help.
fn is_lasting(failure: &Failure) -> bool {
    failure.code == UNREADABLE || !matches!(failure.exit, Exit::Unreachable | Exit::Failed)
}

/// A document of the stream. What cannot be read ends the stream, and is then asked for.
fn parse(data: &str) -> Option<JobProgress> {
    serde_json::from_str(data).ok()
}
