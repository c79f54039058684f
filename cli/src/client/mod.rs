//! The scheduler's HTTP API: requests, and answers as either documents or [`Failure`]s with their
//! exit code. [`routes`] has a method a route.
//!
//! What creates something carries an `Idempotency-Key`, so a request whose answer was lost is sent
//! again without fear: the same key finds the same job.

mod routes;
mod sse;

use std::{fmt::Write as _, time::Duration};

use reqwest::{Method, RequestBuilder, Response, StatusCode, header::ACCEPT};
use ringvault_core::api::{Problem, Readiness};
use ringvault_tls::{ClientConfig, ClientTls, Trouble, explain};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

pub(crate) use routes::{BackupFilter, EvidenceFilter, JobFilter, JobOrder};
pub(crate) use sse::Events;

use crate::{
    config::Settings,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// The code of an answer that is not what this program knows.
pub(crate) const UNREADABLE: &str = "RV-SERVER-ANSWER";
/// How long to wait for a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for an answer that is not a stream.
const ANSWER_PATIENCE: Duration = Duration::from_mins(1);
/// How often a request that may be repeated is sent when its answer does not come.
const TRIES: u32 = 3;

/// A connection to one scheduler.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
}

/// One request: method, path segments, query, and what makes it safe to repeat.
struct Ask<'a> {
    method: Method,
    path: &'a [&'a str],
    query: Vec<(&'static str, String)>,
    body: Option<serde_json::Value>,
    key: Option<String>,
    accept: &'static str,
}

impl<'a> Ask<'a> {
    fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self { method, path, query: Vec::new(), body: None, key: None, accept: "application/json" }
    }

    fn get(path: &'a [&'a str]) -> Self {
        Self::new(Method::GET, path)
    }

    fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    fn body(mut self, body: &impl Serialize) -> Outcome<Self> {
        let body = serde_json::to_value(body).map_err(|error| {
            let message = format!("this request cannot be written as JSON: {error}");
            Failure::new(Exit::Failed, "RV-JSON", message)
        })?;
        self.body = Some(body);
        Ok(self)
    }

    fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    fn is_repeatable(&self) -> bool {
        self.key.is_some() || self.method.is_safe()
    }
}

impl Client {
    pub(crate) fn new(settings: &Settings) -> Outcome<Self> {
        let Some(base) = settings.server.clone() else {
            return Err(Failure::usage("no scheduler is known: where does it listen?").with_next(
                "give --server URL, RINGVAULT_SERVER, or server = \"URL\" in ~/.config/ringvault/config.toml",
            ));
        };
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(Failure::usage(format!("the server {base} is not an http or https address")));
        }
        if settings.token.is_some() && is_exposed(&base) {
            eprintln!(
                "warning: the token goes to {base} unencrypted: whoever is on the way can read it; use https"
            );
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("ringvault/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_PATIENCE)
            .redirect(reqwest::redirect::Policy::none());
        if settings.tls != ClientTls::default() {
            let config = settings.tls.config().map_err(|error| Failure::usage(error.to_string()))?;
            builder = builder.tls_backend_preconfigured(ClientConfig::clone(&config));
        }
        let http = builder
            .build()
            .map_err(|error| Failure::usage("the HTTP client cannot be set up").with_source(error))?;
        Ok(Self { http, base, token: settings.token.clone() })
    }

    /// The server's address, for messages.
    pub(crate) fn server(&self) -> &Url {
        &self.base
    }

    /// A document.
    async fn ask<T: DeserializeOwned>(&self, ask: Ask<'_>) -> Outcome<T> {
        let response = self.send(ask).await?;
        let bytes = response.bytes().await.map_err(|error| self.lost(error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.strange(&error))
    }

    /// Whether the scheduler's servers can be used: the one answer that is a document although it is
    /// no success.
    pub(crate) async fn readiness(&self) -> Outcome<Readiness> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("readyz");
        }
        let sent = self.http.get(url).timeout(ANSWER_PATIENCE).send().await;
        let bytes = sent.map_err(|error| self.lost(error))?.bytes().await;
        serde_json::from_slice(&bytes.map_err(|error| self.lost(error))?)
            .map_err(|error| self.strange(&error))
    }

    /// No document.
    async fn tell(&self, ask: Ask<'_>) -> Outcome<()> {
        self.send(ask).await.map(drop)
    }

