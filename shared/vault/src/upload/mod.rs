//! Brings a node's snapshot to the vault and writes its manifest.
//!
//! Each file goes the cheapest way that is sure of its content:
//!
//! 1. **Same file as in the node's last manifest** (file system, inode, size, mtime, name): named again,
//!    not opened.
//! 2. **Brought by an earlier attempt** of this task, as the journal says: named.
//! 3. **Small** (below the pack threshold): read once, hashed, and looked up by content; if it is new, it
//!    goes into the open pack.
//! 4. **Large**: if the last seal's index has any content of its size, it is hashed and looked up first;
//!    if it is new, it is read once, hashed while it is sent, in parts where it is long. What an earlier attempt left
//!    of such an upload in an S3 store is gone on with: the file is read again for its hash, and parts that the store
//!    has are not sent.
//!
//! What it sends is compressed on the way, where that pays: small files and large ones, but in an encrypted
//! vault none that goes in parts, as the length of what is sealed has to be known before.
//!
//! Uploads run in parallel, manifest lines come out in order: a line waits until each of its files has
//! a place. Memory does not grow with the size of files, and with their number only by the journal of
//! an earlier attempt: the last manifest is read beside the snapshot, both being in the same order, and
//! the lines that wait are bounded.
//!
//! An object is named only after the store has confirmed it, and the manifest is stored last; what an
//! attempt that failed has left in the store is named by its journal or by nothing.

mod bring;
mod config;
mod engine;
mod error;
mod local;
mod names;
mod outgoing;
mod pending;
mod reader;
mod reuse;
mod send;
mod source;
mod walk;

pub use config::UploadConfig;
pub use engine::{UploadRequest, Uploaded, upload};
pub use error::UploadError;
pub use reuse::{ContentIndex, ReuseBase};
pub use source::{SnapshotSource, SourceFile, SourceItem, SourceSstable, SourceTable};
