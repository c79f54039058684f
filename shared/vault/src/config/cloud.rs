//! Settings that only Google Cloud Storage or Azure Blob Storage have.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// The way into Google Cloud Storage. Without a file the usual places are asked:
/// `GOOGLE_APPLICATION_CREDENTIALS`, what `gcloud` left, the machine's own service account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gcs {
    /// JSON file of a service account, or of an authorised user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// No credentials at all: for emulators.
    #[serde(default)]
    pub anonymous: bool,
}

/// The way into Azure Blob Storage. Without a file the environment is asked (`AZURE_STORAGE_ACCOUNT_KEY`,
/// `AZURE_CLIENT_ID` with a secret or a federated token, …), at last the machine's managed identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Azure {
    /// The storage account.
    pub account: String,
    /// File with a key of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_key_file: Option<PathBuf>,
    /// File with a shared access signature (`sv=…&sig=…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sas_token_file: Option<PathBuf>,
}

impl Gcs {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.anonymous && self.credentials_file.is_some() {
            return Err(ConfigError::BothOf { one: "gcs.anonymous", other: "gcs.credentials_file" });
        }
        Ok(())
    }
}

impl Azure {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.account_key_file.is_some() && self.sas_token_file.is_some() {
            return Err(ConfigError::BothOf { one: "azure.account_key_file", other: "azure.sas_token_file" });
        }
        if self.account.is_empty() {
            let why = "the name of the storage account is needed";
            return Err(ConfigError::Missing { setting: "azure.account", why });
        }
        Ok(())
    }
}
