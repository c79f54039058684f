//! Statistics.db, whose parts have checksums: put right, most of the time, so that what is behind them is
//! read at all.

use super::{bytes, once_in};
use crate::random::Random;

/// An input out of `seeds`, which are whole files.
pub(crate) fn statistics(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input =
        if once_in(random, 2) { bytes::bytes(random, seeds) } else { bytes::overwritten(random, seeds) };
    if !once_in(random, 5) {
        let _ = mend(&mut input);
    }
    input
}

/// Puts every checksum right that has a place. See the layout in `sstable/statistics.rs`.
pub(crate) fn mend(input: &mut [u8]) -> Option<()> {
    let number = |input: &[u8], at: usize| Some(u32::from_be_bytes(*input.get(at..)?.first_chunk()?));
    let count = usize::try_from(number(input, 0)?).ok().filter(|count| *count <= 16)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&input[..4]);
    put(input, 4, crc.clone().finalize())?;
    let table_end = 8 + count * 8;
    crc.update(input.get(8..table_end)?);
    put(input, table_end, crc.finalize())?;
    let mut places: Vec<usize> =
        (0..count).filter_map(|part| usize::try_from(number(input, 12 + part * 8)?).ok()).collect();
    places.push(input.len());
    places.sort_unstable();
    for ends in places.windows(2) {
        let (start, end) = (ends[0], ends[1].checked_sub(4)?);
        let body = crc32fast::hash(input.get(start..end)?);
        put(input, end, body)?;
    }
    Some(())
}

fn put(input: &mut [u8], at: usize, number: u32) -> Option<()> {
    input.get_mut(at..at + 4)?.copy_from_slice(&number.to_be_bytes());
    Some(())
}
