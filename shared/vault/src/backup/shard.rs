//! One shard of an index: in the vault, and in memory.

use std::{collections::HashMap, io::Write as _};

use ringvault_core::ClusterName;
use serde::{Deserialize, Serialize};

use crate::{
    error::{VaultError, VaultResult},
    hash::Digest,
    layout,
    lines::Lines,
    manifest::{PackSlot, Place},
};

/// Largest shard accepted, in bytes, compressed and plain.
pub(super) const MAX_SHARD: u64 = 512 << 20;

/// A content and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Bytes.
    pub size: u64,
    /// The content.
    pub blake3: Digest,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
}

/// The contents of a shard, ascending by size and digest. Memory: some ninety bytes for each, and each key once, however many
/// contents are in the pack of that key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shard {
    keys: Vec<Box<str>>,
    entries: Vec<Short>,
}

/// An entry whose key is elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Short {
    size: u64,
    blake3: Digest,
    key: u32,
    pack: Option<PackSlot>,
    zstd: Option<u64>,
}

/// Fills a shard.
#[derive(Default)]
pub(super) struct ShardBuilder {
    shard: Shard,
    numbers: HashMap<Box<str>, u32>,
}

impl ShardBuilder {
    pub(super) fn push(&mut self, entry: IndexEntry) {
        let IndexEntry { size, blake3, place: Place { key, pack, zstd } } = entry;
        let key = match self.numbers.get(key.as_str()) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.shard.keys.len()).unwrap_or(u32::MAX);
                let key: Box<str> = key.into();
                self.shard.keys.push(key.clone());
                self.numbers.insert(key, number);
                number
            }
        };
        self.shard.entries.push(Short { size, blake3, key, pack, zstd });
    }

    fn last(&self) -> Option<(u64, Digest)> {
        self.shard.entries.last().map(|last| (last.size, last.blake3))
    }

    pub(super) fn finish(self) -> Shard {
        self.shard
    }
}

impl Shard {
    /// Contents in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Brings the entries in order, each once.
    pub(super) fn sort(&mut self) {
        self.entries.sort_unstable();
        self.entries.dedup();
    }

    /// Of one content at several places, keeps the first.
    pub(super) fn keep_first_places(&mut self) {
        self.entries.dedup_by(|later, first| (later.size, later.blake3) == (first.size, first.blake3));
    }

    /// Its entries.
    pub fn iter(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        self.entries.iter().map(|entry| IndexEntry {
            size: entry.size,
            blake3: entry.blake3,
            place: self.place(entry),
        })
    }

    fn place(&self, entry: &Short) -> Place {
        let key = self.keys.get(entry.key as usize).map(|key| String::from(key.as_ref())).unwrap_or_default();
        Place { key, pack: entry.pack, zstd: entry.zstd }
    }

    pub(super) fn has_size(&self, size: u64) -> bool {
        let first = self.entries.partition_point(|entry| entry.size < size);
        self.entries.get(first).is_some_and(|entry| entry.size == size)
    }

    pub(super) fn find(&self, size: u64, blake3: Digest) -> Option<Place> {
        let found = self.entries.binary_search_by(|entry| (entry.size, entry.blake3).cmp(&(size, blake3)));
        found.ok().and_then(|at| self.entries.get(at)).map(|entry| self.place(entry))
    }

    /// The object that it is in the vault.
    pub(super) fn encode(&self) -> std::io::Result<Vec<u8>> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
        if self.entries.iter().any(|entry| entry.zstd.is_some()) {
            serde_json::to_writer(&mut encoder, &ShardHead { version: VERSION })?;
            encoder.write_all(b"\n")?;
        }
        for entry in self.iter() {
            serde_json::to_writer(&mut encoder, &entry)?;
            encoder.write_all(b"\n")?;
        }
        encoder.finish()
    }
}

/// The first line of a shard in which something is compressed. A release that knows nothing of that takes the shard for a
/// damaged one, which is as it should be.
#[derive(Serialize, Deserialize)]
struct ShardHead {
    version: u32,
}

/// Version of such a shard.
const VERSION: u32 = 2;

