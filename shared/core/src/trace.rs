//! Which trace a job is part of, as W3C's Trace Context writes it: <https://www.w3.org/TR/trace-context/>.
//!
//! A job outlives schedulers, so the ids of its spans are not kept in anybody's memory. Its own is stored with it, and
//! those of its stages follow from that by a hash: who offers a task and who tells of the stage later agree on them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A trace: 16 bytes, not all zero; 32 hexadecimal digits in small letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TraceId([u8; 16]);

/// A span of a trace: 8 bytes, not all zero; 16 hexadecimal digits in small letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId([u8; 8]);

/// It is not so many hexadecimal digits in small letters, or all of them are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an id of a trace has 32 hexadecimal digits in small letters, that of a span 16, and not all are zero"
)]
pub struct BadTraceId;

/// Reads `N` bytes of small hexadecimal digits, not all zero.
fn read_hex<const N: usize>(text: &str) -> Result<[u8; N], BadTraceId> {
    let mut bytes = [0; N];
    let is_plain = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) if is_plain && bytes != [0; N] => Ok(bytes),
        _ => Err(BadTraceId),
    }
}

macro_rules! id {
    ($name:ident, $bytes:literal) => {
        impl $name {
            /// Of its bytes; `None` of zeros, which name nothing.
            pub fn new(bytes: [u8; $bytes]) -> Option<Self> {
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }

            /// Its bytes.
            pub const fn bytes(self) -> [u8; $bytes] {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = BadTraceId;
            fn from_str(text: &str) -> Result<Self, BadTraceId> {
                read_hex(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(TraceId, 16);
id!(SpanId, 8);

impl From<TraceId> for String {
    fn from(id: TraceId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for TraceId {
    type Error = BadTraceId;
    fn try_from(text: String) -> Result<Self, BadTraceId> {
        text.parse()
    }
}

/// A place in a trace: what comes of it hangs below `span`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span in it.
    pub span: SpanId,
    /// Whether spans of this trace are kept: decided where it began, and by nobody else.
    pub sampled: bool,
}

/// It is not a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent is VERSION-TRACE-SPAN-FLAGS in small hexadecimal digits")]
pub struct BadTraceParent;

impl FromStr for TraceParent {
    type Err = BadTraceParent;

    /// Reads version 00, and of a later one what it has in common with it, as W3C asks.
    fn from_str(text: &str) -> Result<Self, BadTraceParent> {
        let mut parts = text.splitn(5, '-');
        let mut part = || parts.next().ok_or(BadTraceParent);
        let (version, trace, span, flags) = (part()?, part()?, part()?, part()?);
        let is_longer = parts.next().is_some();
        let byte = |text: &str| {
            let is_plain =
                text.len() == 2 && !text.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'+');
            u8::from_str_radix(text, 16).ok().filter(|_| is_plain).ok_or(BadTraceParent)
        };
        match byte(version)? {
            0xff => return Err(BadTraceParent),
            0 if is_longer => return Err(BadTraceParent),
            _ => {}
        }
        let (trace, span) = (trace.parse(), span.parse());
        let (Ok(trace), Ok(span)) = (trace, span) else { return Err(BadTraceParent) };
        Ok(Self { trace, span, sampled: byte(flags)? & 1 == 1 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// A job's place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobTrace {
    /// Its own span, which is told of when the job has settled.
    pub own: TraceParent,
    /// The span of who asked for it, if anybody traced that.
    pub caller: Option<SpanId>,
}

impl JobTrace {
    /// Of a job that has no span of its own, since nobody here would tell of it: what comes of it hangs on its caller's.
    pub const fn passed_on(caller: TraceParent) -> Self {
        Self { own: caller, caller: Some(caller.span) }
    }

    /// Whether the job has a span of its own.
    pub fn has_span(&self) -> bool {
        self.caller != Some(self.own.span)
    }

    /// The stage of this index: what its tasks hang on.
    pub fn stage(&self, index: usize) -> TraceParent {
        if !self.has_span() {
            return self.own;
        }
        let hash = Sha256::new()
            .chain_update(b"stage")
            .chain_update(self.own.span.bytes())
            .chain_update((index as u64).to_be_bytes())
            .finalize();
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash[..8]);
        TraceParent { span: SpanId::new(bytes).unwrap_or(self.own.span), ..self.own }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn given() -> TraceParent {
        GIVEN.parse().unwrap()
    }

    #[test]
    fn a_traceparent_is_read_and_written() {
        assert_eq!(given().to_string(), GIVEN);
        assert_eq!(given().trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(given().sampled);
        let unsampled = GIVEN.replace("-01", "-00");
        assert!(!unsampled.parse::<TraceParent>().unwrap().sampled);
        // Other flags are nobody's here, and a later version may say more.
        assert!(GIVEN.replace("-01", "-ff").parse::<TraceParent>().unwrap().sampled);
        let later = GIVEN.replacen("00", "cc", 1) + "-what-ever";
        assert_eq!(later.parse(), Ok(given()));
    }

    #[test]
    fn what_is_none_is_not_read() {
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0é-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(wrong.parse::<TraceParent>(), Err(BadTraceParent), "{wrong}");
        }
    }

    #[test]
    fn stages_have_spans_of_their_own_that_everybody_works_out_alike() {
        let job = JobTrace { own: given(), caller: None };
        let (first, second) = (job.stage(0), job.stage(1));
        assert_eq!((first.trace, first.sampled), (job.own.trace, true));
        assert!(first.span != second.span && first.span != job.own.span);
        assert_eq!(JobTrace { own: given(), caller: None }.stage(1), second);
    }

    #[test]
    fn without_a_span_of_its_own_all_hangs_on_the_caller() {
        let job = JobTrace::passed_on(given());
        assert!(!job.has_span());
        assert_eq!(job.stage(3), given());
    }
}
