//! Where the broker is and as whom to connect.

use std::{fmt, path::PathBuf, str::FromStr};

use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use ringvault_tls::{ClientTls, TlsError};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::{Host, Url};

/// Seconds between heartbeats unless the URL says otherwise. A broker frees a dead worker's queue
/// after two to three of them.
const HEARTBEAT_SECONDS: u16 = 10;
/// Milliseconds a TCP connect may take unless the URL says otherwise.
const CONNECT_TIMEOUT_MS: u64 = 10_000;

/// The `[rabbitmq]` section of a configuration file. Exactly one of the two URLs is given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueConfig {
    /// `amqp://user:password@host:5672/vhost`, or `amqps://host:5671/…` for TLS. With
    /// `?auth_mechanism=external` the broker takes the user from the client's certificate.
    pub url: Option<SecretString>,
    /// A file that holds the URL, for secrets that are mounted.
    pub url_file: Option<PathBuf>,
    /// Whom to trust and who we are, for `amqps://`; the system's authorities and nobody when absent.
    pub tls: Option<ClientTls>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Neither or both were given.
    #[error("exactly one of rabbitmq.url and rabbitmq.url_file must be given, not {given}")]
    NotOne {
        /// `neither` or `both`.
        given: &'static str,
    },
    /// The file cannot be read.
    #[error("rabbitmq.url_file {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// Not an AMQP URL.
    #[error("the queue's URL is not valid: {why}; it has the form amqp://user:password@host:5672/vhost")]
    BadUrl {
        /// What is wrong. Never the URL itself, which holds a password.
        why: String,
    },
    /// `[rabbitmq.tls]` for a connection that has none.
    #[error(
        "there is rabbitmq.tls, but the queue's URL begins with amqp://: write amqps://, with the port for TLS"
    )]
    Plain,
    /// A certificate or key cannot be used.
    #[error("rabbitmq.tls: {0}")]
    Tls(#[from] TlsError),
}

/// A broker's address with credentials. Shown without the password.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) uri: AMQPUri,
    /// Of an `amqps://` address.
    pub(crate) tls: Option<ClientTls>,
}

impl QueueConfig {
    /// A configuration from a URL at hand.
    pub fn from_url(url: impl Into<String>) -> Self {
        Self { url: Some(SecretString::from(url.into())), ..Self::default() }
    }

    pub(crate) fn endpoint(&self) -> Result<Endpoint, ConfigError> {
        let mut endpoint = self.address()?;
        match (&self.tls, &mut endpoint.tls) {
            (Some(_), None) => return Err(ConfigError::Plain),
            (Some(given), Some(tls)) => {
                given.check()?;
                tls.clone_from(given);
            }
            (None, _) => {}
        }
        Ok(endpoint)
    }

    fn address(&self) -> Result<Endpoint, ConfigError> {
        match (&self.url, &self.url_file) {
            (Some(url), None) => url.expose_secret().parse(),
            (None, Some(path)) => std::fs::read_to_string(path)
                .map_err(|cause| ConfigError::Unreadable { path: path.clone(), cause })?
                .trim()
                .parse(),
            (None, None) => Err(ConfigError::NotOne { given: "neither" }),
            (Some(_), Some(_)) => Err(ConfigError::NotOne { given: "both" }),
        }
    }
}

impl Endpoint {
    /// The user that messages are published as; `None` where the broker takes it from a certificate.
    pub(crate) fn user(&self) -> Option<&str> {
        let by_password = self.uri.query.auth_mechanism != Some(SASLMechanism::External);
        by_password.then_some(self.uri.authority.userinfo.username.as_str())
    }
}

