//! Where the key-encryption keys of a vault are, as written in a configuration file; never the keys.

use std::{
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::secret::{InvalidKey, SecretKey};
use crate::config::ConfigError;

/// Longest key file that is read, in bytes.
const MAX_FILE: u64 = 1024;

/// `[vault.encryption]`: that the vault is encrypted, and where the keys are that open it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncryptionConfig {
    /// File with the key-encryption key: 32 random bytes in hex, for nobody's eyes but its owner's and
    /// group's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Environment variable with the key instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// Files with further keys that may open the vault, while a fleet goes over from one key to the next.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_key_files: Vec<PathBuf>,
    /// Environment variables with further keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_key_envs: Vec<String>,
}

/// A key that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeySourceError {
    /// Neither a file nor a variable is named, or both.
    #[error("[vault.encryption] names {0}: set key_file or key_env")]
    NotOneKey(&'static str),
    /// The file cannot be read.
    #[error("key file {path}: {cause}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Others than its owner and group may read the file, or others than its owner change it.
    #[error("key file {path} has mode {mode:04o}: others may read or change it. chmod 0400 it", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The variable is not set.
    #[error("the environment has no variable {0}, which [vault.encryption] names for a key")]
    NoVariable(String),
    /// The text is no key.
    #[error("{from}: {cause}")]
    NoKey {
        /// The file or variable.
        from: String,
        /// What is expected.
        cause: InvalidKey,
    },
}

impl EncryptionConfig {
    /// With the key in a file.
    pub fn of_file(path: impl Into<PathBuf>) -> Self {
        Self { key_file: Some(path.into()), ..Self::default() }
    }

    /// Reads the keys, first the one that the vault's keys are wrapped with.
    pub fn read_keys(&self) -> Result<Vec<SecretKey>, ConfigError> {
        Ok(self.read()?)
    }

    fn read(&self) -> Result<Vec<SecretKey>, KeySourceError> {
        let first = match (&self.key_file, &self.key_env) {
            (Some(path), None) => read_file(path)?,
            (None, Some(name)) => read_variable(name)?,
            (None, None) => return Err(KeySourceError::NotOneKey("no key")),
            (Some(_), Some(_)) => return Err(KeySourceError::NotOneKey("both key_file and key_env")),
        };
        let mut keys = vec![first];
        let files = self.other_key_files.iter().map(|path| read_file(path));
        for other in files.chain(self.other_key_envs.iter().map(|name| read_variable(name))) {
            let other = other?;
            if keys.iter().all(|known| known.id() != other.id()) {
                keys.push(other);
            }
        }
        Ok(keys)
    }
}

fn read_file(path: &Path) -> Result<SecretKey, KeySourceError> {
    let unreadable = |cause| KeySourceError::Unreadable { path: path.to_owned(), cause };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o027 != 0 {
        return Err(KeySourceError::Open { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE).read_to_string(&mut text).map_err(unreadable)?;
    SecretKey::from_text(&text)
        .map_err(|cause| KeySourceError::NoKey { from: format!("key file {}", path.display()), cause })
}

fn read_variable(name: &str) -> Result<SecretKey, KeySourceError> {
    let text = std::env::var(name).map(Zeroizing::new);
    let text = text.map_err(|_| KeySourceError::NoVariable(name.to_owned()))?;
    SecretKey::from_text(&text)
        .map_err(|cause| KeySourceError::NoKey { from: format!("variable {name}"), cause })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn key_file(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn keys_come_from_files_that_are_not_for_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        let first = key_file(folder.path(), "1", &one.to_text(), 0o400);
        let second = key_file(folder.path(), "2", &other.to_text(), 0o640);
        let config = EncryptionConfig {
            other_key_files: vec![second.clone(), first.clone()],
            ..EncryptionConfig::of_file(&first)
        };
        let ids: Vec<_> = config.read_keys().unwrap().iter().map(SecretKey::id).collect();
        assert_eq!(ids, [one.id(), other.id()], "each once, the first first");
        for mode in [0o644, 0o660, 0o604, 0o602] {
            key_file(folder.path(), "1", &one.to_text(), mode);
            let error = EncryptionConfig::of_file(&first).read_keys().unwrap_err().to_string();
            assert!(error.contains(&format!("{mode:04o}")), "{error}");
        }
    }

    #[test]
    fn what_is_no_key_is_named_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let bad = key_file(folder.path(), "bad", "0123456789 not hex", 0o600);
        let error = EncryptionConfig::of_file(&bad).read_keys().unwrap_err().to_string();
        assert!(
            error.contains("64 hex digits") && error.contains("bad") && !error.contains("012345"),
            "{error}"
        );
        let missing = EncryptionConfig::of_file(folder.path().join("none")).read_keys().unwrap_err();
        assert!(missing.to_string().contains("none"), "{missing}");
        let unset =
            EncryptionConfig { key_env: Some("RINGVAULT_NO_SUCH_KEY".into()), ..EncryptionConfig::default() };
        assert!(unset.read_keys().unwrap_err().to_string().contains("RINGVAULT_NO_SUCH_KEY"));
        assert!(EncryptionConfig::default().read_keys().is_err());
        let both = EncryptionConfig { key_env: Some("X".into()), ..EncryptionConfig::of_file(&bad) };
        assert!(both.read_keys().unwrap_err().to_string().contains("both"));
    }
}
