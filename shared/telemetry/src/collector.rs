//! The collector: OTLP over HTTP, `ExportTraceServiceRequest` as protobuf
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    transform::{
        common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{Resource, trace::SpanData};
use prost::Message as _;
use reqwest::{
    Client, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use ringvault_tls::http;
use url::{Position, Url};

use crate::{TelemetryConfig, TelemetryProblem};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Takes spans.
#[derive(Debug)]
pub(crate) struct Collector {
    client: Client,
    endpoint: Url,
    headers: HeaderMap,
    resource: ResourceAttributesWithSchema,
}

/// Spans as they are sent.
#[derive(Debug)]
pub(crate) struct Batch {
    body: Bytes,
    spans: u64,
}

/// Why spans were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Refused {
    why: String,
    /// The same spans may be taken later.
    pub(crate) passes: bool,
}

impl Batch {
    /// How many spans it has.
    pub(crate) const fn spans(&self) -> u64 {
        self.spans
    }
}

impl Collector {
    /// Reads the files that the configuration names. Makes no request.
    pub(crate) fn open(
        endpoint: Url,
        config: &TelemetryConfig,
        resource: &Resource,
    ) -> Result<Self, TelemetryProblem> {
        let mut headers = config.headers()?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let client = http::client(config.ca_file.as_deref(), TIMEOUT)
            .map_err(|why| TelemetryProblem::new("ca_file", why))?;
        Ok(Self { client, endpoint, headers, resource: resource.into() })
    }

    /// Where it is, for log lines: without a query, which may hold a secret.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint[..Position::AfterPath]
    }

    /// Makes a batch of spans.
    pub(crate) fn batch(&self, spans: Vec<SpanData>) -> Batch {
        let count = spans.len() as u64;
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(spans, &self.resource),
        };
        Batch { body: request.encode_to_vec().into(), spans: count }
    }

    /// Sends a batch. How many of its spans the collector did not want.
    pub(crate) async fn send(&self, batch: &Batch) -> Result<u64, Refused> {
        let unheard = |error| Refused { why: http::why(error), passes: true };
        let request = self.client.post(self.endpoint.clone()).headers(self.headers.clone());
        let answer = request.body(batch.body.clone()).send().await.map_err(unheard)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(Refused { why: format!("it answered {status}"), passes: may_pass(status) });
        }
        let body = answer.bytes().await.map_err(unheard)?;
        // Not every collector answers with what the protocol has; that it took them, its status says.
        let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
        let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
        Ok(u64::try_from(rejected).unwrap_or_default().min(batch.spans))
    }
}

/// Whether the protocol says to try again.
fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}
