//! What the workflow refuses, as problems.

use ringvault_core::job::{IllegalTransition, JobState};

use super::problem::ApiError;
use crate::jobs::{Action, ControlError, SubmitError};

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        let (code, text, next) = (error.code(), error.to_string(), error.next());
        let problem = match error {
            SubmitError::UnknownCluster { .. }
            | SubmitError::UnknownBackup { .. }
            | SubmitError::NoBackup { .. } => Self::not_found(code, text),
            SubmitError::NameTaken { .. }
            | SubmitError::BackupState { .. }
            | SubmitError::CannotStream { .. }
            | SubmitError::KeyReused { .. } => Self::conflict(code, text),
            SubmitError::Held { .. } | SubmitError::NotConfirmed { .. } => Self::refused(code, text),
            SubmitError::Unsupported { field } | SubmitError::Invalid { field, .. } => {
                Self::usage(code, text).field(field)
            }
            SubmitError::Vault(error) => return vault_error(&error),
            SubmitError::State(error) => return error.into(),
            SubmitError::Drive(error) => return drive_error(&error),
        };
        match next {
            Some(next) => problem.next(next),
            None => problem,
        }
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        let (code, text) = (error.code(), error.to_string());
        match error {
            ControlError::UnknownJob { .. } => Self::not_found(code, text).next("ringvault job list"),
            ControlError::Refused { why: IllegalTransition::PastNoReturn, job, .. } => {
                Self::refused(code, text).next(format!("ringvault job watch {job}"))
            }
            ControlError::Refused {
                job,
                action: Action::Cancel,
                why: IllegalTransition::Pair { state: JobState::Failed, .. },
            } => Self::conflict(code, text).next(format!("ringvault job abandon {job}")),
            ControlError::Refused { job, .. } => {
                Self::conflict(code, text).next(format!("ringvault job show {job}"))
            }
            ControlError::OutsideWindow { .. } => {
                let next = "wait, or give the policy another window: ringvault policy apply";
                Self::conflict(code, text).next(next)
            }
            ControlError::InTheWay { other, .. } => {
                Self::conflict(code, text).next(format!("ringvault job watch {other}"))
            }
            ControlError::State(error) => error.into(),
            ControlError::Drive(error) => drive_error(&error),
        }
    }
}

/// The store was asked in vain. What it said names keys and buckets, never credentials.
pub(super) fn vault_error(error: &ringvault_vault::VaultError) -> ApiError {
    tracing::warn!(%error, "the vault did not answer a request");
    ApiError::unavailable("RV-STORE-UNAVAILABLE", format!("the vault could not be asked: {error}"))
        .next("ringvault vault check --config FILE, with the scheduler's configuration")
}

fn drive_error(error: &crate::workflow::DriveError) -> ApiError {
    match error {
        crate::workflow::DriveError::State(state) if state.is_passing() => {
            let detail =
                "PostgreSQL did not take the change; nothing was changed, the request may be repeated";
            ApiError::unavailable("RV-DB-UNAVAILABLE", detail)
        }
        other => ApiError::defect(other),
    }
}
