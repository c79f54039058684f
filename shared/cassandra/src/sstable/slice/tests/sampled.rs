//! Slices by parts of an Index.db, beside those by the whole.

use proptest::prelude::*;
use ringvault_core::cluster::TokenSet;

use super::{
    super::*,
    Asked, Files, cut, cut_by, file,
    made::{self, Kind, Made, Shape},
    murmur3_token, ranges, set,
};

fn cut_in_parts(made: &Made, summary: &[u8], index: &Asked, wanted: &TokenSet) -> Result<(Sliced, Files)> {
    let data = Asked::new(made.data.clone());
    let index = PartitionIndex::Sampled { summary: file(summary), index, kept: file(&[]) };
    cut_by(made, index, &data, wanted)
}

/// That a slice by parts is the one by the whole, but for what was fetched.
fn is_the_same(found: &(Sliced, Files), whole: &(Sliced, Files)) -> std::result::Result<(), TestCaseError> {
    prop_assert_eq!(found.0.partitions, whole.0.partitions);
    prop_assert_eq!(found.0.digest, whole.0.digest);
    let files = |files: &Files| [&files.data, &files.index, &files.chunks].map(|file| file.get_ref().clone());
    prop_assert!(files(&found.1) == files(&whole.1), "other bytes");
    Ok(())
}

/// An SSTable with an Index.db of which some keys are so long that parts of it lie far from each other.
fn any_big() -> impl Strategy<Value = Shape> {
    (made::any_shape(), any::<bool>(), prop::sample::select(vec![0_usize, 40, 900, 3000])).prop_map(
        |(mut shape, has_promoted, length)| {
            shape.kind = Kind::Big;
            shape.has_promoted = has_promoted;
            for (n, (key, _)) in shape.keys.iter_mut().enumerate() {
                key.resize(key.len() + length * (n % 3), 7);
            }
            shape
        },
    )
}

/// The interval of a summary, and one of how many entries is left out.
fn any_sampling() -> impl Strategy<Value = (u32, usize)> {
    (1_u32..6, prop::sample::select(vec![usize::MAX, 2, 3, 5]))
}

fn summary(made: &Made, (interval, left_out): (u32, usize)) -> Vec<u8> {
    made::summary(&made.index, interval, |n| n.is_multiple_of(left_out))
}

