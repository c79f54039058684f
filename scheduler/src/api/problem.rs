//! How a request is refused: a [`Problem`] with its status, and the log line that goes with it.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use ringvault_core::{api::Problem, id::InvalidName};
use ringvault_state::StateError;

/// A handler's answer.
pub(super) type ApiResult<T> = Result<T, ApiError>;

/// A refusal on its way out, and after how many seconds it may be another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError(pub(super) Box<Problem>, pub(super) Option<u64>);

impl ApiError {
    fn new(status: StatusCode, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(status.as_u16(), code, title, detail)), None)
    }

    /// 400: the request is not well formed.
    pub(super) fn usage(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, "the request is not well formed", detail)
    }

    /// 401: who asks is not known.
    pub(super) fn unauthenticated(detail: impl Into<String>) -> Self {
        let title = "a valid token is needed";
        Self::new(StatusCode::UNAUTHORIZED, "RV-AUTH-TOKEN", title, detail)
    }

    /// 403: who asks may not.
    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        let title = "the token's role does not allow this";
        Self::new(StatusCode::FORBIDDEN, "RV-AUTH-ROLE", title, detail)
    }

    /// 404: what is asked for is not there.
    pub(super) fn not_found(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, "there is no such thing", detail)
    }

    /// 405: the path is right, the method is not.
    pub(super) fn wrong_method(detail: impl Into<String>) -> Self {
        let title = "this cannot be done here";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "RV-METHOD", title, detail)
    }

    /// 409: it does not fit what is there.
    pub(super) fn conflict(code: &str, detail: impl Into<String>) -> Self {
        let title = "it conflicts with what is there";
        Self::new(StatusCode::CONFLICT, code, title, detail)
    }

    /// 422: a guard refuses it.
    pub(super) fn refused(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, "a guard refuses this", detail)
    }

    /// 429: it was wrong about its token too often.
    pub(super) fn too_often(wait: Duration) -> Self {
        let seconds = wait.as_secs() + 1;
        let detail = format!("too many wrong tokens from this address; try again in {seconds} s");
        let title = "wrong too often";
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "RV-AUTH-OFTEN", title, detail);
        error.1 = Some(seconds);
        error
    }

    /// Nobody is signed in, with the status that says why.
    pub(super) fn sign_in(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self::new(status, code, "nobody was signed in", detail)
    }

    /// 404: there is no identity provider.
    pub(super) fn no_provider() -> Self {
        let detail = "this scheduler has no identity provider: there is no [oidc] in its configuration";
        Self::sign_in(StatusCode::NOT_FOUND, "RV-OIDC-NONE", detail).next("sign in with a token")
    }

    /// 503: a dependency cannot be reached.
    pub(super) fn unavailable(code: &str, detail: impl Into<String>) -> Self {
        let title = "a dependency cannot be reached";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, title, detail)
    }

    /// 500: a defect. What it was is logged, not told.
    pub(super) fn defect(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request could not be answered");
        let detail =
            "the scheduler could not answer this; its log says why, under the request id in x-request-id";
        let title = "the scheduler failed";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "RV-INTERNAL", title, detail)
    }

    /// Adds what the reader can do.
    #[must_use]
    pub(super) fn next(mut self, next: impl Into<String>) -> Self {
        self.0.next = Some(next.into());
        self
    }

    /// Adds the field that was refused.
    #[must_use]
    pub(super) fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Adds what could have been meant.
    #[must_use]
    pub(super) fn candidates(mut self, candidates: Vec<String>) -> Self {
        self.0.candidates = candidates;
        self
    }
}

impl From<StateError> for ApiError {
    fn from(error: StateError) -> Self {
        if error.is_passing() {
            tracing::warn!(%error, "the database did not answer a request");
            let detail = "PostgreSQL does not answer; nothing was changed, the request may be repeated";
            return Self::unavailable("RV-DB-UNAVAILABLE", detail)
                .next("ringvault doctor shows which server is down");
        }
        Self::defect(&error)
    }
}

impl From<InvalidName> for ApiError {
    fn from(error: InvalidName) -> Self {
        Self::usage("RV-NAME", error.to_string()).field(error.what)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(*self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.1 {
            headers.insert(axum::http::header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"ringvault\"");
            headers.insert(axum::http::header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_status_and_media_type() {
        for (error, status) in [
            (ApiError::usage("RV-X", "x"), 400),
            (ApiError::unauthenticated("x"), 401),
            (ApiError::forbidden("x"), 403),
            (ApiError::not_found("RV-X", "x"), 404),
            (ApiError::conflict("RV-X", "x"), 409),
            (ApiError::refused("RV-X", "x"), 422),
            (ApiError::unavailable("RV-X", "x"), 503),
        ] {
            assert_eq!(error.0.status, status);
            let response = error.into_response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        }
    }

    #[test]
    fn what_failed_inside_is_not_told_outside() {
        let unreadable = StateError::Unreadable {
            what: "job",
            id: "01".to_owned(),
            why: "state: unknown: secret".to_owned(),
        };
        let defect = ApiError::from(unreadable);
        assert_eq!(defect.0.status, 500);
        assert!(!defect.0.detail.contains("secret"));
    }
}
