//! Notices over HTTP: a signed webhook, or a chat's.
//!
//! The signature is HMAC-SHA256 over `<timestamp>.<body>`, made anew at each try, in hex:
//! `Ringvault-Signature: v1=…`, with the timestamp (seconds since 1970, by the database's clock) in
//! `Ringvault-Timestamp`. A receiver that refuses old timestamps and deliveries it has seen
//! (`Ringvault-Delivery`) cannot be fed a notice that somebody kept.

use chrono::TimeDelta;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use ringvault_core::notice::Notice;
use ringvault_state::notices::Claimed;
use ringvault_tls::http;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use sha2::Sha256;
use url::Url;

use super::send::Failure;
use crate::config::{NotifierConfig, NotifierKind};

/// Longest pause that a receiver may ask for.
const LONGEST_WISH: TimeDelta = TimeDelta::hours(1);

/// Where and how.
#[derive(Debug)]
pub(super) struct Post {
    client: Client,
    url: Url,
    secret: Option<SecretString>,
    kind: NotifierKind,
}

impl Post {
    pub(super) fn open(config: &NotifierConfig) -> Result<Self, String> {
        let client = http::client(config.ca_file.as_deref(), config.timeout)?;
        Ok(Self { client, url: config.url()?, secret: config.secret()?, kind: config.kind })
    }

    pub(super) async fn send(&self, claimed: &Claimed) -> Result<(), Failure> {
        let notice = &claimed.notice;
        let body = match self.kind {
            NotifierKind::Slack => json!({ "text": slack(notice) }).to_string(),
            _ => serde_json::to_string(notice).map_err(Failure::because)?,
        };
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        if self.kind == NotifierKind::Webhook {
            let timestamp = claimed.now.timestamp().to_string();
            request = request
                .header("ringvault-delivery", notice.delivery.to_string())
                .header("ringvault-event", notice.event.as_str())
                .header("ringvault-timestamp", &timestamp);
            if let Some(secret) = &self.secret {
                let signature = sign(secret, &timestamp, &body);
                request = request.header("ringvault-signature", format!("v1={signature}"));
            }
        }
        let response = request.body(body).send().await.map_err(unanswered)?;
        if response.status().is_success() { Ok(()) } else { Err(refused(&response)) }
    }
}

/// The words of a chat: `*` is bold there, and `&`, `<` and `>` mean something
/// (<https://docs.slack.dev/messaging/formatting-message-text>).
fn slack(notice: &Notice) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("*[{}] {}*\n{}", notice.severity.as_str(), escape(&notice.title), escape(&notice.text))
}

/// What `Ringvault-Signature` holds after `v1=`.
fn sign(secret: &SecretString, timestamp: &str, body: &str) -> String {
    // A key may have any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
        return String::new();
    };
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn unanswered(error: reqwest::Error) -> Failure {
    Failure::because(http::why(error))
}

fn refused(response: &Response) -> Failure {
    let status = response.status();
    let waits = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let wish = response.headers().get(RETRY_AFTER).filter(|_| waits);
    // The other form, a date, is not worth a clock of our own.
    let seconds = wish.and_then(|wish| wish.to_str().ok()?.trim().parse::<u32>().ok()).unwrap_or_default();
    let not_before = TimeDelta::seconds(i64::from(seconds)).min(LONGEST_WISH);
    Failure { why: format!("it answered {status}"), not_before }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_manual() {
        // printf '1764115200.{}' | openssl dgst -sha256 -hmac hush
        let expected = "199882598f93efc1139428231c80629d8a211c67d84606f4968f9e8f7abedb4d";
        assert_eq!(sign(&"hush".into(), "1764115200", "{}"), expected);
    }
}