    async fn send(&self, ask: Ask<'_>) -> Outcome<Response> {
        let mut tries = 1;
        loop {
            let sent = self.request(&ask).timeout(ANSWER_PATIENCE).send().await;
            match sent {
                Ok(response) => return self.accept(response).await,
                Err(error) if error.is_connect() || !ask.is_repeatable() || tries == TRIES => {
                    return Err(self.lost(error));
                }
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(300) * tries).await;
                    tries += 1;
                }
            }
        }
    }

    fn request(&self, ask: &Ask<'_>) -> RequestBuilder {
        let mut request =
            self.http.request(ask.method.clone(), self.url(ask.path, &ask.query)).header(ACCEPT, ask.accept);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(key) = &ask.key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = &ask.body {
            request = request.json(body);
        }
        request
    }

    /// `base/v1/segment/segment?query`, every segment and value escaped.
    fn url(&self, path: &[&str], query: &[(&'static str, String)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// An answer that says yes, or why not.
    async fn accept(&self, response: Response) -> Outcome<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => of_problem(status, problem),
            Err(_) => self.of_status(status, &String::from_utf8_lossy(&body)),
        })
    }

    /// Something in between, or something else that listens there.
    fn of_status(&self, status: StatusCode, body: &str) -> Failure {
        let first = crate::output::one_line(body.lines().next().unwrap_or_default().trim());
        let mut message = format!("{} answered {status}", self.base);
        if !first.is_empty() {
            let _ = write!(message, ": {}", first.chars().take(200).collect::<String>());
        }
        let code = format!("RV-HTTP-{}", status.as_u16());
        Failure::new(Exit::of_status(status.as_u16()), code, message)
            .with_next("check --server: is a Ringvault scheduler listening there?")
    }

    /// No answer came.
    fn lost(&self, error: reqwest::Error) -> Failure {
        if let Some(trouble) = explain(&error) {
            let message = format!("the scheduler at {} cannot be spoken to: {}", self.base, trouble.words());
            let (exit, next) = match &trouble {
                Trouble::Untrusted(_) => {
                    (Exit::Unreachable, "give --ca-file FILE if its authority is your own")
                }
                Trouble::Refused(_) => (Exit::NotAuthorised, "give --client-cert-file and --client-key-file"),
            };
            return Failure::new(exit, "RV-SERVER-TLS", message)
                .with_next(next)
                .with_source(error.without_url());
        }
        let cause = innermost(&error);
        let what = if error.is_timeout() {
            format!("does not answer within {}s", ANSWER_PATIENCE.as_secs())
        } else {
            "cannot be reached".to_owned()
        };
        let message = format!("the scheduler at {} {what}: {cause}", self.base);
        Failure::new(Exit::Unreachable, "RV-SERVER-UNREACHABLE", message)
            .with_next("check --server and that the scheduler runs")
            .with_source(error.without_url())
    }

    fn strange(&self, error: &serde_json::Error) -> Failure {
        let message = format!("{} answered with a document this program cannot read: {error}", self.base);
        Failure::new(Exit::Failed, UNREADABLE, message)
            .with_next("use a ringvault of the scheduler's version: ringvault --version")
    }
}

/// Whether what is sent there can be read on the way: HTTP without TLS that leaves the machine.
fn is_exposed(server: &Url) -> bool {
    let local = match server.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => true,
    };
    server.scheme() == "http" && !local
}

fn of_problem(status: StatusCode, problem: Problem) -> Failure {
    let mut message = problem.detail;
    if !problem.candidates.is_empty() {
        let _ = write!(message, ": {}", problem.candidates.join(", "));
    }
    let failure = Failure::new(Exit::of_status(status.as_u16()), problem.code, message);
    match problem.next {
        Some(next) => failure.with_next(next),
        None if status == StatusCode::UNAUTHORIZED => {
            failure.with_next("give --token-file FILE, RINGVAULT_TOKEN_FILE or RINGVAULT_TOKEN")
        }
        None => failure,
    }
}

/// The last cause of an error: reqwest's own text only says that a request failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(server: &str) -> Client {
        Client::new(&Settings {
            server: Some(server.parse().unwrap()),
            token: None,
            tls: ClientTls::default(),
            zone: chrono_tz::Tz::UTC,
        })
        .unwrap()
    }

    #[test]
    fn names_cannot_leave_their_place_in_the_path() {
        let url = client("http://h:1/base/").url(&["policies", "a/../b?c"], &[("at", "1+1 é".into())]);
        assert_eq!(url.as_str(), "http://h:1/base/v1/policies/a%2F..%2Fb%3Fc?at=1%2B1+%C3%A9");
    }

    #[test]
    fn a_token_is_exposed_where_plain_http_leaves_the_machine() {
        for (server, exposed) in [
            ("http://ringvault.example:8080", true),
            ("http://10.0.0.7", true),
            ("https://10.0.0.7", false),
            ("http://127.0.0.1:8780", false),
            ("http://[::1]:8780", false),
            ("http://localhost", false),
        ] {
            assert_eq!(is_exposed(&server.parse().unwrap()), exposed, "{server}");
        }
    }

    #[test]
    fn a_problem_keeps_its_code_and_its_next_command() {
        let problem = Problem::new(422, "RV-RESTORE-GUARD", "refused", "t is not empty");
        let failure = of_problem(StatusCode::UNPROCESSABLE_ENTITY, problem.with_next("add --truncate"));
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(failure.render(false), "error[RV-RESTORE-GUARD]: t is not empty\nNext: add --truncate");
    }

    #[test]
    fn an_answer_that_is_no_problem_document_is_told_in_one_line() {
        let failure = client("http://h").of_status(StatusCode::BAD_GATEWAY, "<html>\nmore");
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.message.ends_with("502 Bad Gateway: <html>"), "{}", failure.message);
    }
}
