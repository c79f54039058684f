//! A worker over the queue: asks for the grant of each offer, does what it was told for each kind of
//! task, with heartbeats, and is done. Or it dies of it: its connection is gone without a word.

use std::{collections::HashMap, time::Duration};

use chrono::Utc;
use ringvault_core::{HostId, TaskId};
use ringvault_queue::{
    Beat, Envelope, Publish, QueueConfig, Report, Role, Session, TaskMessage,
    message::{Control, TaskOffer},
    topology,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::worker::Worker;

/// What comes of a task that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It is done after a while.
    DoneIn(Duration),
    /// It takes its worker with it.
    Dies,
}

/// Between two heartbeats.
const BEAT: Duration = Duration::from_millis(300);

struct InHand {
    offer: TaskOffer,
    /// When it is done; `None` until it is granted.
    done_at: Option<Instant>,
}

/// One run of a worker, from its hello to the end. Whether it died.
pub struct Run {
    session: Session,
    worker: Worker,
    hello: Beat,
    in_hand: HashMap<TaskId, InHand>,
}

impl Run {
    /// Connects, and says that it is there with a new incarnation.
    pub async fn start(config: &QueueConfig, worker: &Worker, hosts: &[HostId]) -> Self {
        let worker = Worker { incarnation: Uuid::now_v7(), ..worker.clone() };
        let hello = worker.hello(hosts);
        Self::announce(config, worker, hello).await
    }

    /// As [`Self::start`], with these words.
    pub async fn announce(config: &QueueConfig, worker: Worker, hello: Beat) -> Self {
        let session = Session::start(config, Role::Worker(worker.id), "worker").expect("a good URL");
        assert!(session.connected().await);
        let run = Self { session, worker, hello, in_hand: HashMap::new() };
        run.beat(run.hello.clone()).await;
        run
    }

    async fn beat(&self, beat: Beat) {
        let message = Envelope::new("worker", Utc::now(), beat);
        // One that is lost is followed by the next.
        let _ = self.session.publish(&Publish::beat(&message).expect("a small message")).await;
    }

    async fn report(&self, report: Report) {
        let message = Envelope::new("worker", Utc::now(), report);
        let message = Publish::report(&message).expect("a small message");
        while self.session.publish(&message).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Works until told to stop, or until a task kills it: then `true`.
    pub async fn work(mut self, deed: impl Fn(&TaskOffer) -> Deed, stop: &CancellationToken) -> bool {
        let mut messages = self.session.consume(topology::worker_queue(self.worker.id), 8);
        let mut next_beat = tokio::time::interval(BEAT);
        let died = loop {
            let delivery = tokio::select! {
                delivery = messages.next() => delivery.expect("the session is open"),
                _ = next_beat.tick() => {
                    self.carry_on().await;
                    continue;
                }
                () = stop.cancelled() => break false,
            };
            match delivery.parse::<TaskMessage>().expect("a message to a worker").body {
                TaskMessage::Offer(offer) => {
                    let started = self.worker.started(&offer);
                    self.in_hand.insert(offer.task, InHand { offer, done_at: None });
                    self.report(started).await;
                }
                TaskMessage::Grant(grant) => {
                    let granted =
                        self.in_hand.get_mut(&grant.task).filter(|it| it.offer.epoch == grant.epoch);
                    if let Some(it) = granted {
                        match deed(&it.offer) {
                            Deed::Dies => break true,
                            Deed::DoneIn(while_) => it.done_at = Some(Instant::now() + while_),
                        }
                    }
                }
                TaskMessage::Control(control) => self.told(control.task, control.action).await,
                // It never says that nothing is new.
                TaskMessage::Describe(_) => {}
            }
            let _ = delivery.ack().await;
        };
        self.session.close().await;
        died
    }

    async fn told(&mut self, task: TaskId, action: Control) {
        match action {
            Control::Stop { .. } => {
                if let Some(it) = self.in_hand.remove(&task) {
                    self.report(self.worker.stopped(&it.offer)).await;
                }
            }
            Control::Forget => {
                self.in_hand.remove(&task);
            }
            Control::Ask | Control::SetRateLimit { .. } => {}
        }
    }

    /// Heartbeats, and reports of what is done.
    async fn carry_on(&mut self) {
        let now = Instant::now();
        let done: Vec<TaskId> = self
            .in_hand
            .iter()
            .filter(|(_, it)| it.done_at.is_some_and(|at| at <= now))
            .map(|(task, _)| *task)
            .collect();
        for task in done {
            if let Some(it) = self.in_hand.remove(&task) {
                self.report(self.worker.succeeded(&it.offer)).await;
            }
        }
        for it in self.in_hand.values().filter(|it| it.done_at.is_some()) {
            self.beat(self.worker.heartbeat(&it.offer)).await;
        }
    }
}
