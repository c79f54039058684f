//! Identifiers as newtypes, so that a task's id is never taken for a job's, and names that are
//! checked once, where they enter.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::text::excerpt;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new, time-ordered id (UUID version 7).
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// One job: a backup, verify, restore, purge or drill from request to end.
    JobId
);
uuid_id!(
    /// One task of one stage of a job; its attempts are told apart by epoch.
    TaskId
);
uuid_id!(
    /// A worker, which exists before its Cassandra node does. Kept in the worker's state folder.
    WorkerId
);
uuid_id!(
    /// Cassandra's own id of a node (`system.local.host_id`).
    HostId
);

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} is not a valid name: {why}")]
pub struct InvalidName {
    /// What was being named ("cluster", "backup", "policy").
    pub what: &'static str,
    /// The text as given, or an excerpt of it.
    pub given: String,
    /// Which rule it breaks.
    pub why: &'static str,
}

/// Longest name accepted, in bytes: names become one segment of an object key.
pub const MAX_NAME_LEN: usize = 128;

fn check_name(what: &'static str, text: &str) -> Result<(), InvalidName> {
    let refuse = |why| Err(InvalidName { what, given: excerpt(text), why });
    if text.is_empty() {
        return refuse("it is empty");
    }
    if text.len() > MAX_NAME_LEN {
        return refuse("it is longer than 128 bytes");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return refuse("only letters, digits, '-', '_' and '.' are allowed");
    }
    if !text.as_bytes()[0].is_ascii_alphanumeric() {
        return refuse("it must begin with a letter or a digit");
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` and wraps it.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                check_name($what, &text)?;
                Ok(Self(text))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A cluster's id, given by its owner: one path segment, exact, never a prefix of meaning.
    ClusterName,
    "cluster"
);
name!(
    /// A backup's name within its cluster. Never reused, even after the backup has expired.
    BackupName,
    "backup"
);
name!(
    /// A policy's name.
    PolicyName,
    "policy"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_their_folder_are_refused() {
        for bad in ["", "..", ".", "a/b", "-x", "a b", "a\0", "é", &"x".repeat(129)] {
            assert!(BackupName::new(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["a", "orders-prod-20261122T020000Z", "A.b_c-1"] {
            assert_eq!(BackupName::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn names_are_checked_when_read_from_json() {
        assert!(serde_json::from_str::<ClusterName>("\"../x\"").is_err());
    }
}
