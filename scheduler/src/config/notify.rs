//! `[notify.NAME]`: whom to tell what.

use std::{fmt, path::PathBuf, time::Duration};

use ringvault_core::{
    ClusterName,
    job::JobKind,
    notice::{Happening, NoticeFilter, Severity},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

/// How notices are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifierKind {
    /// A signed POST of JSON.
    Webhook,
    /// A POST as Slack's incoming webhooks take it, and Mattermost's, Rocket.Chat's and others'.
    Slack,
    /// A mail.
    Smtp,
}

impl NotifierKind {
    /// The word used in configuration, JSON and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Smtp => "smtp",
        }
    }
}

/// `[notify.NAME]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifierConfig {
    /// How.
    pub kind: NotifierKind,
    /// Where: `https://…`; for mail `smtps://host:465`, or `smtp://host:587`, which must offer STARTTLS
    /// unless the URL says `?tls=none`.
    url: Option<SecretString>,
    /// A file that holds it, for URLs that are secrets.
    url_file: Option<PathBuf>,
    /// A variable of the environment that holds it.
    url_env: Option<String>,
    /// A file with the key that a webhook is signed with.
    secret_file: Option<PathBuf>,
    /// A variable of the environment with that key.
    secret_env: Option<String>,
    /// PEM of the authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Who a mail is from.
    pub from: Option<String>,
    /// Whom it is to.
    #[serde(default)]
    pub to: Vec<String>,
    /// The mail server's login, with `password_file` or `password_env`.
    pub username: Option<String>,
    /// A file with its password.
    password_file: Option<PathBuf>,
    /// A variable of the environment with its password.
    password_env: Option<String>,
    /// What is told of.
    events: Option<Vec<Happening>>,
    /// At least as grave.
    severity: Option<Severity>,
    /// About these clusters; all when empty.
    #[serde(default)]
    clusters: Vec<ClusterName>,
    /// About jobs of these kinds; all when empty.
    #[serde(default)]
    jobs: Vec<JobKind>,
    /// How long one try may take.
    #[serde(with = "humantime_serde", default = "timeout")]
    pub timeout: Duration,
    /// Before the second try; doubles with each, up to a quarter of an hour.
    #[serde(with = "humantime_serde", default = "backoff")]
    pub backoff: Duration,
    /// How long a notice is tried.
    #[serde(with = "humantime_serde", default = "give_up_after")]
    pub give_up_after: Duration,
}

fn timeout() -> Duration {
    Duration::from_secs(10)
}

fn backoff() -> Duration {
    Duration::from_secs(10)
}

fn give_up_after() -> Duration {
    Duration::from_secs(24 * 3600)
}

/// Why a `[notify.NAME]` cannot be used. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("notify.{name}: {why}")]
pub struct NotifyProblem {
    /// Its name.
    pub name: String,
    /// Which setting, and what is wrong with it.
    pub why: String,
}

impl NotifierConfig {
    /// Which notices it gets.
    pub fn filter(&self) -> NoticeFilter {
        let Self { events, severity, clusters, jobs, .. } = self;
        let default = NoticeFilter::default();
        NoticeFilter {
            events: events.clone().unwrap_or(default.events),
            severity: severity.unwrap_or(default.severity),
            clusters: clusters.clone(),
            jobs: jobs.clone(),
        }
    }

    /// Settings that do not go together, or say nothing.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let is_mail = self.kind == NotifierKind::Smtp;
        let given = [self.url.is_some(), self.url_file.is_some(), self.url_env.is_some()];
        let rules = [
            (
                given.iter().filter(|given| **given).count() == 1,
                "exactly one of url, url_file and url_env is needed",
            ),
            (
                !(self.secret_file.is_some() && self.secret_env.is_some()),
                "secret_file and secret_env exclude each other",
            ),
            (
                self.kind == NotifierKind::Webhook
                    || (self.secret_file.is_none() && self.secret_env.is_none()),
                "only a webhook is signed: secret_file and secret_env are for kind = \"webhook\"",
            ),
            (!is_mail || (self.from.is_some() && !self.to.is_empty()), "a mail needs from and to"),
            (
                is_mail || (self.from.is_none() && self.to.is_empty() && self.username.is_none()),
                "from, to and username are for kind = \"smtp\"",
            ),
            (
                self.username.is_some() == (self.password_file.is_some() || self.password_env.is_some()),
                "username and one of password_file and password_env go together",
            ),
            (
                !(self.password_file.is_some() && self.password_env.is_some()),
                "password_file and password_env exclude each other",
            ),
            (
                self.events.as_ref().is_none_or(|events| !events.is_empty()),
                "events is empty: nothing would be told",
            ),
            (!self.timeout.is_zero(), "timeout must be positive"),
        ];
        rules.into_iter().find(|(kept, _)| !kept).map(|(_, why)| why)
    }

    /// Where to, read now.
    pub fn url(&self) -> Result<Url, String> {
        let given = match &self.url {
            Some(url) => url.clone(),
            None => read("url", self.url_file.as_ref(), self.url_env.as_ref())?.unwrap_or_default(),
        };
        // The parser's words do not hold the URL.
        let url = Url::parse(given.expose_secret().trim())
            .map_err(|error| format!("the url is not one: {error}"))?;
        let schemes: &[&str] =
            if self.kind == NotifierKind::Smtp { &["smtp", "smtps"] } else { &["http", "https"] };
        if !schemes.contains(&url.scheme()) || url.host_str().is_none() {
            return Err(format!("the url must begin with {}://, and name a host", schemes.join(":// or ")));
        }
        Ok(url)
    }

    /// What to sign with, read now; `None` where nothing is to be signed.
    pub fn secret(&self) -> Result<Option<SecretString>, String> {
        read("secret", self.secret_file.as_ref(), self.secret_env.as_ref())
    }

    /// The mail server's password, read now.
    pub fn password(&self) -> Result<Option<SecretString>, String> {
        read("password", self.password_file.as_ref(), self.password_env.as_ref())
    }
}

/// A secret from a file or the environment, without white space around it.
fn read(
    what: &str,
    file: Option<&PathBuf>,
    variable: Option<&String>,
) -> Result<Option<SecretString>, String> {
    let (named, text) = match (file, variable) {
        (Some(file), _) => {
            let named = format!("{what}_file {}", file.display());
            let text =
                std::fs::read_to_string(file).map_err(|error| format!("{named} cannot be read: {error}"))?;
            (named, text)
        }
        (None, Some(variable)) => {
            let named = format!("{what}_env {variable}");
            let text =
                std::env::var(variable).map_err(|_| format!("{named} is not set in the environment"))?;
            (named, text)
        }
        (None, None) => return Ok(None),
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("{named} is empty"));
    }
    Ok(Some(text.into()))
}

impl fmt::Display for NotifierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
