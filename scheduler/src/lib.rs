//! The scheduler: policies and their firing, intake of requests, the driver of the state machines,
//! the outbox's relay, the reaper of leases, and the HTTP API.
//!
//! It knows Postgres, RabbitMQ and the vault's records, and never a Cassandra node. Any number of
//! schedulers may run: what must happen once is made sure of by constraints and row locks in
//! Postgres, never by which of them is awake.
//!
//! - [`workflow`]: one transaction's work on one job: transition, log line, messages.
//! - [`jobs`]: jobs are accepted and controlled here, whoever asks (HTTP, queue, policy).
//! - [`intake`], [`reports`], [`heartbeats`]: what comes in over the queue.
//! - [`catalog`]: the database filled from what the vault holds, and holds told to the vault.
//! - [`audit`]: who did what, in a chain of hashes that the vault is told of.
//! - [`notify`]: people told by webhook, chat or mail.
//! - `openid`: people signed in at an identity provider.
//! - [`traces`]: what is told of a job's trace once it has settled.
//! - [`dispatch`], [`relay`], [`reaper`], [`policies`], [`housekeeping`]: what happens by itself.

pub mod api;
pub mod audit;
pub mod catalog;
pub mod config;
pub mod context;
pub mod dead;
pub mod dispatch;
pub mod hearing;
pub mod heartbeats;
pub mod housekeeping;
pub mod inlet;
pub mod intake;
mod isolate;
pub mod jobs;
pub mod notify;
mod openid;
mod outgoing;
pub mod policies;
pub mod probe;
pub mod reaper;
pub mod registry;
pub mod relay;
pub mod reports;
pub mod startup;
pub mod traces;
pub mod workflow;

pub use config::Config;
pub use context::{Context, Wake};
