//! Brings files of a backup to this machine, each checked against its manifest before it gets its name.
//!
//! A file is written under a temporary name, hashed on the way, and renamed only if size and digest are
//! those of the manifest: under a final name there is never anything else. So an attempt that starts
//! again keeps what is staged, after hashing it once more, and fetches the rest. Small files that lie
//! near each other in a pack come with one request. Paths can only be made by [`StagingFolder::path`],
//! which lets no name out of its folder. Memory: one batch of names, and a megabyte or two for each
//! request under way.
//!
//! What is needed in parts alone is read through [`RangedContent`]; its reader has to check it.

mod error;
mod fetch;
mod plan;
mod ranged;
mod staged;
mod staging;

use futures::{Stream, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

pub use error::{DownloadError, FileOrigin};
pub use ranged::{RangedBody, RangedContent};
pub use staging::{StagedPath, StagingFolder, UnsafePath};

use crate::{
    checksum::Checksum,
    manifest::{Component, Entry, Header, Place},
    transfer::TransferContext,
};

/// Files planned at a time.
const BATCH: usize = 1024;

/// A file to bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedFile {
    /// Which file of which backup it is, for errors.
    pub origin: FileOrigin,
    /// Bytes.
    pub size: u64,
    /// Its content.
    pub checksum: Checksum,
    /// Where the content lies.
    pub place: Place,
    /// Where it goes. No two files may go to the same place.
    pub to: StagedPath,
}

impl WantedFile {
    /// A component of an entry, as its manifest names it.
    pub fn new(header: &Header, entry: &Entry, component: &Component, to: StagedPath) -> Self {
        let table = entry.table();
        Self {
            origin: FileOrigin {
                backup: header.backup.clone(),
                host_id: header.host_id,
                keyspace: table.keyspace.clone(),
                table: table.table.clone(),
                file: entry.file_name(component),
            },
            size: component.size,
            checksum: component.checksum,
            place: component.place.clone(),
            to,
        }
    }
}

/// How a download divides its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DownloadConfig {
    /// Requests under way at the same time; at least one.
    pub parallel_requests: usize,
    /// Parts of a pack that lie at most this many bytes apart come with one request.
    pub max_gap: u64,
    /// Longest request for several parts of a pack, in bytes.
    pub max_request: u64,
    /// Bytes that must stay free on the disk: Cassandra lives there too.
    pub disk_reserve: u64,
}

impl Default for DownloadConfig {
    fn default() -> Self {
        Self { parallel_requests: 6, max_gap: 256 << 10, max_request: 16 << 20, disk_reserve: 256 << 20 }
    }
}

/// What a download came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Downloaded {
    /// Files that are staged now.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, bytes that were staged before.
    pub bytes_kept: u64,
}

impl std::ops::AddAssign for Downloaded {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.bytes_kept += other.bytes_kept;
    }
}

/// Brings `files`, which may be read from a manifest while others are under way; files whose parts of
/// a pack shall come together must come near each other, as they do in a manifest. Ends with all of them
/// staged, or with the first error.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn download<I>(
    context: &TransferContext,
    config: DownloadConfig,
    files: I,
) -> Result<Downloaded, DownloadError>
where
    I: Iterator<Item = Result<WantedFile, DownloadError>> + Send,
{
    let work = planned(context, config, files)
        .map_ok(|fetch| fetch::run(context, config, fetch))
        .try_buffer_unordered(config.parallel_requests.max(1))
        .try_fold(Downloaded::default(), |mut sum, done| {
            sum += done;
            std::future::ready(Ok(sum))
        });
    context.unless_stopped(work).await
}

/// The requests to make, batch by batch.
fn planned<'a, I>(
    context: &'a TransferContext,
    config: DownloadConfig,
    files: I,
) -> impl Stream<Item = Result<plan::Fetch, DownloadError>> + Send + 'a
where
    I: Iterator<Item = Result<WantedFile, DownloadError>> + Send + 'a,
{
    stream::iter(files)
        .try_chunks(BATCH)
        .map_err(|stream::TryChunksError(_, error)| error)
        .and_then(move |batch| async move {
            let (kept, missing) = fetch::keep_staged(context, batch).await?;
            let fetches = std::iter::once(plan::Fetch::nothing(kept)).chain(plan::plan(missing, &config));
            Ok(stream::iter(fetches.map(Ok)))
        })
        .try_flatten()
}
