//! Has each attempt of the crate wait for its turn, and counts it.
//!
//! The wait is before the connection is asked, so nothing that is timed has begun but the three minutes after which
//! the crate repeats nothing more: a request that waited for long is repeated less often. It has been signed: with
//! some dozens of requests at once, and one a second at least, long before a signature's fifteen minutes are over. A wait
//! that is dropped has sent nothing.

use async_trait::async_trait;
use object_store::{
    ClientOptions,
    client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService},
};

use crate::{
    store::{RequestResult, StoreOperation, StoreRequests},
    throttle::Throttle,
};

/// The way to the store, which other clients may share.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    pub(super) http: HttpClient,
    pub(super) requests: StoreRequests,
    pub(super) limit: Throttle,
}

impl HttpConnector for Counted {
    /// `http` has been made with the client's options.
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Counted {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.limit.take(1).await;
        let uri = request.uri().to_string();
        let has = |name| request.headers().contains_key(name);
        let copies = has("x-goog-copy-source") || has("x-ms-copy-source");
        let operation = StoreOperation::of_http(request.method().as_str(), &uri, copies);
        let path = uri.split('?').next().unwrap_or_default();
        let sent = self.requests.sent(operation, path, request.body().content_length() as u64);
        let answer = self.http.execute(request).await;
        let result = match &answer {
            Ok(answer) => RequestResult::of_status(answer.status().as_u16()),
            Err(_) => RequestResult::Unreachable,
        };
        sent.ended(result);
        answer
    }
}
