//! Why a message could not be read. Its text is the reason that stands beside the message in the
//! dead queue, so it must say what to change.

use uuid::Uuid;

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Over the bound.
    #[error("the message has {size} bytes; at most {limit} are accepted")]
    TooLarge {
        /// Its bytes.
        size: usize,
        /// The bound.
        limit: usize,
    },
    /// Not JSON at all.
    #[error("the message is not JSON: {cause}")]
    NotJson {
        /// The parser's words, with line and column.
        cause: String,
    },
    /// Holds a character that cannot be stored.
    #[error("the message holds a NUL character (\\u0000), which cannot be stored")]
    Nul,
    /// JSON, but not this envelope.
    #[error("the envelope's field {field:?} cannot be read: {cause}")]
    BadEnvelope {
        /// Path of the field; `.` is the whole.
        field: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Written by something newer, or not meant for Ringvault.
    #[error("the envelope has version {version}; only version {} is known", super::VERSION)]
    UnknownVersion {
        /// As given.
        version: u64,
    },
    /// No such type here.
    #[error("message {id} has type {type_name:?}; only {} are known here", known.join(", "))]
    UnknownType {
        /// The message.
        id: Uuid,
        /// As given.
        type_name: String,
        /// What would have been read.
        known: &'static [&'static str],
    },
    /// The payload is not of its type's form.
    #[error("the payload of {type_name} message {id} cannot be read at {field:?}: {cause}")]
    BadPayload {
        /// The message.
        id: Uuid,
        /// Its type.
        type_name: String,
        /// Path of the field within the payload; `.` is the whole.
        field: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A request that could happen twice.
    #[error("{type_name} message {id} has no idempotency_key: a request needs one")]
    NoIdempotencyKey {
        /// The message.
        id: Uuid,
        /// Its type.
        type_name: String,
    },
    /// Our own value has no JSON form; never caused by what was received.
    #[error("a {type_name} message cannot be written as JSON: {cause}")]
    Unwritable {
        /// Its type.
        type_name: &'static str,
        /// The serializer's words.
        cause: String,
    },
}

impl EnvelopeError {
    /// Stable code for events, metrics and the dead queue.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "RV-MSG-SIZE",
            Self::NotJson { .. } => "RV-MSG-JSON",
            Self::Nul => "RV-MSG-NUL",
            Self::BadEnvelope { .. } => "RV-MSG-ENVELOPE",
            Self::UnknownVersion { .. } => "RV-MSG-VERSION",
            Self::UnknownType { .. } => "RV-MSG-TYPE",
            Self::BadPayload { .. } => "RV-MSG-PAYLOAD",
            Self::NoIdempotencyKey { .. } => "RV-MSG-KEY",
            Self::Unwritable { .. } => "RV-MSG-WRITE",
        }
    }
}
