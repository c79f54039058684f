//! Spans on their way out: a queue of fixed length that never makes anybody wait, and one task that empties it.
//!
//! A collector that is away costs the memory of one full queue. What is in it waits, and is sent when the collector
//! answers again; what ends meanwhile and finds no room is lost and counted. Each trouble is told once, and its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    collector::{Batch, Collector},
    entry::dress,
};

/// Spans that may wait: some megabytes.
const QUEUE: usize = 4096;
/// Spans sent with one request.
const BATCH: usize = 512;
/// How long a span waits for others to be sent with it.
const LINGER: Duration = Duration::from_secs(1);
/// Between tries while the collector does not answer: from, to.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long what has not been sent may hold up the end of the program.
const DRAIN: Duration = Duration::from_secs(3);

/// Takes spans in. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Outlet {
    spans: Sender<SpanData>,
    lost: Arc<AtomicU64>,
    closing: CancellationToken,
    emptying: TaskTracker,
}

impl Outlet {
    /// Begins to send to `collector`. Within a runtime.
    pub(crate) fn open(collector: Collector) -> Self {
        let (sender, spans) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let closing = CancellationToken::new();
        let emptying = TaskTracker::new();
        let emptier = Emptier {
            collector,
            spans,
            lost: Arc::clone(&lost),
            closing: closing.clone(),
            trouble: Trouble::default(),
        };
        emptying.spawn(emptier.run());
        emptying.close();
        Self { spans: sender, lost, closing, emptying }
    }

    /// Takes a span, or loses it where there is no room. Never waits.
    pub(crate) fn take(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Spans lost since it was opened.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Takes nothing more, and sends what is there while there is time.
    pub(crate) async fn drain(&self) {
        self.closing.cancel();
        if timeout(DRAIN, self.emptying.wait()).await.is_err() {
            tracing::warn!("traces were not taken before the end of the program; the last spans are lost");
        }
    }
}

impl SpanProcessor for Outlet {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        if span.span_context.is_sampled() {
            dress(&mut span);
            self.take(span);
        }
    }

    /// Nobody waits for spans: [`Self::drain`] does, at the end.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.closing.cancel();
        Ok(())
    }
}

/// Empties the queue.
struct Emptier {
    collector: Collector,
    spans: Receiver<SpanData>,
    lost: Arc<AtomicU64>,
    closing: CancellationToken,
    trouble: Trouble,
}

impl Emptier {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut due = Instant::now();
        let mut is_open = true;
        while is_open {
            let room = BATCH - batch.len();
            let was_empty = batch.is_empty();
            tokio::select! {
                biased;
                () = self.closing.cancelled(), if !self.spans.is_closed() => self.spans.close(),
                taken = self.spans.recv_many(&mut batch, room) => is_open = taken > 0,
                () = sleep_until(due), if !was_empty => {}
            }
            if was_empty {
                due = Instant::now() + LINGER;
            }
            let is_due = batch.len() == BATCH || Instant::now() >= due || !is_open;
            if is_due && !batch.is_empty() {
                let full = self.collector.batch(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
                self.send(full).await;
            }
        }
    }

    /// Sends a batch, until it is taken or refused for good.
    async fn send(&mut self, batch: Batch) {
        let mut pause = PAUSE.0;
        loop {
            match self.collector.send(&batch).await {
                Ok(unwanted) => {
                    self.lost.fetch_add(unwanted, Ordering::Relaxed);
                    let why = (unwanted > 0).then(|| format!("it did not want {unwanted} spans"));
                    return self.judge(why);
                }
                Err(refused) => {
                    self.judge(Some(refused.to_string()));
                    if !refused.passes {
                        self.lost.fetch_add(batch.spans(), Ordering::Relaxed);
                        return;
                    }
                }
            }
            tokio::select! {
                () = sleep(pause) => pause = PAUSE.1.min(pause * 2),
                // The last try has been made: whoever ends the program waits for no collector.
                () = self.closing.cancelled() => {
                    self.lost.fetch_add(batch.spans(), Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    fn judge(&mut self, why: Option<String>) {
        let endpoint = self.collector.endpoint();
        match self.trouble.heard(why.is_some(), self.lost.load(Ordering::Relaxed)) {
            Some(Told::Begun) => {
                let why = why.unwrap_or_default();
                tracing::warn!(
                    endpoint,
                    why,
                    "traces are not taken; a few wait, the others are lost until they are"
                );
            }
            Some(Told::Over { lost }) => {
                tracing::info!(endpoint, lost, "traces are taken again");
            }
            Some(Told::Crowded) => {
                tracing::warn!(
                    endpoint,
                    "there are more spans than are taken in time; what has no room is lost"
                );
            }
            None => {}
        }
    }
}

/// What has been told, so that nothing is told twice.
#[derive(Debug, Default)]
struct Trouble {
    is_told: bool,
    is_crowded: bool,
    /// How many were lost before the trouble that is told of.
    lost_before: u64,
}

/// What is to be told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// Spans are not taken.
    Begun,
    /// They are again; so many were lost meanwhile.
    Over {
        /// Spans.
        lost: u64,
    },
    /// Spans are lost though they are taken. Told once.
    Crowded,
}

impl Trouble {
    /// A batch was sent; `lost` spans are lost since the program began.
    fn heard(&mut self, is_wrong: bool, lost: u64) -> Option<Told> {
        let more = lost - self.lost_before;
        match (self.is_told, is_wrong) {
            (false, true) => {
                self.is_told = true;
                Some(Told::Begun)
            }
            (true, false) => {
                self.is_told = false;
                self.lost_before = lost;
                Some(Told::Over { lost: more })
            }
            (false, false) if more > 0 && !self.is_crowded => {
                self.is_crowded = true;
                Some(Told::Crowded)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "outlet_tests.rs"]
mod tests;
