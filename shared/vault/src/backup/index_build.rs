//! Makes an index of the manifests that a seal accepts.
//!
//! The entries are first spread over temporary files, one a shard, then each shard is sorted and
//! stored: memory holds one shard, whatever the backup's size. On the way the packs are counted (see
//! [`PackCensus`]): contents that several manifests name at the same place count once there.

use std::{
    io::{BufRead, BufReader, BufWriter, Seek, Write},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use ringvault_fault::around;

use super::{
    index::{IndexRef, shard_count, shard_of},
    shard::{IndexEntry, Shard, ShardBuilder},
};
use crate::{
    error::{VaultError, VaultResult},
    hash::Digest,
    layout,
    manifest::ManifestFile,
    pack::PackCensus,
    store::Store,
};
use ringvault_core::{BackupName, ClusterName};

/// What was made.
#[derive(Debug)]
pub(super) struct BuiltIndex {
    /// For the seal.
    pub(super) index: IndexRef,
    /// Packs that are mostly dead, in order.
    pub(super) sparse_packs: Vec<String>,
}

type Spill = BufWriter<std::fs::File>;

/// Builds and stores the index of `manifests`, which name about `files` files.
pub(super) async fn build(
    store: &Store,
    cluster: &ClusterName,
    backup: &BackupName,
    manifests: &Arc<Vec<ManifestFile>>,
    files: u64,
    scratch: &Path,
) -> VaultResult<BuiltIndex> {
    let shards = shard_count(files);
    let (folder, sources) = (scratch.to_owned(), manifests.clone());
    let spills = blocking(move || spread(&sources, shards, &folder)).await?;
    let mut census = PackCensus::new();
    let mut index = IndexRef::default();
    for (number, spill) in (0..).zip(spills) {
        let key = layout::index_shard(cluster, backup, number);
        let (entries, body, counted) = blocking(move || shard(spill, census)).await?;
        census = counted;
        index.entries += entries;
        index.shards.push(Digest::of(&body));
        around!("vault.index").run(store.put(&key, Bytes::from(body))).await?;
    }
    Ok(BuiltIndex { index, sparse_packs: census.sparse() })
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> VaultResult<T> + Send + 'static,
) -> VaultResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| VaultError::Internal(e.to_string()))?
}

fn spread(manifests: &[ManifestFile], shards: u32, scratch: &Path) -> VaultResult<Vec<Spill>> {
    let failed = |e: std::io::Error| VaultError::scratch(scratch, e);
    let mut spills = (0..shards)
        .map(|_| tempfile::tempfile_in(scratch).map(BufWriter::new).map_err(failed))
        .collect::<VaultResult<Vec<_>>>()?;
    for manifest in manifests {
        let mut reader = manifest.reader()?;
        while let Some(entry) = reader.next_entry()? {
            for component in entry.components() {
                // Nothing of another's is reused.
                let Some(blake3) = component.checksum.blake3() else { continue };
                let line = IndexEntry { size: component.size, blake3, place: component.place.clone() };
                let Some(spill) = spills.get_mut(shard_of(line.size, shards) as usize) else { continue };
                serde_json::to_writer(&mut *spill, &line).map_err(|e| failed(e.into()))?;
                spill.write_all(b"\n").map_err(failed)?;
            }
        }
    }
    Ok(spills)
}

/// Sorts one shard, counts its packs and encodes it: (entries, object, census).
fn shard(spill: Spill, mut census: PackCensus) -> VaultResult<(u64, Vec<u8>, PackCensus)> {
    let read = || -> std::io::Result<Shard> {
        let mut file = spill.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.rewind()?;
        let mut shard = ShardBuilder::default();
        for line in BufReader::new(file).lines() {
            shard.push(serde_json::from_str(&line?)?);
        }
        Ok(shard.finish())
    };
    let failed = |e: std::io::Error| VaultError::scratch(Path::new("index shard"), e);
    let mut shard = read().map_err(failed)?;
    shard.sort();
    for entry in shard.iter() {
        census.count(&entry.place, entry.size);
    }
    shard.keep_first_places();
    let body = shard.encode().map_err(failed)?;
    Ok((shard.len() as u64, body, census))
}
