//! The tokens a node owns, as a set that can be asked quickly.
//!
//! Ranges of a ring touch each other and wrap; the set holds the same tokens as ascending intervals
//! with gaps between them. So two sets of the same tokens are equal, however the rings cut them, and
//! a question costs the logarithm of the number of intervals.

use std::collections::BTreeMap;

use super::{Token, TokenRange};
use crate::HostId;

/// A set of tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenSet {
    /// First token and last, both in it; ascending, with a gap between each and the next.
    intervals: Vec<(i64, i64)>,
}

impl TokenSet {
    /// Every token.
    pub fn full() -> Self {
        Self { intervals: vec![(i64::MIN, i64::MAX)] }
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// Whether it holds `token`.
    pub fn contains(&self, token: Token) -> bool {
        self.covers(token, token)
    }

    /// Whether it holds any token of the closed span `first..=last`.
    pub fn meets(&self, first: Token, last: Token) -> bool {
        self.at(first).is_some_and(|(start, _)| start <= last.0)
    }

    /// Whether it holds every token of the closed span `first..=last`.
    pub fn covers(&self, first: Token, last: Token) -> bool {
        self.at(first).is_some_and(|(start, end)| start <= first.0 && last.0 <= end)
    }

    /// How much of the closed span `first..=last` it holds: the part of the tokens, 0 to 1, and in
    /// how many intervals.
    pub fn part_of(&self, first: Token, last: Token) -> (f64, usize) {
        let begin = self.intervals.partition_point(|(_, end)| *end < first.0);
        let inside = self.intervals[begin..].iter().take_while(|(start, _)| *start <= last.0);
        let tokens = |start: i64, end: i64| i128::from(end) - i128::from(start) + 1;
        let (held, count) = inside.fold((0, 0), |(held, count), (start, end)| {
            (held + tokens((*start).max(first.0), (*end).min(last.0)), count + 1)
        });
        // Both are below 2^65, and a part of a part in 2^53 does not matter.
        #[expect(clippy::cast_precision_loss)]
        let part = held as f64 / tokens(first.0, last.0) as f64;
        (part, count)
    }

    /// Its tokens as ascending closed intervals with gaps between them.
    pub fn intervals(&self) -> impl Iterator<Item = (Token, Token)> + '_ {
        self.intervals.iter().map(|(start, end)| (Token(*start), Token(*end)))
    }

    /// The first interval that ends at `token` or later.
    fn at(&self, token: Token) -> Option<(i64, i64)> {
        let place = self.intervals.partition_point(|(_, end)| *end < token.0);
        self.intervals.get(place).copied()
    }
}

impl FromIterator<TokenRange> for TokenSet {
    fn from_iter<I: IntoIterator<Item = TokenRange>>(ranges: I) -> Self {
        let mut cut: Vec<(i64, i64)> = Vec::new();
        for TokenRange { start: Token(start), end: Token(end) } in ranges {
            if start < end {
                cut.push((start + 1, end));
                continue;
            }
            cut.push((i64::MIN, end));
            if let Some(after) = start.checked_add(1) {
                cut.push((after, i64::MAX));
            }
        }
        cut.sort_unstable();
        let mut intervals: Vec<(i64, i64)> = Vec::new();
        for (start, end) in cut {
            match intervals.last_mut() {
                Some((_, last)) if start <= last.saturating_add(1) => *last = (*last).max(end),
                _ => intervals.push((start, end)),
            }
        }
        Self { intervals }
    }
}

/// What each node owns of one keyspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    pub(super) nodes: BTreeMap<HostId, TokenSet>,
}

impl Ownership {
    /// What `host` owns; `None` if it is no member.
    pub fn of(&self, host: HostId) -> Option<&TokenSet> {
        self.nodes.get(&host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(ranges: &[(i64, i64)]) -> TokenSet {
        ranges.iter().map(|(start, end)| TokenRange::new(Token(*start), Token(*end))).collect()
    }

    #[test]
    fn the_same_tokens_are_the_same_set_however_they_are_cut() {
        assert_eq!(set(&[(0, 10), (10, 20)]), set(&[(0, 20)]));
        assert_eq!(set(&[(20, 0), (0, 10)]), set(&[(20, 10)]));
        assert_eq!(set(&[(5, 5)]), TokenSet::full());
        assert_eq!(set(&[(i64::MAX, 3)]), set(&[(i64::MAX, 1), (1, 3)]));
        assert!(set(&[]).is_empty() && !set(&[(1, 2)]).is_empty());
        assert_ne!(set(&[(0, 10)]), set(&[(0, 11)]));
    }

    proptest! {
        #[test]
        fn questions_are_answered_as_by_the_ranges(
            ranges in proptest::collection::vec((-20_i64..20, -20_i64..20), 0..6),
            first in -25_i64..25, len in 0_i64..20,
        ) {
            let set = set(&ranges);
            let by_hand = |token: i64| {
                ranges.iter().any(|(start, end)| {
                    TokenRange::new(Token(*start), Token(*end)).contains(Token(token))
                })
            };
            let (from, to) = (Token(first), Token(first + len));
            prop_assert_eq!(set.contains(from), by_hand(first));
            prop_assert_eq!(set.meets(from, to), (first..=first + len).any(by_hand));
            prop_assert_eq!(set.covers(from, to), (first..=first + len).all(by_hand));
            let (part, intervals) = set.part_of(from, to);
            let held = u32::try_from((first..=first + len).filter(|token| by_hand(*token)).count()).unwrap();
            let all = f64::from(u32::try_from(len + 1).unwrap());
            prop_assert!((part - f64::from(held) / all).abs() < 1e-9);
            prop_assert_eq!(intervals > 0, held > 0);
            let listed = set.intervals().filter(|(start, end)| *start <= to && *end >= from);
            prop_assert_eq!(listed.count(), intervals);
        }
    }
}
