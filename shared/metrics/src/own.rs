//! What both count for themselves: requests to the store and lost spans, by the same names wherever they happen.

use ringvault_vault::store::{REQUEST_BOUNDS, RequestResult, StoreRequests};

use crate::{Kind, Labels, Page};

/// Writes `trace_spans_lost_total` under `labels`.
pub fn traces(page: &mut Page, lost: u64, labels: &Labels<'_>) {
    let help = "Spans of traces that were lost, as the collector did not take them in time.";
    page.metric("trace_spans_lost_total", Kind::Counter, help);
    page.sample("trace_spans_lost_total", labels, number(lost));
}

/// Writes `store_requests_total` and `store_request_seconds`, with the operation as `kind`, under `labels`.
///
/// An operation that was asked for once is told with every end it may have, from nought on: a refusal that
/// comes first at its hundredth request is then seen as an increase.
pub fn store(page: &mut Page, requests: &StoreRequests, labels: &Labels<'_>) {
    let figures = requests.figures();
    let help = "Requests to the object store, each attempt by itself, by operation and how they ended.";
    page.metric("store_requests_total", Kind::Counter, help);
    for of in &figures {
        for result in RequestResult::ALL {
            let own = [("kind", of.operation.as_str()), ("result", result.as_str())];
            page.sample("store_requests_total", &[labels, &own].concat(), number(of.with(result)));
        }
    }
    let help = "Seconds until the store had answered, without the body that it sends, by operation.";
    page.metric("store_request_seconds", Kind::Histogram, help);
    for of in &figures {
        let labels = [labels, &[("kind", of.operation.as_str())]].concat();
        let total = (number(of.count), of.took.as_secs_f64());
        page.histogram("store_request_seconds", &labels, &REQUEST_BOUNDS, &of.within.map(number), total);
    }
}

#[allow(clippy::cast_precision_loss)] // counts of requests
const fn number(count: u64) -> f64 {
    count as f64
}
