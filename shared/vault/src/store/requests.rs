//! What a store was asked, counted: how often, with which end, and how long the answer took.
//!
//! A request is one of HTTP's, or one piece of work on a folder: what a store's owner pays for and its
//! limits are about. So one that is repeated because the store asked to slow down counts as often as it
//! was sent, and a listing as many times as it has pages. Each is counted where it is sent (`s3/count`,
//! `cloud/count`, `folder`), which no caller can go around. Requests that fetch credentials are not of
//! the store, and are not counted.
//!
//! The time is from the request's first byte to the answer's head, so that of a get is without its body
//! and that of a put with it; how slow a reader is, or how a rate limit holds a body back, does not tell
//! on it. A request whose caller has dropped it is not counted.
//!
//! Each is a span too, below whatever asked for it. This crate opens spans and knows nothing of who collects them; where
//! nobody does, none is made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{Span, debug_span, field::Empty};

use super::StoreErrorKind;

/// Upper bounds of the times that are told apart, in seconds: those of a healthy store near by up to the
/// longest that a part on a thin line may take.
pub const REQUEST_BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreOperation {
    /// An object, or bytes of it.
    Get,
    /// What an object is like.
    Head,
    /// A page of a listing.
    List,
    /// To keep an object.
    Put,
    /// To keep a part of one.
    Part,
    /// To begin, complete or drop an upload in parts.
    Multipart,
    /// To copy an object within the store.
    Copy,
    /// To delete an object, or many at once.
    Delete,
    /// About locks and settings.
    Other,
}

impl StoreOperation {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Get,
        Self::Head,
        Self::List,
        Self::Put,
        Self::Part,
        Self::Multipart,
        Self::Copy,
        Self::Delete,
        Self::Other,
    ];

    /// The word used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Put => "put",
            Self::Part => "part",
            Self::Multipart => "multipart",
            Self::Copy => "copy",
            Self::Delete => "delete",
            Self::Other => "other",
        }
    }

    /// Of a request by HTTP: S3's interface, which Google's has taken over, and Azure's. `uri` may be
    /// whole or without its host; `copies`: a header names another object as the source.
    pub(super) fn of_http(method: &str, uri: &str, copies: bool) -> Self {
        let query = uri.split_once('?').map_or("", |(_, query)| query);
        let value = |name: &str| {
            let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let asks = |names: &[&str]| names.iter().any(|name| value(name).is_some());
        let azure = value("comp");
        match method {
            "PUT" if copies => Self::Copy,
            _ if asks(&["retention", "legal-hold", "object-lock", "versioning"]) => Self::Other,
            "HEAD" => Self::Head,
            "GET" if azure == Some("list") || asks(&["list-type", "versions", "uploads", "uploadId"]) => {
                Self::List
            }
            "GET" => Self::Get,
            "PUT" if azure == Some("block") || asks(&["partNumber"]) => Self::Part,
            "PUT" if azure == Some("blocklist") => Self::Multipart,
            "PUT" => Self::Put,
            "POST" if azure == Some("batch") || asks(&["delete"]) => Self::Delete,
            "POST" | "DELETE" if asks(&["uploads", "uploadId"]) => Self::Multipart,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }

    /// Of a request by S3's name for it.
    pub(super) fn of_name(name: &str) -> Self {
        match name {
            "GetObject" => Self::Get,
            "HeadObject" => Self::Head,
            "ListObjectsV2" => Self::List,
            "PutObject" => Self::Put,
            "UploadPart" => Self::Part,
            "CreateMultipartUpload" | "CompleteMultipartUpload" | "AbortMultipartUpload" => Self::Multipart,
            "CopyObject" => Self::Copy,
            "DeleteObjects" => Self::Delete,
            _ => Self::Other,
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestResult {
    /// As it was meant.
    Ok,
    /// There is no such object, or upload: often the answer that was hoped for.
    NotFound,
    /// There is one already, or another is being written: likewise.
    Exists,
    /// The credentials are none, or may not do this; or a lock keeps the object.
    Refused,
    /// The store asks to slow down.
    Throttled,
    /// There was no answer.
    Unreachable,
    /// Anything else: the store failed, or did not understand.
    Failed,
}

impl RequestResult {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::NotFound,
        Self::Exists,
        Self::Refused,
        Self::Throttled,
        Self::Unreachable,
        Self::Failed,
    ];

    /// The word used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
        }
    }

    /// Whether it is an answer that nobody hopes for.
    const fn is_failure(self) -> bool {
        matches!(self, Self::Refused | Self::Throttled | Self::Unreachable | Self::Failed)
    }

    /// Of an answer by HTTP.
    pub(super) const fn of_status(status: u16) -> Self {
        match status {
            200..=399 => Self::Ok,
            404 => Self::NotFound,
            409 | 412 => Self::Exists,
            401 | 403 => Self::Refused,
            429 | 503 => Self::Throttled,
            _ => Self::Failed,
        }
    }

    /// Of a failure.
    pub(super) const fn of_kind(kind: StoreErrorKind) -> Self {
        use StoreErrorKind as Kind;
        match kind {
            Kind::NotFound | Kind::NoSuchUpload => Self::NotFound,
            Kind::AlreadyExists | Kind::Conflict => Self::Exists,
            Kind::AccessDenied | Kind::InvalidCredentials | Kind::Locked => Self::Refused,
            Kind::Throttled => Self::Throttled,
            Kind::Unreachable => Self::Unreachable,
            _ => Self::Failed,
        }
    }
}

/// A request on its way. Dropped before it [ended](Self::ended), it is not counted.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    requests: StoreRequests,
    operation: StoreOperation,
    at: Instant,
    span: Span,
}

