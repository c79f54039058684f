//! Progress where there is no terminal to draw on: a line at each change of state or stage, and
//! one every thirty seconds.

use std::time::Duration;

use chrono::Utc;
use ringvault_core::{
    api::JobProgress,
    job::{JobState, StageKind},
};
use tokio::time::Instant;

use super::frame;

/// Between lines while nothing changes.
const EVERY: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Lines {
    last: Option<(JobState, Option<StageKind>)>,
    printed: Option<Instant>,
}

impl Lines {
    pub(super) fn show(&mut self, progress: &JobProgress) {
        let now = (progress.state, progress.stage);
        if self.last != Some(now) {
            self.last = Some(now);
            self.print(progress);
        }
    }

    pub(super) fn tick(&mut self, progress: &JobProgress) {
        if self.printed.is_none_or(|printed| printed.elapsed() >= EVERY) {
            self.print(progress);
        }
    }

    fn print(&mut self, progress: &JobProgress) {
        self.printed = Some(Instant::now());
        eprintln!("{}", frame::line(progress, Utc::now()));
    }
}