/// Understands a shard's object. Every key in it lies in a `data/` folder of `cluster`.
pub fn parse_index_shard(key: &str, body: &[u8], cluster: &ClusterName) -> VaultResult<Shard> {
    let bad = |why: String| VaultError::malformed(key, why);
    let mut lines = Lines::of(body, MAX_SHARD).map_err(|e| bad(e.to_string()))?;
    let mut shard = ShardBuilder::default();
    let mut is_first = true;
    while let Some(line) = lines.next().map_err(|e| bad(e.to_string()))? {
        if std::mem::take(&mut is_first)
            && let Ok(ShardHead { version }) = serde_json::from_slice(line)
        {
            if version != VERSION {
                return Err(bad(format!("version {version} is not known here")));
            }
            continue;
        }
        let entry: IndexEntry = serde_json::from_slice(line).map_err(|e| bad(e.to_string()))?;
        let forbidden = |cause| VaultError::ForbiddenKey { inside: key.to_owned(), cause };
        let (owner, _) = layout::owner_of(&entry.place.key).map_err(forbidden)?;
        if owner != *cluster {
            return Err(bad(format!("{} is another cluster's", entry.place.key)));
        }
        if shard.last().is_some_and(|last| last >= (entry.size, entry.blake3)) {
            return Err(bad("its lines are out of order".to_owned()));
        }
        shard.push(entry);
    }
    Ok(shard.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(entries: &[IndexEntry]) -> std::io::Result<Vec<u8>> {
        let mut shard = ShardBuilder::default();
        entries.iter().cloned().for_each(|entry| shard.push(entry));
        shard.finish().encode()
    }

    #[test]
    fn a_shard_that_names_what_it_may_not_is_refused() {
        let cluster = ClusterName::new("c").unwrap();
        let entry = |key: &str| IndexEntry {
            size: 1,
            blake3: Digest::of(b"x"),
            place: Place { key: key.into(), pack: None, zstd: None },
        };
        let read = |key: &str| parse_index_shard("k", &encode(&[entry(key)]).unwrap(), &cluster);
        assert_eq!(read("clusters/c/backups/b/data/x").unwrap().len(), 1);
        assert!(read("clusters/c/backups/b/data/../../x").is_err());
        assert!(read("clusters/d/backups/b/data/x").is_err());
    }

    #[test]
    fn a_shard_says_its_version_where_something_is_compressed() {
        let cluster = ClusterName::new("c").unwrap();
        let entry = |zstd| IndexEntry {
            size: 1,
            blake3: Digest::of(b"x"),
            place: Place { key: "clusters/c/backups/b/data/x".into(), pack: None, zstd },
        };
        for (entry, first) in [(entry(Some(9)), "{\"version\":2}"), (entry(None), "{\"size\":1")] {
            let shard = encode(std::slice::from_ref(&entry)).unwrap();
            assert!(zstd::decode_all(&shard[..]).unwrap().starts_with(first.as_bytes()));
            let read: Vec<_> = parse_index_shard("k", &shard, &cluster).unwrap().iter().collect();
            assert_eq!(read, [entry]);
        }
        let newer = zstd::encode_all(&b"{\"version\":3}\n"[..], 1).unwrap();
        let refused = parse_index_shard("k", &newer, &cluster).unwrap_err().to_string();
        assert!(refused.contains("version 3"), "{refused}");
    }

    #[test]
    fn a_key_that_many_share_is_held_once_and_a_content_is_found() {
        let entry = |content: &[u8], pack: &str, offset| IndexEntry {
            size: content.len() as u64,
            blake3: Digest::of(content),
            place: Place {
                key: format!("clusters/c/backups/b/data/{pack}"),
                pack: Some(PackSlot { offset, size: 100 }),
                zstd: None,
            },
        };
        let mut shard = ShardBuilder::default();
        for (content, pack, offset) in
            [(&b"two"[..], "p", 3), (b"one", "p", 0), (b"one", "q", 7), (b"longer", "p", 6), (b"two", "p", 3)]
        {
            shard.push(entry(content, pack, offset));
        }
        let mut shard = shard.finish();
        shard.sort();
        assert_eq!((shard.len(), shard.keys.len()), (4, 2));
        shard.keep_first_places();
        let parsed =
            parse_index_shard("k", &shard.encode().unwrap(), &ClusterName::new("c").unwrap()).unwrap();
        assert_eq!(parsed.len(), 3);
        assert_eq!(parsed.find(3, Digest::of(b"one")), Some(entry(b"one", "p", 0).place), "the first place");
        assert_eq!(parsed.find(6, Digest::of(b"longer")), Some(entry(b"longer", "p", 6).place));
        assert_eq!(parsed.find(3, Digest::of(b"six")), None);
        assert!(parsed.has_size(3) && parsed.has_size(6) && !parsed.has_size(4) && !parsed.is_empty());
    }
}
