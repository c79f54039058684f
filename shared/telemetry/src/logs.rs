//! Log lines on standard error, and beside them the layer that makes spans of traces.

use std::io::IsTerminal as _;

use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Metadata, Subscriber, subscriber::Interest};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, dynamic_filter_fn},
    fmt,
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

/// How log lines are written.
#[derive(Debug, Clone, Copy)]
pub struct LogFormat {
    /// What is logged where `RUST_LOG` does not say it, such as `info,lapin=off`.
    pub filter: &'static str,
    /// As JSON lines; with `flat` the fields of an event stand beside its time, not in a `fields` of their own.
    pub json: bool,
    /// See `json`.
    pub flat: bool,
    /// Whether text has the name of the module.
    pub target: bool,
}

/// Only what this project opens: libraries have spans by the thousand.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("ringvault")
}

/// Asked anew for each span. Were the answer kept with the place in the code, as that of the log lines is, a span that both
/// want would be seen as its thread's last question was answered, and `sqlx` asks whether it may log without then doing so.
fn asked_each_time(metadata: &'static Metadata<'static>) -> Interest {
    if is_ours(metadata) { Interest::sometimes() } else { Interest::never() }
}

pub(crate) fn init(format: LogFormat, tracer: Option<SdkTracer>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format.filter));
    let Some(tracer) = tracer else {
        return tracing_subscriber::registry().with(filter).with(lines(format)).init();
    };
    let ours = dynamic_filter_fn(|metadata, _| is_ours(metadata))
        .with_callsite_filter(asked_each_time)
        .with_max_level_hint(LevelFilter::DEBUG);
    let traces = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(ours);
    tracing_subscriber::registry().with(lines(format).with_filter(filter)).with(traces).init();
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    if format.json {
        lines.json().flatten_event(format.flat).boxed()
    } else {
        lines.with_target(format.target).boxed()
    }
}
