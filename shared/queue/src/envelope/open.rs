//! Reading: envelope first, payload second.

use ringvault_core::text;
use serde::Deserialize;

use super::{
    Envelope, EnvelopeError, MAX_BYTES, RawEnvelope, VERSION, nul::has_escaped_nul, text::check_texts,
};
use crate::message::Message;

/// What every version has; read before anything else, so that a later version is called by its
/// name instead of by the first field it has changed.
#[derive(Deserialize)]
struct Probe {
    version: u64,
}

impl<'a> RawEnvelope<'a> {
    /// Reads the envelope and leaves the payload alone.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_BYTES {
            return Err(EnvelopeError::TooLarge { size: bytes.len(), limit: MAX_BYTES });
        }
        let probe: Probe = read(bytes)?;
        if probe.version != u64::from(VERSION) {
            return Err(EnvelopeError::UnknownVersion { version: probe.version });
        }
        if has_escaped_nul(bytes) {
            return Err(EnvelopeError::Nul);
        }
        let envelope: Self = read(bytes)?;
        check_texts([
            ("source", Some(envelope.source.as_str())),
            ("type", Some(envelope.type_name.as_str())),
            ("idempotency_key", envelope.idempotency_key.as_deref()),
            ("traceparent", envelope.traceparent.as_deref()),
            ("requested_by", envelope.requested_by.as_deref()),
        ])?;
        Ok(envelope)
    }

    /// Reads the payload as a message of family `M`.
    pub fn open<M: Message>(&self) -> Result<Envelope<M>, EnvelopeError> {
        let Some(read) = M::from_payload(&self.type_name, self.payload.get()) else {
            return Err(EnvelopeError::UnknownType {
                id: self.id,
                type_name: self.type_name.clone(),
                known: M::TYPES,
            });
        };
        let body = read.map_err(|error| EnvelopeError::BadPayload {
            id: self.id,
            type_name: self.type_name.clone(),
            field: error.field,
            cause: error.cause,
        })?;
        if M::NEEDS_IDEMPOTENCY_KEY && self.idempotency_key.is_none() {
            let (id, type_name) = (self.id, self.type_name.clone());
            return Err(EnvelopeError::NoIdempotencyKey { id, type_name });
        }
        Ok(Envelope {
            id: self.id,
            source: self.source.clone(),
            idempotency_key: self.idempotency_key.clone(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            traceparent: self.traceparent.clone(),
            requested_by: self.requested_by.clone(),
            body,
        })
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, EnvelopeError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = text::excerpt(&error.path().to_string());
        let cause = error.into_inner();
        if cause.is_data() {
            EnvelopeError::BadEnvelope { field, cause: text::cause(cause) }
        } else {
            EnvelopeError::NotJson { cause: text::cause(cause) }
        }
    })?;
    json.end().map_err(|cause| EnvelopeError::NotJson { cause: cause.to_string() })?;
    Ok(value)
}
