//! `purges/<n>.condemned.jsonl.zst`: what goes, written down before the first object does, so that
//! any number of tasks can delete it, each its share, again and again.
//!
//! A zstd frame of JSON lines: a header, one line an object, a trailer with the counts.

use std::{
    fs::File,
    io::{BufWriter, Read, Write},
    path::Path,
};

use futures::TryStreamExt;
use ringvault_core::{BackupName, ClusterName, JobId};
use serde::{Deserialize, Serialize};
use tempfile::{NamedTempFile, TempPath};

use crate::{
    error::{VaultError, VaultResult},
    identity::Vault,
    layout,
    lines::Lines,
    record::FORMAT_VERSION,
};

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListHeader {
    version: u32,
    cluster: ClusterName,
    purge: u64,
    job: JobId,
}

/// An object that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Condemned {
    pub(super) key: String,
    pub(super) size: u64,
}

/// How much goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Header(ListHeader),
    Object(Condemned),
    End(Totals),
}

/// A list being written, in a temporary file.
pub(super) struct ListWriter {
    encoder: zstd::Encoder<'static, BufWriter<File>>,
    path: TempPath,
    totals: Totals,
}

impl ListWriter {
    pub(super) fn create(folder: &Path, cluster: &ClusterName, purge: u64, job: JobId) -> VaultResult<Self> {
        let start = || {
            let (file, path) = NamedTempFile::with_prefix_in("condemned-", folder)?.into_parts();
            Ok((zstd::Encoder::new(BufWriter::new(file), 3)?, path))
        };
        let (encoder, path) = start().map_err(|e| VaultError::scratch(folder, e))?;
        let mut writer = Self { encoder, path, totals: Totals::default() };
        let cluster = cluster.clone();
        writer.line(&Line::Header(ListHeader { version: FORMAT_VERSION, cluster, purge, job }))?;
        Ok(writer)
    }

    pub(super) fn push(&mut self, key: String, size: u64) -> VaultResult<()> {
        self.totals.objects += 1;
        self.totals.bytes = self.totals.bytes.saturating_add(size);
        self.line(&Line::Object(Condemned { key, size }))
    }

    pub(super) fn finish(mut self) -> VaultResult<(TempPath, Totals)> {
        self.line(&Line::End(self.totals))?;
        let closed = self.encoder.finish().and_then(|mut file| file.flush());
        closed.map_err(|e| VaultError::scratch(&self.path, e))?;
        Ok((self.path, self.totals))
    }

    fn line(&mut self, line: &Line) -> VaultResult<()> {
        let mut write = || {
            serde_json::to_writer(&mut self.encoder, line)?;
            self.encoder.write_all(b"\n")
        };
        write().map_err(|e| VaultError::scratch(&self.path, e))
    }
}

/// A list in a temporary file.
pub(super) struct ListFile {
    path: TempPath,
    key: String,
    cluster: ClusterName,
    purge: u64,
}

impl ListFile {
    /// Fetches the list of purge `n`; `None` when nothing is condemned yet.
    pub(super) async fn fetch(vault: &Vault, cluster: &ClusterName, n: u64) -> VaultResult<Option<Self>> {
        let key = layout::condemned(cluster, n);
        let mut pieces = match vault.store().get_stream(&key, None).await {
            Ok(pieces) => pieces,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let failed = |e| VaultError::scratch(vault.scratch(), e);
        let file = NamedTempFile::with_prefix_in("condemned-", vault.scratch()).map_err(failed)?;
        let (mut file, path) = file.into_parts();
        while let Some(piece) = pieces.try_next().await? {
            file.write_all(&piece).map_err(failed)?;
        }
        Ok(Some(Self { path, key, cluster: cluster.clone(), purge: n }))
    }

    /// Calls `each` with every object, in order; returns the totals.
    ///
    /// Every key is checked to lie in a `data/` folder of the list's cluster; `each` is also told of
    /// which backup. A list that was cut short is an error at its end.
    pub(super) fn read(
        &self,
        each: impl FnMut(Condemned, BackupName) -> VaultResult<()>,
    ) -> VaultResult<Totals> {
        let file = File::open(&self.path).map_err(|e| VaultError::scratch(&self.path, e))?;
        read_list(file, &self.key, &self.cluster, self.purge, each)
    }
}

/// Whether `compressed` is the whole list of what purge `n` of `cluster` condemns; `key` names it in
/// errors. Returns how many objects there are and their bytes.
pub fn check_condemned(
    compressed: impl Read,
    key: &str,
    cluster: &ClusterName,
    n: u64,
) -> VaultResult<(u64, u64)> {
    let totals = read_list(compressed, key, cluster, n, |_, _| Ok(()))?;
    Ok((totals.objects, totals.bytes))
}

fn read_list(
    compressed: impl Read,
    key: &str,
    cluster: &ClusterName,
    n: u64,
    mut each: impl FnMut(Condemned, BackupName) -> VaultResult<()>,
) -> VaultResult<Totals> {
    let bad = |why: String| VaultError::malformed(key, why);
    let mut lines = Lines::of(compressed, u64::MAX).map_err(|e| bad(e.to_string()))?;
    let mut totals = Totals::default();
    let mut begun = false;
    while let Some(line) = lines.next().map_err(|e| bad(e.to_string()))? {
        match serde_json::from_slice(line).map_err(|e| bad(e.to_string()))? {
            Line::Header(header) if !begun => {
                if (header.version, header.purge) != (FORMAT_VERSION, n) || header.cluster != *cluster {
                    return Err(bad("it is another purge's, or of a newer format".to_owned()));
                }
                begun = true;
            }
            Line::Object(object) if begun => {
                let forbidden = |cause| VaultError::ForbiddenKey { inside: key.to_owned(), cause };
                let (of, backup) = layout::owner_of(&object.key).map_err(forbidden)?;
                if of != *cluster {
                    return Err(bad(format!("{} is another cluster's", object.key)));
                }
                totals.objects += 1;
                totals.bytes = totals.bytes.saturating_add(object.size);
                each(object, backup)?;
            }
            Line::End(end) if begun && end == totals => return Ok(totals),
            _ => return Err(bad("its lines are out of place".to_owned())),
        }
    }
    Err(bad("it was cut short".to_owned()))
}
