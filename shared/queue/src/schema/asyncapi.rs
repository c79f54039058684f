//! What other systems may say and hear, as one AsyncAPI 3 document: requests that the scheduler takes,
//! events that it tells (<https://www.asyncapi.com/docs/reference/specification/v3.0.0>).
//!
//! Served at `/asyncapi.json`, and committed as `docs/asyncapi.json`, held to the types by a test.

use serde_json::{Map, Value, json};

use super::of_family;
use crate::{Event, Request, topology};

/// JSON Schema as [`super::schemas`] writes it.
const SCHEMA_FORMAT: &str = "application/schema+json;version=draft-2020-12";

/// The document.
pub fn asyncapi() -> Value {
    let (requests, events) = (of_family::<Request>(), of_family::<Event>());
    let mut messages = Map::new();
    for (name, schema) in requests.iter().chain(&events) {
        messages.insert((*name).to_owned(), message(name, schema));
    }
    let info = "Backup, verify, restore and purge for Apache Cassandra, over RabbitMQ. Documents are only ever \
        added to: ignore fields that you do not know. A request happens once for its `source` and \
        `idempotency_key`, so it may be sent again until an event answers it.";
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Ringvault",
            "version": env!("CARGO_PKG_VERSION"),
            "description": info,
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "rabbitmq": {
                "host": "{host}",
                "pathname": "/{vhost}",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "RabbitMQ 3.10 or newer; amqps for TLS.",
                "variables": {
                    "host": { "default": "localhost:5672" },
                    "vhost": { "default": "ringvault" },
                },
            },
        },
        "channels": {
            "requests": channel(
                topology::REQUESTS,
                "Publish persistent and with confirms, the message's type as routing key. The property `user-id`, which the broker validates, is who the request counts for.",
                &requests,
            ),
            "events": channel(
                topology::EVENTS,
                "Bind a queue of your own. The routing key is the message's type, a dot and the cluster: `job.#`, `backup.sealed.orders-prod`.",
                &events,
            ),
        },
        "operations": {
            "takeRequest": operation("receive", "requests", "The scheduler takes a request.", &requests),
            "tellEvent": operation("send", "events", "The scheduler tells what happened.", &events),
        },
        "components": { "messages": messages },
    })
}

fn channel(exchange: &str, description: &str, family: &[(&str, Value)]) -> Value {
    let messages: Map<String, Value> = family
        .iter()
        .map(|(name, _)| ((*name).to_owned(), json!({ "$ref": format!("#/components/messages/{name}") })))
        .collect();
    json!({
        "address": exchange,
        "description": description,
        "messages": messages,
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": { "name": exchange, "type": "topic", "durable": true, "autoDelete": false },
                "bindingVersion": "0.3.0",
            },
        },
    })
}

fn operation(action: &str, channel: &str, summary: &str, family: &[(&str, Value)]) -> Value {
    let messages: Vec<Value> = family
        .iter()
        .map(|(name, _)| json!({ "$ref": format!("#/channels/{channel}/messages/{name}") }))
        .collect();
    json!({
        "action": action,
        "channel": { "$ref": format!("#/channels/{channel}") },
        "summary": summary,
        "messages": messages,
        "bindings": { "amqp": { "deliveryMode": 2, "bindingVersion": "0.3.0" } },
    })
}

fn message(name: &str, schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$schema");
    }
    // References lead from the root of the whole document.
    reroot(&mut schema, &format!("#/components/messages/{name}/payload/schema"));
    json!({
        "name": name,
        "title": name,
        "contentType": "application/json",
        "payload": { "schemaFormat": SCHEMA_FORMAT, "schema": schema },
    })
}

fn reroot(value: &mut Value, root: &str) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(target) if name == "$ref" => {
                        if let Some(path) = target.strip_prefix('#') {
                            *target = format!("{root}{path}");
                        }
                    }
                    value => reroot(value, root),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| reroot(value, root)),
        _ => {}
    }
}
