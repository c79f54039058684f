//! How an operation on a node fails, whichever way the node was spoken to.
//!
//! The kinds are cut so that the caller can class a failure without reading its text: a node that is
//! away is waited for, a refusal is final, anything unknown is tried again a few times.

use std::time::Duration;

use ringvault_core::{ErrorClass, TaskError};

/// An operation on one node that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} on node {node}: {kind}")]
pub struct NodeError {
    /// The node's address as configured (`host:port`, or the URL of its agent).
    pub node: String,
    /// What was being done, and to what ("take snapshot rv-1 of ks1, ks2").
    pub operation: String,
    /// What went wrong.
    pub kind: NodeErrorKind,
}

/// What went wrong with a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeErrorKind {
    /// Nobody answers at the address, or the tool that speaks to the node cannot be started.
    #[error("the node cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time. The node may still be at work on it.
    #[error("no answer within {} s; the node may still be working on it", .0.as_secs())]
    Timeout(Duration),
    /// A snapshot with this tag exists already.
    #[error("snapshot {tag} exists already")]
    SnapshotExists {
        /// The tag.
        tag: String,
    },
    /// The schema object to be created exists already.
    #[error("it exists already: {0}")]
    Exists(String),
    /// The keyspace, table or directory does not exist on this node.
    #[error("not found: {0}")]
    NotFound(String),
    /// The node understood and refused: bad credentials, missing rights, an invalid request.
    #[error("refused: {0}")]
    Refused(String),
    /// This way of speaking to the node, or this version of Cassandra, cannot do it.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// Something the node runs out of, or waits for: replicas down, disk full.
    #[error("the node cannot do it now: {0}")]
    Unavailable(String),
    /// The node answered with an error, or something unreadable, that is none of the above.
    #[error("failed: {0}")]
    Failed(String),
}

impl NodeErrorKind {
    /// Whether trying again can help.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable(_) | Self::Unavailable(_) => ErrorClass::Environment,
            Self::Timeout(_) | Self::Failed(_) => ErrorClass::Transient,
            Self::SnapshotExists { .. }
            | Self::Exists(_)
            | Self::NotFound(_)
            | Self::Refused(_)
            | Self::Unsupported(_) => ErrorClass::Permanent,
        }
    }

    /// Stable code for people and scripts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "RV-NODE-UNREACHABLE",
            Self::Timeout(_) => "RV-NODE-TIMEOUT",
            Self::SnapshotExists { .. } => "RV-NODE-SNAPSHOT-EXISTS",
            Self::Exists(_) => "RV-NODE-EXISTS",
            Self::NotFound(_) => "RV-NODE-NOT-FOUND",
            Self::Refused(_) => "RV-NODE-REFUSED",
            Self::Unsupported(_) => "RV-NODE-UNSUPPORTED",
            Self::Unavailable(_) => "RV-NODE-UNAVAILABLE",
            Self::Failed(_) => "RV-NODE-FAILED",
        }
    }
}

impl NodeError {
    /// Whether trying again can help.
    pub const fn class(&self) -> ErrorClass {
        self.kind.class()
    }
}

impl From<NodeError> for TaskError {
    fn from(error: NodeError) -> Self {
        let (code, message) = (error.kind.code(), error.to_string());
        match error.class() {
            ErrorClass::Transient => Self::transient(code, message),
            ErrorClass::Environment => Self::environment(code, message),
            ErrorClass::Permanent => Self::permanent(code, message),
        }
    }
}

/// Longest piece of a server's own words that is quoted in an error.
const MAX_QUOTE: usize = 1200;

/// The server's words, cut to a length that can be logged and stored.
pub(crate) fn quote(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The words by which Cassandra's control interface says what it means. Jolokia and nodetool both
/// carry the message of the Java exception and nothing else to tell failures apart.
pub(crate) fn kind_of_message(message: &str) -> NodeErrorKind {
    let has = |needles: &[&str]| needles.iter().any(|needle| message.contains(needle));
    if let Some(tag) = message
        .split_once("Snapshot ")
        .and_then(|(_, rest)| rest.split_once(" already exists"))
        .map(|(tag, _)| tag)
    {
        return NodeErrorKind::SnapshotExists { tag: quote(tag) };
    }
    if has(&["No space left", "Insufficient disk space", "Not enough space"]) {
        return NodeErrorKind::Unavailable(quote(message));
    }
    if has(&["does not exist", "doesn't exist", "Unknown keyspace", "Unknown table", "not found"]) {
        return NodeErrorKind::NotFound(quote(message));
    }
    if has(&["SecurityException", "Authentication failed", "Credentials required", "Access denied"]) {
        return NodeErrorKind::Refused(quote(message));
    }
    NodeErrorKind::Failed(quote(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cassandras_words_are_understood() {
        let exists = kind_of_message("java.io.IOException : Snapshot rv-1 already exists.");
        assert_eq!(exists, NodeErrorKind::SnapshotExists { tag: "rv-1".into() });
        for missing in [
            "Keyspace nope does not exist",
            "Unknown keyspace/cf pair (system_auth.nope)",
            "Unknown tables: [rolesx] in keyspace: system_auth",
            "ColumnFamilyStore for nope/t not found.",
            "Directory /tmp/nope does not exist",
        ] {
            let kind = kind_of_message(missing);
            assert!(matches!(kind, NodeErrorKind::NotFound(_)), "{missing}: {kind:?}");
            assert_eq!(kind.class(), ErrorClass::Permanent);
        }
        let full = kind_of_message("java.io.IOException: No space left on device");
        assert_eq!(full.class(), ErrorClass::Environment);
        assert_eq!(kind_of_message("who knows").class(), ErrorClass::Transient);
    }

    #[test]
    fn a_task_error_names_node_and_operation() {
        let error = NodeError {
            node: "10.0.0.1:9042".into(),
            operation: "flush ks".into(),
            kind: NodeErrorKind::Timeout(Duration::from_secs(30)),
        };
        let task = TaskError::from(error);
        assert_eq!(task.class, ErrorClass::Transient);
        assert_eq!(
            task.to_string(),
            "error[RV-NODE-TIMEOUT]: flush ks on node 10.0.0.1:9042: no answer within 30 s; \
             the node may still be working on it"
        );
    }

    #[test]
    fn long_words_are_cut_at_a_character() {
        assert!(quote(&"é".repeat(5000)).chars().count() <= MAX_QUOTE + 1);
    }
}
