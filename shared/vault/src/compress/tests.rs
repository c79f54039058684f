use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use proptest::prelude::*;

use super::*;
use crate::store::ByteStream;

/// Text that shrinks, of `len` bytes.
fn text(len: usize) -> Vec<u8> {
    let words = (0_u64..).map(|n| format!("order {} of customer {}, ", n, n.wrapping_mul(7919) % 977));
    words.flat_map(String::into_bytes).take(len).collect()
}

fn noise(len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut out);
    out
}

fn pieces(stored: &[u8], len: usize) -> ByteStream {
    let pieces: Vec<_> = stored.chunks(len).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

fn gathered(stream: crate::store::StoreResult<ByteStream>) -> Result<Vec<u8>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let stream = stream.map_err(|error| error.to_string())?;
        let parts: Vec<Bytes> = stream.try_collect().await.map_err(|error| error.to_string())?;
        Ok(parts.concat())
    })
}

fn read(stored: &[u8], plain: u64, len: usize) -> Result<Vec<u8>, String> {
    gathered(decoded(pieces(stored, len), "k", plain))
}

fn read_part(stored: &[u8], plain: u64, part: (u64, u64), len: usize) -> Result<Vec<u8>, String> {
    gathered(decoded_part(pieces(stored, len), "k", plain, part))
}

#[test]
fn what_hardly_shrinks_is_left_as_it_is() {
    assert!(pays(1000, 875) && !pays(1000, 876));
    assert!(!pays(100, 40), "some bytes are not worth it");
    assert!(!pays(0, 0));
    for content in [noise(5000), noise(3 << 20), b"tiny".to_vec(), Vec::new()] {
        assert_eq!(compressed(&content).unwrap(), None);
    }
    // Only its first frame shrinks.
    let mut mixed = text(256 << 10);
    mixed.extend(noise(5 << 20));
    assert_eq!(compressed(&mixed).unwrap(), None);
}

#[test]
fn zstd_itself_reads_it_and_a_single_frame_has_no_table() {
    for len in [1000, 256 << 10, (256 << 10) + 1, 3 << 20, 5_000_000] {
        let content = text(len);
        let stored = compressed(&content).unwrap().unwrap();
        assert!(pays(len as u64, stored.len() as u64) && stored.len() as u64 <= bound(len as u64));
        assert_eq!(zstd::decode_all(&stored[..]).unwrap(), content, "{len}");
        let table = SeekTable::place(len as u64, stored.len() as u64).unwrap();
        assert_eq!(table.is_some(), len > 256 << 10);
    }
}

