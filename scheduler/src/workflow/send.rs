//! Messages to workers, signed and put into the outbox with the state they announce.

use ringvault_core::{job::NodeLimits, task::TaskState};
use ringvault_queue::{
    Envelope, Publish, TaskMessage,
    message::{Control, StopReason, TaskControl, TaskGrant, TaskOffer},
};
use ringvault_state::{
    jobs,
    outbox::Message,
    tasks::{self, TaskRow},
};

use super::{DriveError, Step, places::Places};

impl Step<'_> {
    /// Offers a task to the worker it is placed on.
    pub(super) fn send_offer(&mut self, task: &TaskRow) -> Result<(), DriveError> {
        let timeout = self.ctx.config.retry.dispatch_timeout;
        let NodeLimits { rate_limit, request_limit } = self.limits_of(task);
        let mut payload = task.payload.clone();
        payload.set_rate_limit(rate_limit);
        let offer = TaskMessage::Offer(TaskOffer {
            task: task.id,
            job: task.job,
            stage: task.kind,
            epoch: task.machine.epoch,
            dispatch_seq: task.machine.dispatch_seq,
            grant_within_seconds: seconds(timeout),
            deadline: None,
            request_limit,
            payload,
        });
        self.tell_worker(task, offer, true)
    }

    /// Grants a task under its current pair.
    pub(super) fn send_grant(&mut self, task: &TaskRow) -> Result<(), DriveError> {
        let grant = TaskMessage::Grant(TaskGrant {
            task: task.id,
            epoch: task.machine.epoch,
            dispatch_seq: task.machine.dispatch_seq,
            lease_seconds: seconds(self.ctx.config.retry.lease),
            nonce: self.asked_with,
        });
        self.tell_worker(task, grant, false)?;
        // It may have been offered before they were set.
        if self.job.said.is_empty() { Ok(()) } else { self.send_limits(task) }
    }

    /// Tells a running task to stop. Only a hint: every heartbeat of a task that should stop is
    /// answered in the same way.
    pub(super) fn send_stop(&mut self, task: &TaskRow, why: StopReason) -> Result<(), DriveError> {
        let control = TaskMessage::Control(TaskControl {
            task: task.id,
            epoch: task.machine.epoch,
            action: Control::Stop { why },
        });
        self.tell_worker(task, control, false)
    }

    /// Tells a task, which may be running, how fast it may go from now on.
    fn send_limits(&mut self, task: &TaskRow) -> Result<(), DriveError> {
        let NodeLimits { rate_limit, request_limit } = self.limits_of(task);
        let control = TaskMessage::Control(TaskControl {
            task: task.id,
            epoch: task.machine.epoch,
            action: Control::SetRateLimit {
                bytes_per_second: rate_limit,
                requests_per_second: request_limit,
            },
        });
        self.tell_worker(task, control, false)
    }

    /// Has the job's nodes, or those of one data center, keep to these from now on: what is offered later, and what
    /// runs.
    pub async fn set_limits(
        &mut self,
        data_center: Option<&str>,
        limits: NodeLimits,
    ) -> Result<(), DriveError> {
        self.flush().await?;
        self.job.said.say(data_center, limits);
        self.places = Places::of(self.conn, [&self.job]).await?;
        jobs::save(self.conn, &self.job).await?;
        let stage = self.job.machine.stage;
        for task in tasks::lock_open(self.conn, self.job.id, stage, false).await? {
            if task.machine.state == TaskState::Running {
                self.send_limits(&task)?;
            }
        }
        self.flush().await
    }

    /// What the worker that has a task keeps to.
    fn limits_of(&self, task: &TaskRow) -> NodeLimits {
        let data_center = task.machine.worker.and_then(|worker| self.places.data_center_of(worker));
        self.job.said.of(data_center).or(self.job.spec.limits().of(data_center))
    }

    fn tell_worker(
        &mut self,
        task: &TaskRow,
        message: TaskMessage,
        is_offer: bool,
    ) -> Result<(), DriveError> {
        let Some(worker) = task.machine.worker else { return Ok(()) };
        let trace = self.job.trace.map(|trace| trace.stage(task.stage));
        let traceparent = trace.map(|trace| trace.to_string());
        let envelope = Envelope { traceparent, ..Envelope::new(self.ctx.source(), self.now, message) };
        let publish = Publish::to_worker(worker, &envelope)?.sign(&self.ctx.keys);
        let mut row = as_row(publish);
        row.offer = is_offer.then_some((task.id, task.machine.epoch));
        self.writes.message(row);
        Ok(())
    }
}

/// A message as the outbox keeps it.
pub(super) fn as_row(publish: Publish) -> Message {
    Message {
        exchange: publish.exchange,
        routing_key: publish.routing_key,
        message_id: publish.message_id,
        message_type: publish.message_type,
        headers: publish.headers,
        body: publish.body,
        mandatory: publish.mandatory,
        persistent: publish.persistent,
        offer: None,
    }
}

/// Whole seconds, at least one.
fn seconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).max(1)
}
