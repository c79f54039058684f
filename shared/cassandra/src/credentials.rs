//! A user and its password, read from a file so that it stands in no process list and no log.

use std::path::Path;

use secrecy::SecretString;

/// A user's name and password.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password; never printed.
    pub password: SecretString,
}

impl Credentials {
    /// Reads the password from the first line of `file`.
    pub fn from_file(user: impl Into<String>, file: &Path) -> std::io::Result<Self> {
        let text = std::fs::read_to_string(file)?;
        let password = text.lines().next().unwrap_or_default().to_owned();
        Ok(Self { user: user.into(), password: password.into() })
    }
}