#[test]
fn a_part_is_read_without_the_rest() {
    let content = text(3_500_000);
    let stored = compressed(&content).unwrap().unwrap();
    let (plain, size) = (content.len() as u64, stored.len() as u64);
    let at = SeekTable::place(plain, size).unwrap().unwrap();
    let bytes = |range: std::ops::Range<u64>| {
        &stored[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
    };
    let table = SeekTable::parse(bytes(at), plain, size).unwrap();
    for range in [
        0..1,
        0..plain,
        1 << 20..2 << 20,
        (1 << 20) - 1..(1 << 20) + 1,
        plain - 1..plain,
        2_000_000..2_500_000,
    ] {
        let (from, holds) = table.frames_of(&range).unwrap();
        assert!(holds.start <= range.start && range.end <= holds.end);
        let part = (range.start - holds.start, range.end - range.start);
        let read = read_part(bytes(from), holds.end - holds.start, part, 10_000).unwrap();
        let expected = &content[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert!(read == expected, "{range:?}");
    }
    assert!(table.frames_of(&(0..plain + 1)).is_err() && table.frames_of(&(5..5)).is_err());
    let one = SeekTable::of_one(10, 7);
    assert_eq!(one.frames_of(&(3..10)).unwrap(), (0..7, 0..10));
}

#[test]
fn of_a_damaged_frame_not_a_byte_is_handed_out() {
    // Noise between text: literals, whose damage changes bytes and nothing else.
    let mut content = text(100_000);
    content.extend(noise(60_000));
    content.extend(text(90_000));
    let frame = compressed(&content).unwrap().unwrap();
    let plain = content.len() as u64;
    assert!(frames(plain) == 1 && read_part(&frame, plain, (0, 1), 1000).unwrap() == content[..1]);
    for at in (20..frame.len()).step_by(frame.len() / 50) {
        let mut changed = frame.to_vec();
        changed[at] ^= 1;
        for part in [(0, 1), (plain - 1, 1), (0, plain)] {
            assert!(read_part(&changed, plain, part, 1000).is_err(), "byte {at}, {part:?}");
        }
    }
}

#[test]
fn a_table_that_lies_is_refused() {
    let content = text(700_000);
    let stored = compressed(&content).unwrap().unwrap();
    let (plain, size) = (content.len() as u64, stored.len() as u64);
    let at = SeekTable::place(plain, size).unwrap().unwrap();
    let table = stored[usize::try_from(at.start).unwrap()..].to_vec();
    SeekTable::parse(&table, plain, size).unwrap();
    for changed in 0..table.len() {
        let mut table = table.clone();
        table[changed] ^= 1;
        // One frame longer and another shorter by as much is all that could pass, and these are not.
        assert!(SeekTable::parse(&table, plain, size).is_err(), "byte {changed}");
    }
    assert!(SeekTable::parse(&table, plain + 1, size).is_err());
    assert!(SeekTable::parse(&table, plain, size + 1).is_err());
    assert!(SeekTable::parse(&table[1..], plain, size).is_err());
    assert!(SeekTable::parse(&[], 0, 0).is_err());
    assert!(SeekTable::place(u64::MAX, u64::MAX).is_err(), "no memory is taken for what cannot be");
    assert!(SeekTable::place(3 << 20, 10).is_err());
}

#[test]
fn what_decompresses_to_more_than_it_should_stops_at_once() {
    let bomb = zstd::encode_all(&vec![0; 300 << 20][..], 1).unwrap();
    assert!(bomb.len() < 100_000);
    let mut decoder = Decoder::new(1000).unwrap();
    let mut stored = Bytes::from(bomb);
    assert!(matches!(decoder.next(&mut stored), Err(CompressFault::Long(1000) | CompressFault::Zstd(_))));
}

#[test]
fn damage_shows() {
    let content = text(1_500_000);
    let stored = compressed(&content).unwrap().unwrap();
    let plain = content.len() as u64;
    assert!(read(&stored, plain, 4096).unwrap() == content);
    for at in (0..stored.len()).step_by(stored.len() / 97) {
        let mut changed = stored.to_vec();
        // Not bit 4: a frame has one that nobody reads.
        changed[at] ^= 1;
        assert!(
            read(&changed, plain, 4096).is_err() || read(&changed, plain, 4096).unwrap() != content,
            "byte {at}"
        );
    }
    let last = stored.len() - usize::try_from(table_len(frames(plain))).unwrap();
    let mut changed = stored.to_vec();
    changed[last + 9] ^= 1;
    let error = read(&changed, plain, 4096).unwrap_err();
    assert!(error.contains("seek table"), "{error}");
    assert!(read(&stored[..stored.len() / 2], plain, 4096).unwrap_err().contains("short"));
    assert!(read(&stored, plain - 1, 4096).unwrap_err().contains("longer"));
    assert!(read(b"no frame at all", 10, 4096).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn it_comes_back_however_it_is_cut(len in 200usize..3_000_000, piece in 1usize..200_000) {
        let content = text(len);
        let stored = compressed(&content).unwrap().unwrap();
        prop_assert!(read(&stored, len as u64, piece.max(stored.len() / 500)).unwrap() == content);
    }

    #[test]
    fn noise_is_refused_without_a_panic(noise in prop::collection::vec(any::<u8>(), 0..500), plain in any::<u64>()) {
        let _ = SeekTable::parse(&noise, plain, noise.len() as u64);
        let _ = SeekTable::place(plain, noise.len() as u64);
        let mut decoder = Decoder::new(plain).unwrap();
        let mut stored = Bytes::from(noise);
        while let Ok(Some(_)) = decoder.next(&mut stored) {}
    }
}
