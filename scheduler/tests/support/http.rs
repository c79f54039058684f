//! The API on a port of its own, and a client that knows its answers.

use std::sync::Arc;

use reqwest::{Method, RequestBuilder, Response};
use ringvault_scheduler::api::Server;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Lab;

/// The administrator's token of the tests' configuration.
pub const ADMIN: &str = "0123456789abcdef-admin";

/// A served API; stops when it is dropped.
pub struct Http {
    base: String,
    client: reqwest::Client,
    pub stop: CancellationToken,
}

impl Drop for Http {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An answer, read.
pub struct Answer {
    pub status: u16,
    pub media: String,
    pub text: String,
}

impl Answer {
    pub async fn read(response: Response) -> Self {
        let header = response.headers().get("content-type");
        let media = header.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        Self {
            status: response.status().as_u16(),
            media,
            text: response.text().await.expect("a whole answer"),
        }
    }

    /// The document of an answer with this status.
    #[track_caller]
    pub fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        let json: Value = serde_json::from_str(&self.text).expect("JSON");
        assert!(status >= 400 || json["schema_version"] == 1, "{json}");
        json
    }

    /// The code of a refusal with this status.
    #[track_caller]
    pub fn refused(&self, status: u16) -> String {
        let problem = self.json(status);
        assert_eq!(self.media, "application/problem+json");
        assert_eq!(problem["status"], status);
        problem["code"].as_str().expect("a code").to_owned()
    }
}

impl Lab {
    /// Serves the API.
    pub async fn http(&self) -> Http {
        std::fs::write(&self.ctx.config.api.admin_token_file, ADMIN).expect("the token's file");
        let server = Server::bind(Arc::clone(&self.ctx)).await.expect("a free port");
        let base = format!("http://{}", server.address());
        let stop = CancellationToken::new();
        tokio::spawn(server.run(stop.clone()));
        Http { base, client: reqwest::Client::new(), stop }
    }
}

impl Http {
    /// Where it is served.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request without a token.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// A request of this token.
    pub async fn ask(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.bare(method, path).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::read(request.send().await.expect("an answer")).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(ADMIN, Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(ADMIN, Method::POST, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str, body: Option<Value>) -> Answer {
        self.ask(ADMIN, Method::DELETE, path, body).await
    }

    /// Tells a job what to do.
    pub async fn order(&self, job: &str, word: &str) -> Answer {
        self.ask(ADMIN, Method::POST, &format!("/v1/jobs/{job}/{word}"), None).await
    }
}
