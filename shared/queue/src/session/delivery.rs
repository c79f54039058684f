//! A delivered message.

use std::{collections::BTreeMap, sync::Arc};

use lapin::{
    Acker,
    options::{BasicAckOptions, BasicNackOptions},
    types::{AMQPValue, FieldTable, ShortString},
};

use super::Session;
use crate::{
    Envelope, EnvelopeError, KeyRing, Message, SignatureError,
    sign::{KEY_HEADER, SIGNATURE_HEADER},
};

/// The delivery's connection is gone. The message went back to its queue and comes again, to this
/// consumer or another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the delivery's connection is gone; the message will be delivered again")]
pub struct Stale;

impl From<ringvault_fault::Injected> for Stale {
    fn from(_: ringvault_fault::Injected) -> Self {
        Self
    }
}

/// A delivered message. It must be acknowledged, given back or dead-lettered within the broker's
/// consumer timeout (30 minutes by default); until then it takes one place of the prefetch.
#[derive(Debug)]
#[must_use = "an unacknowledged delivery takes a place of the prefetch"]
pub struct Delivery {
    /// The message's bytes, as they were signed.
    pub body: Vec<u8>,
    /// Headers with text or numbers as values, as text.
    pub headers: BTreeMap<String, String>,
    /// The message's id as it stands outside the envelope.
    pub message_id: Option<String>,
    /// The message's type as it stands outside the envelope.
    pub message_type: Option<String>,
    /// The author, validated by the broker when it is there.
    pub user_id: Option<String>,
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// The queue it was consumed from.
    pub queue: Arc<str>,
    acker: Acker,
    pub(super) session: Session,
}

impl Delivery {
    pub(super) fn new(delivery: lapin::message::Delivery, queue: Arc<str>, session: Session) -> Self {
        let properties = &delivery.properties;
        let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
        Self {
            headers: properties.headers().as_ref().map(texts_of).unwrap_or_default(),
            message_id: text(properties.message_id()),
            message_type: text(properties.kind()),
            user_id: text(properties.user_id()),
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            redelivered: delivery.redelivered,
            body: delivery.data,
            acker: delivery.acker,
            queue,
            session,
        }
    }

    /// Reads the body as a message of family `M`.
    pub fn parse<M: Message>(&self) -> Result<Envelope<M>, EnvelopeError> {
        Envelope::parse(&self.body)
    }

    /// Accepts the body only with a signature of a key in `keys`.
    pub fn verify(&self, keys: &KeyRing) -> Result<(), SignatureError> {
        let header = |name| self.headers.get(name).map(String::as_str);
        keys.verify(&self.body, header(KEY_HEADER), header(SIGNATURE_HEADER))
    }

    /// Whether its connection is gone.
    pub fn is_stale(&self) -> bool {
        !self.acker.usable()
    }

    /// Takes the message off its queue.
    pub async fn ack(self) -> Result<(), Stale> {
        taken(&self.acker.ack(BasicAckOptions::default()).await)
    }

    /// Gives the message back to its queue, to be delivered again. A quorum queue counts this, and
    /// sends what comes back too often to the dead queue: to wait for something, keep the delivery
    /// and wait.
    pub async fn requeue(self) -> Result<(), Stale> {
        taken(&self.acker.nack(BasicNackOptions { requeue: true, multiple: false }).await)
    }
}

fn taken(result: &lapin::Result<bool>) -> Result<(), Stale> {
    match result {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(Stale),
    }
}

fn texts_of(headers: &FieldTable) -> BTreeMap<String, String> {
    headers
        .into_iter()
        .filter_map(|(name, value)| {
            let text = match value {
                AMQPValue::LongString(text) => text.to_string(),
                AMQPValue::ShortString(text) => text.to_string(),
                AMQPValue::Boolean(value) => value.to_string(),
                AMQPValue::LongInt(value) => value.to_string(),
                AMQPValue::LongLongInt(value) => value.to_string(),
                _ => return None,
            };
            Some((name.to_string(), text))
        })
        .collect()
}
