//! How the API says no: RFC 9457 problem details with a stable code and the next command.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `application/problem+json`. The status alone decides the command line's exit code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("error[{code}]: {detail}")]
pub struct Problem {
    /// A URI that names the kind of problem: `urn:ringvault:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in words; the same for every occurrence.
    pub title: String,
    /// HTTP status: 400 usage, 401 and 403 not authorised, 404 not found, 409 conflict, 422 refused
    /// by a guard, 503 a dependency cannot be reached.
    pub status: u16,
    /// Stable code, such as `RV-JOB-UNKNOWN`.
    pub code: String,
    /// What failed, where, and why. Never a secret.
    pub detail: String,
    /// What the reader can do: usually a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The field of the request body that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What a shortened id or a name could have meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(
        status: u16,
        code: impl Into<String>,
        title: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        let code = code.into();
        Self {
            kind: format!("urn:ringvault:problem:{code}"),
            title: title.into(),
            status,
            code,
            detail: detail.into(),
            next: None,
            field: None,
            candidates: Vec::new(),
        }
    }

    /// Adds what the reader can do.
    #[must_use]
    pub fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}
