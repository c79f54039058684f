//! What schedulers and workers tell of themselves while they work: log lines, and traces for OpenTelemetry.
//!
//! Both are made of `tracing`'s spans and events, so the other crates open spans and know nothing of who collects
//! them. Log lines go to standard error. Spans go over OTLP (HTTP, protobuf) to a collector, if one is configured;
//! without it they are log lines' fields and nothing else, and those that are no log line's are not even made.
//!
//! Work never waits for a trace: a span that has ended is put into a queue of fixed length, and where that has no room
//! the span is lost and counted (`outlet`). Whether a trace is kept is decided once, where it begins (`sampling`).

mod collector;
mod config;
mod entry;
mod logs;
mod outlet;
mod sampling;
mod spans;

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};

pub use config::{TelemetryConfig, TelemetryProblem};
pub use entry::Entry;
pub use logs::LogFormat;
pub use spans::{Finished, begin_job, current, enters, fails, is_exporting, lost_spans, renew, tell};

use collector::Collector;
use outlet::Outlet;
use sampling::Sampling;

/// The program that tells of itself.
#[derive(Debug, Clone)]
pub struct Program {
    /// Such as `ringvault-scheduler`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Which of several: a scheduler's id, a worker's.
    pub instance: String,
}

/// What was set up. To be [finished](Self::finish) before the program ends, or the last spans are lost.
#[derive(Debug)]
#[must_use]
pub struct Telemetry(Option<Outlet>);

/// Sets up log lines and, where a collector is configured, the export of traces. Once per process, within a runtime.
///
/// # Errors
/// What is wrong with the configuration, by its setting; nothing was set up then.
pub fn start(
    program: &Program,
    config: Option<&TelemetryConfig>,
    logs: LogFormat,
) -> Result<Telemetry, TelemetryProblem> {
    let config = config.cloned().unwrap_or_default();
    let Some(endpoint) = config.endpoint()? else {
        logs::init(logs, None::<opentelemetry_sdk::trace::SdkTracer>);
        return Ok(Telemetry(None));
    };
    let resource = Resource::builder()
        .with_service_name(program.name)
        .with_attribute(KeyValue::new("service.version", program.version))
        .with_attribute(KeyValue::new("service.instance.id", program.instance.clone()))
        .build();
    let collector = Collector::open(endpoint, &config, &resource)?;
    let sampling = Sampling::of(config.sample_ratio);
    let outlet = Outlet::open(collector);
    let provider = SdkTracerProvider::builder()
        .with_span_processor(outlet.clone())
        .with_sampler(sampling.for_spans())
        .with_resource(resource)
        .build();
    logs::init(logs, Some(provider.tracer("ringvault")));
    spans::export_through(outlet.clone(), sampling);
    Ok(Telemetry(Some(outlet)))
}

impl Telemetry {
    /// Sends what has not been sent, for a few seconds at most.
    pub async fn finish(self) {
        if let Some(outlet) = self.0 {
            outlet.drain().await;
        }
    }
}
