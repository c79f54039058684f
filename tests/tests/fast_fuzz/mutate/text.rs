//! By the words of a text: TOML, CQL, what nodetool prints, names, schedules.

use rand::Rng as _;

use super::{bytes, cut, growth, once_in, one_of, up_to, words::word};
use crate::random::Random;

/// An input out of `seeds`.
pub(crate) fn text(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    if once_in(random, 10) {
        return bytes::bytes(random, seeds);
    }
    let seed = String::from_utf8_lossy(one_of(random, seeds)).into_owned();
    let mut tokens = tokens_of(&seed);
    for _ in 0..=up_to(random, 8) {
        change(random, &mut tokens, seeds);
    }
    let mut input = tokens.concat().into_bytes();
    if once_in(random, 8) {
        bytes::change(random, &mut input, seeds);
    }
    cut(input)
}

fn change(random: &mut Random, tokens: &mut Vec<String>, seeds: &[Vec<u8>]) {
    if tokens.is_empty() {
        tokens.push(word(random));
        return;
    }
    let at = random.random_range(0..tokens.len());
    let end = (at + 1 + up_to(random, tokens.len())).min(tokens.len());
    match random.random_range(0..7) {
        0 => drop(tokens.drain(at..end)),
        1 => {
            let piece = tokens[at..end].concat();
            let most = growth(random) / piece.len().max(1);
            tokens.insert(at, piece.repeat(up_to(random, most)));
        }
        2 => {
            let other = String::from_utf8_lossy(one_of(random, seeds)).into_owned();
            let other = tokens_of(&other);
            let from = up_to(random, other.len());
            let piece: Vec<String> = other.into_iter().skip(from).take(up_to(random, 16)).collect();
            tokens.splice(at..at, piece);
        }
        3 => {
            let other = random.random_range(0..tokens.len());
            tokens.swap(at, other);
        }
        4 => tokens.insert(at, word(random)),
        _ => tokens[at] = word(random),
    }
}

/// Runs of letters and digits, runs of blanks, and everything else by itself.
fn tokens_of(text: &str) -> Vec<String> {
    let class = |c: char| if c.is_alphanumeric() || c == '_' { 1 } else { 2 * u8::from(c == ' ') };
    let mut tokens: Vec<String> = Vec::new();
    let mut last = 0;
    for c in text.chars() {
        match tokens.last_mut() {
            Some(token) if last != 0 && class(c) == last => token.push(c),
            _ => tokens.push(c.to_string()),
        }
        last = class(c);
    }
    tokens
}
