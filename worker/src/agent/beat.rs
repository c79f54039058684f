//! Announcements: who the worker is and what its node is like, at start, when something changes,
//! and each minute.

use std::{sync::Arc, time::Duration};

use ringvault_queue::message::{Beat, NodeGoodbye, NodeHello};
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
    /// What was last announced, and when; held while a look is under way, so that looks at a node
    /// that answers slowly do not pile up.
    last: Arc<Mutex<Option<(NodeHello, Instant)>>>,
    /// Set with the goodbye, after which a look that is still under way announces nothing.
    gone: CancellationToken,
}

impl Beats {
    pub(super) fn new(outbound: Outbound, executor: Arc<Executor>) -> Self {
        Self {
            outbound,
            executor,
            next_look: Instant::now(),
            last: Arc::default(),
            gone: CancellationToken::new(),
        }
    }

    /// Looks at the node if it is time, and announces it if there is news or a minute has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        let (outbound, executor) = (self.outbound.clone(), Arc::clone(&self.executor));
        let last = Arc::clone(&self.last);
        let gone = self.gone.clone();
        tokio::spawn(async move {
            let Ok(mut last) = last.try_lock_owned() else { return };
            let hello = executor.describe(outbound.worker(), outbound.incarnation()).await;
            let every = Duration::from_secs(executor.config().worker.hello_seconds);
            let due = match &*last {
                Some((known, at)) => at.elapsed() >= every || differs(known, &hello),
                None => true,
            };
            if due && !gone.is_cancelled() {
                outbound.beat(Beat::Hello(hello.clone())).await;
                *last = Some((hello, Instant::now()));
            }
        });
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

/// Whether anything but free disk space has changed.
fn differs(known: &NodeHello, now: &NodeHello) -> bool {
    let disk = known.disk;
    *known != NodeHello { disk, ..now.clone() }
}
