//! Announcements: who the worker is and what its node is like, at start, when something changes,
//! and when a scheduler asks for it; in between a word each minute that nothing is new.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ringvault_queue::message::{Beat, NodeGoodbye, NodeHello, NodeStill};
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;

use super::outbound::Outbound;
use crate::executor::Executor;

/// How often the node is looked at for changes.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// When what is announced.
pub(super) struct Beats {
    outbound: Outbound,
    executor: Arc<Executor>,
    next_look: Instant,
    /// Held while a look is under way, so that looks at a node that answers slowly do not pile up.
    said: Arc<Mutex<Said>>,
    /// A scheduler does not know what was said.
    is_asked: Arc<AtomicBool>,
    /// Set with the goodbye, after which a look that is still under way announces nothing.
    gone: CancellationToken,
}

impl Beats {
    pub(super) fn new(outbound: Outbound, executor: Arc<Executor>) -> Self {
        Self {
            outbound,
            executor,
            next_look: Instant::now(),
            said: Arc::default(),
            is_asked: Arc::default(),
            gone: CancellationToken::new(),
        }
    }

    /// Looks at the node if it is time, and says what there is to say.
    pub(super) fn tick(&mut self, now: Instant) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        let (outbound, executor) = (self.outbound.clone(), Arc::clone(&self.executor));
        let (said, is_asked) = (Arc::clone(&self.said), Arc::clone(&self.is_asked));
        let gone = self.gone.clone();
        tokio::spawn(async move {
            let Ok(mut said) = said.try_lock_owned() else { return };
            let hello = executor.describe(outbound.worker(), outbound.incarnation()).await;
            if is_asked.swap(false, Ordering::Relaxed) {
                said.is_known = false;
            }
            let every = Duration::from_secs(executor.config().worker.hello_seconds);
            let Some(beat) = said.next(hello, Instant::now(), every) else { return };
            if !gone.is_cancelled() {
                let is_sent = outbound.beat(beat).await;
                said.sent(is_sent, Instant::now());
            }
        });
    }

    /// Says all of it at the next tick.
    pub(super) fn say_all(&mut self) {
        self.is_asked.store(true, Ordering::Relaxed);
        self.next_look = Instant::now();
    }

    /// Says goodbye; nothing is announced after it.
    pub(super) async fn goodbye(&self) {
        self.gone.cancel();
        let goodbye = NodeGoodbye {
            worker: self.outbound.worker(),
            incarnation: self.outbound.incarnation(),
            cluster: self.executor.config().cluster.clone(),
        };
        self.outbound.beat(Beat::Goodbye(goodbye)).await;
    }
}

/// What was said last.
#[derive(Debug, Default)]
struct Said {
    last: Option<NodeHello>,
    /// Whether the broker took all of `last`, and no scheduler has asked for it since.
    is_known: bool,
    /// When the broker last took anything.
    at: Option<Instant>,
}

impl Said {
    /// What to say now that the node is as `hello` says; nothing while it is as it was, and that was said less than
    /// `every` ago.
    fn next(&mut self, hello: NodeHello, now: Instant, every: Duration) -> Option<Beat> {
        let edition = match &self.last {
            None => 1,
            Some(last) if differs(last, &hello) => last.edition.unwrap_or(0).saturating_add(1),
            Some(last) => last.edition.unwrap_or(1),
        };
        let is_new = self.last.as_ref().is_none_or(|last| last.edition != Some(edition));
        if is_new || !self.is_known {
            let hello = NodeHello { edition: Some(edition), ..hello };
            self.last = Some(hello.clone());
            self.is_known = false;
            return Some(Beat::Hello(hello));
        }
        let is_due = self.at.is_none_or(|at| now.saturating_duration_since(at) >= every);
        is_due.then(|| {
            let NodeHello { worker, incarnation, cluster, disk, .. } = hello;
            Beat::Still(NodeStill { worker, incarnation, cluster, edition, disk })
        })
    }

    /// Whether the broker took what was to be said.
    fn sent(&mut self, is_sent: bool, now: Instant) {
        if is_sent {
            self.is_known = true;
            self.at = Some(now);
        }
    }
}

/// Whether anything but free disk space has changed.
fn differs(known: &NodeHello, now: &NodeHello) -> bool {
    let (disk, edition) = (known.disk, known.edition);
    *known != NodeHello { disk, edition, ..now.clone() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EVERY: Duration = Duration::from_secs(60);

    fn hello(free: u64, problem: Option<&str>) -> NodeHello {
        let id = uuid::Uuid::from_u128(9);
        serde_json::from_value(json!({
            "worker": id, "incarnation": id, "cluster": "c", "disk": {"total": 100, "free": free},
            "slots": 4, "short_slots": 1, "version": "0", "problem": problem,
        }))
        .unwrap()
    }

    /// What is said, and in which edition.
    fn told(beat: Option<Beat>) -> Option<(&'static str, u32)> {
        beat.map(|beat| match beat {
            Beat::Hello(hello) => ("all", hello.edition.unwrap()),
            Beat::Still(still) => ("still", still.edition),
            _ => unreachable!("an announcement"),
        })
    }

    #[test]
    fn all_is_said_when_it_is_new_or_asked_for_and_a_word_each_minute() {
        let (mut said, began) = (Said::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut say = |seconds, hello, is_sent| {
            let beat = said.next(hello, at(seconds), EVERY);
            if beat.is_some() {
                said.sent(is_sent, at(seconds));
            }
            told(beat)
        };
        assert_eq!(say(0, hello(1, None), false), Some(("all", 1)));
        assert_eq!(say(10, hello(1, None), true), Some(("all", 1)), "the broker did not take it");
        assert_eq!(say(20, hello(2, None), true), None, "the disk alone is no news");
        assert_eq!(say(70, hello(2, None), true), Some(("still", 1)));
        assert_eq!(say(80, hello(2, Some("down")), false), Some(("all", 2)), "at once");
        assert_eq!(say(90, hello(2, None), true), Some(("all", 3)), "also when the one before was not heard");
        assert_eq!(say(140, hello(2, None), true), None);
        assert_eq!(say(150, hello(2, None), true), Some(("still", 3)));
        said.is_known = false;
        assert_eq!(told(said.next(hello(2, None), at(151), EVERY)), Some(("all", 3)), "asked for");
    }
}
