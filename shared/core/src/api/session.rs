//! Signing in from a browser: a token, or an identity provider's word, is exchanged for a cookie that a
//! page's script cannot read.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Role, ServerStatus};

/// `POST /v1/session`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionCreate {
    /// The token that the session stands for.
    pub token: String,
}

impl std::fmt::Debug for SessionCreate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionCreate").finish_non_exhaustive()
    }
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionView {
    /// The token's name, or the person's.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Until when; absent where a token itself asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// The scheduler that answers.
    pub scheduler: String,
    /// Its version.
    pub version: String,
}

/// `GET /v1/sign-in`: how one may sign in, beside a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignInWays {
    /// What people know the identity provider by; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<String>,
}

/// `GET /v1/sign-in/check`: whether the ways to sign in can be used now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignInCheck {
    /// The identity provider; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<ServerStatus>,
}

/// What a browser is signed in as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignedInAs {
    /// By a token, whose name it has.
    Token,
    /// By the word of an identity provider.
    Person,
}

impl SignedInAs {
    /// The word used in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Person => "person",
        }
    }
}

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignedIn {
    /// Of the session; not the secret.
    pub id: Uuid,
    /// The token's name, or the person's.
    pub name: String,
    /// Which of the two it is.
    pub kind: SignedInAs,
    /// What it may do.
    pub role: Role,
    /// The identity provider that vouched for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Until when, if nobody ends it.
    pub expires_at: DateTime<Utc>,
}

/// `DELETE /v1/sessions/{session}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionsEnded {
    /// How many browsers are signed out.
    pub ended: u64,
}