proptest! {
    /// Whatever partitions, tokens and samples: the same slice, byte for byte.
    #[test]
    fn parts_of_an_index_give_the_slice_that_the_whole_gives(
        shape in any_big(),
        sampling in any_sampling(),
        is_checked: bool,
        cuts in proptest::collection::vec(any::<i64>(), 0..12),
        owner in proptest::collection::vec((any::<u8>(), any::<u8>()), 1..5),
    ) {
        let made = Made::of(&shape);
        let wanted = ranges(&made, &cuts, &owner);
        let whole = cut(&made, &Asked::new(made.data.clone()), &wanted).unwrap();
        let index = Asked { is_checked, ..Asked::new(made.index.clone()) };
        match cut_in_parts(&made, &summary(&made, sampling), &index, &wanted) {
            Ok(found) => {
                is_the_same(&found, &whole)?;
                let asked = index.ranges.borrow();
                let bytes = asked.iter().map(|range| range.end - range.start).sum();
                prop_assert_eq!(found.0.index, Fetched { bytes, requests: asked.len() as u64 });
                prop_assert!(bytes <= made.index.len() as u64);
            }
            Err(SliceError::Unverifiable) => prop_assert!(shape.has_promoted && !is_checked),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    }

    /// A damaged summary: the slice that the whole index gives, or an error that sends for that.
    #[test]
    fn a_damaged_summary_hides_no_partition(
        shape in any_big(),
        sampling in any_sampling(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut_to in proptest::option::of(any::<prop::sample::Index>()),
        start: i64,
        length: i64,
    ) {
        let made = Made::of(&shape);
        let wanted = set(&[(start, start.wrapping_add(length))]);
        let whole = cut(&made, &Asked::new(made.data.clone()), &wanted).unwrap();
        let mut summary = summary(&made, sampling);
        for (at, value) in changes {
            let at = at.index(summary.len());
            summary[at] = value;
        }
        if let Some(at) = cut_to {
            summary.truncate(at.index(summary.len()));
        }
        let index = Asked { is_checked: true, ..Asked::new(made.index.clone()) };
        match cut_in_parts(&made, &summary, &index, &wanted) {
            Ok(found) => is_the_same(&found, &whole)?,
            Err(SliceError::Parts(_) | SliceError::Damaged { .. }) => {}
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    }

    /// Likewise the summary of another SSTable.
    #[test]
    fn another_summary_hides_no_partition(
        shape in any_big(), other in any_big(), sampling in any_sampling(), start: i64, length: i64,
    ) {
        let made = Made::of(&shape);
        let wanted = set(&[(start, start.wrapping_add(length))]);
        let whole = cut(&made, &Asked::new(made.data.clone()), &wanted).unwrap();
        let index = Asked { is_checked: true, ..Asked::new(made.index.clone()) };
        match cut_in_parts(&made, &summary(&Made::of(&other), sampling), &index, &wanted) {
            Ok(found) => is_the_same(&found, &whole)?,
            Err(SliceError::Parts(_) | SliceError::Damaged { .. }) => {}
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    }

    /// A changed bit of an index whose parts nothing vouches for gives an error or the same slice.
    #[test]
    fn a_changed_bit_of_an_index_is_found_or_does_not_matter(
        shape in any_big(),
        sampling in any_sampling(),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
        start: i64,
        length: i64,
    ) {
        let made = Made::of(&Shape { has_promoted: false, ..shape });
        let wanted = set(&[(start, start.wrapping_add(length))]);
        let whole = cut(&made, &Asked::new(made.data.clone()), &wanted).unwrap();
        let mut index = made.index.clone();
        let at = at.index(index.len());
        index[at] ^= 1 << bit;
        match cut_in_parts(&made, &summary(&made, sampling), &Asked::new(index), &wanted) {
            Ok(found) => is_the_same(&found, &whole)?,
            Err(SliceError::Parts(_) | SliceError::Damaged { .. } | SliceError::Unverifiable) => {}
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    }
}

fn large(has_promoted: bool) -> Made {
    Made::of(&Shape {
        kind: Kind::Big,
        compressor: Some("NoopCompressor"),
        chunk: 4 << 10,
        max: i32::MAX,
        keys: (0_u128..40_000).map(|n| (n.to_be_bytes().to_vec(), 20)).collect(),
        has_promoted,
        seed: 3,
    })
}

#[test]
fn only_what_is_needed_of_an_index_is_asked_for() {
    let made = large(false);
    let token = |n: usize| murmur3_token(&made.partitions[n].0).0;
    // Two runs far from each other, and one close behind the second.
    let wanted =
        set(&[(token(5_000), token(6_000)), (token(30_000), token(30_500)), (token(30_800), token(31_000))]);
    let index = Asked::new(made.index.clone());
    let (sliced, _) =
        cut_in_parts(&made, &made::summary(&made.index, 128, |_| false), &index, &wanted).unwrap();
    assert_eq!((sliced.partitions, sliced.index.requests), (1_700, 2));
    let entry = made.index.len() as u64 / 40_000;
    let (least, bytes) = (2_000 * entry, sliced.index.bytes);
    // At either end of either part not more than an interval.
    assert!(bytes >= least && bytes < least + 4 * 130 * (entry + 1), "{bytes}, not {least}");
    let far = index.ranges.borrow().iter().all(|range| range.start > 4_700 * entry);
    assert!(far, "not even the beginning");
}

#[test]
fn one_token_behind_the_last_partition_is_looked_for_in_the_last_part_alone() {
    let made = large(false);
    let last = murmur3_token(&made.partitions[39_999].0).0;
    let index = Asked::new(made.index.clone());
    let summary = made::summary(&made.index, 128, |_| false);
    let (sliced, _) = cut_in_parts(&made, &summary, &index, &set(&[(last, i64::MAX)])).unwrap();
    assert_eq!((sliced.partitions, sliced.index.requests), (0, 1));
    assert!(sliced.index.bytes < 128 * 30, "{}", sliced.index.bytes);
    let first = murmur3_token(&made.partitions[0].0).0;
    let (sliced, _) = cut_in_parts(&made, &summary, &index, &set(&[(i64::MIN, first - 1)])).unwrap();
    assert_eq!((sliced.partitions, sliced.index.requests), (0, 1));
    assert!(sliced.index.bytes < 40, "one head says so: {}", sliced.index.bytes);
}

#[test]
fn a_part_that_cannot_be_checked_is_refused() {
    let made = large(true);
    let wanted = set(&[(0, i64::MAX / 50)]);
    let summary = made::summary(&made.index, 128, |_| false);
    let cut_by = |index: &Asked| cut_in_parts(&made, &summary, index, &wanted);
    let error = cut_by(&Asked::new(made.index.clone())).unwrap_err();
    assert!(matches!(error, SliceError::Unverifiable), "{error}");
    assert!(cut_by(&Asked { is_checked: true, ..Asked::new(made.index.clone()) }).is_ok());
}
