//! By bytes: flips, cuts, repeats, pieces of other inputs, and numbers at their limits, of every width.

use rand::{Rng as _, RngCore as _};

use super::{cut, growth, once_in, one_of, up_to};
use crate::random::Random;

const EXTREMES: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// An input out of `seeds`.
pub(crate) fn bytes(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    if once_in(random, 50) {
        let mut noise = vec![0; up_to(random, 4096)];
        random.fill_bytes(&mut noise);
        return noise;
    }
    let mut input = one_of(random, seeds).clone();
    for _ in 0..=up_to(random, 8) {
        change(random, &mut input, seeds);
    }
    cut(input)
}

/// Changes `input` in one way.
pub(super) fn change(random: &mut Random, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    if input.is_empty() {
        input.extend_from_slice(one_of(random, seeds));
        return;
    }
    let (at, length) = (random.random_range(0..input.len()), up_to(random, input.len()));
    let end = (at + length).min(input.len());
    match random.random_range(0..9) {
        0 => input[at] ^= 1 << random.random_range(0..8),
        1 => input[at] = random.random(),
        2 => input.truncate(at),
        3 => drop(input.drain(at..end)),
        4 => {
            let piece = input[at..end].to_vec();
            let most = growth(random) / piece.len().max(1);
            let piece = piece.repeat(up_to(random, most));
            input.splice(at..at, piece);
        }
        5 => {
            let other = one_of(random, seeds);
            let from = random.random_range(0..=other.len());
            let to = (from + up_to(random, other.len())).min(other.len());
            let piece = other[from..to].to_vec();
            let end = if once_in(random, 2) { end } else { at };
            input.splice(at..end, piece);
        }
        6 => {
            let mut noise = vec![0; up_to(random, 64)];
            random.fill_bytes(&mut noise);
            input.splice(at..at, noise);
        }
        _ => overwrite(random, input, at),
    }
}

/// A seed with some of its numbers at a limit, and everything else where it was.
pub(super) fn overwritten(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = one_of(random, seeds).clone();
    for _ in 0..=up_to(random, 4) {
        let at = random.random_range(0..input.len().max(1));
        overwrite(random, &mut input, at);
    }
    input
}

fn overwrite(random: &mut Random, input: &mut [u8], at: usize) {
    let width = *one_of(random, &[1_usize, 2, 4, 8]);
    let near = random.random_range(0..3_u64).wrapping_sub(1);
    let number = if once_in(random, 4) { input.len() as u64 } else { *one_of(random, &EXTREMES) };
    let number = number.wrapping_add(near).to_be_bytes();
    for (place, byte) in input.iter_mut().skip(at).zip(&number[8 - width..]) {
        *place = *byte;
    }
}
