//! What a content is known by: the BLAKE3-256 of its plain bytes; keyed, in an encrypted vault, so that who
//! knows a content cannot look for it among names and messages.
//!
//! Everything in the vault is told apart by content, never by name, because Cassandra rewrites
//! `Statistics.db` and `Summary.db` under the name they had.

use std::{fmt, str::FromStr, sync::Arc};

use secrecy::{ExposeSecret as _, SecretBox};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// BLAKE3-256 of a plain content. Reads and writes as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// The text is not 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a BLAKE3 digest of 64 lower-case hex digits")]
pub struct InvalidDigest(String);

impl Digest {
    /// The digest of bytes at hand.
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }

    /// A digest that was taken elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || InvalidDigest(text.chars().take(80).collect());
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(refuse());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| refuse())?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// What the contents of a vault are hashed with: nothing, or the key of an encrypted one. Clones share it.
#[derive(Clone, Default)]
pub struct HashKey(Option<Arc<SecretBox<[u8; 32]>>>);

impl HashKey {
    /// The key of these bytes.
    pub(crate) fn of(key: &[u8; 32]) -> Self {
        Self(Some(Arc::new(SecretBox::new(Box::new(*key)))))
    }

    /// Whether there is one: names then say nothing either.
    pub const fn is_keyed(&self) -> bool {
        self.0.is_some()
    }

    /// A hasher that has seen nothing.
    pub fn hasher(&self) -> ContentHasher {
        match &self.0 {
            None => ContentHasher::new(),
            Some(key) => ContentHasher(Box::new(blake3::Hasher::new_keyed(key.expose_secret()))),
        }
    }

    /// The digest of bytes at hand.
    pub fn digest(&self, content: &[u8]) -> Digest {
        match &self.0 {
            None => Digest::of(content),
            Some(key) => Digest(*blake3::keyed_hash(key.expose_secret(), content).as_bytes()),
        }
    }

    /// A part of a key that stands for `name`: the name itself, or in an encrypted vault its digest.
    pub fn hide(&self, name: &str) -> String {
        if self.is_keyed() { self.digest(name.as_bytes()).to_string() } else { name.to_owned() }
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_keyed() { "HashKey(keyed)" } else { "HashKey(none)" })
    }
}

/// Takes a content piece by piece. Boxed: it is two kilobytes, in many futures.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher(Box<blake3::Hasher>);

impl ContentHasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was taken.
    pub fn digest(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }

    /// How many bytes were taken.
    pub fn len(&self) -> u64 {
        self.0.count()
    }

    /// Whether nothing was taken yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_from_its_text_and_from_nothing_else() {
        let digest = Digest::of(b"content");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        for bad in ["", "ab", &digest.to_string().to_uppercase(), &format!("{digest}00"), &"zz".repeat(32)] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn pieces_make_the_digest_of_the_whole() {
        let mut hasher = ContentHasher::new();
        hasher.update(b"con");
        hasher.update(b"tent");
        assert_eq!((hasher.digest(), hasher.len()), (Digest::of(b"content"), 7));
    }

    #[test]
    fn under_a_key_contents_are_known_by_other_digests_and_names_are_hidden() {
        let (plain, keyed) = (HashKey::default(), HashKey::of(&[7; 32]));
        let mut hasher = keyed.hasher();
        hasher.update(b"content");
        assert_eq!(hasher.digest(), keyed.digest(b"content"));
        assert_ne!(keyed.digest(b"content"), HashKey::of(&[8; 32]).digest(b"content"));
        assert_ne!(keyed.digest(b"content"), Digest::of(b"content"));
        assert_eq!(plain.digest(b"content"), Digest::of(b"content"));
        assert_eq!(plain.hide("ks.t"), "ks.t");
        assert_eq!(keyed.hide("ks.t"), keyed.digest(b"ks.t").to_string());
    }
}
