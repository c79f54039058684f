//! `[oidc]`: people sign in at an OpenID Connect provider, and what they may do there follows from the
//! groups that it says they are in.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use ringvault_core::api::Role;
use secrecy::SecretString;
use serde::Deserialize;
use url::{Host, Url};

/// Shortest and longest session: a change of groups counts at the next sign-in, so this bounds it.
const SESSION: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(7 * 24 * 3600));

/// `[oidc]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// The provider, letter by letter as it calls itself: `https://login.example/realms/ops`.
    pub issuer: String,
    /// What it calls this deployment's schedulers.
    pub client_id: String,
    /// A file with the client's secret; without it the client is a public one, and PKCE alone protects
    /// the exchange.
    pub client_secret_file: Option<PathBuf>,
    /// Where browsers reach the schedulers: `https://ringvault.example`.
    pub base_url: Url,
    /// What stands on the button, after "Sign in with"; the provider's host unless said.
    pub name: Option<String>,
    /// What to ask for; `openid` always is.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// PEM of the authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The claim that a person is called by; `email`, else `preferred_username`, unless said. Who has
    /// none is called by `sub`.
    pub name_claim: Option<String>,
    /// The claim with a person's groups; dots lead into objects (`realm_access.roles`).
    #[serde(default = "groups_claim")]
    pub groups_claim: String,
    /// How long a session lasts.
    #[serde(with = "humantime_serde", default = "session")]
    pub session: Duration,
    /// With it the API takes the provider's tokens that are made out to this audience.
    pub api_audience: Option<String>,
    /// What the members of a group may do; of several the most.
    #[serde(default)]
    pub groups: BTreeMap<String, Role>,
    /// What single people may do, by e-mail address, `sub` or `name_claim`; `"*"` is everybody.
    #[serde(default)]
    pub users: BTreeMap<String, Role>,
}

fn scopes() -> Vec<String> {
    ["openid", "profile", "email"].map(str::to_owned).to_vec()
}

fn groups_claim() -> String {
    "groups".to_owned()
}

fn session() -> Duration {
    Duration::from_secs(10 * 3600)
}

/// Why `[oidc]` cannot be used. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("oidc.{0}")]
pub struct OidcProblem(pub String);

/// Whether what is said to this address stays between us and it: TLS, or this very machine.
pub(crate) fn is_guarded(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && is_here))
}

