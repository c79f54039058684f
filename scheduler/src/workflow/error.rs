//! Why the driver could not make a step.

use ringvault_core::{job::IllegalTransition, task::IllegalTaskEvent};
use ringvault_queue::EnvelopeError;
use ringvault_state::StateError;
use ringvault_vault::VaultError;

/// Why the driver could not make a step. The transaction is rolled back and nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Postgres.
    #[error(transparent)]
    State(#[from] StateError),
    /// The job is not in a state for the event.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The task is not in a state for the event: a defect.
    #[error(transparent)]
    IllegalTask(#[from] IllegalTaskEvent),
    /// The vault could not be asked.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A message could not be written: a defect.
    #[error(transparent)]
    Message(#[from] EnvelopeError),
}

impl From<ringvault_fault::Injected> for DriveError {
    fn from(error: ringvault_fault::Injected) -> Self {
        StateError::from(error).into()
    }
}

impl DriveError {
    /// Whether the same step may succeed a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::State(error) => error.is_passing(),
            // Rights and settings are mended by people, records of the vault do not come in messages.
            Self::Vault(_) => true,
            Self::Illegal(_) | Self::IllegalTask(_) | Self::Message(_) => false,
        }
    }
}
