//! Why a message was not published, and whether to send it again.

use std::time::Duration;

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It reached the exchange, and no queue takes it: its worker is away.
    #[error("no queue takes messages of exchange {exchange} with routing key {routing_key:?}")]
    Unroutable {
        /// The exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// The broker could not take it (a queue is full or has lost its majority).
    #[error("the broker did not take the message for exchange {exchange} (nacked)")]
    Nacked {
        /// The exchange.
        exchange: String,
    },
    /// The exchange is missing, or this user may not write to it.
    #[error("the broker refused the message for exchange {exchange}: {cause}")]
    Refused {
        /// The exchange.
        exchange: String,
        /// The broker's words.
        cause: String,
    },
    /// There is no connection, or it ended before the confirm: the message may have arrived.
    #[error("there is no connection to the broker: {state}")]
    Disconnected {
        /// What the session is doing.
        state: String,
    },
    /// No confirm came in time: the message may have arrived, or may still.
    #[error("the broker has not confirmed the message after {} s", after.as_secs())]
    Unconfirmed {
        /// How long was waited.
        after: Duration,
    },
    /// It can never be sent.
    #[error("the {message_type} message cannot be sent: {why}")]
    Invalid {
        /// The message's type.
        message_type: String,
        /// Which bound it breaks.
        why: String,
    },
}

impl From<ringvault_fault::Injected> for PublishError {
    fn from(error: ringvault_fault::Injected) -> Self {
        Self::Disconnected { state: error.to_string() }
    }
}

impl PublishError {
    /// Whether the same message may get through a little later.
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unroutable { .. }
            | Self::Nacked { .. }
            | Self::Disconnected { .. }
            | Self::Unconfirmed { .. } => true,
            Self::Refused { .. } | Self::Invalid { .. } => false,
        }
    }
}
