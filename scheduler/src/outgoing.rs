//! HTTP requests that the scheduler makes by itself: of notices, and of the identity provider.

use std::{path::Path, time::Duration};

use axum::http::{Request, Response, header::AUTHORIZATION};
use reqwest::Client;
use ringvault_tls::http;
use serde::de::DeserializeOwned;
use url::Url;

/// Longest answer that is read, in bytes.
const LONGEST: usize = 1 << 20;

/// Asks and reads answers, up to a size.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing(Client);

/// Why there is no answer. Names no URL and no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoAnswer(pub(crate) String);

impl From<reqwest::Error> for NoAnswer {
    fn from(error: reqwest::Error) -> Self {
        Self(http::why(error))
    }
}

impl Outgoing {
    /// See [`http::client`].
    pub(crate) fn open(ca_file: Option<&Path>, timeout: Duration) -> Result<Self, String> {
        http::client(ca_file, timeout).map(Self)
    }

    /// Sends a request, whatever the answer's status.
    pub(crate) async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, NoAnswer> {
        let mut answer = self.0.execute(request.try_into()?).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut body = Vec::new();
        while let Some(more) = answer.chunk().await? {
            body.extend_from_slice(&more);
            if body.len() > LONGEST {
                return Err(NoAnswer(format!("its answer is longer than {LONGEST} bytes")));
            }
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// Gets a JSON document. The error names the path that was asked, never what was sent along.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        url: &Url,
        bearer: Option<&str>,
    ) -> Result<T, String> {
        let failed = |why: String| format!("{} {}: {why}", url.host_str().unwrap_or_default(), url.path());
        let mut request = Request::get(url.as_str());
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Vec::new()).map_err(|error| failed(error.to_string()))?;
        let answer = self.send(request).await.map_err(|error| failed(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(failed(format!("it answered {}", answer.status())));
        }
        serde_json::from_slice(answer.body()).map_err(|error| {
            failed(format!("its answer cannot be read: {}", ringvault_core::text::cause(error)))
        })
    }
}
