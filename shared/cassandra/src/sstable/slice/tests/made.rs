//! `SSTables` made here, of any keys and any kind: Index.db or a trie of every node type, any
//! compressor or none. Partitions are a head, bytes that mean nothing, and the end mark.

use proptest::prelude::*;
use rand_like::Bytes;
use std::io::Cursor;

use crate::sstable::{
    CompressionInfo, IndexReader, murmur3_token,
    slice::{
        chunks::Format,
        codec::Codec,
        output::{DataWriter, push_vint},
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Big,
    Bti,
}

/// What to make.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) compressor: Option<&'static str>,
    pub(super) chunk: u32,
    /// Longest compressed chunk.
    pub(super) max: i32,
    /// Keys and how many bytes their partitions have.
    pub(super) keys: Vec<(Vec<u8>, usize)>,
    /// Whether some partitions of an Index.db have a promoted index.
    pub(super) has_promoted: bool,
    pub(super) seed: u64,
}

pub(super) struct Made {
    pub(super) data: Vec<u8>,
    /// Index.db or Partitions.db.
    pub(super) index: Vec<u8>,
    /// Rows.db.
    pub(super) rows: Option<Vec<u8>>,
    /// CompressionInfo.db or CRC.db.
    pub(super) chunks: Vec<u8>,
    pub(super) is_compressed: bool,
    /// Key and bytes, in order.
    pub(super) partitions: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(super) fn any_shape() -> impl Strategy<Value = Shape> {
    let compressors = prop::sample::select(vec![
        None,
        Some("LZ4Compressor"),
        Some("ZstdCompressor"),
        Some("SnappyCompressor"),
        Some("DeflateCompressor"),
        Some("NoopCompressor"),
    ]);
    let keys =
        proptest::collection::btree_map(proptest::collection::vec(any::<u8>(), 1..20), 0_usize..900, 1..60);
    let kinds = prop::sample::select(vec![Kind::Big, Kind::Bti]);
    let chunks = prop::sample::select(vec![64_u32, 256, 1024, 16384]);
    let most = prop::sample::select(vec![i32::MAX, 0, 60, 200]);
    (kinds, compressors, chunks, most, keys, any::<u64>()).prop_map(
        |(kind, compressor, chunk, max, keys, seed)| Shape {
            kind,
            compressor,
            chunk,
            max,
            keys: keys.into_iter().collect(),
            has_promoted: true,
            seed,
        },
    )
}

impl Made {
    pub(super) fn of(shape: &Shape) -> Self {
        let mut random = Bytes(shape.seed | 1);
        let mut keys = shape.keys.clone();
        keys.sort_by_key(|(key, _)| (murmur3_token(key), key.clone()));
        let partitions: Vec<(Vec<u8>, Vec<u8>)> = keys
            .into_iter()
            .map(|(key, length)| {
                let mut bytes = u16::try_from(key.len()).unwrap().to_be_bytes().to_vec();
                bytes.extend_from_slice(&key);
                // Some that compress and some that do not.
                let noise = random.next().is_multiple_of(3);
                let body =
                    (0..length).map(|n| if noise { random.next() } else { u8::try_from(n % 7).unwrap() });
                bytes.extend(body.collect::<Vec<_>>());
                bytes.push(1);
                (key, bytes)
            })
            .collect();
        let (data, chunks) = data(shape, &partitions);
        let mut position = 0;
        let placed: Vec<(&[u8], u64)> = partitions
            .iter()
            .map(|(key, bytes)| {
                let at = position;
                position += bytes.len() as u64;
                (key.as_slice(), at)
            })
            .collect();
        let (index, rows) = match shape.kind {
            Kind::Big => (big(&placed, shape.has_promoted, &mut random), None),
            Kind::Bti => {
                let (index, rows) = bti(&placed, &mut random);
                (index, Some(rows))
            }
        };
        Self { data, index, rows, chunks, is_compressed: shape.compressor.is_some(), partitions }
    }
}

/// The Summary.db of an Index.db: of every `interval`th entry, less those whose number `is_left_out`, as
/// Cassandra thins them out; the first always stays.
pub(super) fn summary(index: &[u8], interval: u32, is_left_out: impl Fn(usize) -> bool) -> Vec<u8> {
    let (mut entries, mut places) = (IndexReader::new(index), vec![0]);
    let mut keys = Vec::new();
    while let Some(entry) = entries.next() {
        keys.push(entry.unwrap().key);
        places.push(entries.at());
    }
    let sampled = keys.iter().zip(&places).step_by(usize::try_from(interval).unwrap()).enumerate();
    let sampled: Vec<_> =
        sampled.filter(|(n, _)| *n == 0 || !is_left_out(*n)).map(|(_, sample)| sample).collect();
    let (mut offsets, mut memory) = (Vec::new(), Vec::new());
    for (key, place) in &sampled {
        offsets.extend(u32::try_from(4 * sampled.len() + memory.len()).unwrap().to_le_bytes());
        memory.extend_from_slice(key);
        memory.extend(place.to_le_bytes());
    }
    let mut file = interval.to_be_bytes().to_vec();
    file.extend(u32::try_from(sampled.len()).unwrap().to_be_bytes());
    file.extend(((offsets.len() + memory.len()) as u64).to_be_bytes());
    file.extend([0, 0, 0, 128]);
    file.extend(u32::try_from(sampled.len()).unwrap().to_be_bytes());
    file.extend(offsets);
    file.extend(memory);
    for key in [&keys[0], &keys[keys.len() - 1]] {
        file.extend(u32::try_from(key.len()).unwrap().to_be_bytes());
        file.extend_from_slice(key);
    }
    file
}

/// Data.db and its sidecar, by the writer under test: what it writes is read by other code.
fn data(shape: &Shape, partitions: &[(Vec<u8>, Vec<u8>)]) -> (Vec<u8>, Vec<u8>) {
    let (mut data, mut chunks) = (Cursor::new(Vec::new()), Cursor::new(Vec::new()));
    let info;
    let format = match shape.compressor {
        None => Format::Plain { chunk: usize::try_from(shape.chunk).unwrap() },
        Some(name) => {
            info = head(name, shape);
            let codec = Codec::of(&info).unwrap().unwrap();
            Format::Compressed { info: &info, codec }
        }
    };
    let mut writer = DataWriter::new(&mut data, &mut chunks, Ok(format)).unwrap();
    for (_, bytes) in partitions {
        writer.write(bytes).unwrap();
    }
    writer.finish().unwrap();
    (data.into_inner(), chunks.into_inner())
}

/// The head of a CompressionInfo.db, as its reader makes it.
fn head(name: &str, shape: &Shape) -> CompressionInfo {
    let mut file = u16::try_from(name.len()).unwrap().to_be_bytes().to_vec();
    file.extend_from_slice(name.as_bytes());
    file.extend_from_slice(&1_i32.to_be_bytes());
    for text in ["compression_level", "1"] {
        file.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
        file.extend_from_slice(text.as_bytes());
    }
    file.extend_from_slice(&shape.chunk.to_be_bytes());
    file.extend_from_slice(&shape.max.to_be_bytes());
    file.extend_from_slice(&[0; 12]);
    let length = file.len() as u64;
    CompressionInfo::parse(&mut Cursor::new(file), length).unwrap()
}

fn big(placed: &[(&[u8], u64)], has_promoted: bool, random: &mut Bytes) -> Vec<u8> {
    let mut index = Vec::new();
    for (key, position) in placed {
        index.extend_from_slice(&u16::try_from(key.len()).unwrap().to_be_bytes());
        index.extend_from_slice(key);
        push_vint(&mut index, *position);
        let has_promoted = has_promoted && random.next().is_multiple_of(4);
        let promoted = if has_promoted { u64::from(random.next()) * 3 } else { 0 };
        push_vint(&mut index, promoted);
        index.extend((0..promoted).map(|_| random.next()));
    }
    index
}

/// A path down the trie and the payload at its end.
type Leaf = (Vec<u8>, i64);

fn bti(placed: &[(&[u8], u64)], random: &mut Bytes) -> (Vec<u8>, Vec<u8>) {
    let mut rows = Vec::new();
    let whole: Vec<Vec<u8>> = placed
        .iter()
        .map(|(key, _)| {
            let token = (murmur3_token(key).0 ^ i64::MIN).to_be_bytes();
            [&[0x40], &token[..], &[0x40], key, &[0x38]].concat()
        })
        .collect();
    let common = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let mut leaves: Vec<Leaf> = Vec::new();
    for (n, (key, position)) in placed.iter().enumerate() {
        let before = n.checked_sub(1).map_or(0, |m| common(&whole[m], &whole[n]) + 1);
        let after = whole.get(n + 1).map_or(0, |next| common(&whole[n], next) + 1);
        let payload = if random.next().is_multiple_of(3) {
            let at = i64::try_from(rows.len()).unwrap();
            rows.extend_from_slice(&u16::try_from(key.len()).unwrap().to_be_bytes());
            rows.extend_from_slice(key);
            push_vint(&mut rows, *position);
            rows.extend([9, 9, 9]);
            at
        } else {
            !i64::try_from(*position).unwrap()
        };
        leaves.push((whole[n][..before.max(after)].to_vec(), payload));
    }
    let mut file = Vec::new();
    let root = node(&mut file, &leaves, 0, random);
    let keys_at = file.len() as u64;
    for key in [placed[0].0, placed[placed.len() - 1].0] {
        file.extend_from_slice(&u16::try_from(key.len()).unwrap().to_be_bytes());
        file.extend_from_slice(key);
    }
    for number in [keys_at, placed.len() as u64, root] {
        file.extend_from_slice(&number.to_be_bytes());
    }
    (file, rows)
}

/// Writes the node of `leaves`, whose paths agree in their first `depth` bytes, behind its children.
fn node(file: &mut Vec<u8>, leaves: &[Leaf], depth: usize, random: &mut Bytes) -> u64 {
    if let [(path, payload)] = leaves
        && path.len() == depth
    {
        let at = file.len() as u64;
        // With the byte of a hash, or without.
        let length =
            (1..8).find(|n| *payload >= -(1_i64 << (8 * n - 1)) && *payload < 1 << (8 * n - 1)).unwrap();
        let number = &payload.to_be_bytes()[8 - length..];
        if random.next().is_multiple_of(2) {
            file.push(u8::try_from(length + 7).unwrap());
            file.push(random.next());
        } else {
            file.push(u8::try_from(length).unwrap());
        }
        file.extend_from_slice(number);
        return at;
    }
    let mut children: Vec<(u8, u64)> = Vec::new();
    let mut rest = leaves;
    while let Some((path, _)) = rest.first() {
        let byte = path[depth];
        let end = rest.partition_point(|(path, _)| path[depth] <= byte);
        children.push((byte, node(file, &rest[..end], depth + 1, random)));
        rest = &rest[end..];
    }
    // Node types fit only small distances: some room, so that the wide ones are used as well.
    file.extend(vec![0xee; usize::from(random.next() % 4) * usize::from(random.next())]);
    let at = file.len() as u64;
    let distances: Vec<u64> = children.iter().map(|(_, child)| at - child).collect();
    let furthest = *distances.iter().max().unwrap();
    let bits = u64::from(64 - furthest.leading_zeros());
    let fit = |widths: &[(u8, u64)]| -> Vec<(u8, u64)> {
        widths.iter().copied().filter(|(_, w)| *w >= bits).collect()
    };
    let mut kinds = fit(&[(5, 8), (6, 12), (7, 16), (8, 24), (9, 40)]);
    kinds.extend(fit(&[(10, 12), (11, 16), (12, 24), (13, 32), (14, 40), (15, 64)]));
    if children.len() == 1 {
        kinds.extend(fit(&[(1, 4), (2, 8), (3, 12), (4, 16)]).repeat(3));
    }
    let (kind, width) = kinds[usize::from(random.next()) % kinds.len()];
    let byte = children[0].0;
    let low = |number: u64, bits: u64| (number & ((1 << bits) - 1)).to_be_bytes()[7];
    match kind {
        1 => file.extend([0x10 | low(furthest, 4), byte]),
        2 => file.extend([0x20, byte, low(furthest, 8)]),
        3 => file.extend([0x30 | low(furthest >> 8, 4), low(furthest, 8), byte]),
        4 => file.extend([0x40, byte, low(furthest >> 8, 8), low(furthest, 8)]),
        5..=9 => {
            file.extend([kind << 4, u8::try_from(children.len()).unwrap()]);
            file.extend(children.iter().map(|(byte, _)| *byte));
            numbers(file, &distances, width);
        }
        _ => {
            let last = children[children.len() - 1].0;
            file.extend([kind << 4, byte, last - byte]);
            let mut all = vec![0; usize::from(last - byte) + 1];
            for ((child, _), distance) in children.iter().zip(&distances) {
                all[usize::from(child - byte)] = *distance;
            }
            numbers(file, &all, width);
        }
    }
    at
}

fn numbers(file: &mut Vec<u8>, all: &[u64], bits: u64) {
    if bits == 12 {
        for pair in all.chunks(2) {
            let joined = (pair[0] << 12 | pair.get(1).copied().unwrap_or_default()) & 0x00ff_ffff;
            let bytes = &joined.to_be_bytes()[5..];
            file.extend_from_slice(if pair.len() == 2 { bytes } else { &bytes[..2] });
        }
        return;
    }
    let length = usize::try_from(bits / 8).unwrap();
    for number in all {
        file.extend_from_slice(&number.to_be_bytes()[8 - length..]);
    }
}

/// Bytes that are the same for the same seed.
mod rand_like {
    pub(super) struct Bytes(pub(super) u64);

    impl Bytes {
        pub(super) fn next(&mut self) -> u8 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_be_bytes()[3]
        }
    }
}
