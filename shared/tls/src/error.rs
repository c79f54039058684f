//! What can be wrong with a file of certificates or keys.

use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};

/// Why TLS cannot be set up. Each names its file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("{setting} {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// It does not hold what it should.
    #[error("{setting} {} cannot be used: {why}", path.display())]
    Unfit {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Its time is over.
    #[error("{setting} {} expired on {}", path.display(), .since.to_rfc3339_opts(SecondsFormat::Secs, true))]
    Expired {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// When.
        since: DateTime<Utc>,
    },
    /// Its time has not come.
    #[error("{setting} {} is not valid before {}", path.display(), .until.to_rfc3339_opts(SecondsFormat::Secs, true))]
    NotYet {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// From when on it is.
        until: DateTime<Utc>,
    },
    /// The key is not that of the certificate.
    #[error("key_file {} does not belong to the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A certificate without a key, or the other way round.
    #[error("certificate_file and key_file go together: {missing} is missing")]
    Half {
        /// The setting that is missing.
        missing: &'static str,
    },
    /// Nobody can be trusted.
    #[error("this machine has no certificate authorities that it trusts, and ca_file names none: {cause}")]
    NoAuthorities {
        /// The system's words.
        cause: String,
    },
    /// rustls refused what was read.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}
