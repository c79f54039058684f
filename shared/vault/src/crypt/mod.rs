//! Encryption at the client: what leaves this process for the store is sealed, what comes from it is
//! opened and checked. The format is told in `docs/vault-format.md`, "An encrypted vault".
//!
//! - [`secret`]: keys of 256 bits and the ids they are told apart by.
//! - `object`: one object, a header and blocks: made, and opened from any place on.
//! - `record`: the vault's keys as they lie in `keys/<n>.json`, wrapped; `keyring` holds them
//!   unwrapped in a process; `rotate` gives the vault other ones.
//! - [`config`]: where the key-encryption keys are.
//!
//! **Why no nonce is used twice.** Every object is sealed under a key of its own, derived from a data key
//! and 256 random bits that were drawn for this object, and which encrypts nothing else; within the object
//! a block's nonce is its number. A vault's keys are wrapped the same way, under the key-encryption key.
//! So nobody counts how often a key was used, and no number of objects or workers comes near a limit.
//!
//! **Why nothing else passes for an object.** The derivation takes in the header: vault, data key, length
//! and, but for data objects, the key it lies at. A block under another number, of another object, cut
//! off or added does not open. A data object may be copied to another key by the store (a heal does that);
//! that one was put in another's place is found by its digest, which the manifests name and which is keyed.

pub mod config;
pub(crate) mod keyring;
pub(crate) mod object;
pub(crate) mod record;
pub(crate) mod rotate;
pub mod secret;

pub use config::EncryptionConfig;
pub use record::{KeysRecord, Scheme, VaultKey, VaultKeyUse, Wrapped};
pub use rotate::{KeyChange, KeysOfVault, Rotated};
pub use secret::{KeyId, SecretKey};
