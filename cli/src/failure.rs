//! A command's failure: what was being done, to what, what went wrong, what to do next, and the
//! exit code that says the same to a script.

use std::fmt::Write as _;

use ringvault_core::TaskError;
use ringvault_vault::{StoreErrorKind, VaultError};

use crate::exit::Exit;

/// Why a command ended without doing what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("error[{code}]: {message}")]
pub(crate) struct Failure {
    /// What the process ends with.
    pub(crate) exit: Exit,
    /// Stable code, such as `RV-STORE-403`.
    pub(crate) code: String,
    /// What, where and why. Never a secret.
    pub(crate) message: String,
    /// The next command.
    pub(crate) next: Option<String>,
    /// What lies behind it; shown with `--debug` only.
    pub(crate) source: Option<anyhow::Error>,
}

/// The result of everything that can end a command.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { exit, code: code.into(), message: message.into(), next: None, source: None }
    }

    /// The command line, or a file it names, makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "RV-USAGE", message)
    }

    /// What was named does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, "RV-NOT-FOUND", message)
    }

    /// A confirmation is missing.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, "RV-CONFIRM", message)
    }

    /// A failed task, as the server tells it.
    pub(crate) fn of_task(exit: Exit, error: &TaskError) -> Self {
        Self { next: error.next.clone(), ..Self::new(exit, &error.code, &error.message) }
    }

    #[must_use]
    pub(crate) fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    #[must_use]
    pub(crate) fn with_source(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// As it is printed on stderr; with `debug`, the chain of causes too.
    pub(crate) fn render(&self, debug: bool) -> String {
        let mut text = self.to_string();
        if let Some(next) = &self.next {
            let _ = write!(text, "\nNext: {next}");
        }
        if let (true, Some(source)) = (debug, &self.source) {
            for cause in source.chain() {
                let _ = write!(text, "\n  caused by: {cause}");
            }
        }
        text
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        let exit = match &error {
            VaultError::AlreadyInitialised { .. }
            | VaultError::NameTaken { .. }
            | VaultError::AlreadySealed { .. }
            | VaultError::KeysChanged { .. }
            | VaultError::ClusterBound { .. } => Exit::Conflict,
            VaultError::NotInitialised { .. }
            | VaultError::NoSuchBackup { .. }
            | VaultError::ClusterUnknown { .. } => Exit::NotFound,
            VaultError::Config(_) => Exit::Usage,
            VaultError::KeyMissing { .. } | VaultError::WrongKey { .. } => Exit::NotAuthorised,
            VaultError::NotEncrypted { .. }
            | VaultError::UnfitStore { .. }
            | VaultError::OtherOwner { .. }
            | VaultError::BackupLocked { .. }
            | VaultError::NoObjectLock { .. }
            | VaultError::Expired { .. } => Exit::Refused,
            VaultError::Store(store) => match store.kind {
                StoreErrorKind::AccessDenied | StoreErrorKind::InvalidCredentials | StoreErrorKind::NoKey => {
                    Exit::NotAuthorised
                }
                StoreErrorKind::NotFound | StoreErrorKind::NoSuchBucket => Exit::NotFound,
                StoreErrorKind::Unreachable | StoreErrorKind::Throttled | StoreErrorKind::Server => {
                    Exit::Unreachable
                }
                StoreErrorKind::Locked | StoreErrorKind::NotEncrypted => Exit::Refused,
                _ => Exit::Failed,
            },
            _ => Exit::Failed,
        };
        Self::of_task(exit, &error.to_task_error()).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_stands_on_its_own_line_and_causes_need_debug() {
        let failure = Failure::not_found("there is no backup b of c")
            .with_next("ringvault backup list -c c")
            .with_source(anyhow::anyhow!("inner").context("outer"));
        let plain = "error[RV-NOT-FOUND]: there is no backup b of c\nNext: ringvault backup list -c c";
        assert_eq!(failure.render(false), plain);
        assert_eq!(failure.render(true), format!("{plain}\n  caused by: outer\n  caused by: inner"));
    }
}
