//! What can go wrong with the state.

/// A result of the state.
pub type StateResult<T> = Result<T, StateError>;

/// A failure of the state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Postgres refused or could not be reached.
    #[error("postgres: {0}")]
    Database(#[from] sqlx::Error),
    /// A row holds what this version cannot read: written by a newer one, or by hand.
    #[error("postgres: {what} {id} cannot be read: {why}")]
    Unreadable {
        /// Which table's row.
        what: &'static str,
        /// The row's id.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// A value that has no form in the database; a defect.
    #[error("{what} cannot be stored: {why}")]
    Unwritable {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
}

impl From<ringvault_fault::Injected> for StateError {
    fn from(error: ringvault_fault::Injected) -> Self {
        Self::Database(sqlx::Error::Io(error.into()))
    }
}

impl StateError {
    /// Whether the same call may succeed later, with nobody changing the program or what it was
    /// given: after a lost connection, a deadlock, a timeout, a restart, a failover to a server that
    /// is read-only for a moment, a full disk that somebody clears.
    ///
    /// What is not passing is given up, and a message for it goes to the dead queue; so only what is
    /// known to fail again does not pass: a value that does not fit (class 22), a constraint (23),
    /// SQL that the schema does not know (42, but a right that can be granted), and what this program
    /// cannot read or write.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_none_or(|code| code_is_passing(&code))
            }
            Self::Database(
                sqlx::Error::RowNotFound
                | sqlx::Error::TypeNotFound { .. }
                | sqlx::Error::ColumnIndexOutOfBounds { .. }
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Encode(_)
                | sqlx::Error::Decode(_)
                | sqlx::Error::InvalidArgument(_),
            )
            | Self::Unreadable { .. }
            | Self::Unwritable { .. } => false,
            Self::Database(_) => true,
        }
    }
}

/// By the classes of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn code_is_passing(code: &str) -> bool {
    code == "42501" || !["22", "23", "42"].iter().any(|class| code.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fails_again_for_sure_is_given_up() {
        for code in [
            "40001", "40P01", "53100", "53300", "57P01", "57014", "55P03", "25006", "25P03", "08006",
            "58030", "XX000", "0A000", "26000", "42501",
        ] {
            assert!(code_is_passing(code), "{code}");
        }
        for code in ["22003", "22021", "23502", "23505", "42601", "42703", "42P01"] {
            assert!(!code_is_passing(code), "{code}");
        }
        assert!(StateError::from(sqlx::Error::BeginFailed).is_passing());
        assert!(StateError::from(sqlx::Error::PoolTimedOut).is_passing());
        let unreadable = StateError::Unreadable { what: "job", id: "1".into(), why: "spec".into() };
        assert!(!unreadable.is_passing());
    }
}
