//! Tokens of the Murmur3 partitioner and ranges of them.
//!
//! A range is `(start, end]`, as in Cassandra (`org.apache.cassandra.dht.Range`); it may wrap, and
//! `start == end` is the whole ring.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Murmur3 token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Token(pub i64);

/// Tokens after `start`, up to and including `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct TokenRange {
    /// Exclusive.
    pub start: Token,
    /// Inclusive.
    pub end: Token,
}

impl TokenRange {
    /// The range `(start, end]`.
    pub const fn new(start: Token, end: Token) -> Self {
        Self { start, end }
    }

    /// The whole ring.
    pub const fn full() -> Self {
        Self::new(Token(i64::MIN), Token(i64::MIN))
    }

    /// Whether `token` lies in the range.
    pub fn contains(&self, token: Token) -> bool {
        if self.start < self.end {
            self.start < token && token <= self.end
        } else {
            token > self.start || token <= self.end
        }
    }

    /// Whether any token of the closed span `first..=last` (an SSTable's, which never wraps) lies
    /// in the range.
    pub fn meets_span(&self, first: Token, last: Token) -> bool {
        debug_assert!(first <= last, "an SSTable's span never wraps");
        if self.start < self.end {
            first <= self.end && last > self.start
        } else {
            last > self.start || first <= self.end
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: i64, end: i64) -> TokenRange {
        TokenRange::new(Token(start), Token(end))
    }

    #[test]
    fn start_is_out_and_end_is_in() {
        assert!(!range(1, 5).contains(Token(1)));
        assert!(range(1, 5).contains(Token(5)));
        assert!(range(5, 1).contains(Token(1)) && range(5, 1).contains(Token(i64::MAX)));
        assert!(!range(5, 1).contains(Token(5)));
        assert!(range(3, 3).contains(Token(3)), "start == end is the whole ring");
    }

    proptest! {
        #[test]
        fn a_span_meets_a_range_when_one_of_its_tokens_is_in_it(
            start in -20i64..20, end in -20i64..20, first in -20i64..20, len in 0i64..20,
        ) {
            let range = range(start, end);
            let by_hand = (first..=first + len).any(|token| range.contains(Token(token)));
            prop_assert_eq!(range.meets_span(Token(first), Token(first + len)), by_hand);
        }
    }
}
