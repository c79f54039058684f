//! One request to the agent.

use secrecy::ExposeSecret;
use serde_json::Value;

use super::{super::Result, Jolokia, answer};
use crate::NodeErrorKind;

/// How long a call may take.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    Question,
    Work,
}

impl Jolokia {
    pub(super) async fn call(&self, operation: &str, request: &Value, patience: Patience) -> Result<Value> {
        let timeout = match patience {
            Patience::Question => self.timeouts.question,
            Patience::Work => self.timeouts.work,
        };
        let mut call = self.client.post(self.url.clone()).timeout(timeout).json(request);
        if let Some(credentials) = &self.credentials {
            call = call.basic_auth(&credentials.user, Some(credentials.password.expose_secret()));
        }
        let transport = |error: reqwest::Error| {
            let kind = if error.is_connect() {
                NodeErrorKind::Unreachable(chain(&error))
            } else if error.is_timeout() {
                NodeErrorKind::Timeout(timeout)
            } else {
                NodeErrorKind::Failed(chain(&error))
            };
            self.error(operation, kind)
        };
        let mut response = call.send().await.map_err(transport)?;
        let http = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(transport)? {
            if body.len() + piece.len() > answer::MAX_BYTES {
                let what = format!("its answer has more than {} bytes", answer::MAX_BYTES);
                return Err(self.failed(operation, &what));
            }
            body.extend_from_slice(&piece);
        }
        let mbean = request["mbean"].as_str().unwrap_or_default();
        answer::value(http, mbean, &body).map_err(|kind| self.error(operation, kind))
    }
}

/// An error with its causes: reqwest's own text says only that something failed.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
