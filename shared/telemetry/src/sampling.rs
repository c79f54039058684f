//! Which traces are kept: decided where one begins, and followed by everybody after that.
//!
//! A trace begins with what comes from outside (a request, a task whose offer has no trace), never with what a program
//! does by itself: a leader that looks into the vault every few seconds would else fill the collector with traces of
//! one span each.

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceId},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::Entry;

/// Keeps a share of the traces that begin here.
#[derive(Debug, Clone)]
pub(crate) struct Sampling {
    ratio: Sampler,
}

impl Sampling {
    /// `ratio`: from 0 to 1.
    pub(crate) const fn of(ratio: f64) -> Self {
        Self { ratio: Sampler::TraceIdRatioBased(ratio) }
    }

    /// For spans: those of a trace that came from elsewhere are kept as that says.
    pub(crate) fn for_spans(&self) -> Sampler {
        Sampler::ParentBased(Box::new(self.clone()))
    }

    /// Whether a trace of this id that begins here is kept.
    pub(crate) fn keeps(&self, trace: TraceId) -> bool {
        let result = self.ratio.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }
}

impl ShouldSample for Sampling {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let sampler = if Entry::of(attributes).is_some() { &self.ratio } else { &Sampler::AlwaysOff };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(sampling: &Sampling, attributes: &[KeyValue]) -> bool {
        let trace = TraceId::from_bytes([7; 16]);
        let kind = SpanKind::Internal;
        let result = sampling.for_spans().should_sample(None, trace, "x", &kind, attributes, &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn a_trace_begins_with_what_comes_from_outside() {
        let entry = [KeyValue::new("ringvault.kind", "request")];
        assert!(begins(&Sampling::of(1.0), &entry));
        assert!(!begins(&Sampling::of(1.0), &[]));
        assert!(!begins(&Sampling::of(0.0), &entry));
    }

    #[test]
    fn a_share_of_traces_is_kept_and_the_same_everywhere() {
        let half = Sampling::of(0.5);
        let ids: Vec<TraceId> = (1..=1000_u64)
            .map(|n| {
                let spread = u128::from(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                TraceId::from(spread << 64 | spread)
            })
            .collect();
        let kept = ids.iter().filter(|id| half.keeps(**id)).count();
        assert!((400..600).contains(&kept), "{kept}");
        assert!(ids.iter().all(|id| half.keeps(*id) == Sampling::of(0.5).keeps(*id)));
    }
}
