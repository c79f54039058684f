//! The JSON envelope, version 1, around every message.
//!
//! A message is read in two steps. [`RawEnvelope::parse`] reads the envelope and leaves the
//! payload as text, so that a message whose payload is unreadable still says who sent it, under
//! which key, and can be answered; [`RawEnvelope::open`] reads the payload by its type. Fields
//! that are not known are ignored in both, so that an older reader survives a newer writer.
//!
//! Everything here comes from outside. Size, depth (`serde_json`'s limit of 128) and characters are
//! bounded before anything is kept: a NUL, for one, is valid JSON and cannot be stored in Postgres,
//! so it would come back for ever.

mod error;
mod nul;
mod open;
mod text;

pub use error::EnvelopeError;

use nul::replace_escaped_nul;
use text::check_texts;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::message::Message;

/// The envelope version this crate writes, and the only one it reads.
pub const VERSION: u32 = 1;

/// Largest message accepted or sent, in bytes. A `node.hello` of a ring of ten thousand nodes is
/// half of it; RabbitMQ 4 refuses anything over 16 MiB by default.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Longest `source`, `idempotency_key`, `requested_by` or `traceparent`, in bytes.
pub const MAX_TEXT: usize = 255;

/// A message of family `M` with who, when and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope<M> {
    /// Unique to this message; a repeat of the same message keeps it.
    pub id: Uuid,
    /// The program that sent it, such as `scheduler/sched-2` or the name of another system.
    pub source: String,
    /// With `source`, makes a request happen once. Always there in requests.
    pub idempotency_key: Option<String>,
    /// When it was written, by the sender's clock.
    pub created_at: DateTime<Utc>,
    /// After this the sender no longer wants it acted on.
    pub expires_at: Option<DateTime<Utc>>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// The person or policy on whose behalf it was sent. A claim: the author is the broker's
    /// validated `user-id`.
    pub requested_by: Option<String>,
    /// What it says.
    pub body: M,
}

/// An envelope whose payload has not been read.
#[derive(Debug, Clone, Deserialize)]
pub struct RawEnvelope<'a> {
    /// See [`Envelope::id`].
    pub id: Uuid,
    /// Names the payload's form, such as `task.offer`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// See [`Envelope::source`].
    pub source: String,
    /// See [`Envelope::idempotency_key`].
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// See [`Envelope::created_at`].
    pub created_at: DateTime<Utc>,
    /// See [`Envelope::expires_at`].
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
    /// See [`Envelope::traceparent`].
    #[serde(default)]
    pub traceparent: Option<String>,
    /// See [`Envelope::requested_by`].
    #[serde(default)]
    pub requested_by: Option<String>,
    /// The payload's JSON text.
    #[serde(borrow)]
    pub payload: &'a RawValue,
}

/// The form on the wire, for writing.
#[derive(Serialize)]
struct Wire<'a> {
    id: Uuid,
    #[serde(rename = "type")]
    type_name: &'a str,
    version: u32,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'a str>,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_by: Option<&'a str>,
    payload: &'a RawValue,
}

impl<M: Message> Envelope<M> {
    /// A message from `source`, written at `now`, with a new id and nothing optional.
    pub fn new(source: impl Into<String>, now: DateTime<Utc>, body: M) -> Self {
        Self {
            id: Uuid::now_v7(),
            source: source.into(),
            idempotency_key: None,
            created_at: now,
            expires_at: None,
            traceparent: None,
            requested_by: None,
            body,
        }
    }

    /// The message's type, such as `task.offer`.
    pub fn type_name(&self) -> &'static str {
        self.body.type_name()
    }

    /// Whether its sender no longer wants it acted on.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The bytes on the wire. A NUL in a text of the payload (an error's, perhaps, that quotes what
    /// a program printed) becomes U+FFFD: the message would be refused with it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EnvelopeError> {
        check_texts([
            ("source", Some(self.source.as_str())),
            ("idempotency_key", self.idempotency_key.as_deref()),
            ("traceparent", self.traceparent.as_deref()),
            ("requested_by", self.requested_by.as_deref()),
        ])?;
        let type_name = self.type_name();
        let unwritable =
            |cause: serde_json::Error| EnvelopeError::Unwritable { type_name, cause: cause.to_string() };
        let payload = self.body.to_payload().map_err(unwritable)?;
        let mut bytes = serde_json::to_vec(&Wire {
            id: self.id,
            type_name,
            version: VERSION,
            source: &self.source,
            idempotency_key: self.idempotency_key.as_deref(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            traceparent: self.traceparent.as_deref(),
            requested_by: self.requested_by.as_deref(),
            payload: &payload,
        })
        .map_err(unwritable)?;
        replace_escaped_nul(&mut bytes);
        if bytes.len() > MAX_BYTES {
            return Err(EnvelopeError::TooLarge { size: bytes.len(), limit: MAX_BYTES });
        }
        Ok(bytes)
    }

    /// Reads a message of this family, both steps at once.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        RawEnvelope::parse(bytes)?.open()
    }
}

#[cfg(test)]
mod tests;
