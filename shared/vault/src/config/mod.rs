//! Where a vault lies and how to reach it, as written in a configuration file.
//!
//! Secrets are never values here, only files that hold them, so that a configuration can be
//! printed, logged and committed.

mod cloud;
mod lock;
mod s3;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    crypt::config::{EncryptionConfig, KeySourceError},
    layout,
};
pub use cloud::{Azure, Gcs};
pub use lock::{LockConfig, LockMode};
pub use s3::{Role, Sse};

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
    /// `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` or `file:///path`.
    pub url: Url,
    /// The deployment that writes here, as `vault init` was told; `ringvault` where none is set. Another
    /// deployment than the vault's owner may read, and is refused to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// The server, when it is not the cloud's own: `http://host:port`; for Azure with the account, where
    /// that stands in the path (`http://host:port/account`).
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
    /// Encryption at rest by an S3 store; without it, what the bucket does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sse: Option<Sse>,
    /// Storage class of the objects with data in an S3 store, `STANDARD_IA`; records are always of the
    /// bucket's own class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// That what is brought is locked against deletion, in an S3 bucket with Object Lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockConfig>,
    /// To read, and never write, the vault as it stood at this instant, in an S3 bucket that keeps versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<DateTime<Utc>>,
    /// A role to take before an S3 store is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The way into Google Cloud Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcs: Option<Gcs>,
    /// The way into Azure Blob Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<Azure>,
    /// Buckets that cassandra-medusa wrote, by a name of our own: where the objects of imported backups lie. The
    /// prefix is Medusa's. Only read, so credentials that may do no more will do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub medusa: BTreeMap<String, VaultConfig>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The scheme is none that is known.
    #[error(
        "vault url {url}: scheme {scheme:?} is unknown: write s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///path"
    )]
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
    /// A setting whose value cannot be used.
    #[error("{setting} {value:?}: {why}")]
    Unusable {
        /// The setting.
        setting: &'static str,
        /// Its value; never a secret.
        value: String,
        /// Why not.
        why: String,
    },
    /// A setting that is needed and is nowhere to be found.
    #[error("{setting} is not set: {why}")]
    Missing {
        /// The setting.
        setting: &'static str,
        /// Why it is needed.
        why: &'static str,
    },
    /// Two settings of which only one can count.
    #[error("{one} and {other} are both set: leave one out")]
    BothOf {
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// The cloud's client refuses what it was given.
    #[error("{setting}: {why}")]
    Refused {
        /// The setting, or the variable of the environment, that it comes from.
        setting: &'static str,
        /// In the client's words.
        why: String,
    },
    /// A setting of one kind of store, on another.
    #[error("{setting} means nothing for {scheme}:// vaults: leave it out")]
    NotForThisStore {
        /// The setting.
        setting: &'static str,
        /// The scheme of the vault's address.
        scheme: String,
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

/// A cloud whose store does not speak S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cloud {
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

/// Where the objects lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A bucket, and a prefix that is empty or ends with `/`.
    S3 { bucket: String, prefix: String },
    /// The same of another cloud.
    Cloud { cloud: Cloud, bucket: String, prefix: String },
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
            sse: None,
            storage_class: None,
            lock: None,
            as_of: None,
            role: None,
            gcs: None,
            azure: None,
            medusa: BTreeMap::new(),
        }
    }

    /// The deployment's name.
    pub fn deployment(&self) -> &str {
        self.deployment.as_deref().unwrap_or(DEFAULT_DEPLOYMENT)
    }

    /// Refuses settings that contradict each other, or the store. Makes no request, reads no file.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let scheme = self.url.scheme();
        let of_one = [
            ("sse", "s3", self.sse.is_some()),
            ("storage_class", "s3", self.storage_class.is_some()),
            ("lock", "s3", self.lock.is_some()),
            ("as_of", "s3", self.as_of.is_some()),
            ("role", "s3", self.role.is_some()),
            ("gcs", "gs", self.gcs.is_some()),
            ("azure", "az", self.azure.is_some()),
        ];
        if let Some((setting, ..)) = of_one.iter().find(|(_, of, set)| *set && scheme != *of) {
            return Err(ConfigError::NotForThisStore { setting, scheme: scheme.to_owned() });
        }
        for (name, medusa) in &self.medusa {
            medusa.check_medusa(name)?;
        }
        if let Some(class) = &self.storage_class {
            s3::check_class(class)?;
        }
        if let Some(lock) = &self.lock {
            lock.check(self)?;
        }
        if let Some(role) = &self.role {
            role.check()?;
        }
        if let Some(gcs) = &self.gcs {
            gcs.check()?;
        }
        if let Some(azure) = &self.azure {
            azure.check()?;
        }
        if matches!(self.sse, Some(Sse::Customer { .. }))
            && let Some(endpoint) = self.endpoint.as_ref().filter(|e| e.scheme() != "https")
        {
            let why = "with sse of kind customer the key goes with each request: it must be https".to_owned();
            return Err(ConfigError::Unusable { setting: "endpoint", value: endpoint.to_string(), why });
        }
        Ok(())
    }

    /// Checks the settings of a Medusa store: only those of the way there mean something.
    fn check_medusa(&self, name: &str) -> Result<(), ConfigError> {
        if !layout::is_medusa_name(name) {
            let why = "a Medusa store's name is 1 to 64 lower-case letters, digits, '_' and '-'".to_owned();
            return Err(ConfigError::Unusable { setting: "medusa", value: name.to_owned(), why });
        }
        let of_a_vault = [
            ("deployment", self.deployment.is_some()),
            ("encryption", self.encryption.is_some()),
            ("storage_class", self.storage_class.is_some()),
            ("lock", self.lock.is_some()),
            ("as_of", self.as_of.is_some()),
            ("medusa", !self.medusa.is_empty()),
        ];
        if let Some((setting, _)) = of_a_vault.iter().find(|(_, set)| *set) {
            let why = "it means nothing for a Medusa store, which is only read: leave it out".to_owned();
            return Err(ConfigError::Unusable { setting, value: format!("of medusa.{name}"), why });
        }
        self.check()
    }

    /// Reads the address.
    pub(crate) fn place(&self) -> Result<Place, ConfigError> {
        let incomplete = |why| ConfigError::Incomplete { url: self.url.clone(), why };
        match self.url.scheme() {
            scheme @ ("s3" | "gs" | "az") => {
                let bucket = self.url.host_str().ok_or_else(|| incomplete("it names no bucket"))?;
                let path = self.url.path().trim_matches('/');
                if path.split('/').any(|part| matches!(part, "." | "..")) || path.contains("//") {
                    return Err(incomplete("its prefix has empty, '.' or '..' parts"));
                }
                let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
                let bucket = bucket.to_owned();
                Ok(match scheme {
                    "gs" => Place::Cloud { cloud: Cloud::Google, bucket, prefix },
                    "az" => Place::Cloud { cloud: Cloud::Azure, bucket, prefix },
                    _ => Place::S3 { bucket, prefix },
                })
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

/// Reads a file that holds a secret; white space around it does not count.
pub(crate) fn read_secret(setting: &'static str, file: &Path) -> Result<SecretString, ConfigError> {
    let unreadable = |cause| ConfigError::Unreadable { setting, path: file.to_owned(), cause };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let secret = text.trim();
    if secret.is_empty() {
        return Err(unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, "it is empty")));
    }
    Ok(SecretString::from(secret))
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
        let google = Place::Cloud { cloud: Cloud::Google, bucket: "b".into(), prefix: "a/".into() };
        assert_eq!(place("gs://b/a").unwrap(), google);
        let azure = Place::Cloud { cloud: Cloud::Azure, bucket: "b".into(), prefix: String::new() };
        assert_eq!(place("az://b").unwrap(), azure);
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
    fn settings_that_make_no_sense_are_refused_by_name() {
        for (text, setting) in [
            (r#"{"url":"file:///v","sse":{"kind":"s3"}}"#, "sse"),
            (r#"{"url":"gs://b","storage_class":"NEARLINE"}"#, "storage_class"),
            (r#"{"url":"file:///v","lock":{"mode":"governance","period":"30d"}}"#, "lock"),
            (r#"{"url":"gs://b","lock":{"mode":"compliance","period":"30d"}}"#, "lock"),
            (r#"{"url":"az://b","lock":{"mode":"compliance","period":"30d"}}"#, "lock"),
            (r#"{"url":"s3://b","lock":{"mode":"compliance","period":"1ms"}}"#, "lock.period"),
            (r#"{"url":"s3://b","lock":{"mode":"compliance","period":"90y"}}"#, "lock.period"),
            (
                r#"{"url":"s3://b","checksums":"when_required","lock":{"mode":"governance","period":"30d"}}"#,
                "checksums",
            ),
            (r#"{"url":"file:///v","as_of":"2026-11-22T00:00:00Z"}"#, "as_of"),
            (r#"{"url":"s3://b","storage_class":"DEEP_ARCHIVE"}"#, "storage_class"),
            (r#"{"url":"s3://b","storage_class":"standard_ia"}"#, "storage_class"),
            (r#"{"url":"s3://b","role":{"arn":"admin"}}"#, "role.arn"),
            (
                r#"{"url":"s3://b","endpoint":"http://h","sse":{"kind":"customer","key_file":"/k"}}"#,
                "endpoint",
            ),
            (
                r#"{"url":"s3://b","role":{"arn":"arn:x","external_id":"x","web_identity_token_file":"/t"}}"#,
                "role.external_id",
            ),
            (r#"{"url":"s3://b","gcs":{}}"#, "gcs"),
            (r#"{"url":"gs://b","gcs":{"anonymous":true,"credentials_file":"/k"}}"#, "gcs.credentials_file"),
            (r#"{"url":"az://b","azure":{"account":""}}"#, "azure.account"),
            (
                r#"{"url":"az://b","azure":{"account":"a","account_key_file":"/k","sas_token_file":"/t"}}"#,
                "azure.sas_token_file",
            ),
        ] {
            let config: VaultConfig = serde_json::from_str(text).unwrap();
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(setting), "{text}: {error}");
        }
        for (text, field) in [
            (r#"{"url":"s3://b","sse":{"kind":"customer"}}"#, "key_file"),
            (r#"{"url":"s3://b","lock":{"mode":"legal","period":"30d"}}"#, "legal"),
            (r#"{"url":"s3://b","lock":{"mode":"compliance"}}"#, "period"),
            (r#"{"url":"s3://b","lock":{"mode":"compliance","period":"30d","days":3}}"#, "days"),
            (r#"{"url":"s3://b","sse":{"kind":"kms","keyid":"x"}}"#, "keyid"),
            (r#"{"url":"s3://b","sse":{"kind":"aes"}}"#, "aes"),
            (r#"{"url":"s3://b","role":{"external_id":"x"}}"#, "arn"),
        ] {
            let error = serde_json::from_str::<VaultConfig>(text).unwrap_err().to_string();
            assert!(error.contains(field), "{text}: {error}");
        }
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        let text = r#"{"url":"s3://b/p","acces_key_file":"/k"}"#;
        let error = serde_json::from_str::<VaultConfig>(text).unwrap_err();
        assert!(error.to_string().contains("acces_key_file"), "{error}");
    }
}
