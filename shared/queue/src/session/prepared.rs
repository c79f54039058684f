//! A message in the client library's terms, checked so that it cannot harm the connection: a name
//! that is too long would panic, and headers larger than a frame would be a protocol error.

use chrono::Utc;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::PublishError;
use crate::{Publish, envelope::MAX_BYTES};

/// All headers together, in bytes; far below the smallest frame a broker is set to.
const MAX_HEADERS: usize = 3 * 1024;

/// Persistent, in AMQP's numbers.
const PERSISTENT: u8 = 2;
/// Not persistent.
const TRANSIENT: u8 = 1;

/// A message that can be sent.
pub(super) struct Prepared {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) message_id: ShortString,
    pub(super) mandatory: bool,
    pub(super) body: Vec<u8>,
    pub(super) properties: BasicProperties,
}

pub(super) fn prepare(message: &Publish) -> Result<Prepared, PublishError> {
    let refuse = |why: String| PublishError::Invalid { message_type: message.message_type.clone(), why };
    let short = |what: &str, text: &str| {
        ShortString::try_new(text)
            .map_err(|_| refuse(format!("its {what} has {} bytes; at most 255 fit", text.len())))
    };
    if message.body.len() > MAX_BYTES {
        let size = message.body.len();
        return Err(refuse(format!("it has {size} bytes; at most {MAX_BYTES} are accepted")));
    }
    let header_bytes: usize = message.headers.iter().map(|(name, text)| name.len() + text.len()).sum();
    if header_bytes > MAX_HEADERS {
        return Err(refuse(format!("its headers have {header_bytes} bytes; at most {MAX_HEADERS} fit")));
    }
    let mut headers = FieldTable::default();
    for (name, text) in &message.headers {
        headers.insert(short("header's name", name)?, AMQPValue::LongString(text.as_str().into()));
    }
    let message_id = short("id", &message.message_id.to_string())?;
    let now = u64::try_from(Utc::now().timestamp()).unwrap_or_default();
    let mut properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_message_id(message_id.clone())
        .with_type(short("type", &message.message_type)?)
        .with_timestamp(now)
        .with_delivery_mode(if message.persistent { PERSISTENT } else { TRANSIENT })
        .with_headers(headers);
    if let Some(after) = message.expiration {
        properties = properties.with_expiration(after.as_millis().to_string().into());
    }
    Ok(Prepared {
        exchange: short("exchange", &message.exchange)?,
        routing_key: short("routing key", &message.routing_key)?,
        message_id,
        mandatory: message.mandatory,
        body: message.body.clone(),
        properties,
    })
}
