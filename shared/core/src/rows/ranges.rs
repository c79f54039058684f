//! The ranges that digests are kept by, and who reads which.

use std::collections::BTreeMap;

use crate::{
    HostId,
    cluster::{Token, TokenRange},
};

/// Ranges of equal size that the tokens are cut into, whatever the ring. Part of what a digest means: two of
/// another number could not be compared.
pub const RANGES: u16 = 64;

/// Tokens in each.
const SPAN: i128 = (1 << 64) / RANGES as i128;

/// The range at `index`, which is less than [`RANGES`]. The first begins after the lowest token, which no key has
/// (Cassandra maps it to the highest), so none of them wraps.
pub fn rows_range(index: u16) -> TokenRange {
    let bound = |index: u16| {
        let token = i128::from(i64::MIN) + SPAN * i128::from(index.min(RANGES));
        Token(i64::try_from(token).unwrap_or(i64::MAX))
    };
    TokenRange::new(bound(index), bound(index.saturating_add(1)))
}

/// Deals the ranges out to nodes: each range to one of them, and no node two more than another. In a ring of more
/// nodes than ranges some get none, and are left out.
pub fn deal(nodes: impl IntoIterator<Item = HostId>) -> BTreeMap<HostId, Vec<u16>> {
    let mut dealt: BTreeMap<HostId, Vec<u16>> = nodes.into_iter().map(|node| (node, Vec::new())).collect();
    let takers = dealt.len();
    if takers == 0 {
        return dealt;
    }
    for (place, ranges) in dealt.values_mut().enumerate() {
        ranges.extend((0..RANGES).skip(place).step_by(takers));
    }
    dealt.retain(|_, ranges| !ranges.is_empty());
    dealt
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_ranges_follow_each_other_from_end_to_end() {
        assert_eq!(rows_range(0).start, Token(i64::MIN));
        assert_eq!(rows_range(RANGES - 1).end, Token(i64::MAX));
        for index in 1..RANGES {
            assert_eq!(rows_range(index - 1).end, rows_range(index).start, "{index}");
            assert!(rows_range(index).start < rows_range(index).end, "{index}");
        }
        assert_eq!(rows_range(0).end, Token(i64::MIN + (1 << 58)));
    }

    proptest! {
        /// Together the nodes read every range exactly once, and none of them much more than another.
        #[test]
        fn every_range_is_somebody_s_and_nobody_else_s(nodes in proptest::collection::vec(any::<u128>(), 0..150)) {
            let dealt = deal(nodes.iter().map(|id| HostId(Uuid::from_u128(*id))));
            let mut all: Vec<u16> = dealt.values().flatten().copied().collect();
            all.sort_unstable();
            let every: Vec<u16> = if nodes.is_empty() { Vec::new() } else { (0..RANGES).collect() };
            prop_assert_eq!(all, every);
            let counts = dealt.values().map(Vec::len);
            prop_assert!(counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0) <= 1);
        }

        /// Every token but the lowest, which no key has, lies in one range.
        #[test]
        fn a_token_lies_in_one_range(token in (i64::MIN + 1)..=i64::MAX) {
            let held = (0..RANGES).filter(|index| rows_range(*index).contains(Token(token)));
            prop_assert_eq!(held.count(), 1);
        }
    }
}
