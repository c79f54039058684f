//! A message ready to be published: bytes, where they go, and what stands on the outside.
//!
//! The outbox keeps exactly these fields, so a message is the same whether it is published at once
//! or read back from Postgres first.

use std::{collections::BTreeMap, time::Duration};

use ringvault_core::WorkerId;
use uuid::Uuid;

use crate::{
    Beat, Envelope, EnvelopeError, Event, KeyRing, Message, Report, Request, TaskMessage,
    sign::{KEY_HEADER, SIGNATURE_HEADER},
    topology::{EVENTS, HEARTBEAT_KEY, REPORT_KEY, REPORTS, REQUESTS, TASKS},
};

/// A message and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The exchange.
    pub exchange: String,
    /// The routing key, at most 255 bytes.
    pub routing_key: String,
    /// The envelope's bytes.
    pub body: Vec<u8>,
    /// The message's id, the envelope's too.
    pub message_id: Uuid,
    /// The message's type, such as `task.offer`.
    pub message_type: String,
    /// Headers; values are text.
    pub headers: BTreeMap<String, String>,
    /// Whether a message that no queue takes is an error.
    pub mandatory: bool,
    /// Whether it outlasts a restart of the broker.
    pub persistent: bool,
    /// Dropped by the broker after so long; never when absent.
    pub expiration: Option<Duration>,
}

impl Publish {
    /// A persistent, mandatory message.
    pub fn new<M: Message>(
        exchange: &str,
        routing_key: impl Into<String>,
        envelope: &Envelope<M>,
    ) -> Result<Self, EnvelopeError> {
        Ok(Self {
            exchange: exchange.to_owned(),
            routing_key: routing_key.into(),
            body: envelope.to_bytes()?,
            message_id: envelope.id,
            message_type: envelope.type_name().to_owned(),
            headers: BTreeMap::new(),
            mandatory: true,
            persistent: true,
            expiration: None,
        })
    }

    /// To a worker. Must still be signed: see [`Self::sign`].
    pub fn to_worker(worker: WorkerId, envelope: &Envelope<TaskMessage>) -> Result<Self, EnvelopeError> {
        Self::new(TASKS, worker.to_string(), envelope)
    }

    /// A worker's report.
    pub fn report(envelope: &Envelope<Report>) -> Result<Self, EnvelopeError> {
        Self::new(REPORTS, REPORT_KEY, envelope)
    }

    /// A worker's sign of life: neither mandatory nor persistent, the next one comes soon.
    pub fn beat(envelope: &Envelope<Beat>) -> Result<Self, EnvelopeError> {
        let message = Self::new(REPORTS, HEARTBEAT_KEY, envelope)?;
        Ok(Self { mandatory: false, persistent: false, ..message })
    }

    /// A request to the scheduler.
    pub fn request(envelope: &Envelope<Request>) -> Result<Self, EnvelopeError> {
        Self::new(REQUESTS, envelope.type_name(), envelope)
    }

    /// An event: not mandatory, there may be nobody who listens.
    pub fn event(envelope: &Envelope<Event>) -> Result<Self, EnvelopeError> {
        let cluster = envelope.body.cluster().map_or("-", |cluster| cluster.as_str());
        let routing_key = format!("{}.{cluster}", envelope.type_name());
        let message = Self::new(EVENTS, routing_key, envelope)?;
        Ok(Self { mandatory: false, ..message })
    }

    /// Adds the signature of the body's bytes as they are now.
    #[must_use]
    pub fn sign(mut self, keys: &KeyRing) -> Self {
        let signature = keys.sign(&self.body);
        self.headers.insert(SIGNATURE_HEADER.to_owned(), signature.mac);
        self.headers.insert(KEY_HEADER.to_owned(), signature.key);
        self
    }
}
