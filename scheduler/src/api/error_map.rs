//! What the workflow refuses, and why somebody is not signed in, as problems.

use axum::http::StatusCode;
use ringvault_core::job::{IllegalTransition, JobState};

use super::problem::ApiError;
use crate::{
    jobs::{Action, ControlError, SubmitError},
    openid::Trouble,
};

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        let (code, text, next) = (error.code(), error.to_string(), error.next());
        let problem = match error {
            SubmitError::UnknownCluster { .. }
            | SubmitError::UnknownBackup { .. }
            | SubmitError::NoBackup { .. } => Self::not_found(code, text),
            SubmitError::NameTaken { .. }
            | SubmitError::BackupState { .. }
            | SubmitError::TooOld { .. }
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
            ControlError::NoRate { job, .. } => {
                Self::conflict(code, text).next(format!("ringvault job show {job}"))
            }
            ControlError::InvalidLimit { field, .. } => Self::usage(code, text).field(field),
            ControlError::InTheWay { other, .. } => {
                Self::conflict(code, text).next(format!("ringvault job watch {other}"))
            }
            ControlError::State(error) => error.into(),
            ControlError::Drive(error) => drive_error(&error),
        }
    }
}

impl From<Trouble> for ApiError {
    fn from(trouble: Trouble) -> Self {
        let of = |status, code: &str, next: &str| Self::sign_in(status, code, trouble.to_string()).next(next);
        let (again, ask) = ("begin again at the dashboard", "ask whoever runs Ringvault");
        match &trouble {
            Trouble::Unreachable { .. } => {
                // What it said is for the log and for `doctor`, not for everybody.
                tracing::warn!(%trouble, "nobody can sign in at the identity provider");
                let detail = "the identity provider cannot be used now";
                Self::sign_in(StatusCode::SERVICE_UNAVAILABLE, "RV-OIDC-UNREACHABLE", detail)
                    .next("try again, or sign in with a token; ringvault doctor says what is wrong")
            }
            Trouble::Client(_) => {
                tracing::error!(%trouble, "nobody can sign in at the identity provider");
                let detail = "the identity provider does not take this scheduler for its client";
                Self::sign_in(StatusCode::BAD_GATEWAY, "RV-OIDC-CLIENT", detail)
                    .next("sign in with a token; the scheduler's log says what [oidc] lacks")
            }
            Trouble::NotBegun => of(StatusCode::BAD_REQUEST, "RV-OIDC-STATE", again),
            Trouble::Declined(_) => of(StatusCode::UNAUTHORIZED, "RV-OIDC-DECLINED", again),
            Trouble::Token(_) => of(StatusCode::UNAUTHORIZED, "RV-OIDC-TOKEN", again),
            Trouble::NotTaken => of(StatusCode::UNAUTHORIZED, "RV-AUTH-TOKEN", ask),
            Trouble::Name { .. } => of(StatusCode::FORBIDDEN, "RV-OIDC-NAME", ask),
            Trouble::NoRole { .. } => {
                let next = "ask for a group that [oidc.groups] gives a role, or for a line in [oidc.users]";
                of(StatusCode::FORBIDDEN, "RV-OIDC-ROLE", next)
            }
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
