//! Inputs out of real ones: by bytes, by the words of a text, by the structure of JSON, line by line, and
//! in the form of an `SSTable`'s statistics. A few are noise from end to end.

mod bytes;
mod json;
mod lines;
mod sstable;
mod text;
mod words;

use rand::Rng as _;

use crate::random::Random;

pub(crate) use bytes::bytes;
pub(crate) use json::json;
pub(crate) use lines::{lines, packed_json, packed_lines};
pub(crate) use sstable::statistics;
pub(crate) use text::text;

/// Longest input that is made, in bytes.
const LONGEST: usize = 256 << 10;

/// One of them.
fn one_of<'a, T: ?Sized + AsRef<[I]>, I>(random: &mut Random, all: &'a T) -> &'a I {
    let all = all.as_ref();
    &all[random.random_range(0..all.len())]
}

/// Yes, once in `often`.
fn once_in(random: &mut Random, often: u32) -> bool {
    random.random_ratio(1, often)
}

/// A number up to `most`, small ones more often.
fn up_to(random: &mut Random, most: usize) -> usize {
    let bits = most.checked_ilog2().map_or(0, |bits| bits + 1);
    let width = random.random_range(0..=bits);
    random.random_range(0..=(1_usize << width) - 1).min(most)
}

/// How far a piece is to grow. Mostly not far: small inputs are tried sooner.
fn growth(random: &mut Random) -> usize {
    if once_in(random, 24) { LONGEST } else { 2 << 10 }
}

fn cut(mut input: Vec<u8>) -> Vec<u8> {
    input.truncate(LONGEST);
    input
}
