//! Why somebody is not signed in.

use super::id_token::Fault;

/// Why somebody is not signed in. Holds no secret, no code and no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// The provider does not answer, or not as one does.
    #[error("the identity provider {issuer} cannot be used: {why}")]
    Unreachable {
        /// The provider.
        issuer: String,
        /// What it said, or what went wrong on the way.
        why: String,
    },
    /// The provider, or our own file, has another idea of who we are.
    #[error("the identity provider does not take this scheduler for its client: {0}")]
    Client(String),
    /// The answer belongs to nothing that this browser began.
    #[error("this browser has not begun this sign-in, or took longer than ten minutes over it")]
    NotBegun,
    /// The provider says no, in one of the protocol's words.
    #[error("the identity provider let nobody in: {0}")]
    Declined(String),
    /// What it gave cannot be believed.
    #[error("the identity provider's token is refused: {0}")]
    Token(#[from] Fault),
    /// It said who it is, but not in a way that could be written down.
    #[error("the identity provider's claim {claim} cannot be a name: {why}")]
    Name {
        /// Which claim.
        claim: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is known who it is, and that they may do nothing.
    #[error("{name} is in no group that may do anything here")]
    NoRole {
        /// Who.
        name: String,
    },
    /// Tokens of the provider's are for browsers' sign-ins alone.
    #[error("tokens of the identity provider are not taken here")]
    NotTaken,
}
