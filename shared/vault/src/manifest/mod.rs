//! A node's manifest: what one node's part of a backup consists of, sufficient to restore it with
//! the vault alone.
//!
//! `nodes/<host_id>.<epoch>.jsonl.zst` is a zstd frame of JSON lines, each ended by `\n`:
//!
//! 1. one [`Header`]: whose manifest this is and how the node saw the ring;
//! 2. any number of [`Entry`] lines, strictly ascending by [`OrderKey`]: a table in a data
//!    directory (so that an empty table is known), and each of its SSTables;
//! 3. one [`Trailer`]: counts, bytes, and the BLAKE3 over all lines before it, `\n` included.
//!
//! **Order** lets two manifests of a node, or a manifest and a snapshot, be compared as two sorted
//! streams, so memory does not grow with the number of files. **Trust:** a manifest is input from
//! outside. The seal names it by the BLAKE3 of the object, which [`ManifestFile::fetch`] checks
//! before a line is parsed; the reader checks every name, key and number all the same, because paths
//! and requests are built from them. The writer makes the same checks, so it cannot write what the
//! reader would refuse.

mod check;
mod entry;
mod error;
mod header;
mod object;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use check::check_names;
pub use check::{MAX_COMPONENTS, MAX_FILE_NAME_LEN, is_file_name};
pub use entry::{
    Component, Entry, FileIdentity, OrderKey, PackSlot, Place, SstableEntry, SstableFacts, SstableName,
    TableEntry, TableRef,
};
pub use error::{ManifestError, ManifestFault};
pub use header::{Figures, Header, IMPORTED_VERSION, PLAIN_VERSION, Trailer, VERSION};
pub use object::{ManifestFile, ManifestFileReader, ManifestObjectError};
pub use reader::ManifestReader;
pub use writer::{FinishedManifest, ManifestWriter};
