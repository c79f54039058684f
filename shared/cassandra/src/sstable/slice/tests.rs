//! Slices of made `SSTables` of every kind, and of those that real nodes wrote.

mod made;
mod real;
mod sampled;

use std::{
    cell::RefCell,
    io::{self, Cursor, Read},
    ops::Range,
};

use proptest::prelude::*;
use ringvault_core::cluster::{Token, TokenRange, TokenSet};

use super::{
    super::{CompressionInfo, IndexReader, murmur3_token},
    *,
};
use made::{Kind, Made, Shape};

/// A Data.db or Index.db in memory, which notes what was asked for.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) data: Vec<u8>,
    pub(super) is_checked: bool,
    ranges: RefCell<Vec<Range<u64>>>,
}

impl Asked {
    pub(super) fn new(data: Vec<u8>) -> Self {
        Self { data, ..Self::default() }
    }
}

impl RangedRead for Asked {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>> {
        let part = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        let part = self.data.get(part).expect("nothing is asked for that is not there");
        self.ranges.borrow_mut().push(range);
        Ok(Box::new(part))
    }

    fn size(&self) -> u64 {
        self.data.len() as u64
    }

    fn is_checked(&self) -> bool {
        self.is_checked
    }
}

type Files = SliceOutput<Cursor<Vec<u8>>>;

/// A slice, and what it says of itself.
fn cut(made: &Made, data: &Asked, wanted: &TokenSet) -> Result<(Sliced, Files)> {
    let index = match &made.rows {
        None => PartitionIndex::Big(file(&made.index)),
        Some(rows) => PartitionIndex::Bti { partitions: file(&made.index), rows: file(rows) },
    };
    cut_by(made, index, data, wanted)
}

fn file(content: &[u8]) -> Cursor<Vec<u8>> {
    Cursor::new(content.to_owned())
}

/// Likewise, by this index.
fn cut_by(
    made: &Made,
    index: PartitionIndex<'_, Cursor<Vec<u8>>>,
    data: &Asked,
    wanted: &TokenSet,
) -> Result<(Sliced, Files)> {
    let source = SliceSource {
        index,
        chunks: if made.is_compressed {
            ChunkIndex::CompressionInfo(file(&made.chunks))
        } else {
            ChunkIndex::Crc(file(&made.chunks))
        },
        data,
    };
    let mut files = Files { data: Cursor::default(), index: Cursor::default(), chunks: Cursor::default() };
    let sliced = slice(source, wanted, &mut files)?;
    Ok((sliced, files))
}

/// The partitions of a slice, by an index that is read and a Data.db that is decompressed here.
fn partitions(files: &Files, is_compressed: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
    let data = files.data.get_ref();
    let content = if is_compressed {
        let mut info_file = Cursor::new(files.chunks.get_ref().clone());
        let length = files.chunks.get_ref().len() as u64;
        let info = CompressionInfo::parse(&mut info_file, length).unwrap();
        let mut codec = codec::Codec::of(&info).unwrap().unwrap();
        let mut content = Vec::new();
        for n in 0..info.chunks {
            let place = |at: Option<u64>| usize::try_from(at.unwrap_or(data.len() as u64)).unwrap();
            let begin = place(info.chunk_offset(&mut info_file, n).unwrap());
            let end = place(info.chunk_offset(&mut info_file, n + 1).unwrap());
            let (body, crc) = data[begin..end].split_last_chunk::<4>().unwrap();
            assert_eq!(crc32fast::hash(body), u32::from_be_bytes(*crc));
            let length = usize::try_from(info.data_length).unwrap() - content.len();
            let length = length.min(usize::try_from(info.chunk_length).unwrap());
            if body.len() >= usize::try_from(info.max_compressed_length).unwrap() {
                content.extend_from_slice(&body[..length]);
            } else {
                let mut chunk = vec![0; length];
                codec.decompress(body, &mut chunk).unwrap();
                content.extend(chunk);
            }
        }
        assert_eq!(content.len() as u64, info.data_length);
        content
    } else {
        let (length, sums) = files.chunks.get_ref().split_first_chunk::<4>().unwrap();
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap();
        let found: Vec<u8> =
            data.chunks(length).flat_map(|part| crc32fast::hash(part).to_be_bytes()).collect();
        assert_eq!(found, sums);
        data.clone()
    };
    let entries: Vec<_> =
        IndexReader::new(files.index.get_ref().as_slice()).map(std::result::Result::unwrap).collect();
    let mut all = Vec::new();
    for (n, entry) in entries.iter().enumerate() {
        let begin = usize::try_from(entry.position).unwrap();
        let end = entries.get(n + 1).map_or(content.len(), |next| usize::try_from(next.position).unwrap());
        all.push((entry.key.clone(), content[begin..end].to_vec()));
    }
    let covered: usize = all.iter().map(|(_, partition)| partition.len()).sum();
    assert_eq!(covered, content.len(), "there is a gap");
    all
}

