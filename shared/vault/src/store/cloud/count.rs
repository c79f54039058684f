//! Counts what the crate sends, attempt by attempt.

use async_trait::async_trait;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
    },
};

use crate::store::{RequestResult, StoreOperation, StoreRequests};

/// Connects as the crate does by itself, and counts.
#[derive(Debug)]
pub(super) struct Counting(pub(super) StoreRequests);

impl HttpConnector for Counting {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Counted { client, requests: self.0.clone() }))
    }
}

#[derive(Debug)]
struct Counted {
    client: HttpClient,
    requests: StoreRequests,
}

#[async_trait]
impl HttpService for Counted {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let uri = request.uri().to_string();
        if asks_for_credentials(&uri) {
            return self.client.execute(request).await;
        }
        let has = |name| request.headers().contains_key(name);
        let copies = has("x-goog-copy-source") || has("x-ms-copy-source");
        let operation = StoreOperation::of_http(request.method().as_str(), &uri, copies);
        let path = uri.split('?').next().unwrap_or_default();
        let sent = self.requests.sent(operation, path, request.body().content_length() as u64);
        let answer = self.client.execute(request).await;
        let result = match &answer {
            Ok(answer) => RequestResult::of_status(answer.status().as_u16()),
            Err(_) => RequestResult::Unreachable,
        };
        sent.ended(result);
        answer
    }
}

/// Whether it is a question to the machine's metadata or an authority for tokens, not to the store.
fn asks_for_credentials(uri: &str) -> bool {
    let path = uri.split('?').next().unwrap_or(uri);
    let of_login = ["://metadata.google.internal", "://metadata/", "://169.254.169.254", "://oauth2."];
    of_login.iter().any(|place| path.contains(place))
        || ["/oauth2/token", "/oauth2/v2.0/token", "/msi/token", ":generateAccessToken"]
            .iter()
            .any(|end| path.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::asks_for_credentials;

    #[test]
    fn questions_for_credentials_are_not_of_the_store() {
        for uri in [
            "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token?audience=x",
            "https://oauth2.googleapis.com/token",
            "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2019-08-01",
            "https://login.microsoftonline.com/tenant/oauth2/v2.0/token",
        ] {
            assert!(asks_for_credentials(uri), "{uri}");
        }
        for uri in
            ["https://storage.googleapis.com/b/clusters/metadata/x", "http://127.0.0.1:10000/a/c?comp=list"]
        {
            assert!(!asks_for_credentials(uri), "{uri}");
        }
    }
}
