//! The token of a partition key.
//!
//! `Murmur3Partitioner` takes the first half of `MurmurHash3_x64_128` with seed 0 in Cassandra's own
//! variant: the tail's bytes are taken as *signed* before they are shifted and combined
//! (`org.apache.cassandra.utils.MurmurHash.hash3_x64_128`), so a plain murmur3 gives other tokens for
//! keys with a tail byte of 0x80 or more. The empty key has the lowest token; a hash that is the
//! lowest token is mapped to the highest.

use ringvault_core::cluster::Token;

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// The Murmur3 token of a serialised partition key.
pub fn murmur3_token(key: &[u8]) -> Token {
    if key.is_empty() {
        return Token(i64::MIN);
    }
    match first_half(key).cast_signed() {
        i64::MIN => Token(i64::MAX),
        hash => Token(hash),
    }
}

fn first_half(key: &[u8]) -> u64 {
    let (mut h1, mut h2) = (0_u64, 0_u64);
    let (blocks, tail) = key.as_chunks::<16>();
    for block in blocks {
        let (low, high) = block.split_at(8);
        h1 ^= mix_k1(little_endian(low));
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix_k2(little_endian(high));
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let (low, high) = tail.split_at(tail.len().min(8));
    if !high.is_empty() {
        h2 ^= mix_k2(signed_tail(high));
    }
    if !low.is_empty() {
        h1 ^= mix_k1(signed_tail(low));
    }
    let length = key.len() as u64;
    h1 ^= length;
    h2 ^= length;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finish(h1);
    h2 = finish(h2);
    h1.wrapping_add(h2)
}

fn mix_k1(k1: u64) -> u64 {
    k1.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mix_k2(k2: u64) -> u64 {
    k2.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finish(mut k: u64) -> u64 {
    k ^= k >> 33;
    k = k.wrapping_mul(0xff51_afd7_ed55_8ccd);
    k ^= k >> 33;
    k = k.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Up to eight bytes, each sign-extended, shifted to its place and combined by exclusive or.
fn signed_tail(bytes: &[u8]) -> u64 {
    bytes.iter().enumerate().fold(0, |value, (place, byte)| {
        value ^ (i64::from(byte.cast_signed()).cast_unsigned() << (8 * place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SELECT token(k)` of Cassandra 5.0.4 over a `blob` key.
    #[test]
    fn tokens_are_the_servers() {
        for (key, token) in include!("token_vectors.in") {
            let key = hex::decode(key).unwrap();
            assert_eq!(murmur3_token(&key), Token(token), "key {key:02x?}");
        }
    }

    #[test]
    fn the_empty_key_has_the_lowest_token() {
        assert_eq!(murmur3_token(b""), Token(i64::MIN));
    }
}
