//! A vault: backups in an object store or a folder, in a format that can be read without the rest of
//! the system.
//!
//! - [`store`]: the few operations a vault needs of a store; [`config`]: where one is.
//! - [`crypt`]: how what lies in an encrypted vault is sealed, and its keys.
//! - [`layout`]: where everything lies, format version 1.
//! - [`identity`]: that there is a vault, whose it is, which ring a cluster in it is.
//! - [`backup`]: a backup from its start to its seal, and what it may reuse; [`upload`] brings a
//!   node's snapshot, [`manifest`] says what it consists of, [`pack`] keeps small files together.
//! - [`purge`]: how objects leave, and why none leaves that is needed.
//! - [`verify`]: whether a backup is whole, and how damage heals; [`download`] takes files back.
//! - [`catalog`]: what there is, from the vault alone; [`medusa`]: what another wrote, taken over as it lies.
//!
//! The records in the vault (`start.json`, `backup.json`, purge intents) are the truth; a database
//! is a cache of them. Everything read from a vault is input from outside: sizes are bounded, names
//! and keys are checked before a path or a request is made of them.

mod audit;
pub mod backup;
mod bad;
pub mod catalog;
pub mod checksum;
mod compress;
pub mod config;
mod content;
pub mod crypt;
pub mod disk;
pub mod download;
pub mod error;
pub mod hash;
mod holds;
pub mod identity;
pub mod journal;
pub mod layout;
mod lines;
pub mod manifest;
pub mod medusa;
pub mod pack;
mod piece;
pub mod progress;
pub mod purge;
mod record;
pub mod store;
pub mod throttle;
pub mod transfer;
pub mod upload;
pub mod verify;

pub use bad::BadRecord;
pub use config::{Checksums, ConfigError, DEFAULT_DEPLOYMENT, VaultConfig};
pub use crypt::EncryptionConfig;
pub use error::{VaultError, VaultResult};
pub use holds::{HoldRecord, HoldReleased};
pub use identity::Vault;
pub use record::parse as parse_record;
pub use store::{Store, StoreError, StoreErrorKind, StoreRequests};
