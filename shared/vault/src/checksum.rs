//! What a manifest knows a content by, and how one is held against it.
//!
//! What a Ringvault worker brought is known by BLAKE3 and by nothing else. What lies in another's bucket
//! ([`crate::medusa`]) is known by what that other wrote down: an MD5, of the whole or of the parts that
//! it was uploaded in, or nothing.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::{Digest as _, Md5};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::hash::{ContentHasher, Digest, HashKey};

/// Part sizes that are tried at once, where only the number of parts is known.
const MAX_GUESSES: usize = 16;
const MIB: u64 = 1 << 20;

/// What a content is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// The digest that the vault's own objects are known by.
    Blake3(Digest),
    /// MD5, as an S3 store tells it: of another's object.
    Md5(EntityTag),
    /// The tag that the store gave the object, which says nothing of its content where the store
    /// encrypts under a key of its own (`aws:kms`): of another's object.
    Etag(EntityTag),
    /// Nothing: of another's object.
    Trust(Trust),
}

/// How far an object is believed that nothing is known of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// It must have its size.
    Size,
    /// It may have been written over since (Cassandra rewrites Statistics.db and Summary.db under their
    /// names, and its copy in the bucket is then written over too): what lies there counts.
    Name,
}

/// MD5 of a content or, with `parts`, of the MD5s of the parts that it was uploaded in; of what size the
/// parts were it does not say. Reads and writes as S3's `ETag`: `<32 hex digits>` or `<32 hex digits>-<parts>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityTag {
    sum: [u8; 16],
    /// 0: uploaded in one.
    parts: u32,
}

/// The text is no MD5 of the kinds that are known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an MD5 of 32 hex digits, with or without a number of parts, nor one in Base64")]
pub struct InvalidTag(String);

impl EntityTag {
    /// In how many parts it was uploaded; `None`: in one piece.
    pub const fn parts(&self) -> Option<u32> {
        if self.parts == 0 { None } else { Some(self.parts) }
    }

    /// The sizes that the parts may have had, in bytes, the likeliest first: whole MiB, since every
    /// uploader that is known counts in them.
    fn part_sizes(&self, size: u64) -> Vec<u64> {
        let parts = u64::from(self.parts);
        let fits = |part: u64| part > 0 && size.div_ceil(part) == parts;
        if parts == 1 {
            return vec![size.max(1)];
        }
        let doublings = (3..40).map(|shift| MIB << shift).chain([5 * MIB]);
        let mut sizes: Vec<u64> = doublings.filter(|part| fits(*part)).collect();
        let least = size.div_ceil(parts.max(1)).div_ceil(MIB).max(1);
        let all = (least..).map(|n| n * MIB).take_while(|part| fits(*part));
        for part in all {
            if sizes.len() == MAX_GUESSES {
                break;
            }
            if !sizes.contains(&part) {
                sizes.push(part);
            }
        }
        sizes
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.sum))?;
        if self.parts > 0 { write!(f, "-{}", self.parts) } else { Ok(()) }
    }
}

impl fmt::Debug for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EntityTag {
    type Err = InvalidTag;

    /// Reads an `ETag`, with or without its quotes, or an MD5 in Base64 as other stores tell it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || InvalidTag(text.chars().take(80).collect());
        let plain = text.trim_matches('"');
        let (sum_text, parts) = match plain.split_once('-') {
            Some((sum, parts)) => (sum, parts.parse().ok().filter(|n| *n > 0).ok_or_else(refuse)?),
            None => (plain, 0),
        };
        let mut sum = [0; 16];
        if hex::decode_to_slice(sum_text, &mut sum).is_ok() {
            return Ok(Self { sum, parts });
        }
        let bytes = STANDARD.decode(plain).map_err(|_| refuse())?;
        Ok(Self { sum: bytes.try_into().map_err(|_| refuse())?, parts: 0 })
    }
}

impl Serialize for EntityTag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntityTag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Checksum {
    /// The vault's own digest; `None` of another's object.
    pub const fn blake3(&self) -> Option<Digest> {
        match self {
            Self::Blake3(digest) => Some(*digest),
            _ => None,
        }
    }

    /// Whether only what another wrote down is known of it.
    pub const fn is_foreign(&self) -> bool {
        !matches!(self, Self::Blake3(_))
    }

    /// Whether the object must have the size that the manifest says.
    pub const fn fixes_size(&self) -> bool {
        !matches!(self, Self::Trust(Trust::Name))
    }

    /// What the store's own tag must be, if it is known.
    pub const fn tag(&self) -> Option<EntityTag> {
        match self {
            Self::Md5(tag) | Self::Etag(tag) => Some(*tag),
            _ => None,
        }
    }

    /// Takes a content of `size` bytes, to be held against this.
    pub fn checker(&self, size: u64, key: &HashKey) -> Checker {
        let how = match self {
            Self::Blake3(digest) => How::Blake3(key.hasher(), *digest),
            Self::Md5(tag) if tag.parts == 0 => How::Md5(Md5::new(), *tag),
            Self::Md5(tag) => {
                let guesses = tag.part_sizes(size).into_iter().map(InParts::new).collect();
                How::Parts(guesses, *tag)
            }
            Self::Etag(_) | Self::Trust(_) => How::Nothing,
        };
        Checker { how, size: self.fixes_size().then_some(size), taken: 0 }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blake3(digest) => write!(f, "BLAKE3 {digest}"),
            Self::Md5(tag) => write!(f, "MD5 {tag}"),
            Self::Etag(tag) => write!(f, "tag {tag}"),
            Self::Trust(Trust::Size) => f.write_str("its size"),
            Self::Trust(Trust::Name) => f.write_str("its name"),
        }
    }
}

