//! How a task's failure is classed: the class alone decides whether, when and how often it is
//! tried again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a failure says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// May be gone at the next try (a reset connection, a 503): full-jitter backoff, counted.
    Transient,
    /// Something around the task must be mended first (Cassandra down, disk full, another job
    /// still running): waits under the task's deadline, not counted.
    Environment,
    /// Trying again cannot help: fails now.
    Permanent,
}

/// A task's failure as the worker reports it and as people read it.
///
/// Reads as `error[CODE]: message`; `next` says what the reader can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("error[{code}]: {message}")]
pub struct TaskError {
    /// Whether to try again.
    pub class: ErrorClass,
    /// Stable code, such as `RV-STORE-403` or `RV-DIGEST`.
    pub code: String,
    /// What was being done, to what, and what went wrong. Never a secret.
    pub message: String,
    /// What the reader can do next: usually a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl TaskError {
    /// A failure that may be gone at the next try.
    pub fn transient(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Transient, code, message)
    }

    /// A failure that waits for its surroundings to be mended.
    pub fn environment(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Environment, code, message)
    }

    /// A failure that no further try can mend.
    pub fn permanent(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Permanent, code, message)
    }

    /// Adds what the reader can do.
    #[must_use]
    pub fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    fn new(class: ErrorClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class, code: code.into(), message: message.into(), next: None }
    }
}
