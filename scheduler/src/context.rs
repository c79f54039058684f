//! What every part of the scheduler shares.

use ringvault_queue::{KeyRing, Session};
use ringvault_state::PgPool;
use ringvault_vault::Vault;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{Config, hearing::Hearing, traces::Settled};

/// What every part of the scheduler shares.
#[derive(Debug)]
pub struct Context {
    /// The configuration.
    pub config: Config,
    /// Which run of this process.
    pub incarnation: Uuid,
    /// The database.
    pub db: PgPool,
    /// The broker.
    pub queue: Session,
    /// The object store's records.
    pub vault: Vault,
    /// What tasks are signed with.
    pub keys: KeyRing,
    /// Whether heartbeats are heard as they come.
    pub hearing: Hearing,
    /// Wakes loops before their poll is due.
    pub wake: Wake,
    /// Jobs whose traces are to be told of.
    pub settled: Settled,
}

impl Context {
    /// How this scheduler calls itself in messages.
    pub fn source(&self) -> String {
        format!("scheduler/{}", self.config.id)
    }
}

/// Wakes this process's loops. Only saves time: every loop also looks by itself, so a wake that is
/// lost, or happens in another scheduler, delays nothing for longer than a poll.
#[derive(Debug, Default)]
pub struct Wake {
    /// A job was accepted or a task became ready.
    pub dispatch: Notify,
    /// A message was written to the outbox.
    pub relay: Notify,
    /// A notice may have been written.
    pub notices: Notify,
}

impl Wake {
    /// After a transaction that may have done either.
    pub fn all(&self) {
        self.dispatch.notify_one();
        self.relay.notify_one();
        self.notices.notify_waiters();
    }
}
