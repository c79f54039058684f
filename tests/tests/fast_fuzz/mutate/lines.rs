//! Line by line: each a JSON document, plain or compressed.

use rand::Rng as _;

use super::{bytes, cut, json, once_in, one_of, up_to};
use crate::random::Random;

/// An input out of `seeds`, which are JSON lines.
pub(crate) fn lines(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    if once_in(random, 10) {
        return bytes::bytes(random, seeds);
    }
    let mut lines: Vec<Vec<u8>> =
        one_of(random, seeds).split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let all = lines.clone();
    for _ in 0..=up_to(random, 3) {
        if lines.is_empty() {
            break;
        }
        let at = random.random_range(0..lines.len());
        match random.random_range(0..8) {
            0 => drop(lines.remove(at)),
            1 => {
                let copies = vec![lines[at].clone(); up_to(random, 64)];
                lines.splice(at..at, copies);
            }
            2 => {
                let other = random.random_range(0..lines.len());
                lines.swap(at, other);
            }
            _ => {
                let seeds = if once_in(random, 4) { &all[..] } else { &lines[at..=at] };
                let mut line = json::json(random, seeds);
                line.push(b'\n');
                lines[at] = line;
            }
        }
    }
    cut(lines.concat())
}

/// As [`lines`], compressed.
pub(crate) fn packed_lines(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let plain = lines(random, seeds);
    packed(random, &plain)
}

/// One JSON document, compressed.
pub(crate) fn packed_json(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let plain = json::json(random, seeds);
    packed(random, &plain)
}

fn packed(random: &mut Random, plain: &[u8]) -> Vec<u8> {
    let mut packed = zstd::encode_all(plain, 1).expect("compressed in memory");
    if once_in(random, 6) {
        let own = [packed.clone()];
        bytes::change(random, &mut packed, &own);
    }
    packed
}
