//! Log lines on standard error, and beside them the layer that makes spans of traces.

use std::io::IsTerminal as _;

use opentelemetry_sdk::trace::SdkTracer;
use tracing::Metadata;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{LevelFilter, filter_fn},
    fmt,
    layer::SubscriberExt as _,
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

pub(crate) fn init(format: LogFormat, tracer: Option<SdkTracer>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format.filter));
    let traces = tracer.map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(is_ours).with_max_level_hint(LevelFilter::DEBUG))
    });
    tracing_subscriber::registry().with(lines(format).with_filter(filter)).with(traces).init();
}

fn lines(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    if format.json {
        lines.json().flatten_event(format.flat).boxed()
    } else {
        lines.with_target(format.target).boxed()
    }
}
