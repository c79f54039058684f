//! The dead queue: where a message that cannot be read goes, with its reason, so that it blocks
//! nothing and can still be looked at.
//!
//! It is published there and confirmed before it is taken off its queue, so it is in one of the two
//! at every instant, and in both at worst.

use std::{collections::BTreeMap, time::Duration};

use uuid::Uuid;

use super::{Delivery, PublishError, Stale};
use crate::{Publish, topology::DEAD};

/// Header with the reason, in words.
pub const REASON_HEADER: &str = "x-ringvault-reason";
/// Header with the queue it was consumed from.
pub const QUEUE_HEADER: &str = "x-ringvault-queue";
/// Header with the routing key it was published with.
pub const ROUTING_KEY_HEADER: &str = "x-ringvault-routing-key";
/// Header with its author, as the broker validated it.
pub const AUTHOR_HEADER: &str = "x-ringvault-author";

/// Headers that the broker sets when it puts a message there by itself.
const BROKER_REASON: &str = "x-first-death-reason";
const BROKER_QUEUE: &str = "x-first-death-queue";

/// Longest reason and other text in a header, in bytes.
const MAX_REASON: usize = 1024;
const MAX_HEADER: usize = 255;

/// Before a message that could not be dead-lettered is given back, lest it come back at once.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a message is not in the dead queue. It is on its own queue again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeadLetterError {
    /// It could not be published.
    #[error("the message could not be put into the dead queue: {0}")]
    Publish(#[from] PublishError),
    /// It is in the dead queue, and on its own queue again.
    #[error(transparent)]
    Stale(#[from] Stale),
}

/// Why a message is in the dead queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obituary {
    /// The queue where it could not be read; empty if nobody said.
    pub queue: String,
    /// The reason's code: `RV-…`, as whoever put it there gave it, or `RV-DEAD` without one. What the
    /// broker put there because it was given back too often is `RV-UNREADABLE`.
    pub code: String,
    /// The reason, in words.
    pub reason: String,
}

impl Delivery {
    /// Of a message that was put into the dead queue: where it came from and why.
    pub fn obituary(&self) -> Obituary {
        // Headers are anybody's, and a database takes no NUL.
        let header = |name: &str| self.headers.get(name).map(|text| text.replace('\0', "\u{fffd}"));
        let queue = header(QUEUE_HEADER).or_else(|| header(BROKER_QUEUE)).unwrap_or_default();
        let Some(text) = header(REASON_HEADER) else {
            let why = header(BROKER_REASON).unwrap_or_else(|| "no reason was given".to_owned());
            let code = if why == "delivery_limit" { "RV-UNREADABLE" } else { "RV-DEAD" };
            return Obituary { queue, code: code.to_owned(), reason: why };
        };
        match text.split_once(": ") {
            Some((code, reason)) if is_code(code) => {
                Obituary { queue, code: code.to_owned(), reason: reason.to_owned() }
            }
            _ => Obituary { queue, code: "RV-DEAD".to_owned(), reason: text },
        }
    }

    /// Moves the message to the dead queue. When that fails it goes back to its own queue.
    pub async fn dead_letter(self, reason: &str) -> Result<(), DeadLetterError> {
        let session = self.session.clone();
        match session.publish(&self.dead_message(reason)).await {
            Ok(()) => Ok(self.ack().await?),
            Err(error) => {
                tokio::time::sleep(PAUSE).await;
                // Stale: the broker has already given it back.
                let _ = self.requeue().await;
                Err(error.into())
            }
        }
    }

    fn dead_message(&self, reason: &str) -> Publish {
        let header = |name: &str, text: &str| (name.to_owned(), cut(text, MAX_HEADER).to_owned());
        let mut headers = BTreeMap::from([
            (REASON_HEADER.to_owned(), cut(reason, MAX_REASON).to_owned()),
            header(QUEUE_HEADER, &self.queue),
            header(ROUTING_KEY_HEADER, &self.routing_key),
        ]);
        if let Some(author) = &self.user_id {
            headers.extend([header(AUTHOR_HEADER, author)]);
        }
        let message_id = self.message_id.as_deref().and_then(|id| Uuid::parse_str(id).ok());
        Publish {
            exchange: DEAD.to_owned(),
            routing_key: String::new(),
            body: self.body.clone(),
            message_id: message_id.unwrap_or_else(Uuid::now_v7),
            message_type: self.message_type.clone().unwrap_or_default(),
            headers,
            mandatory: true,
            persistent: true,
            expiration: None,
        }
    }
}

fn is_code(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with("RV-")
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The longest prefix of `text` within `bytes`.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
