//! The configuration file: TOML, read strictly. A field that is not known is refused with its line.

mod notify;
mod oidc;
mod requests;
mod timing;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use ringvault_core::{api::StorePrice, toml_text::from_toml};
use ringvault_queue::QueueConfig;
use ringvault_state::PostgresConfig;
use ringvault_telemetry::TelemetryConfig;
use ringvault_tls::ServerTls;
use ringvault_vault::VaultConfig;
use serde::{Deserialize, Deserializer, de::Error as _};

pub use notify::{NotifierConfig, NotifierKind, NotifyProblem};
pub(crate) use oidc::is_guarded;
pub use oidc::{OidcConfig, OidcProblem};
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
    /// How it is served.
    #[serde(default)]
    pub http: HttpConfig,
    /// Where people sign in, beside tokens.
    pub oidc: Option<OidcConfig>,
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
    /// Whom to tell what, by name.
    #[serde(default)]
    pub notify: BTreeMap<String, NotifierConfig>,
    /// What the store costs, for the dashboard.
    pub store_price: Option<StorePriceConfig>,
    /// Where traces go.
    pub telemetry: Option<TelemetryConfig>,
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

/// `[http]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// With it the API and the dashboard are served over TLS, and over nothing else.
    pub tls: Option<ServerTls>,
    /// Addresses and networks of proxies whose `X-Forwarded-For` is believed, for the bound on failed
    /// sign-ins and for the audit log.
    #[serde(default, deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
}

/// `10.0.0.0/8`, or one address.
fn networks<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<IpNet>, D::Error> {
    let given = Vec::<String>::deserialize(input)?;
    let read = |text: &String| {
        let found: Option<IpNet> = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        found.ok_or_else(|| {
            D::Error::custom(format!("{text:?} is no address and no network such as 10.0.0.0/8"))
        })
    };
    given.iter().map(read).collect()
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
        if !is_plain(&config.id) {
            let why = "`id`, here or by --id, has 1 to 64 letters, digits, '-', '_' or '.'";
            return Err(invalid(1, why.to_owned()));
        }
        for (name, notifier) in &config.notify {
            // Where its table begins; the file was read, so it is there in some form.
            let line = text.lines().position(|line| line.contains(name.as_str()) && line.contains("notify"));
            let line = line.map_or(1, |line| line + 1);
            if !is_plain(name) {
                let why = "the name of a [notify.NAME] has 1 to 64 letters, digits, '-', '_' or '.'";
                return Err(invalid(line, why.to_owned()));
            }
            if let Some(why) = notifier.problem() {
                return Err(invalid(line, format!("notify.{name}: {why}")));
            }
        }
        if let Some((field, why)) = config.oidc.as_ref().and_then(OidcConfig::problem) {
            return Err(invalid(line_of(text, "oidc", field), format!("oidc.{field}: {why}")));
        }
        Ok(config)
    }
}

/// Where a field of a section stands, or else the section; from 1.
fn line_of(text: &str, section: &str, field: &str) -> usize {
    let begins = |line: &str, word: &str| line.trim_start().starts_with(word);
    let head = [format!("[{section}]"), format!("[{section}."), format!("{section}.")];
    let first = text.lines().position(|line| head.iter().any(|head| begins(line, head))).unwrap_or_default();
    let within = text.lines().skip(first).position(|line| begins(line, field));
    first + within.unwrap_or_default() + 1
}

/// Whether this can be a name of ours.
fn is_plain(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 64 && name.bytes().all(is_plain)
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
    fn a_receiver_of_notices_says_how_and_where() {
        use ringvault_core::notice::Happening;
        let with = |settings: &str| read(&format!("{MINIMAL}[notify.pager]\n{settings}"));
        let config = with("kind = \"webhook\"\nurl = \"https://h/x\"\nevents = [\"late\"]\n").unwrap();
        assert_eq!(config.notify["pager"].filter().events, [Happening::Late]);
        assert_eq!(config.notify["pager"].give_up_after, Duration::from_secs(86_400));
        assert!(!format!("{config:?}").contains("https://h/x"), "a URL may be a secret");
        for (settings, says) in [
            ("kind = \"webhook\"\n", "exactly one of url"),
            ("kind = \"pigeon\"\nurl = \"https://h\"\n", "pigeon"),
            ("kind = \"webhook\"\nurl = \"https://h\"\nevents = [\"lat\"]\n", "lat"),
            ("kind = \"slack\"\nurl = \"https://h\"\nsecret_env = \"S\"\n", "only a webhook is signed"),
            ("kind = \"smtp\"\nurl = \"smtp://h\"\n", "a mail needs from and to"),
            ("kind = \"webhook\"\nurl = \"https://h\"\nto = [\"a@b\"]\n", "for kind = \"smtp\""),
            ("kind = \"webhook\"\nurl = \"https://h\"\nevent = []\n", "event"),
        ] {
            let error = with(settings).unwrap_err();
            assert!(error.contains(says) && error.starts_with("s.toml, line "), "{error}");
        }
    }

    #[test]
    fn a_wrong_setting_of_a_provider_is_named_with_its_line() {
        let with = |settings: &str| read(&format!("{MINIMAL}[oidc]\nclient_id = \"r\"\n{settings}"));
        let rest = "base_url = \"https://r.example\"\n[oidc.groups]\nsre = \"admin\"\n";
        let config = with(&format!("issuer = \"https://login.example\"\n{rest}")).unwrap();
        assert_eq!(config.oidc.unwrap().client_id, "r");
        let error = with(&format!("issuer = \"http://login.example\"\n{rest}")).unwrap_err();
        assert!(error.starts_with("s.toml, line 20: oidc.issuer: it is an https:// URL"), "{error}");
        let error = with(&format!("issuer = \"https://login.example\"\nisuer = 1\n{rest}")).unwrap_err();
        assert!(error.starts_with("s.toml, line 21: ") && error.contains("isuer"), "{error}");
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
