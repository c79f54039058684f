//! Signatures on what a worker is told: HMAC-SHA256 over the body's bytes, with the id of the key,
//! in the message's headers.
//!
//! A signature says that a scheduler wrote these bytes. It does not say when, or that they were not
//! sent before: epochs fence what is late or repeated. The body names its own type, so a signature
//! cannot be moved to a message of another meaning.
//!
//! The key file holds one key a line, as hex, at least 32 bytes each; blank lines and lines that
//! begin with `#` are skipped. The first key signs, every key verifies, so a key is rotated by
//! putting the new one last everywhere, then first, then taking the old one out. A key's id is
//! derived from it and need not be agreed on.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::{Digest, Sha256};

/// Header that carries the signature, in hex.
pub const SIGNATURE_HEADER: &str = "x-ringvault-signature";
/// Header that names the key.
pub const KEY_HEADER: &str = "x-ringvault-signature-key";
/// Keys that an error names.
const MOST_NAMED: usize = 8;
/// Shortest key, in bytes.
pub const MIN_KEY_BYTES: usize = 32;

/// Why a message's signature was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No signature at all.
    #[error("the message is not signed (header {missing} is missing)")]
    Unsigned {
        /// The header that is missing.
        missing: &'static str,
    },
    /// Signed by a key that is not in the ring.
    #[error(
        "the message is signed with key {given:?}, which is not among the keys here ({}); \
         give schedulers and workers the same key file", known.join(", ")
    )]
    UnknownKey {
        /// The id, as given.
        given: String,
        /// The ids of the first keys here.
        known: Vec<String>,
    },
    /// The bytes are not what was signed.
    #[error("the message's signature does not match its body (key {key})")]
    Mismatch {
        /// The key's id.
        key: String,
    },
}

/// Why a key file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Not readable.
    #[error("the signing key file {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// A line is not a key.
    #[error(
        "line {line} of the signing key file {} is not a key: {why}; \
         `openssl rand -hex 32` makes one", path.display()
    )]
    BadKey {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Which rule it breaks. Never the line itself.
        why: &'static str,
    },
    /// No key in it.
    #[error("the signing key file {} holds no key; `openssl rand -hex 32` makes one", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A signature, as it stands in the headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key's id.
    pub key: String,
    /// HMAC-SHA256, in hex.
    pub mac: String,
}

struct Key {
    id: String,
    secret: SecretSlice<u8>,
}

impl Key {
    fn new(secret: Vec<u8>) -> Self {
        let digest = Sha256::new().chain_update(b"ringvault signing key id").chain_update(&secret).finalize();
        Self { id: hex::encode(&digest[..4]), secret: secret.into() }
    }

    fn mac(&self, body: &[u8]) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(self.secret.expose_secret());
        mac.expect("HMAC takes keys of any length").chain_update(body)
    }
}

/// The keys of one deployment, the signing one first.
pub struct KeyRing {
    keys: Vec<Key>,
}

impl KeyRing {
    /// Reads a key file.
    pub fn from_file(path: &Path) -> Result<Self, KeyFileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| KeyFileError::Unreadable { path: path.to_owned(), cause })?;
        Self::parse(&text, path)
    }

    /// Reads the text of a key file; `path` names it in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, KeyFileError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |why| KeyFileError::BadKey { path: path.to_owned(), line: index + 1, why };
            let secret = hex::decode(line).map_err(|_| bad("it is not hexadecimal"))?;
            if secret.len() < MIN_KEY_BYTES {
                return Err(bad("it has fewer than 32 bytes"));
            }
            keys.push(Key::new(secret));
        }
        if keys.is_empty() {
            return Err(KeyFileError::Empty { path: path.to_owned() });
        }
        Ok(Self { keys })
    }

    /// A ring of one key, given as bytes.
    pub fn from_secret(secret: Vec<u8>) -> Self {
        Self { keys: vec![Key::new(secret)] }
    }

    /// Ids of the keys, the signing one first.
    pub fn key_ids(&self) -> Vec<&str> {
        self.keys.iter().map(|key| key.id.as_str()).collect()
    }

    /// Signs `body` with the first key.
    pub fn sign(&self, body: &[u8]) -> Signature {
        let key = &self.keys[0];
        Signature { key: key.id.clone(), mac: hex::encode(key.mac(body).finalize().into_bytes()) }
    }

    /// Accepts `body` only with the signature of a key in the ring. Compares in constant time.
    pub fn verify(&self, body: &[u8], key: Option<&str>, mac: Option<&str>) -> Result<(), SignatureError> {
        let mac = mac.ok_or(SignatureError::Unsigned { missing: SIGNATURE_HEADER })?;
        let given = key.ok_or(SignatureError::Unsigned { missing: KEY_HEADER })?;
        let Some(key) = self.keys.iter().find(|key| key.id == given) else {
            return Err(SignatureError::UnknownKey {
                given: given.chars().take(64).collect(),
                known: self.keys.iter().take(MOST_NAMED).map(|key| key.id.clone()).collect(),
            });
        };
        let mismatch = || SignatureError::Mismatch { key: key.id.clone() };
        let mac = hex::decode(mac).map_err(|_| mismatch())?;
        key.mac(body).verify_slice(&mac).map_err(|_| mismatch())
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.key_ids()).finish()
    }
}

#[cfg(test)]
mod tests;
