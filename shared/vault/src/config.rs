//! Where a vault lies and how to reach it, as written in a configuration file.
//!
//! Secrets are never values here, only files that hold them, so that a configuration can be
//! printed, logged and committed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::crypt::config::{EncryptionConfig, KeySourceError};

/// When to send and ask for checksums beyond what a request must have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksums {
    /// A CRC with every object and part: damage on the way is found by the store.
    #[default]
    WhenSupported,
    /// Only where S3 demands one, for stores that refuse the others.
    WhenRequired,
}

/// The name of a deployment that is given no other.
pub const DEFAULT_DEPLOYMENT: &str = "ringvault";

/// A vault's address and the way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// `s3://bucket/prefix` or `file:///path`.
    pub url: Url,
    /// The deployment that writes here, as `vault init` was told; `ringvault` where none is set. Another
    /// deployment than the vault's owner may read, and is refused to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// The S3 server, when it is not Amazon's: `http://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Url>,
    /// The S3 region; `us-east-1` where an endpoint is given and no region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The bucket in the path instead of the host name; by default where an endpoint is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// File with the access key id. Without it the usual chain of credentials is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_file: Option<PathBuf>,
    /// File with the secret key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_file: Option<PathBuf>,
    /// File with the session token, for temporary credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token_file: Option<PathBuf>,
    /// Profile of the shared AWS configuration files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Checksums on the way.
    #[serde(default)]
    pub checksums: Checksums,
    /// PEM file with the authority that signed the endpoint's certificate, besides the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// That the vault is encrypted, and where the keys are. Must agree with the vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<EncryptionConfig>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The scheme is neither `s3` nor `file`.
    #[error("vault url {url}: scheme {scheme:?} is unknown: write s3://bucket/prefix or file:///path")]
    UnknownScheme {
        /// As given.
        url: Url,
        /// Its scheme.
        scheme: String,
    },
    /// No bucket, or no absolute path.
    #[error("vault url {url}: {why}")]
    Incomplete {
        /// As given.
        url: Url,
        /// What is missing.
        why: &'static str,
    },
    /// One of two settings that belong together.
    #[error("{given} is set but {missing} is not: both are needed")]
    HalfACredential {
        /// The setting that is there.
        given: &'static str,
        /// The setting that is not.
        missing: &'static str,
    },
    /// A key of an encrypted vault cannot be had.
    #[error(transparent)]
    Key(#[from] KeySourceError),
    /// A file named by the configuration cannot be read.
    #[error("{setting} {path}: {cause}", path = path.display())]
    Unreadable {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

/// Where the objects lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A bucket, and a prefix that is empty or ends with `/`.
    S3 { bucket: String, prefix: String },
    /// A folder of this machine.
    Folder(PathBuf),
}

impl VaultConfig {
    /// A vault at `url` with everything else at its default.
    pub fn at(url: Url) -> Self {
        Self {
            url,
            deployment: None,
            endpoint: None,
            region: None,
            path_style: None,
            access_key_file: None,
            secret_key_file: None,
            session_token_file: None,
            profile: None,
            checksums: Checksums::default(),
            ca_file: None,
            encryption: None,
        }
    }

    /// The deployment's name.
    pub fn deployment(&self) -> &str {
        self.deployment.as_deref().unwrap_or(DEFAULT_DEPLOYMENT)
    }

    /// Reads the address.
    pub(crate) fn place(&self) -> Result<Place, ConfigError> {
        let incomplete = |why| ConfigError::Incomplete { url: self.url.clone(), why };
        match self.url.scheme() {
            "s3" => {
                let bucket = self.url.host_str().ok_or_else(|| incomplete("it names no bucket"))?;
                let path = self.url.path().trim_matches('/');
                if path.split('/').any(|part| matches!(part, "." | "..")) || path.contains("//") {
                    return Err(incomplete("its prefix has empty, '.' or '..' parts"));
                }
                let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
                Ok(Place::S3 { bucket: bucket.to_owned(), prefix })
            }
            "file" => {
                let path = self.url.to_file_path().map_err(|()| incomplete("it names no absolute path"))?;
                Ok(Place::Folder(path))
            }
            scheme => Err(ConfigError::UnknownScheme { url: self.url.clone(), scheme: scheme.to_owned() }),
        }
    }

    /// The two files with static credentials, or neither.
    pub(crate) fn key_files(&self) -> Result<Option<(&Path, &Path)>, ConfigError> {
        match (&self.access_key_file, &self.secret_key_file) {
            (Some(access), Some(secret)) => Ok(Some((access, secret))),
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(ConfigError::HalfACredential { given: "access_key_file", missing: "secret_key_file" })
            }
            (None, Some(_)) => {
                Err(ConfigError::HalfACredential { given: "secret_key_file", missing: "access_key_file" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<Place, ConfigError> {
        VaultConfig::at(url.parse().unwrap()).place()
    }

    #[test]
    fn addresses_are_read_as_they_are_written() {
        let s3 = |bucket: &str, prefix: &str| Place::S3 { bucket: bucket.into(), prefix: prefix.into() };
        assert_eq!(place("s3://b").unwrap(), s3("b", ""));
        assert_eq!(place("s3://b/").unwrap(), s3("b", ""));
        assert_eq!(place("s3://b/a/c/").unwrap(), s3("b", "a/c/"));
        assert_eq!(place("file:///var/x").unwrap(), Place::Folder("/var/x".into()));
        assert!(matches!(place("ftp://b/x"), Err(ConfigError::UnknownScheme { .. })));
        assert!(matches!(place("s3:///x"), Err(ConfigError::Incomplete { .. })));
        assert!(matches!(place("s3://b/x//y"), Err(ConfigError::Incomplete { .. })));
    }

    #[test]
    fn half_a_credential_is_refused() {
        let mut config = VaultConfig::at("s3://b".parse().unwrap());
        config.access_key_file = Some("/k".into());
        assert!(matches!(config.key_files(), Err(ConfigError::HalfACredential { .. })));
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        let text = r#"{"url":"s3://b/p","acces_key_file":"/k"}"#;
        let error = serde_json::from_str::<VaultConfig>(text).unwrap_err();
        assert!(error.to_string().contains("acces_key_file"), "{error}");
    }
}
