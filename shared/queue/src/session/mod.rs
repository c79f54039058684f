//! The one connection a program has to the broker, kept up by a supervisor.
//!
//! A session is one failure domain: connection, topology, publisher and consumers stand and fall
//! together. On any error, and on any consumer whose stream ends, the supervisor closes the
//! connection and builds all of it again, with capped full-jitter backoff. That is coarser than it
//! could be, and leaves no half-dead state to reason about: a consumer either delivers or
//! [`Session::state`] says why nothing does. The client library's own recovery stays off.
//!
//! What was delivered on a former connection was given back to its queue by the broker; to
//! acknowledge it is harmless and answers [`Stale`]. What was published and not yet confirmed ends
//! in [`PublishError::Disconnected`]: it may or may not have arrived, and is sent again.

mod backoff;
mod consumer;
mod dead_letter;
mod delivery;
mod prepared;
mod problem;
mod publish_error;
mod publisher;
mod state;
mod supervisor;
mod verdict;

pub use consumer::Consumer;
pub use dead_letter::{
    AUTHOR_HEADER, DeadLetterError, Obituary, QUEUE_HEADER, REASON_HEADER, ROUTING_KEY_HEADER,
};
pub use delivery::{Delivery, Stale};
pub use problem::Problem;
pub use publish_error::PublishError;
pub use state::SessionState;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::Utc;
use ringvault_core::WorkerId;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{ConfigError, Publish, QueueConfig};
use consumer::Subscription;
use publisher::Outgoing;
use supervisor::Supervisor;

/// How long a publish waits for its confirm.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a worker should bear [`Problem::LockedByOther`] after its start before it says that
/// another worker has its id: longer than a broker needs to give up a dead connection.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(45);

/// Between two tries of [`Session::publish_within`] on a live connection.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Who connects, and so what is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Declares every exchange and queue but the workers'.
    Scheduler,
    /// Declares this worker's queue.
    Worker(WorkerId),
    /// Declares nothing.
    Client,
}

/// A supervised connection. Clones share it; it lives until [`Session::close`].
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    state: watch::Sender<SessionState>,
    /// The live connection's publisher, if there is one.
    publisher: watch::Sender<Option<mpsc::Sender<Outgoing>>>,
    subscriptions: mpsc::UnboundedSender<Subscription>,
    stop: CancellationToken,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl Session {
    /// Begins to connect and returns at once. `name` is what the broker shows for the connection.
    /// Must be called within a Tokio runtime.
    pub fn start(config: &QueueConfig, role: Role, name: impl Into<String>) -> Result<Self, ConfigError> {
        let endpoint = config.endpoint()?;
        let (subscriptions, new_subscriptions) = mpsc::unbounded_channel();
        let session = Self {
            shared: Arc::new(Shared {
                state: watch::Sender::new(SessionState::Connecting { since: Utc::now() }),
                publisher: watch::Sender::new(None),
                subscriptions,
                stop: CancellationToken::new(),
                supervisor: Mutex::new(None),
            }),
        };
        let supervisor = Supervisor::new(session.clone(), endpoint, role, name.into(), new_subscriptions);
        *session.supervisor_handle() = Some(tokio::spawn(supervisor.run()));
        Ok(session)
    }

    /// What the session is doing; changes are seen through the receiver.
    pub fn state(&self) -> watch::Receiver<SessionState> {
        self.shared.state.subscribe()
    }

    /// Waits until the session works. `false`: it was closed.
    pub async fn connected(&self) -> bool {
        let mut state = self.state();
        let over = |state: &SessionState| state.is_connected() || *state == SessionState::Closed;
        matches!(state.wait_for(over).await.as_deref(), Ok(SessionState::Connected { .. }))
    }

    /// Publishes and waits for the broker's confirm. `Ok`: the broker has the message, and if it
    /// was `mandatory`, a queue does. Many calls may be in flight at once and share round trips.
    /// Fails at once while there is no connection.
    pub async fn publish(&self, message: &Publish) -> Result<(), PublishError> {
        let prepared = prepared::prepare(message)?;
        let publisher = self.shared.publisher.borrow().clone();
        let Some(publisher) = publisher else {
            return Err(self.disconnected());
        };
        let (answer, answered) = oneshot::channel();
        let confirmed = async {
            publisher.send(Outgoing { message: prepared, answer }).await.ok()?;
            answered.await.ok()
        };
        match tokio::time::timeout(CONFIRM_TIMEOUT, confirmed).await {
            Ok(Some(result)) => result,
            Ok(None) => Err(self.disconnected()),
            Err(_) => Err(PublishError::Unconfirmed { after: CONFIRM_TIMEOUT }),
        }
    }

    /// As [`Self::publish`], again and again for `patience` while the error is a passing one
    /// ([`PublishError::is_passing`]). The message may arrive more than once.
    pub async fn publish_within(&self, message: &Publish, patience: Duration) -> Result<(), PublishError> {
        let until = Instant::now() + patience;
        loop {
            let error = match self.publish(message).await {
                Ok(()) => return Ok(()),
                Err(error) if !error.is_passing() => return Err(error),
                Err(error) => error,
            };
            let ready = async {
                tokio::time::sleep(RETRY_PAUSE).await;
                self.connected().await
            };
            match tokio::time::timeout_at(until, ready).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return Err(error),
            }
        }
    }

    /// Consumes `queue`, at most `prefetch` unacknowledged messages at once. Goes on over every
    /// reconnect, and may be called before the first connection stands.
    pub fn consume(&self, queue: impl Into<String>, prefetch: u16) -> Consumer {
        let (subscription, consumer) = consumer::subscribe(queue.into(), prefetch.max(1));
        // The supervisor is gone only after a close, and the consumer's stream then ends at once.
        let _ = self.shared.subscriptions.send(subscription);
        consumer
    }

    /// Closes the connection in good order: what is unacknowledged goes back to its queue,
    /// consumers end. Publish what must be published before.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        let supervisor = self.supervisor_handle().take();
        if let Some(supervisor) = supervisor
            && let Err(error) = supervisor.await
        {
            tracing::error!(%error, "the queue session's supervisor ended badly");
        }
    }

    fn supervisor_handle(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.shared.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disconnected(&self) -> PublishError {
        PublishError::Disconnected { state: self.shared.state.borrow().to_string() }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("state", &*self.shared.state.borrow()).finish()
    }
}
