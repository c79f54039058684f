//! Settings that only S3 stores have: encryption at rest, storage class, a role to take.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::ConfigError;

/// Encryption at rest, by the store: asked for with each object, and believed only when the answer says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Sse {
    /// With keys of the store's own (SSE-S3).
    S3,
    /// With a key of the cloud's key management (SSE-KMS).
    Kms {
        /// Id, ARN or alias of the key; the account's own key for S3 where none is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_id: Option<String>,
    },
    /// With a key that the store does not keep (SSE-C): without it nothing can be read again.
    Customer {
        /// File with the 32 bytes of the key, as they are, or in hex or base64.
        key_file: PathBuf,
    },
}

/// A role of the cloud to take, with the other credentials of the settings or with a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// `arn:aws:iam::<account>:role/<name>`.
    pub arn: String,
    /// What the role's owner agreed on with who takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// How the session is called in the cloud's logs; `ringvault` where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
    /// File with the token of a web identity, which takes the role by itself (as in EKS, where the
    /// environment says so by itself, and no role need be set here). It is read again each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_identity_token_file: Option<PathBuf>,
    /// The token service, where it is not Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sts_endpoint: Option<Url>,
}

impl Role {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let unusable = |setting, value: &str, why: &str| {
            Err(ConfigError::Unusable { setting, value: value.to_owned(), why: why.to_owned() })
        };
        if !self.arn.starts_with("arn:") {
            return unusable(
                "role.arn",
                &self.arn,
                "a role is written as arn:aws:iam::<account>:role/<name>",
            );
        }
        match &self.external_id {
            Some(id) if self.web_identity_token_file.is_some() => {
                unusable("role.external_id", id, "a web identity takes its role without one: leave it out")
            }
            _ => Ok(()),
        }
    }
}

/// Classes whose objects cannot be read before somebody has them brought back.
const NOT_AT_ONCE: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// Refuses a class that no restore could read from.
pub(super) fn check_class(class: &str) -> Result<(), ConfigError> {
    let why = if NOT_AT_ONCE.contains(&class.to_ascii_uppercase().as_str()) {
        "its objects cannot be read at once: neither verified nor restored"
    } else if class.is_empty()
        || !class.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    {
        "it is written in capitals, as STANDARD_IA"
    } else {
        return Ok(());
    };
    Err(ConfigError::Unusable { setting: "storage_class", value: class.to_owned(), why: why.to_owned() })
}