impl FromStr for Endpoint {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let bad = |why: String| ConfigError::BadUrl { why };
        let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
        // Before lapin's parser, whose words for this hold the whole URL.
        let host = url.host().ok_or_else(|| bad("it names no host".to_owned()))?;
        let mut uri: AMQPUri = text.parse().map_err(bad)?;
        // The parser of lapin 4.12 takes an IPv6 address for no host at all, and so for localhost.
        if let Host::Ipv6(address) = host {
            uri.authority.host = address.to_string();
        }
        // `amqp://host/` would be the vhost "", which nobody has.
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        if uri.authority.userinfo.username.len() > 255 {
            return Err(bad("the user's name has more than 255 bytes".to_owned()));
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        uri.query.connection_timeout.get_or_insert(CONNECT_TIMEOUT_MS);
        let tls = (uri.scheme == AMQPScheme::AMQPS).then(ClientTls::default);
        Ok(Self { uri, tls })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { authority, vhost, .. } = &self.uri;
        write!(f, "{}:{} (vhost {vhost:?}", authority.host, authority.port)?;
        match self.user() {
            Some(user) => write!(f, ", user {user:?})"),
            None => f.write_str(", user by certificate)"),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Result<Endpoint, ConfigError> {
        QueueConfig::from_url(url).endpoint()
    }

    #[test]
    fn a_url_is_read_in_full_and_shown_without_its_password() {
        let endpoint = endpoint("amqp://ring:s%2Fecret@broker.example:5673/lab").unwrap();
        assert_eq!(endpoint.uri.authority.userinfo.password, "s/ecret");
        assert_eq!(endpoint.uri.query.heartbeat, Some(HEARTBEAT_SECONDS));
        let shown = format!("{endpoint:?}");
        assert_eq!(shown, "broker.example:5673 (vhost \"lab\", user \"ring\")");
    }

    #[test]
    fn an_ipv6_host_is_not_taken_for_localhost() {
        assert_eq!(endpoint("amqp://[2001:db8::1]").unwrap().uri.authority.host, "2001:db8::1");
        assert_eq!(endpoint("amqp://10.0.0.7").unwrap().uri.authority.host, "10.0.0.7");
    }

    #[test]
    fn a_missing_vhost_is_the_default_one() {
        for url in ["amqp://h", "amqp://h/", "amqp://h/%2f"] {
            assert_eq!(endpoint(url).unwrap().uri.vhost, "/", "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_url() {
        for url in ["http://user:hush@host", "hush", "amqp:hush", "amqp://u:hush@h:99999"] {
            let error = endpoint(url).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn what_is_said_of_tls_is_for_a_connection_that_has_it() {
        let with = |url: &str| QueueConfig { tls: Some(ClientTls::default()), ..QueueConfig::from_url(url) };
        assert!(matches!(with("amqp://u:p@h").endpoint(), Err(ConfigError::Plain)));
        assert_eq!(with("amqps://u:p@h").endpoint().unwrap().uri.authority.port, 5671);
        assert!(
            endpoint("amqps://u:p@h").unwrap().tls.is_some() && endpoint("amqp://h").unwrap().tls.is_none()
        );
        let none = ClientTls { ca_file: Some("/nowhere/ca.pem".into()), ..ClientTls::default() };
        let error =
            QueueConfig { tls: Some(none), ..QueueConfig::from_url("amqps://h") }.endpoint().unwrap_err();
        assert!(error.to_string().starts_with("rabbitmq.tls: ca_file /nowhere/ca.pem"), "{error}");
        let by_certificate = endpoint("amqps://h/v?auth_mechanism=external").unwrap();
        assert_eq!(by_certificate.to_string(), "h:5671 (vhost \"v\", user by certificate)");
    }

    #[test]
    fn the_file_s_form() {
        let read = |text: &str| toml::from_str::<QueueConfig>(text);
        let config = read("url = \"amqp://u:hush@h\"").unwrap();
        assert!(!format!("{config:?}").contains("hush"));
        assert!(read("uri = \"amqp://h\"").unwrap_err().to_string().contains("uri"));
        assert!(matches!(read("").unwrap().endpoint(), Err(ConfigError::NotOne { given: "neither" })));

        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "amqp://u:p@h/v\n").unwrap();
        let by_file = QueueConfig { url_file: Some(file.path().to_owned()), ..QueueConfig::default() };
        assert_eq!(by_file.endpoint().unwrap().uri.vhost, "v");
    }
}
