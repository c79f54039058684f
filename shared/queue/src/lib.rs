//! RabbitMQ as Ringvault uses it: what is said (`message`, `envelope`), how it is signed (`sign`),
//! where it lies (`topology`), and the one supervised connection that carries it (`session`).
//!
//! Postgres decides and RabbitMQ wakes: nothing here is needed for correctness, only for progress.
//! A message may be lost, late or repeated without harm, so this crate promises three smaller
//! things: a publish that returned `Ok` was confirmed by the broker and reached a queue if it had
//! to; a consumer never stops in silence; and a message that cannot be read goes to the dead queue
//! with its reason and blocks nothing.

pub mod config;
pub mod envelope;
pub mod message;
pub mod outgoing;
pub mod schema;
pub mod session;
pub mod sign;
pub mod topology;

pub use config::{ConfigError, QueueConfig};
pub use envelope::{Envelope, EnvelopeError, RawEnvelope};
pub use message::{Beat, Event, Message, Report, Request, TaskMessage};
pub use outgoing::Publish;
pub use session::{
    Consumer, DeadLetterError, Delivery, Problem, PublishError, Role, Session, SessionState, Stale,
};
pub use sign::{KeyRing, SignatureError};

/// What to tell the log's filter about the client library: nothing. Whatever it has to say reaches
/// [`SessionState`] in better words, and its warnings hold whole messages.
pub const LOG_DIRECTIVE: &str = "lapin=off";
