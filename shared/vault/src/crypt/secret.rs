//! Keys of 256 bits, and the ids they are told apart by.
//!
//! A key's bytes are wiped when it is dropped, and are never printed. Its id is derived from it, so that an id
//! cannot be given to another key by mistake; nothing of the key can be learnt from it.

use std::{fmt, str::FromStr};

use aws_lc_rs::{
    hkdf::{HKDF_SHA256, KeyType, Salt},
    rand,
};
use secrecy::{ExposeSecret as _, SecretBox};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_LEN: usize = 32;

/// What a key is known by: 16 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

/// The text is no key id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a key id of 16 lower-case hex digits")]
pub struct InvalidKeyId(String);

/// The text is no key. It is not repeated, being a secret or part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not hold a key: 64 hex digits (32 random bytes) are expected, and nothing else")]
pub struct InvalidKey;

/// The system's source of randomness failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system has no random bytes for a key")]
pub struct NoRandomness;

/// A secret key.
pub struct SecretKey {
    bytes: SecretBox<[u8; KEY_LEN]>,
    id: KeyId,
}

/// How many bytes a derivation gives.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-SHA256 (RFC 5869).
pub(super) fn derive<const N: usize>(secret: &[u8], salt: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(info, Length(N))
        .and_then(|okm| okm.fill(&mut *out))
        .expect("HKDF-SHA256 gives up to 8,160 bytes, and no more than 64 are asked for");
    out
}

/// Fills `bytes` from the system's source of randomness.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    rand::fill(bytes).map_err(|_| NoRandomness)
}

impl SecretKey {
    /// A new key.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        fill_random(&mut *bytes)?;
        Ok(Self::new(&bytes))
    }

    /// The key of these bytes.
    pub(crate) fn new(bytes: &[u8; KEY_LEN]) -> Self {
        let id = derive::<8>(bytes, b"", &[b"ringvault key id"]);
        Self { bytes: SecretBox::new(Box::new(*bytes)), id: KeyId(*id) }
    }

    /// Reads a key as it stands in a file: 64 hex digits, with white space around them.
    pub fn from_text(text: &str) -> Result<Self, InvalidKey> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        hex::decode_to_slice(text.trim(), &mut *bytes).map_err(|_| InvalidKey)?;
        Ok(Self::new(&bytes))
    }

    /// The key as it is written into a file.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}\n", *Zeroizing::new(hex::encode(self.expose()))))
    }

    /// What it is known by.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn expose(&self) -> &[u8; KEY_LEN] {
        self.bytes.expose_secret()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.id)
    }
}

impl KeyId {
    pub(super) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || InvalidKeyId(text.chars().take(80).collect());
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(refuse());
        }
        let mut bytes = [0; 8];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| refuse())?;
        Ok(Self(bytes))
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Key ids as they are told in an error or a table.
pub(crate) fn listed(ids: &[KeyId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written_and_is_never_shown() {
        let key = SecretKey::generate().unwrap();
        let text = key.to_text();
        let again = SecretKey::from_text(&text).unwrap();
        assert_eq!((again.id(), again.expose()), (key.id(), key.expose()));
        assert_eq!(key.id().to_string().parse::<KeyId>().unwrap(), key.id());
        assert!(!format!("{key:?}").contains(&text[..16]));
        for bad in ["", "ab", &"zz".repeat(32), &format!("{}00", text.trim())] {
            assert!(SecretKey::from_text(bad).is_err());
        }
    }

    #[test]
    fn no_two_keys_are_alike_and_an_id_is_its_keys() {
        let (one, other) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        assert_ne!(one.id(), other.id());
        // Frozen: ids stand in vaults.
        assert_eq!(SecretKey::new(&[7; KEY_LEN]).id().to_string(), "82137f4dfc712323");
    }
}