/// Takes a content piece by piece and says whether it is the one.
#[derive(Debug, Clone)]
pub struct Checker {
    how: How,
    size: Option<u64>,
    taken: u64,
}

#[derive(Debug, Clone)]
enum How {
    Blake3(ContentHasher, Digest),
    Md5(Md5, EntityTag),
    Parts(Vec<InParts>, EntityTag),
    Nothing,
}

impl Checker {
    /// Takes the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        self.taken += bytes.len() as u64;
        match &mut self.how {
            How::Blake3(hasher, _) => hasher.update(bytes),
            How::Md5(hasher, _) => hasher.update(bytes),
            How::Parts(guesses, _) => guesses.iter_mut().for_each(|guess| guess.update(bytes)),
            How::Nothing => {}
        }
    }

    /// How many bytes were taken.
    pub const fn len(&self) -> u64 {
        self.taken
    }

    /// Whether nothing was taken yet.
    pub const fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Whether what was taken is the content.
    pub fn is_right(&self) -> bool {
        self.wrong().is_none()
    }

    /// In what it is another content, in words.
    pub fn wrong(&self) -> Option<String> {
        if let Some(size) = self.size.filter(|size| *size != self.taken) {
            return Some(format!("it has {} of {size} bytes", self.taken));
        }
        match &self.how {
            How::Blake3(hasher, expected) => {
                let found = hasher.digest();
                (found != *expected).then(|| format!("its BLAKE3 is {found} and should be {expected}"))
            }
            How::Md5(hasher, expected) => {
                let found = EntityTag { sum: hasher.clone().finalize().into(), parts: 0 };
                (found != *expected).then(|| format!("its MD5 is {found} and should be {expected}"))
            }
            How::Parts(guesses, expected) => {
                if guesses.iter().any(|guess| guess.clone().finish() == *expected) {
                    return None;
                }
                let parts = expected.parts;
                Some(format!("its MD5 in {parts} parts, of any size that is usual, is not {expected}"))
            }
            How::Nothing => None,
        }
    }
}

/// The tag of an upload in parts of one size.
#[derive(Debug, Clone)]
struct InParts {
    part_size: u64,
    /// Bytes of the part under way that were taken.
    at: u64,
    part: Md5,
    parts: u32,
    all: Md5,
}

impl InParts {
    fn new(part_size: u64) -> Self {
        Self { part_size, at: 0, part: Md5::new(), parts: 0, all: Md5::new() }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(self.part_size - self.at).unwrap_or(usize::MAX);
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.part.update(now);
            self.at += now.len() as u64;
            bytes = rest;
            if self.at == self.part_size {
                self.end_part();
            }
        }
    }

    fn end_part(&mut self) {
        self.all.update(self.part.finalize_reset());
        self.parts += 1;
        self.at = 0;
    }

    fn finish(mut self) -> EntityTag {
        if self.at > 0 || self.parts == 0 {
            self.end_part();
        }
        EntityTag { sum: self.all.finalize().into(), parts: self.parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(checksum: &Checksum, size: u64, content: &[u8]) -> Option<String> {
        let mut checker = checksum.checker(size, &HashKey::default());
        content.chunks(70_001).for_each(|piece| checker.update(piece));
        checker.wrong()
    }

    fn tag_in_parts(content: &[u8], part: usize) -> EntityTag {
        let sums: Vec<u8> = content.chunks(part).flat_map(|part| Md5::digest(part).to_vec()).collect();
        let parts = u32::try_from(content.chunks(part).count()).unwrap();
        EntityTag { sum: Md5::digest(sums).into(), parts }
    }

    #[test]
    fn tags_are_read_as_stores_and_medusa_write_them() {
        let hex: EntityTag = "\"900150983cd24fb0d6963f7d28e17f72\"".parse().unwrap();
        assert_eq!(hex.to_string(), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!("kAFQmDzST7DWlj99KOF/cg==".parse::<EntityTag>().unwrap(), hex);
        let parts: EntityTag = "900150983cd24fb0d6963f7d28e17f72-3".parse().unwrap();
        assert_eq!((parts.parts(), hex.parts()), (Some(3), None));
        for bad in ["", "None", "9001", "900150983cd24fb0d6963f7d28e17f72-0", "0x8DCE1B5F2E3B7A0"] {
            assert!(bad.parse::<EntityTag>().is_err(), "{bad}");
        }
        let content = Checksum::Md5(hex);
        assert_eq!(takes(&content, 3, b"abc"), None);
        assert!(takes(&content, 3, b"abd").unwrap().contains("900150983cd24fb0d6963f7d28e17f72"));
        assert!(takes(&content, 4, b"abc").unwrap().contains("3 of 4 bytes"));
    }

    #[test]
    fn an_upload_in_parts_is_known_by_its_tag_whatever_their_size() {
        let content: Vec<u8> = (0..21 * MIB + 5).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let size = content.len() as u64;
        for part in [5, 7, 8, 11, 16, 20].map(|n| n * usize::try_from(MIB).unwrap()) {
            let checksum = Checksum::Md5(tag_in_parts(&content, part));
            assert_eq!(takes(&checksum, size, &content), None, "{part}");
            let mut other = content.clone();
            other[9_000_000] ^= 1;
            assert!(takes(&checksum, size, &other).is_some(), "{part}");
        }
    }

    #[test]
    fn what_nothing_is_known_of_has_its_size_or_its_name() {
        assert!(takes(&Checksum::Trust(Trust::Size), 3, b"ab").is_some());
        assert_eq!(takes(&Checksum::Trust(Trust::Size), 3, b"xyz"), None);
        assert_eq!(takes(&Checksum::Trust(Trust::Name), 3, b"longer"), None);
    }
}
