//! Following a job: the live display on a terminal, a line now and then otherwise, and the summary
//! at its end. All of it goes to stderr but the summary; the job never depends on being watched.

mod display;
mod feed;
mod frame;
mod lines;
mod screen;
mod summary;
mod trouble;

use std::{pin::pin, time::Duration};

use ringvault_core::{JobId, api::JobProgress};

pub(crate) use frame::stages_line;
pub(crate) use summary::{Names, exit_of, failures, plan_block, still_locked, summary};
pub(crate) use trouble::gather;

use crate::{client::Client, context::Context, exit::Exit, failure::Outcome};

use display::Display;
use feed::Feed;

/// How following a job came to its end.
#[derive(Debug)]
pub(crate) enum End {
    /// Nobody works on the job any more.
    Settled,
    /// Before the job's end, by `--timeout` or Ctrl-C: what the process ends with, and what was heard
    /// of the job last.
    Left(Exit, Option<Box<JobProgress>>),
}

/// Where progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// To people, on stderr.
    Display,
    /// To a program, on stdout: a JSON line a change.
    JsonLines,
}

/// Follows `job` until nobody works on it, `timeout` is over or Ctrl-C is pressed.
pub(crate) async fn follow(
    context: &Context,
    client: &Client,
    job: JobId,
    timeout: Option<Duration>,
    shown: Shown,
) -> Outcome<End> {
    let mut display = Display::new(context.out.style, shown == Shown::Display);
    let mut feed = Feed::new(client, job);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let mut over = pin!(after(timeout));
    let mut latest: Option<JobProgress> = None;
    let left = 'follow: loop {
        // The question stands over many ticks: asking anew each second would never be answered.
        let mut next = pin!(feed.next());
        let progress = loop {
            tokio::select! {
                biased;
                // Ctrl-C that cannot be listened for would end the process by itself.
                _ = &mut interrupt => break 'follow Some(Exit::Detached),
                () = &mut over => break 'follow Some(Exit::TimedOut),
                progress = &mut next => break progress?,
                _ = tick.tick() => if let Some(latest) = &latest {
                    display.tick(latest);
                },
            }
        };
        if shown == Shown::JsonLines && latest.as_ref() != Some(&progress) {
            context.out.line(&progress)?;
        }
        display.show(&progress);
        if progress.state.is_settled() {
            break None;
        }
        latest = Some(progress);
    };
    display.finish(left.is_none());
    let Some(exit) = left else {
        return Ok(End::Settled);
    };
    let why = if exit == Exit::Detached { "detached" } else { "the wait is over" };
    eprintln!("{why}; the job goes on. Next: ringvault job watch {job}");
    Ok(End::Left(exit, latest.map(Box::new)))
}

/// Never, without a timeout.
async fn after(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}
