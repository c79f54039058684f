//! A backup's life in the vault: begun, sealed or aborted, expired.
//!
//! Three records say all of it. `start.json` is created first; the backup exists from then on.
//! `backup.json` is created last, once, with `If-None-Match`: by the seal, or by an abort marker that
//! takes its place, so of a late seal and an abort exactly one wins. Purge intents expire a sealed
//! backup; when its objects are gone, a tombstone is written over its seal, and the name is never free
//! again. Everything else (job, database) is a cache of these.

mod base;
mod begin;
mod index;
mod index_build;
mod intents;
pub(crate) mod judge;
mod list;
mod lock;
mod read_through;
mod schema;
mod seal;
mod shard;
mod state;

pub use begin::StartRecord;
pub use index::{IndexRef, SealIndex};
pub use intents::{Intents, PurgeIntent};
pub use judge::Remark;
pub use list::BackupEntry;
pub use lock::SealLock;
pub use schema::{CapturedObject, CapturedSchema, SchemaChange, SchemaRef, decompress_schema};
pub use seal::{SealRecord, SealedNode};
pub use shard::{IndexEntry, Shard, parse_index_shard};
pub use state::{AbortOutcome, AbortRecord, SealPlace, TombstoneRecord, Was};

pub(crate) use index::PARALLEL;
pub(crate) use seal::held;