fn set(ranges: &[(i64, i64)]) -> TokenSet {
    ranges.iter().map(|(start, end)| TokenRange::new(Token(*start), Token(*end))).collect()
}

/// What a scan over all partitions says that the slice holds.
fn must_be_cut(made: &Made, wanted: &TokenSet) -> std::result::Result<(), TestCaseError> {
    let data = Asked::new(made.data.clone());
    let (sliced, files) = cut(made, &data, wanted).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let expected: Vec<_> =
        made.partitions.iter().filter(|(key, _)| wanted.contains(murmur3_token(key))).cloned().collect();
    prop_assert_eq!(sliced.partitions, expected.len() as u64);
    if expected.is_empty() {
        return Ok(());
    }
    prop_assert!(partitions(&files, made.is_compressed) == expected, "other partitions, or other bytes");
    prop_assert_eq!(sliced.digest, crc32fast::hash(files.data.get_ref()));
    let asked = data.ranges.borrow();
    let of_runs: u64 = asked
        .iter()
        .rev()
        .take(usize::try_from(sliced.data.requests).unwrap())
        .map(|r| r.end - r.start)
        .sum();
    prop_assert_eq!(sliced.data.bytes, of_runs);
    prop_assert!(sliced.data.bytes <= made.data.len() as u64);
    prop_assert_eq!(sliced.index, Fetched::default());
    if made.rows.is_none() {
        let promoted: Vec<u64> =
            IndexReader::new(files.index.get_ref().as_slice()).map(|e| e.unwrap().promoted).collect();
        let was: Vec<u64> = IndexReader::new(made.index.as_slice())
            .map(std::result::Result::unwrap)
            .filter(|entry| wanted.contains(murmur3_token(&entry.key)))
            .map(|entry| entry.promoted)
            .collect();
        prop_assert_eq!(promoted, was, "promoted indexes are copied");
    }
    Ok(())
}

/// Bounds on partitions and beside them, and others; ranges between them by number.
fn ranges(made: &Made, cuts: &[i64], owner: &[(u8, u8)]) -> TokenSet {
    let near = made.partitions.iter().step_by(3).flat_map(|(key, _)| {
        let token = murmur3_token(key).0;
        [token, token.wrapping_sub(1), token.wrapping_add(1)]
    });
    let bounds: Vec<i64> = cuts.iter().copied().chain(near).collect();
    let bound = |n: u8| bounds.get(usize::from(n) % bounds.len().max(1)).copied().unwrap_or_default();
    let ranges: Vec<(i64, i64)> = owner.iter().map(|(a, b)| (bound(*a), bound(*b))).collect();
    set(&ranges)
}

