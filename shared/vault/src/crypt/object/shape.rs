//! Where plain bytes lie in a sealed object. Pure arithmetic, from the length of the content alone.
//!
//! The object is cut into blocks of 64 KiB as it is stored; each block ends with its tag, and the first begins
//! with the header. So a part of an upload that is a whole number of blocks begins at a block.

use std::ops::Range;

/// Bytes of a block as it is stored; the last may be shorter.
pub(crate) const BLOCK: u64 = 64 << 10;
/// Bytes of the header.
pub(super) const HEADER_LEN: usize = 88;
const HEADER: u64 = HEADER_LEN as u64;
/// Bytes of a tag.
pub(super) const TAG: u64 = 16;
/// Plain bytes in the first block.
const FIRST: u64 = BLOCK - HEADER - TAG;
/// Plain bytes in any other.
const OTHER: u64 = BLOCK - TAG;

/// How many blocks a content of `len` bytes has: an empty one has one, whose tag vouches for it.
pub(super) const fn blocks(len: u64) -> u64 {
    1 + len.saturating_sub(FIRST).div_ceil(OTHER)
}

/// Bytes of the sealed object of a content of `len` bytes.
pub(crate) const fn stored_size(len: u64) -> u64 {
    len.saturating_add(HEADER).saturating_add(blocks(len).saturating_mul(TAG))
}

/// The block that the plain byte at `offset` lies in.
pub(super) const fn block_of(offset: u64) -> u64 {
    if offset < FIRST { 0 } else { 1 + (offset - FIRST) / OTHER }
}

/// The first plain byte of a block.
pub(super) const fn plain_start(block: u64) -> u64 {
    if block == 0 { 0 } else { FIRST + (block - 1) * OTHER }
}

/// Plain bytes of a block of a content of `len` bytes.
pub(super) const fn plain_len(block: u64, len: u64) -> u64 {
    let room = if block == 0 { FIRST } else { OTHER };
    let rest = len.saturating_sub(plain_start(block));
    if rest < room { rest } else { room }
}

/// Where the ciphertext of a block begins.
pub(super) const fn stored_start(block: u64) -> u64 {
    if block == 0 { HEADER } else { block * BLOCK }
}

/// The stored bytes of the blocks that hold plain bytes `range`, which is not empty: as if the content went
/// on for ever.
pub(super) const fn stored_range(range: &Range<u64>) -> Range<u64> {
    let last = block_of(range.end - 1);
    stored_start(block_of(range.start))..(last + 1) * BLOCK
}

/// Plain bytes of part `number`, counted from 1, of an upload whose parts are stored with `part` bytes, a whole
/// number of blocks; as if the content went on for ever.
pub(crate) const fn part_len(number: u32, part: u64) -> u64 {
    let blocks = part / BLOCK;
    let header = if number == 1 { HEADER } else { 0 };
    blocks * OTHER - header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lengths() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..4 * BLOCK,
            (0..6u64, -3i64..4).prop_map(|(block, by)| plain_start(block).saturating_add_signed(by)),
            0..1u64 << 45,
        ]
    }

    proptest! {
        #[test]
        fn blocks_lie_end_to_end_and_hold_every_byte_once(len in 0..6 * BLOCK) {
            let (mut plain, mut stored) = (0, HEADER);
            for block in 0..blocks(len) {
                prop_assert_eq!((plain_start(block), stored_start(block)), (plain, stored));
                let size = plain_len(block, len);
                prop_assert!(size > 0 || len == 0);
                plain += size;
                stored += size + TAG;
            }
            prop_assert_eq!((plain, stored), (len, stored_size(len)));
        }

        #[test]
        fn a_byte_is_in_the_block_that_says_so(offset in lengths()) {
            let block = block_of(offset);
            prop_assert!(plain_start(block) <= offset && offset < plain_start(block + 1));
            let range = stored_range(&(offset..offset + 1));
            prop_assert_eq!(range.start, stored_start(block));
            prop_assert_eq!(range.end, stored_start(block + 1));
        }

        #[test]
        fn parts_are_of_one_size_and_begin_at_a_block(blocks_of_part in 1..5u64, number in 1..6u32) {
            let part = blocks_of_part * BLOCK;
            let before: u64 = (1..number).map(|n| part_len(n, part)).sum();
            prop_assert_eq!(before, plain_start(u64::from(number - 1) * blocks_of_part));
            let len = before + part_len(number, part);
            prop_assert_eq!(stored_size(len), u64::from(number) * part);
        }
    }

    #[test]
    fn sizes_are_frozen() {
        assert_eq!(stored_size(0), 104);
        assert_eq!(stored_size(FIRST), BLOCK);
        assert_eq!(stored_size(FIRST + 1), BLOCK + 17);
        assert_eq!(stored_size(1 << 30), (1 << 30) + 88 + 16 * 16389);
    }
}