impl OidcConfig {
    /// A setting that cannot be meant, and what is wrong with it.
    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
        let issuer = Url::parse(&self.issuer).ok();
        let is_root = self.base_url.path() == "/" && self.base_url.query().is_none();
        let is_bare = |url: &Url| url.query().is_none() && url.fragment().is_none();
        let has_words = |text: &str| !text.trim().is_empty();
        let rules = [
            (
                issuer.as_ref().is_some_and(|issuer| is_guarded(issuer) && is_bare(issuer)),
                "issuer",
                "it is an https:// URL without a query (http:// only on this machine)",
            ),
            (has_words(&self.client_id), "client_id", "it is empty"),
            (
                matches!(self.base_url.scheme(), "https" | "http") && self.base_url.has_host() && is_root,
                "base_url",
                "it is where browsers reach the schedulers, without a path: https://ringvault.example",
            ),
            (
                self.name.as_deref().is_none_or(|name| has_words(name) && name.chars().count() <= 60),
                "name",
                "it has 1 to 60 characters",
            ),
            (
                self.scopes.iter().all(|scope| has_words(scope) && !scope.contains(char::is_whitespace)),
                "scopes",
                "each is one word",
            ),
            (has_words(&self.groups_claim), "groups_claim", "it is empty"),
            (self.name_claim.as_deref().is_none_or(has_words), "name_claim", "it is empty"),
            (
                (SESSION.0..=SESSION.1).contains(&self.session),
                "session",
                "it is from 1m to 7d: who left a group keeps its role for so long",
            ),
            (self.api_audience.as_deref().is_none_or(has_words), "api_audience", "it is empty"),
            (
                !self.groups.is_empty() || !self.users.is_empty(),
                "groups",
                "without [oidc.groups] or [oidc.users] nobody may do anything",
            ),
        ];
        rules.into_iter().find(|(kept, ..)| !kept).map(|(_, field, why)| (field, why))
    }

    /// The client's secret, read now, so that a renewed one needs no restart; `None` of a public client.
    pub fn client_secret(&self) -> Result<Option<SecretString>, String> {
        let Some(file) = &self.client_secret_file else { return Ok(None) };
        let named = format!("client_secret_file {}", file.display());
        let text =
            std::fs::read_to_string(file).map_err(|error| format!("{named} cannot be read: {error}"))?;
        if text.trim().is_empty() {
            return Err(format!("{named} is empty"));
        }
        Ok(Some(text.trim().into()))
    }

    /// What people know the provider by.
    pub fn label(&self) -> String {
        let host = || Url::parse(&self.issuer).ok()?.host_str().map(str::to_owned);
        self.name.clone().or_else(host).unwrap_or_else(|| self.issuer.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#"
issuer = "https://login.example/realms/ops"
client_id = "ringvault"
base_url = "https://ringvault.example"
groups = { sre = "operator" }
"#;

    fn read(text: &str) -> Result<OidcConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_least_that_must_be_said_is_enough() {
        let config = read(LEAST).unwrap();
        assert_eq!(config.problem(), None);
        assert_eq!(config.label(), "login.example");
        assert_eq!((config.session.as_secs(), config.groups_claim.as_str()), (36_000, "groups"));
        assert_eq!(config.scopes, ["openid", "profile", "email"]);
        assert!(config.client_secret().unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_name() {
        for (from, to, field) in [
            ("https://login.example", "http://login.example", "issuer"),
            ("realms/ops", "realms?x=1", "issuer"),
            ("https://login.example/realms/ops", "login", "issuer"),
            ("\"ringvault\"", "\" \"", "client_id"),
            ("https://ringvault.example", "https://ringvault.example/under", "base_url"),
            ("https://ringvault.example", "ftp://ringvault.example", "base_url"),
            ("groups = { sre = \"operator\" }", "", "groups"),
            ("client_id", "scopes = [\"a b\"]\nclient_id", "scopes"),
            ("client_id", "session = \"30d\"\nclient_id", "session"),
            ("client_id", "session = \"1s\"\nclient_id", "session"),
            ("client_id", "name = \"\"\nclient_id", "name"),
            ("client_id", "api_audience = \"\"\nclient_id", "api_audience"),
        ] {
            let config = read(&LEAST.replace(from, to)).unwrap();
            assert_eq!(config.problem().map(|(field, _)| field), Some(field), "{to}");
        }
        assert!(read(&LEAST.replace("operator", "root")).unwrap_err().contains("root"));
        assert!(read(&LEAST.replace("client_id", "client_ident")).unwrap_err().contains("client_ident"));
    }

    #[test]
    fn plain_http_is_for_this_machine_alone() {
        for (url, guarded) in [
            ("https://login.example", true),
            ("http://localhost:5556/dex", true),
            ("http://127.0.0.1:9", true),
            ("http://[::1]:9", true),
            ("http://login.example", false),
            ("http://10.0.0.7", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(is_guarded(&Url::parse(url).unwrap()), guarded, "{url}");
        }
    }

    #[test]
    fn the_secret_is_read_when_it_is_used() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("secret");
        let text = format!("{LEAST}client_secret_file = \"{}\"\n", file.display());
        let config = read(&text).unwrap();
        assert!(config.client_secret().unwrap_err().contains("cannot be read"));
        std::fs::write(&file, "\n").unwrap();
        assert!(config.client_secret().unwrap_err().contains("is empty"));
        std::fs::write(&file, "hush\n").unwrap();
        let secret = config.client_secret().unwrap().unwrap();
        assert_eq!(secrecy::ExposeSecret::expose_secret(&secret), "hush");
        assert!(!format!("{config:?}").contains("hush"));
    }
}