proptest! {
    /// Any partitions, in an SSTable of any kind, cut for any number of owners: every owner gets
    /// each of its partitions once, byte for byte, and nothing else.
    #[test]
    fn every_owner_gets_its_partitions_byte_for_byte(
        shape in made::any_shape(),
        cuts in proptest::collection::vec(any::<i64>(), 0..12),
        owners in proptest::collection::vec(proptest::collection::vec((any::<u8>(), any::<u8>()), 0..5), 1..4),
    ) {
        let made = Made::of(&shape);
        for owner in owners {
            must_be_cut(&made, &ranges(&made, &cuts, &owner))?;
        }
        must_be_cut(&made, &TokenSet::full())?;
    }

    /// A ring cut anywhere: what its nodes get is the whole, each partition once.
    #[test]
    fn the_slices_of_a_ring_are_the_whole(
        shape in made::any_shape(),
        tokens in proptest::collection::btree_set(any::<i64>(), 1..6),
    ) {
        let made = Made::of(&shape);
        let tokens: Vec<i64> = tokens.into_iter().collect();
        let mut all = Vec::new();
        for (n, token) in tokens.iter().enumerate() {
            let before = tokens[(n + tokens.len() - 1) % tokens.len()];
            let (sliced, files) = cut(&made, &Asked::new(made.data.clone()), &set(&[(before, *token)])).unwrap();
            if sliced.partitions > 0 {
                all.extend(partitions(&files, made.is_compressed));
            }
        }
        all.sort_by_key(|(key, _)| (murmur3_token(key), key.clone()));
        prop_assert!(all == made.partitions);
    }

    /// A changed byte anywhere in what is read gives an error or the same slice, never another.
    #[test]
    fn a_changed_byte_is_found_or_does_not_matter(
        shape in made::any_shape(), at in any::<prop::sample::Index>(), bit in 0_u8..8, start in any::<i64>(),
    ) {
        let made = Made::of(&shape);
        let wanted = set(&[(start, start.wrapping_add(i64::MAX))]);
        let whole = cut(&made, &Asked::new(made.data.clone()), &wanted).unwrap();
        let mut data = made.data.clone();
        let at = at.index(data.len());
        data[at] ^= 1 << bit;
        if let Ok(found) = cut(&made, &Asked::new(data), &wanted) {
            prop_assert!(found.0 == whole.0 && found.1.data.get_ref() == whole.1.data.get_ref());
        }
    }

    /// Indexes of any bytes: an error or not, but an end.
    #[test]
    fn damaged_indexes_end_in_an_error_or_a_slice(
        shape in made::any_shape(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..6),
        cut_to in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut made = Made::of(&shape);
        for (at, value, which) in changes {
            let file = match which {
                0 => &mut made.index,
                1 => &mut made.chunks,
                _ => made.rows.as_mut().unwrap_or(&mut made.index),
            };
            if !file.is_empty() {
                let at = at.index(file.len());
                file[at] = value;
            }
        }
        if let Some(at) = cut_to {
            let length = at.index(made.index.len());
            made.index.truncate(length);
        }
        let data = Asked::new(made.data.clone());
        let _ = cut(&made, &data, &TokenSet::full());
        let _ = cut(&made, &data, &set(&[(0, i64::MAX)]));
    }
}

#[test]
fn only_what_is_needed_is_asked_for() {
    let shape = Shape {
        kind: Kind::Big,
        compressor: Some("NoopCompressor"),
        chunk: 1 << 10,
        max: i32::MAX,
        keys: (0_u32..400).map(|n| (n.to_be_bytes().to_vec(), 4096)).collect(),
        has_promoted: true,
        seed: 7,
    };
    let made = Made::of(&shape);
    let token = |n: usize| murmur3_token(&made.partitions[n].0).0;
    // Two runs far from each other: a quarter of the whole and a little more.
    let wanted = set(&[(token(10), token(60)), (token(300), token(350))]);
    let data = Asked::new(made.data.clone());
    let (sliced, _) = cut(&made, &data, &wanted).unwrap();
    assert_eq!((sliced.partitions, sliced.data.requests), (100, 2));
    let part = made.data.len() as u64 / 4;
    let bytes = sliced.data.bytes;
    assert!(bytes >= part && bytes < part + 4 * 1100, "{bytes} of {part}");
}

#[test]
fn a_partition_that_is_not_the_indexs_is_refused() {
    let shape = Shape {
        kind: Kind::Big,
        compressor: None,
        chunk: 1 << 16,
        max: i32::MAX,
        keys: (0_u32..20).map(|n| (n.to_be_bytes().to_vec(), 50)).collect(),
        has_promoted: true,
        seed: 1,
    };
    let mut made = Made::of(&shape);
    // The end mark of the third, and the checksum put right.
    let ends: usize = made.partitions[..3].iter().map(|(_, bytes)| bytes.len()).sum();
    made.data[ends - 1] = 0;
    made.chunks[4..].copy_from_slice(&crc32fast::hash(&made.data).to_be_bytes());
    let error = cut(&made, &Asked::new(made.data.clone()), &TokenSet::full()).unwrap_err();
    assert!(error.to_string().contains("has no end"), "{error}");
    made.data[ends - 1] = 1;
    made.data[ends + 3] ^= 1;
    made.chunks[4..].copy_from_slice(&crc32fast::hash(&made.data).to_be_bytes());
    let error = cut(&made, &Asked::new(made.data.clone()), &TokenSet::full()).unwrap_err();
    assert!(error.to_string().contains("is not the one that its index names"), "{error}");
}
