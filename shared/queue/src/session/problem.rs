//! What keeps a session from working, in words a person can act on.

use lapin::ErrorKind;
use ringvault_tls::{Trouble, explain};

/// Why there is no working connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The broker cannot be reached or hung up.
    #[error("could not {doing}: {cause}")]
    Unreachable {
        /// What was being done.
        doing: String,
        /// The system's or the broker's words.
        cause: String,
    },
    /// The broker's certificate is not to be trusted, or it speaks no TLS.
    #[error("could not {doing}: {cause}")]
    Untrusted {
        /// What was being done.
        doing: String,
        /// Why.
        cause: String,
    },
    /// Wrong credentials, a client certificate that it does not accept, or rights are missing.
    #[error("could not {doing}: the broker refused access: {cause}")]
    AccessRefused {
        /// What was being done.
        doing: String,
        /// The broker's words.
        cause: String,
    },
    /// A queue is held by another connection. For a worker: a second worker runs with the same id,
    /// or its own former connection has not been given up by the broker yet (up to three
    /// heartbeats, half a minute).
    #[error("could not {doing}: another connection holds it: {cause}")]
    LockedByOther {
        /// What was being done.
        doing: String,
        /// The broker's words.
        cause: String,
    },
    /// An exchange or queue is not there; a scheduler declares them when it starts.
    #[error("could not {doing}: {cause}; is a scheduler running?")]
    Missing {
        /// What was being done.
        doing: String,
        /// The broker's words.
        cause: String,
    },
    /// An exchange or queue is there with other properties.
    #[error("could not {doing}: {cause}; delete it, or take its arguments into a policy")]
    Mismatch {
        /// What was being done.
        doing: String,
        /// The broker's words.
        cause: String,
    },
    /// A working connection or one of its channels ended.
    #[error("the connection was lost: {cause}")]
    Lost {
        /// The system's or the broker's words.
        cause: String,
    },
}

// Reply codes of AMQP 0-9-1 (section 1.2 of the specification).
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const RESOURCE_LOCKED: u16 = 405;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

impl Problem {
    /// Sorts an error met while `doing` something.
    pub(crate) fn of(doing: impl Into<String>, error: &lapin::Error) -> Self {
        let (doing, cause) = (doing.into(), cause_of(error));
        match trouble(error) {
            Some(Trouble::Untrusted(cause)) => return Self::Untrusted { doing, cause },
            Some(Trouble::Refused(cause)) => return Self::AccessRefused { doing, cause },
            None => {}
        }
        match reply_code(error) {
            Some(ACCESS_REFUSED | NOT_ALLOWED) => Self::AccessRefused { doing, cause },
            Some(RESOURCE_LOCKED) => Self::LockedByOther { doing, cause },
            Some(NOT_FOUND) => Self::Missing { doing, cause },
            Some(PRECONDITION_FAILED) => Self::Mismatch { doing, cause },
            _ => Self::Unreachable { doing, cause },
        }
    }

    /// An error on a connection that had worked.
    pub(crate) fn lost(error: &lapin::Error) -> Self {
        Self::Lost { cause: cause_of(error) }
    }
}

/// The broker's reply code, if it was the broker that refused.
pub(crate) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// What TLS failed of, if it did.
fn trouble(error: &lapin::Error) -> Option<Trouble> {
    match error.kind() {
        ErrorKind::IOError(error) => explain(error.as_ref()),
        _ => None,
    }
}

/// The words of the innermost cause that says something.
pub(crate) fn cause_of(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::IOError(error) => error.to_string(),
        _ => error.to_string(),
    }
}
