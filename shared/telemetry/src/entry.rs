//! Where a trace comes into this program: what a span is in OpenTelemetry's words beside its fields.
//!
//! Log lines have all fields of a span, and no use for these; so they are set past `tracing`, as attributes that the
//! sampler reads and [`dress`] takes off again.

use opentelemetry::{KeyValue, Value, trace::SpanKind};
use opentelemetry_sdk::trace::SpanData;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const KIND: &str = "ringvault.kind";
const NAME: &str = "ringvault.name";

/// How something comes in from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A request over HTTP, whose asker waits for the answer.
    Request,
    /// A message, whose sender does not.
    Message,
}

impl Entry {
    const ALL: [Self; 2] = [Self::Request, Self::Message];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Message => "message",
        }
    }

    const fn kind(self) -> SpanKind {
        match self {
            Self::Request => SpanKind::Server,
            Self::Message => SpanKind::Consumer,
        }
    }

    /// The entry that these attributes tell of.
    pub(crate) fn of(attributes: &[KeyValue]) -> Option<Self> {
        let said = attributes.iter().find(|attribute| attribute.key.as_str() == KIND)?;
        Self::ALL.into_iter().find(|entry| said.value.as_str() == entry.as_str())
    }
}

/// Says of a span that has not begun what it is, and what it is called.
pub(crate) fn mark(span: &Span, entry: Entry, name: String) {
    span.set_attribute(KIND, entry.as_str());
    span.set_attribute(NAME, name);
}

/// Has a span be what was said of it.
pub(crate) fn dress(span: &mut SpanData) {
    let Some(entry) = Entry::of(&span.attributes) else { return };
    span.span_kind = entry.kind();
    let mut kept = Vec::with_capacity(span.attributes.len());
    for attribute in span.attributes.drain(..) {
        match (attribute.key.as_str(), attribute.value) {
            (KIND, _) => {}
            (NAME, Value::String(name)) => span.name = name.as_str().to_owned().into(),
            (_, value) => kept.push(KeyValue::new(attribute.key, value)),
        }
    }
    span.attributes = kept;
}
