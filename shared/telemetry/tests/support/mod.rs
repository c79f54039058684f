//! A collector: takes what is posted to it over OTLP, and lets a test look at it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, status::StatusCode as SpanStatus},
};
use prost::Message as _;
use tokio::net::TcpListener;

/// Long enough for a slow machine; nothing waits so long when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// A span that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty of one that begins a trace.
    pub parent: String,
    pub service: String,
    pub failed: bool,
    pub attributes: BTreeMap<String, String>,
}

impl Seen {
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

#[derive(Debug, Default)]
struct Taken {
    spans: Vec<Seen>,
    headers: Vec<HeaderMap>,
}

#[derive(Debug, Clone)]
pub struct Collector {
    pub address: SocketAddr,
    taken: Arc<Mutex<Taken>>,
}

impl Collector {
    pub async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address")).await
    }

    pub async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let collector = Self { address, taken: Arc::default() };
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        collector
    }

    /// What is configured as `otlp_endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn spans(&self) -> Vec<Seen> {
        self.taken.lock().expect("no test panics with it").spans.clone()
    }

    /// Headers of the requests that came.
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.taken.lock().expect("no test panics with it").headers.clone()
    }

    /// Waits until what came shows what is looked for.
    pub async fn until<T>(&self, what: &str, look: impl Fn(&[Seen]) -> Option<T>) -> T {
        let looking = async {
            loop {
                if let Some(found) = look(&self.spans()) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, looking).await;
        found.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}; there is {:#?}", self.spans()))
    }
}

/// The names of a span and of those that it lies in, up to what is not among them, and that one's id.
pub fn way_up<'a>(spans: &'a [Seen], from: &'a Seen) -> (Vec<&'a str>, &'a str) {
    let mut names = vec![from.name.as_str()];
    let mut above = from.parent.as_str();
    while let Some(span) = spans.iter().find(|span| span.id == above) {
        names.push(&span.name);
        above = &span.parent;
    }
    (names, above)
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> (StatusCode, Vec<u8>) {
    let is_protobuf = headers.get(CONTENT_TYPE).is_some_and(|media| media == "application/x-protobuf");
    let (true, Ok(request)) = (is_protobuf, ExportTraceServiceRequest::decode(body)) else {
        return (StatusCode::BAD_REQUEST, Vec::new());
    };
    let mut taken = collector.taken.lock().expect("no test panics with it");
    taken.headers.push(headers);
    for resource in request.resource_spans {
        let of_resource = attributes(resource.resource.map(|of| of.attributes).unwrap_or_default());
        let service = of_resource.get("service.name").cloned().unwrap_or_default();
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        taken.spans.extend(spans.map(|span| seen(span, &service)));
    }
    (StatusCode::OK, ExportTraceServiceResponse::default().encode_to_vec())
}

fn seen(span: Span, service: &str) -> Seen {
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
    Seen {
        name: span.name,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        service: service.to_owned(),
        failed: span.status.is_some_and(|status| status.code == SpanStatus::Error as i32),
        attributes: attributes(span.attributes),
    }
}

fn attributes(list: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(is)) => is.to_string(),
        other => format!("{other:?}"),
    };
    list.into_iter().map(|pair| (pair.key, text(pair.value.and_then(|value| value.value)))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
