//! What the worker sends. Reports are sent until the broker confirms them, over any number of
//! reconnects; heartbeats are sent once, the next one comes soon.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use ringvault_core::{TaskId, WorkerId};
use ringvault_fault::around;
use ringvault_queue::{
    Envelope, Publish, Session,
    message::{Beat, Report, TaskHeartbeat},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::task::TaskTracker;
use tracing::{error, warn};
use uuid::Uuid;

use super::{TaskHandle, lease::Moment};
use crate::identity::Identity;

/// How long the answer to an offer is tried: after that the offer has expired anyway.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// One round of trying to report; then it is logged and tried again.
const REPORT_ROUND: Duration = Duration::from_secs(60);

/// Sends for one worker. Clones share it.
#[derive(Clone)]
pub(super) struct Outbound {
    session: Session,
    worker: WorkerId,
    incarnation: Uuid,
    source: Arc<str>,
    reports: TaskTracker,
}

impl Outbound {
    pub(super) fn new(session: Session, identity: &Identity) -> Self {
        Self {
            session,
            worker: identity.worker,
            incarnation: identity.incarnation,
            source: format!("worker/{}", identity.worker).into(),
            reports: TaskTracker::new(),
        }
    }

    pub(super) const fn worker(&self) -> WorkerId {
        self.worker
    }

    pub(super) const fn incarnation(&self) -> Uuid {
        self.incarnation
    }

    /// Sends a report for a short while. `true`: confirmed.
    pub(super) async fn report_once(&self, report: Report) -> bool {
        let Some(message) = self.encode(report) else { return false };
        match around!("worker.answer").run(self.session.publish_within(&message, ANSWER_PATIENCE)).await {
            Ok(()) => true,
            Err(error) => {
                warn!(%error, "an offer could not be answered");
                false
            }
        }
    }

    /// Sends a report until it is confirmed, then says so on `reported`.
    pub(super) fn report_surely(
        &self,
        report: Report,
        task: TaskId,
        epoch: u32,
        reported: mpsc::UnboundedSender<(TaskId, u32)>,
    ) {
        let Some(message) = self.encode(report) else { return };
        let session = self.session.clone();
        self.reports.spawn(async move {
            while let Err(error) =
                around!("worker.report").run(session.publish_within(&message, REPORT_ROUND)).await
            {
                if !error.is_passing() {
                    error!(%error, %task, epoch, "a report cannot be sent");
                    return;
                }
                warn!(%error, %task, epoch, "a report is not confirmed yet");
                if !session.connected().await {
                    return;
                }
            }
            let _ = reported.send((task, epoch));
        });
    }

    /// Sends one heartbeat, without waiting for the broker. Once that has it, the lease is longer.
    pub(super) fn heartbeat(&self, task: TaskId, epoch: u32, handle: &TaskHandle) {
        let (outbound, lease, progress) = (self.clone(), handle.lease.clone(), handle.progress());
        let sent_at = Moment::now();
        tokio::spawn(async move {
            let (worker, incarnation) = (outbound.worker, outbound.incarnation);
            let beat = TaskHeartbeat { task, epoch, worker, incarnation, progress };
            if outbound.beat(Beat::Heartbeat(beat)).await {
                lease.extend(epoch, sent_at, Moment::now());
            }
        });
    }

    /// Sends a sign of life, once. `true`: the broker has it.
    pub(super) async fn beat(&self, beat: Beat) -> bool {
        let envelope = Envelope::new(&*self.source, Utc::now(), beat);
        match Publish::beat(&envelope) {
            Ok(message) => {
                let sent = self.session.publish(&message).await;
                sent.inspect_err(|error| warn!(%error, "a sign of life was not sent")).is_ok()
            }
            Err(error) => {
                error!(%error, "a sign of life could not be written");
                false
            }
        }
    }

    /// Waits for the reports under way, until `until` at most.
    pub(super) async fn drain(&self, until: Instant) {
        self.reports.close();
        if tokio::time::timeout_at(until, self.reports.wait()).await.is_err() {
            warn!("some reports were not confirmed before the shutdown");
        }
    }

    fn encode(&self, report: Report) -> Option<Publish> {
        let envelope = Envelope::new(&*self.source, Utc::now(), report);
        Publish::report(&envelope).inspect_err(|error| error!(%error, "a report could not be written")).ok()
    }
}
