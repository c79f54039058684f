//! The worker's side of the task protocol.
//!
//! An offer is answered with `started`, acknowledged once the broker has confirmed that answer, and
//! nothing is touched before the scheduler grants exactly that pair of epoch and sequence number.
//! The same task offered under a newer epoch while it runs is adopted, not started twice; offered
//! after it was done but before its report was heard, it is answered from the kept outcome. A report
//! is sent until the broker confirms it. Everything is signed: what is not is dropped.
//!
//! Who holds a task is decided by leases. A worker knows of each of its tasks until when it is surely
//! its own (`lease`), and executors ask before each step that cannot be taken back
//! ([`TaskHandle::go_on`]): a worker that was cut off, or frozen, does nothing to data that a later
//! run of the task is at.
//!
//! The state lives in one `ledger::Ledger`, changed by one loop; executors run beside it and
//! speak to it through channels only.

mod beat;
mod last_words;
mod lease;
mod leave;
mod ledger;
mod outbound;
mod task_handle;

pub use last_words::last_words;
pub use task_handle::{StopSignal, TaskHandle, stopped};

use std::{sync::Arc, time::Duration};

use ringvault_core::{JobId, TaskError, TaskId, task::TaskResult, trace::TraceParent};
use ringvault_fault::around;
use ringvault_queue::{
    Consumer, Delivery, KeyRing, Session,
    message::{
        Control, Report, StopReason, TaskFailed, TaskGrant, TaskMessage, TaskOffer, TaskStarted, TaskStopped,
        TaskSucceeded,
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, Interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::{executor::Executor, identity::Identity};
use beat::Beats;
use ledger::{Ended, Granted, Ledger, OfferAnswer};
use outbound::Outbound;

/// How often heartbeats that are due are sent.
const TICK: Duration = Duration::from_secs(1);

/// How an executor ended.
pub(crate) struct Finished {
    job: JobId,
    task: TaskId,
    run: u64,
    outcome: Result<TaskResult, TaskError>,
}

/// What the loop hears from inside the worker.
struct Inside {
    ended: mpsc::UnboundedReceiver<Finished>,
    /// Reports that the broker has, by task and epoch.
    reported: mpsc::UnboundedReceiver<(TaskId, u32)>,
    tick: Interval,
}

/// The protocol loop.
pub struct Agent {
    ledger: Ledger,
    outbound: Outbound,
    keys: KeyRing,
    executor: Arc<Executor>,
    finished: mpsc::UnboundedSender<Finished>,
    reported: mpsc::UnboundedSender<(TaskId, u32)>,
    beats: Beats,
    /// The worker is shutting down and takes nothing new.
    is_leaving: bool,
}

impl Agent {
    /// Runs until `shutdown`: then running tasks are stopped and handed back.
    pub async fn run(
        session: Session,
        identity: &Identity,
        keys: KeyRing,
        executor: Arc<Executor>,
        mut inbox: Consumer,
        shutdown: CancellationToken,
    ) {
        let (finished, ended) = mpsc::unbounded_channel();
        let outbound = Outbound::new(session, identity);
        let beats = Beats::new(outbound.clone(), Arc::clone(&executor));
        let (reported, confirmed) = mpsc::unbounded_channel();
        let ledger = Ledger::default();
        let mut agent =
            Self { ledger, outbound, keys, executor, finished, reported, beats, is_leaving: false };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut inside = Inside { ended, reported: confirmed, tick };
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                delivery = inbox.next() => match delivery {
                    Some(delivery) => agent.receive(delivery).await,
                    None => break,
                },
                () = agent.listen_inside(&mut inside) => {}
            }
        }
        agent.leave(&mut inbox, &mut inside).await;
    }

    /// Takes one thing from inside the worker.
    async fn listen_inside(&mut self, inside: &mut Inside) {
        tokio::select! {
            Some(done) = inside.ended.recv() => self.settle(done),
            Some((task, epoch)) = inside.reported.recv() => self.ledger.forget_reported(task, epoch),
            _ = inside.tick.tick() => self.tick(),
        }
    }

    async fn receive(&mut self, delivery: Delivery) {
        if let Err(error) = delivery.verify(&self.keys) {
            warn!(%error, "a message to this worker is not signed as it must be; it is dropped");
            let _ = delivery.ack().await;
            return;
        }
        let envelope = match delivery.parse::<TaskMessage>() {
            Ok(envelope) => envelope,
            Err(error) => {
                warn!(%error, "a message to this worker cannot be read");
                if let Err(error) = delivery.dead_letter(&format!("{}: {error}", error.code())).await {
                    warn!(%error, "and could not be put into the dead queue");
                }
                return;
            }
        };
        match envelope.body {
            TaskMessage::Offer(offer) => {
                // One that cannot be read is none: no task waits for it.
                let trace = envelope.traceparent.and_then(|text| text.parse().ok());
                self.offered(offer, trace, delivery);
            }
            TaskMessage::Grant(grant) => {
                let _ = around!("worker.ack-grant").run(delivery.ack()).await;
                self.granted(&grant);
            }
            TaskMessage::Control(control) => {
                let _ = around!("worker.ack-control").run(delivery.ack()).await;
                self.controlled(control.task, control.epoch, &control.action);
            }
            TaskMessage::Describe(_) => {
                let _ = around!("worker.ack-describe").run(delivery.ack()).await;
                self.beats.say_all();
            }
        }
    }

    /// Answers an offer; the delivery is acknowledged once the answer is confirmed.
    fn offered(&mut self, offer: TaskOffer, trace: Option<TraceParent>, delivery: Delivery) {
        let (task, epoch, dispatch_seq) = (offer.task, offer.epoch, offer.dispatch_seq);
        if self.is_leaving {
            self.send_stopped(task, epoch, StopReason::Gone);
            tokio::spawn(async move { delivery.ack().await });
            return;
        }
        match self.ledger.offer((offer, trace), Uuid::new_v4(), Instant::now()) {
            OfferAnswer::Ask(nonce) => self.ask(task, (epoch, dispatch_seq), nonce, Some(delivery)),
            OfferAnswer::Wait => {
                info!(%task, epoch, "an offer waits until an earlier run of the task has ended");
                tokio::spawn(async move { delivery.ack().await });
            }
            OfferAnswer::Stale => {
                debug!(%task, epoch, "an offer under an old epoch");
                tokio::spawn(async move { delivery.ack().await });
            }
        }
    }

    /// Asks for a grant.
    fn ask(&self, task: TaskId, (epoch, dispatch_seq): (u32, u32), nonce: Uuid, delivery: Option<Delivery>) {
        let worker = self.outbound.worker();
        let started = Report::Started(TaskStarted { task, epoch, dispatch_seq, worker, nonce: Some(nonce) });
        let outbound = self.outbound.clone();
        tokio::spawn(async move {
            // Unconfirmed: the delivery goes back with the channel and is offered again.
            if outbound.report_once(started).await
                && let Some(delivery) = delivery
            {
                let _ = around!("worker.ack-offer").run(delivery.ack()).await;
            }
        });
    }

    fn granted(&mut self, grant: &TaskGrant) {
        match self.ledger.grant(grant) {
            Granted::Start(offer, handle, run) => {
                info!(task = %offer.task, job = %offer.job, stage = offer.stage.as_str(), epoch = offer.epoch, "task begins");
                let (executor, finished) = (Arc::clone(&self.executor), self.finished.clone());
                tokio::spawn(async move {
                    let (job, task) = (offer.job, offer.task);
                    // On a thread of its own: hashing or walking folders holds up no heartbeat.
                    let runtime = tokio::runtime::Handle::current();
                    let work = tokio::task::spawn_blocking(move || {
                        runtime.block_on(executor.execute(*offer, handle))
                    });
                    let outcome = work.await.unwrap_or_else(|error| {
                        Err(TaskError::transient(
                            "RV-INTERNAL",
                            format!("the task's program failed: {error}"),
                        ))
                    });
                    let _ = finished.send(Finished { job, task, run, outcome });
                });
            }
            Granted::Adopted => {
                info!(task = %grant.task, epoch = grant.epoch, "running task adopted under a newer epoch");
            }
            Granted::AlreadyDone(epoch, result) => self.send_outcome(grant.task, epoch, Ok(result)),
            Granted::Gone => {
                info!(task = %grant.task, epoch = grant.epoch, "a grant comes too late; the task is handed back");
                self.send_stopped(grant.task, grant.epoch, StopReason::Gone);
            }
            Granted::Late => {
                debug!(task = %grant.task, epoch = grant.epoch, "a grant that was not asked for");
            }
        }
    }

    fn controlled(&mut self, task: TaskId, epoch: u32, action: &Control) {
        match action {
            Control::Stop { why } => {
                if !self.ledger.stop(task, epoch, *why) {
                    self.send_stopped(task, epoch, StopReason::Gone);
                }
            }
            Control::Forget => self.ledger.forget(task, epoch),
            Control::Ask => match self.ledger.running(task, epoch) {
                Some(handle) => self.outbound.heartbeat(task, epoch, handle),
                None if self.ledger.is_being_reported(task) => {}
                None => self.send_stopped(task, epoch, StopReason::Gone),
            },
            Control::SetRateLimit { bytes_per_second, requests_per_second } => {
                if let Some(handle) = self.ledger.running(task, epoch) {
                    handle.pace(*bytes_per_second, *requests_per_second);
                }
            }
        }
    }

    /// An executor ended: its report goes out, unless nobody wants it any more.
    fn settle(&mut self, done: Finished) {
        let Finished { job, task, .. } = done;
        let (epoch, stopped) = match self.ledger.finish(task, done.run, &done.outcome, Instant::now()) {
            Ended::Report(epoch, stopped) => (epoch, stopped),
            Ended::Ask { epoch, dispatch_seq, nonce } => {
                return self.ask(task, (epoch, dispatch_seq), nonce, None);
            }
            Ended::Nothing => {
                info!(%job, %task, "a task that belongs to another by now has ended; nothing is reported");
                return;
            }
        };
        match (&done.outcome, stopped) {
            (Err(_), Some(why)) => {
                info!(%job, %task, epoch, ?why, "task stopped");
                self.send_stopped(task, epoch, why);
            }
            (outcome, _) => {
                match outcome {
                    Ok(_) => info!(%job, %task, epoch, "task done"),
                    Err(error) => warn!(%job, %task, epoch, %error, "task failed"),
                }
                self.send_outcome(task, epoch, done.outcome);
            }
        }
    }

    fn send_outcome(&self, task: TaskId, epoch: u32, outcome: Result<TaskResult, TaskError>) {
        let worker = self.outbound.worker();
        let report = match outcome {
            Ok(result) => Report::Succeeded(TaskSucceeded { task, epoch, worker, result }),
            Err(error) => Report::Failed(TaskFailed { task, epoch, worker, error }),
        };
        self.outbound.report_surely(report, task, epoch, self.reported.clone());
    }

    fn send_stopped(&self, task: TaskId, epoch: u32, reason: StopReason) {
        let worker = self.outbound.worker();
        let report = Report::Stopped(TaskStopped { task, epoch, worker, reason, draining: self.is_leaving });
        self.outbound.report_surely(report, task, epoch, self.reported.clone());
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.ledger.drop_ungranted(now);
        for (task, epoch, handle) in self.ledger.heartbeats_due(now) {
            self.outbound.heartbeat(task, epoch, &handle);
        }
        if !self.is_leaving {
            self.beats.tick(now);
        }
    }
}
