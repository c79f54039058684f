//! The configuration file: TOML, read strictly. A field that is not known is refused with its line.

mod requests;
mod timing;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ringvault_core::{api::StorePrice, toml_text::from_toml};
use ringvault_queue::QueueConfig;
use ringvault_state::PostgresConfig;
use ringvault_vault::VaultConfig;
use serde::Deserialize;

pub use requests::RequestsConfig;
pub(crate) use timing::delta;
pub use timing::{RetryConfig, TimingConfig};

/// A scheduler's configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This scheduler's own name, such as `sched-1`: one name, one process. Empty in a file that several
    /// share, each of which is given its own when it starts ([`Self::read_as`]).
    #[serde(default)]
    pub id: String,
    /// Where the HTTP API listens.
    pub listen: SocketAddr,
    /// The database.
    pub postgres: PostgresConfig,
    /// The broker.
    pub rabbitmq: QueueConfig,
    /// The object store.
    pub vault: VaultConfig,
    /// The key that tasks are signed with.
    pub signing: SigningConfig,
    /// The HTTP API.
    pub api: ApiConfig,
    /// What users of the broker may ask for.
    #[serde(default)]
    pub requests: RequestsConfig,
    /// How patient the scheduler is with tasks.
    #[serde(default)]
    pub retry: RetryConfig,
    /// How patient it is with jobs and workers.
    #[serde(default)]
    pub timing: TimingConfig,
    /// How long it remembers.
    #[serde(default)]
    pub history: HistoryConfig,
    /// What the store costs, for the dashboard.
    pub store_price: Option<StorePriceConfig>,
}

/// `[store_price]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorePriceConfig {
    /// For a GiB kept a month.
    pub per_gib_month: f64,
    /// Such as `USD`.
    pub currency: String,
}

impl From<StorePriceConfig> for StorePrice {
    fn from(StorePriceConfig { per_gib_month, currency }: StorePriceConfig) -> Self {
        Self { per_gib_month, currency }
    }
}

/// `[history]`: jobs that are over for good, with their tasks and log. A job that a backup in the
/// vault still needs is kept whatever its age.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistoryConfig {
    /// How long they are kept.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// Of each cluster and kind of job the newest are kept, however old.
    pub keep_last: u32,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self { keep: Duration::from_secs(90 * 24 * 3600), keep_last: 20 }
    }
}

/// `[signing]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningConfig {
    /// The key file, the same on schedulers and workers.
    pub key_file: PathBuf,
}

/// `[api]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// File with the first administrator's token; others are made with it.
    pub admin_token_file: PathBuf,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("the configuration {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// It does not say what it must, or says what nobody knows.
    #[error("{}, line {line}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Which field, and what is wrong with it.
        message: String,
    },
}

impl Config {
    /// Reads a configuration file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::read_as(path, None)
    }

    /// Reads a configuration file that may be shared: `id`, if given, stands over the file's.
    pub fn read_as(path: &Path, id: Option<String>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })?;
        Self::parse_as(&text, path, id)
    }

    /// Reads the text of a configuration file; `path` names it in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Self::parse_as(text, path, None)
    }

    fn parse_as(text: &str, path: &Path, id: Option<String>) -> Result<Self, ConfigError> {
        let invalid = |line, message: String| ConfigError::Invalid {
            path: path.to_owned(),
            line,
            message: message.replace('\n', "; "),
        };
        let mut config: Self = from_toml(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            invalid(line, ringvault_core::text::cause(error.message()))
        })?;
        config.id = id.unwrap_or(config.id);
        let id_is_plain =
            config.id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if config.id.is_empty() || config.id.len() > 64 || !id_is_plain {
            let why = "`id`, here or by --id, has 1 to 64 letters, digits, '-', '_' or '.'";
            return Err(invalid(1, why.to_owned()));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"id = "sched-1"
listen = "127.0.0.1:8090"

[postgres]
url_file = "/run/postgres-url"

[rabbitmq]
url_file = "/run/rabbitmq-url"

[vault]
url = "s3://bucket/prefix"

[signing]
key_file = "/run/signing-key"

[api]
admin_token_file = "/run/token"
"#;

    fn read(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("s.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_least_that_must_be_said_is_enough() {
        let config = read(MINIMAL).unwrap();
        assert_eq!(config.retry.lease, Duration::from_secs(60));
        let shorter = format!("{MINIMAL}[retry]\nlease = \"3s\"\n[timing]\npoll = \"50ms\"\n");
        let config = read(&shorter).unwrap();
        assert_eq!(config.retry.lease, Duration::from_secs(3));
        assert_eq!(config.timing.poll, Duration::from_millis(50));
    }

    #[test]
    fn a_file_that_several_share_needs_an_id_for_each() {
        let shared = MINIMAL.replace("id = \"sched-1\"\n", "");
        assert!(read(&shared).unwrap_err().contains("--id"));
        for text in [&shared, MINIMAL] {
            let config = Config::parse_as(text, Path::new("s.toml"), Some("pod-7".to_owned())).unwrap();
            assert_eq!(config.id, "pod-7");
        }
    }

    #[test]
    fn an_error_names_file_line_and_field() {
        for (from, to, line, field) in [
            ("listen", "lisen", 2, "lisen"),
            ("key_file", "key_fil", 14, "key_fil"),
            ("\"127.0.0.1:8090\"", "\"nowhere\"", 2, "address"),
            ("\"sched-1\"", "\"a b\"", 1, "id"),
        ] {
            let error = read(&MINIMAL.replace(from, to)).unwrap_err();
            let place = format!("s.toml, line {line}: ");
            assert!(error.starts_with(&place) && error.contains(field), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