impl Sent {
    /// How it ended.
    pub(super) fn ended(self, result: RequestResult) {
        self.requests.count(self.operation, result, self.at.elapsed());
        self.span.record("result", result.as_str());
        if result.is_failure() {
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

/// Counts the requests of one store. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct StoreRequests(Arc<[Counters; StoreOperation::ALL.len()]>);

#[derive(Debug, Default)]
struct Counters {
    results: [AtomicU64; RequestResult::ALL.len()],
    /// By the first bound that the time is within; the last: longer than all.
    times: [AtomicU64; REQUEST_BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// The requests for one operation, at one instant. They only grow.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestFigures {
    /// What was asked for.
    pub operation: StoreOperation,
    /// How often with each end, in the order of [`RequestResult::ALL`].
    pub results: [u64; RequestResult::ALL.len()],
    /// How many took at most the bound of the same index in [`REQUEST_BOUNDS`].
    pub within: [u64; REQUEST_BOUNDS.len()],
    /// How many were timed.
    pub count: u64,
    /// How long they took in all.
    pub took: Duration,
}

impl RequestFigures {
    /// How often with this end.
    pub fn with(&self, result: RequestResult) -> u64 {
        self.results[result as usize]
    }
}

impl StoreRequests {
    /// A request for `object` (its key, or its path on the store without a query, which may hold a secret) is sent,
    /// with a body of so many bytes.
    pub(super) fn sent(&self, operation: StoreOperation, object: &str, bytes: u64) -> Sent {
        let span = debug_span!(
            "store",
            otel.name = operation.as_str(),
            otel.kind = "client",
            object,
            bytes,
            result = Empty,
            otel.status_code = Empty,
        );
        Sent { requests: self.clone(), operation, at: Instant::now(), span }
    }

    /// Counts one.
    fn count(&self, operation: StoreOperation, result: RequestResult, took: Duration) {
        let counters = &self.0[operation as usize];
        let seconds = took.as_secs_f64();
        let place = REQUEST_BOUNDS.iter().position(|bound| seconds <= *bound);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counters.results[result as usize].fetch_add(1, Ordering::Relaxed);
        counters.times[place.unwrap_or(REQUEST_BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        counters.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The figures of one operation.
    pub fn of(&self, operation: StoreOperation) -> RequestFigures {
        let counters = &self.0[operation as usize];
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // The sum is taken of what is read here, so that buckets and count always agree.
        let mut count = 0;
        let mut within = [0; REQUEST_BOUNDS.len()];
        for (place, time) in counters.times.iter().enumerate() {
            count += load(time);
            if let Some(bucket) = within.get_mut(place) {
                *bucket = count;
            }
        }
        RequestFigures {
            operation,
            results: std::array::from_fn(|result| load(&counters.results[result])),
            within,
            count,
            took: Duration::from_micros(load(&counters.micros)),
        }
    }

    /// The figures of every operation that was asked for.
    pub fn figures(&self) -> Vec<RequestFigures> {
        StoreOperation::ALL.into_iter().map(|operation| self.of(operation)).filter(|f| f.count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_its_own() {
        for (place, operation) in StoreOperation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, place);
        }
        for (place, result) in RequestResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, place);
        }
        assert!(REQUEST_BOUNDS.is_sorted());
    }

    #[test]
    fn requests_are_known_by_what_is_sent() {
        use StoreOperation as Of;
        for (method, uri, operation) in [
            ("GET", "/b/k?x-id=GetObject", Of::Get),
            ("GET", "https://s3.example/b/k", Of::Get),
            ("GET", "/b?list-type=2&prefix=a%2F", Of::List),
            ("GET", "/b?versions&prefix=x", Of::List),
            ("GET", "/b?uploads", Of::List),
            ("GET", "/c?restype=container&comp=list", Of::List),
            ("GET", "/b/k?retention", Of::Other),
            ("GET", "/b?object-lock", Of::Other),
            ("HEAD", "/b/k", Of::Head),
            ("PUT", "/b/k?x-id=PutObject", Of::Put),
            ("PUT", "/b/k?partNumber=1&uploadId=u", Of::Part),
            ("PUT", "/c/k?comp=block&blockid=x", Of::Part),
            ("PUT", "/c/k?comp=blocklist", Of::Multipart),
            ("PUT", "/b/k?retention", Of::Other),
            ("POST", "/b?delete", Of::Delete),
            ("POST", "/c?restype=container&comp=batch", Of::Delete),
            ("POST", "/b/k?uploads", Of::Multipart),
            ("POST", "/b/k?uploadId=u", Of::Multipart),
            ("DELETE", "/b/k?uploadId=u", Of::Multipart),
            ("DELETE", "/b/k", Of::Delete),
        ] {
            assert_eq!(Of::of_http(method, uri, false), operation, "{method} {uri}");
        }
        assert_eq!(Of::of_http("PUT", "/b/k?partNumber=1&uploadId=u", true), Of::Copy);
    }

    #[test]
    fn a_time_is_in_every_bucket_from_its_own_on() {
        let requests = StoreRequests::default();
        let (operation, result) = (StoreOperation::Put, RequestResult::Throttled);
        for millis in [5, 30, 400_000] {
            requests.clone().count(operation, result, Duration::from_millis(millis));
        }
        let figures = requests.figures();
        assert_eq!(figures.len(), 1, "what was never asked for is not told");
        let put = &figures[0];
        assert_eq!((put.with(result), put.with(RequestResult::Ok)), (3, 0));
        assert_eq!((put.count, put.took), (3, Duration::from_millis(400_035)));
        assert_eq!(put.within[..5], [1, 1, 1, 2, 2]);
        assert_eq!(put.within.last(), Some(&2), "one is longer than all bounds");
    }
}
