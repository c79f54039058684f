//! Backups that cassandra-medusa wrote, taken over as they lie.
//!
//! An import reads Medusa's index and, of each backup, its small files: token map, schema, manifest. It writes
//! what makes a sealed backup of the vault (start, schema, manifests, seal), with manifests that name
//! Medusa's own objects by key (`medusa/<store>/…`) and by Medusa's own checksums. **No data is read or
//! copied**, so an import takes as long as reading the manifests does. Everything above works on these
//! manifests as on others: listing, verify, restore, export, `catalog rebuild`.
//!
//! **What is Medusa's stays Medusa's.** The vault reads there and never writes: [`crate::store::Store`] refuses it.
//! A purge of an imported backup removes its records here and nothing there; Medusa's own purge goes on
//! as before, and what it took away is found by the next verify.
//!
//! **It is idempotent.** A backup's job is derived from cluster and name, so a second import finds
//! its own seal; one that was cut short left nothing but manifests that no seal names.
//!
//! Everything in a bucket is input from outside: names, paths and numbers are checked before a key is made of
//! them, and by the manifest's writer once more.

mod cql;
mod entries;
mod import;
mod index;
mod meta;
mod schema;

pub use import::{ImportOutcome, Imported};
pub use index::{MedusaBackup, MedusaIndex, MedusaNode};
