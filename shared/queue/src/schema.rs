//! The JSON Schemas of all messages, as other systems read them.
//!
//! One document a message type: the envelope with the payload in its place. They are committed
//! under `docs/schemas/` and a test holds them to the types; `RINGVAULT_UPDATE_SCHEMAS=1 cargo test
//! -p ringvault-queue schemas` writes them anew.

mod asyncapi;

use serde_json::{Map, Value, json};

pub use asyncapi::asyncapi;

use crate::{Beat, Event, Message, Report, Request, TaskMessage, envelope};

/// Every message type with its schema, by name.
pub fn schemas() -> Vec<(&'static str, Value)> {
    let mut all = [
        of_family::<TaskMessage>(),
        of_family::<Report>(),
        of_family::<Beat>(),
        of_family::<Request>(),
        of_family::<Event>(),
    ]
    .concat();
    all.sort_by_key(|(name, _)| *name);
    all
}

fn of_family<M: Message>() -> Vec<(&'static str, Value)> {
    M::payload_schemas()
        .into_iter()
        .map(|(name, payload)| (name, around(name, payload.to_value(), M::NEEDS_IDEMPOTENCY_KEY)))
        .collect()
}

/// The envelope's schema around a payload's. Definitions move to the top, where `$ref`s point.
fn around(name: &str, mut payload: Value, needs_idempotency_key: bool) -> Value {
    let mut definitions = Value::Object(Map::new());
    if let Some(fields) = payload.as_object_mut() {
        fields.remove("$schema");
        if let Some(found) = fields.remove("$defs") {
            definitions = found;
        }
    }
    let text = |description: &str| {
        json!({
            "type": "string", "minLength": 1, "maxLength": envelope::MAX_TEXT,
            "description": description,
        })
    };
    let mut required = vec!["id", "type", "version", "source", "created_at", "payload"];
    if needs_idempotency_key {
        required.push("idempotency_key");
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "description": "Unknown fields are ignored by readers.",
        "type": "object",
        "properties": {
            "id": { "type": "string", "format": "uuid", "description": "Unique to this message; a repeat keeps it." },
            "type": { "const": name },
            "version": { "const": envelope::VERSION },
            "source": text("The program that sent it."),
            "idempotency_key": text("With `source`, makes a request happen once."),
            "created_at": { "type": "string", "format": "date-time" },
            "expires_at": { "type": "string", "format": "date-time", "description": "Not to be acted on after this." },
            "traceparent": text("W3C trace context."),
            "requested_by": text("On whose behalf it was sent."),
            "payload": payload,
        },
        "required": required,
        "$defs": definitions,
    })
}

#[cfg(test)]
mod tests;
