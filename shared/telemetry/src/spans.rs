//! Between `tracing`'s spans, OpenTelemetry's contexts and the domain's words for them.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, InstrumentationScope, KeyValue, SpanId as OtelSpanId, TraceFlags, TraceId as OtelTraceId,
    trace::{SpanContext, SpanKind, Status, TraceContextExt as _, TraceState},
};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use ringvault_core::trace::{JobTrace, SpanId, TraceId, TraceParent};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    entry::{self, Entry},
    outlet::Outlet,
    sampling::Sampling,
};

/// Where spans go; set once, as the subscriber of `tracing` is.
static EXPORT: OnceLock<(Outlet, Sampling)> = OnceLock::new();

pub(crate) fn export_through(outlet: Outlet, sampling: Sampling) {
    // A second one cannot come: the subscriber is set before, and only once.
    let _ = EXPORT.set((outlet, sampling));
}

/// Whether this program exports spans.
pub fn is_exporting() -> bool {
    EXPORT.get().is_some()
}

/// Spans that were lost since the program began, as the collector did not take them in time; 0 where none is configured.
pub fn lost_spans() -> u64 {
    EXPORT.get().map_or(0, |(outlet, _)| outlet.lost())
}

/// The place in a trace that the current span of `tracing` is; `None` where it is in none.
pub fn current() -> Option<TraceParent> {
    place_of(&Span::current())
}

/// Puts a new `span`, called `name` in traces, into the trace that `parent` is of; without one it begins a trace, if it
/// is an entry at all. Gives it the field `trace_id`, which it was made with as empty: so log lines have it too.
pub fn enters(span: &Span, entry: Option<Entry>, name: impl Into<String>, parent: Option<TraceParent>) {
    if let (Some(entry), true) = (entry, is_exporting()) {
        entry::mark(span, entry, name.into());
    }
    if is_exporting()
        && let Some(parent) = parent
    {
        let remote = SpanContext::new(
            OtelTraceId::from_bytes(parent.trace.bytes()),
            OtelSpanId::from_bytes(parent.span.bytes()),
            TraceFlags::default().with_sampled(parent.sampled),
            true,
            TraceState::default(),
        );
        // Only a span that is in no log line and in no trace has no parent to be set.
        let _ = span.set_parent(Context::new().with_remote_span_context(remote));
    }
    // Of a trace that nobody keeps and that came from nowhere nothing can be found by its id.
    let of_span = || place_of(span).filter(|place| place.sampled);
    if let Some(place) = parent.or_else(of_span) {
        span.record("trace_id", tracing::field::display(place.trace));
    }
}

/// Marks a span of something that failed, in a trace.
pub fn fails(span: &Span, error: &impl ToString) {
    if is_exporting() {
        span.set_status(Status::error(error.to_string()));
    }
}

fn place_of(span: &Span) -> Option<TraceParent> {
    if !is_exporting() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    Some(TraceParent {
        trace: TraceId::new(context.trace_id().to_bytes())?,
        span: SpanId::new(context.span_id().to_bytes())?,
        sampled: context.is_sampled(),
    })
}

/// The trace of a new job that was asked for at `caller`, or by nobody who traces. Without an export here no trace
/// begins, and what comes of the job hangs on the caller's span.
pub fn begin_job(caller: Option<TraceParent>) -> Option<JobTrace> {
    let Some((_, sampling)) = EXPORT.get() else { return caller.map(JobTrace::passed_on) };
    let span = new_span()?;
    let Some(caller) = caller else {
        let id = RandomIdGenerator::default().new_trace_id();
        let trace = TraceId::new(id.to_bytes())?;
        return Some(JobTrace {
            own: TraceParent { trace, span, sampled: sampling.keeps(id) },
            caller: None,
        });
    };
    Some(JobTrace { own: TraceParent { span, ..caller }, caller: Some(caller.span) })
}

/// The same job, tried again: what comes of it hangs on a new span, as the first has ended.
pub fn renew(trace: JobTrace) -> JobTrace {
    match new_span().filter(|_| is_exporting() && trace.has_span()) {
        Some(span) => JobTrace { own: TraceParent { span, ..trace.own }, ..trace },
        None => trace,
    }
}

fn new_span() -> Option<SpanId> {
    SpanId::new(RandomIdGenerator::default().new_span_id().to_bytes())
}

/// A span that is known only when it is over: it began long ago, perhaps in another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Such as `job backup`.
    pub name: String,
    /// Its place.
    pub place: TraceParent,
    /// The span that it is part of.
    pub parent: Option<SpanId>,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What it was about.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// Tells of such a span, if spans are exported and its trace is kept.
pub fn tell(span: Finished) {
    if let Some((outlet, _)) = EXPORT.get()
        && span.place.sampled
    {
        outlet.take(data_of(span));
    }
}

fn data_of(span: Finished) -> SpanData {
    SpanData {
        span_context: SpanContext::new(
            OtelTraceId::from_bytes(span.place.trace.bytes()),
            OtelSpanId::from_bytes(span.place.span.bytes()),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        ),
        parent_span_id: span.parent.map_or(OtelSpanId::INVALID, |id| OtelSpanId::from_bytes(id.bytes())),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: span.name.into(),
        start_time: span.began,
        end_time: span.began + span.took,
        attributes: span.attributes.into_iter().map(|(name, value)| KeyValue::new(name, value)).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("ringvault").build(),
    }
}
