//! A token's secret and its hash.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRngCore as _, rngs::OsRng};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// SHA-256 of a token. Compared in constant time.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token as it was given.
    pub(in crate::api) fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// For the database.
    pub(in crate::api) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl PartialEq<Vec<u8>> for TokenHash {
    fn eq(&self, other: &Vec<u8>) -> bool {
        self.0.as_slice().ct_eq(other).into()
    }
}

/// A new token: `rv_` (so that scanners for leaked secrets can know it) and 256 random bits.
pub(in crate::api) struct TokenSecret(String);

impl TokenSecret {
    /// Draws one from the system's random source.
    pub(in crate::api) fn draw() -> Result<Self, rand::rand_core::OsError> {
        let mut bits = [0_u8; 32];
        OsRng.try_fill_bytes(&mut bits)?;
        Ok(Self(format!("rv_{}", URL_SAFE_NO_PAD.encode(bits))))
    }

    /// Its hash.
    pub(in crate::api) fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }

    /// The secret, to be told once.
    pub(in crate::api) fn reveal(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_different_and_known_by_their_hash() {
        let (one, other) = (TokenSecret::draw().unwrap(), TokenSecret::draw().unwrap());
        assert!(one.hash() != other.hash());
        let hash = one.hash();
        assert!(hash == hash.as_bytes().to_vec());
        let text = one.reveal();
        assert_eq!(text.len(), 3 + 43);
        assert!(TokenHash::of(&text) == hash);
        assert!(hash != Vec::new());
    }
}
