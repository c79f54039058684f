//! The upload of one snapshot from its first file to the stored manifest.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use ringvault_fault::around;
use tokio::task::{JoinSet, spawn_blocking};
use tracing::Instrument as _;

use super::{
    ReuseBase, SnapshotSource, SourceItem, UploadConfig, UploadError,
    bring::{Bringer, PackedFile},
    local::{FileSystems, LocalFile},
    names,
    pending::{Landed, PendingLines, Slot},
    reuse::BaseCursor,
    send::{Sender, SmallContent},
    walk::{LocalItem, Walk, walk},
};
use crate::{
    hash::{Digest, HashKey},
    journal::{Finished, UploadJournal},
    layout,
    manifest::{Entry, Figures, FinishedManifest, Header, ManifestWriter, PLAIN_VERSION, SstableFacts},
    pack::PackBuilder,
    progress::TransferProgress,
    transfer::TransferContext,
};

/// The component whose content is what an SSTable holds.
const DATA: &str = "Data.db";

/// Bytes of small files that are read at once; a longer one alone.
const READ_AT_ONCE: u64 = 2 << 20;

/// What to upload, and on what to build.
pub struct UploadRequest {
    /// The manifest's first line: names cluster, backup, node and epoch.
    pub header: Header,
    /// The snapshot.
    pub source: Arc<dyn SnapshotSource>,
    /// What may be named instead of brought.
    pub reuse: ReuseBase,
    /// What earlier attempts brought.
    pub journal: UploadJournal,
    /// An existing folder for temporary files: room for the manifest, some hundred bytes a file.
    pub scratch: PathBuf,
    /// How to divide the work.
    pub config: UploadConfig,
}

/// A snapshot that is in the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// The manifest's key.
    pub key: String,
    /// BLAKE3 of the manifest's object, for the seal to name.
    pub blake3: Digest,
    /// Bytes of the manifest's object.
    pub manifest_size: u64,
    /// What the manifest names.
    pub figures: Figures,
    /// Bytes that this backup brought, as they are stored, earlier attempts included.
    pub bytes_new: u64,
    /// Objects that it brought, the manifest not counted.
    pub objects_new: u64,
    /// Bytes that this attempt read from data files.
    pub bytes_read: u64,
}

/// Uploads a snapshot. Ends with the manifest stored, or with the first error once everything begun
/// has been let go; what was finished by then is in the journal.
#[tracing::instrument(name = "upload snapshot", level = "debug", skip_all)]
pub async fn upload(context: &TransferContext, request: UploadRequest) -> Result<Uploaded, UploadError> {
    request.config.check()?;
    // Boxed, for it is large, and callers have futures of their own.
    Box::pin(run(context, request)).await
}

async fn run(context: &TransferContext, request: UploadRequest) -> Result<Uploaded, UploadError> {
    let context = TransferContext { stop: context.stop.child_token(), ..context.clone() };
    let ends_all = context.stop.clone().drop_guard();
    context.unless_stopped(drop_open_uploads(&context, &request.journal, Left::Useless)).await?;
    let snapshot = walk(&context, Arc::clone(&request.source));
    let mut engine = Engine::begin(&context, request)?;
    let result = context.unless_stopped(engine.take_all(snapshot)).await;
    if let Err(error) = result {
        drop(ends_all);
        while engine.uploads.join_next().await.is_some() {}
        return Err(error);
    }
    Box::pin(engine.finish()).await
}

/// What of an earlier attempt's open uploads is dropped.
enum Left {
    /// What cannot be gone on with.
    Useless,
    /// What was not gone on with.
    All,
}

/// Drops what an earlier attempt left open. What cannot be dropped now is left to the job's end.
async fn drop_open_uploads(
    context: &TransferContext,
    journal: &UploadJournal,
    what: Left,
) -> Result<(), UploadError> {
    let dropped = match what {
        Left::Useless => journal.abort_what_cannot_go_on(&context.store).await,
        Left::All => journal.abort_open_uploads(&context.store).await,
    };
    if let Err(error) = dropped {
        tracing::warn!(%error, "parts of an earlier attempt stay in the store for now");
    }
    Ok(())
}

struct Engine {
    bringer: Arc<Bringer>,
    config: UploadConfig,
    source: Arc<dyn SnapshotSource>,
    base: BaseCursor,
    pack: PackBuilder<PackedFile>,
    pending: PendingLines,
    writer: ManifestWriter,
    uploads: JoinSet<Result<Vec<Landed>, UploadError>>,
    brought: Brought,
}

impl Engine {
    fn begin(context: &TransferContext, request: UploadRequest) -> Result<Self, UploadError> {
        let UploadRequest { mut header, source, reuse, journal, scratch, config } = request;
        header.bases.clone_from(&reuse.bases);
        let lasts = context.store.lock().map(|lock| lock.set_for().num_seconds());
        header.locked_for = lasts.and_then(|seconds| u64::try_from(seconds).ok());
        let base = BaseCursor::open(&reuse.own, &header)?;
        if !config.compression && base.is_plain() {
            // Workers and schedulers of the release before can read it.
            header.version = PLAIN_VERSION;
        }
        let writer = ManifestWriter::create(&scratch, header.clone())?;
        let brought = Brought::new(layout::data_folder(&header.cluster, &header.backup));
        let bringer = Bringer::new(context.clone(), config, Arc::new(header), reuse, journal);
        Ok(Self {
            bringer: Arc::new(bringer),
            config,
            source,
            base,
            pack: PackBuilder::new(config.pack_limits()),
            pending: PendingLines::default(),
            writer,
            uploads: JoinSet::new(),
            brought,
        })
    }

    /// Takes up every item; returns once every line is written.
    async fn take_all(&mut self, mut snapshot: Walk) -> Result<(), UploadError> {
        let mut more = true;
        loop {
            while let Some(entry) = self.pending.pop_ready() {
                self.brought.count(&entry);
                self.writer.push(&entry)?;
            }
            if !more && self.pending.is_empty() {
                return Ok(());
            }
            if !more || self.pending.is_full() {
                self.close_pack().await;
            }
            let room = self.uploads.len() < 2 * self.config.parallel_files && !self.pending.is_full();
            tokio::select! {
                Some(landed) = self.uploads.join_next() => {
                    landed??.into_iter().for_each(|landed| self.pending.land(landed));
                }
                item = snapshot.items.recv(), if more && room => {
                    if let Some(item) = item {
                        self.take_up(item).await?;
                    } else {
                        (&mut snapshot.end).await??;
                        more = false;
                    }
                }
                else => unreachable!("a line that waits is waited for by an upload or the open pack"),
            }
        }
    }

    async fn take_up(&mut self, local: LocalItem) -> Result<(), UploadError> {
        let known = self.base.seek(&local.item.order());
        let may_name = |at: &Finished| self.bringer.may_name(&at.place);
        let same: Vec<_> = local
            .files
            .iter()
            .map(|file| known.iter().filter_map(|known| same_file(known, file)).find(may_name))
            .collect();
        let known_facts = data_file(&local).and_then(|data| {
            known.iter().find_map(|known| match known {
                Entry::Sstable(entry) => same_file(known, data).map(|_| entry.facts),
                Entry::Table(_) => None,
            })
        });
        let facts = match (&local.item, known_facts) {
            (SourceItem::Table(_), _) => SstableFacts::default(),
            (SourceItem::Sstable(_), Some(facts)) => facts,
            (SourceItem::Sstable(sstable), None) => {
                let (source, sstable) = (Arc::clone(&self.source), sstable.clone());
                spawn_blocking(move || source.facts(&sstable)).await?.map_err(UploadError::Source)?
            }
        };
        let slots = self.pending.push(local, facts);
        let mut small = Vec::new();
        for ((slot, file), same) in slots.into_iter().zip(same) {
            match same
                .or_else(|| self.bringer.brought_before(&file).filter(|at| self.bringer.may_name(&at.place)))
            {
                Some(at) => self.reuse(slot, &file, at),
                None if file.size < self.config.pack_threshold => small.push((slot, file)),
                None => self.take_large(slot, file),
            }
        }
        self.take_small(small).await
    }

    /// Takes the small files of an item, as many at once as may be in memory.
    async fn take_small(&mut self, mut files: Vec<(Slot, Arc<LocalFile>)>) -> Result<(), UploadError> {
        while let Some((_, first)) = files.first() {
            self.bringer.sender.context.progress.set_current(first.path.display().to_string());
            let mut bytes = 0_u64;
            let fit = files.iter().take_while(|(_, file)| {
                bytes = bytes.saturating_add(file.size);
                bytes <= READ_AT_ONCE
            });
            let rest = files.split_off(fit.count().max(1));
            let about = files.iter().map(|(_, file)| Arc::clone(file)).collect();
            let read = self.bringer.sender.read_whole(about).await?;
            for ((slot, file), content) in files.into_iter().zip(read) {
                self.place_small(slot, &file, content).await?;
            }
            files = rest;
        }
        Ok(())
    }

    async fn place_small(
        &mut self,
        slot: Slot,
        file: &LocalFile,
        content: SmallContent,
    ) -> Result<(), UploadError> {
        let SmallContent { stored, zstd, blake3 } = content;
        if let Some(at) = self.bringer.find(file.size, blake3).await? {
            self.reuse(slot, file, at);
            return Ok(());
        }
        let packed = PackedFile { slot, key: file.journal_key(), blake3, zstd };
        let added = self.pack.add(&stored, packed);
        let added = added.map_err(|cause| UploadError::Read { path: file.path.clone(), cause })?;
        if let Some(full) = added {
            self.bring_pack(full).await;
        }
        Ok(())
    }

    fn take_large(&mut self, slot: Slot, file: Arc<LocalFile>) {
        let Some(item) = self.pending.item(slot) else { return };
        let key = names::file_key(&self.bringer.header, item, &file.component, &self.bringer.hash_key);
        let bringer = Arc::clone(&self.bringer);
        self.uploads.spawn(async move { bringer.bring_file(slot, file, key).await }.in_current_span());
    }

    async fn close_pack(&mut self) {
        if let Some(pack) = self.pack.close() {
            self.bring_pack(pack).await;
        }
    }

    async fn bring_pack(&mut self, pack: crate::pack::ClosedPack<PackedFile>) {
        let memory = self.bringer.sender.memory_for(pack.body.len() as u64).await;
        let bringer = Arc::clone(&self.bringer);
        self.uploads.spawn(async move { bringer.bring_pack(pack, memory).await }.in_current_span());
    }

    fn reuse(&mut self, slot: Slot, file: &LocalFile, at: Finished) {
        self.bringer.sender.context.progress.file_reused(file.size);
        self.pending.land(Landed { slot, at });
    }

    async fn finish(self) -> Result<Uploaded, UploadError> {
        let context = self.bringer.sender.context.clone();
        context.unless_stopped(drop_open_uploads(&context, &self.bringer.journal, Left::All)).await?;
        let manifest = self.writer.finish()?;
        let (size, figures, blake3) = (manifest.size, manifest.figures, manifest.blake3);
        let Header { cluster, backup, host_id, epoch, .. } = &*self.bringer.header;
        let key = layout::manifest(cluster, backup, *host_id, *epoch);
        let journal = self.bringer.journal.clone();
        // It ends by itself when it is told to stop, and leaves nothing open.
        Box::pin(store_manifest(&context, self.config, journal, manifest, &key)).await?;
        Ok(Uploaded {
            key,
            blake3,
            manifest_size: size,
            figures,
            bytes_new: self.brought.bytes,
            objects_new: self.brought.objects,
            bytes_read: context.progress.figures().bytes_read,
        })
    }
}

/// Stores the manifest; its bytes are not the snapshot's, so they are not counted among them.
async fn store_manifest(
    context: &TransferContext,
    config: UploadConfig,
    journal: UploadJournal,
    manifest: FinishedManifest,
    key: &str,
) -> Result<(), UploadError> {
    let context = TransferContext { progress: TransferProgress::new(), ..context.clone() };
    let file = LocalFile::measure("manifest", &manifest.path, &mut FileSystems::default())?;
    // The seal names manifests by the digest of their object, which nobody sees but who has the keys.
    let sender = Sender::new(context, config, journal, HashKey::default());
    let sent = around!("vault.manifest").run(sender.send_file(Arc::new(file), key)).await?;
    if sent.blake3 == manifest.blake3 && sent.key == key {
        Ok(())
    } else {
        let what = "its content is not what was written".to_owned();
        Err(UploadError::Changed { path: manifest.path.to_path_buf(), what })
    }
}

fn data_file(local: &LocalItem) -> Option<&LocalFile> {
    local.files.iter().find(|file| file.component == DATA).map(Arc::as_ref)
}

/// The place that the node's last manifest gives to this very file.
fn same_file(known: &Entry, file: &LocalFile) -> Option<Finished> {
    let components = known.components();
    let found = components.binary_search_by(|component| component.name.as_str().cmp(&file.component)).ok()?;
    let component = &components[found];
    let same = component.file == Some(file.identity) && component.size == file.size;
    let blake3 = component.checksum.blake3().filter(|_| same)?;
    Some(Finished { blake3, place: component.place.clone() })
}

/// What the manifest names of this backup's own objects.
struct Brought {
    own: String,
    bytes: u64,
    objects: u64,
    packs: HashSet<String>,
}

impl Brought {
    fn new(own: String) -> Self {
        Self { own, bytes: 0, objects: 0, packs: HashSet::new() }
    }

    /// Counts what an entry names. Each pack counts once.
    fn count(&mut self, entry: &Entry) {
        for component in entry.components().iter().filter(|c| c.place.key.starts_with(&self.own)) {
            self.bytes += component.place.stored(component.size);
            if component.place.pack.is_none() || self.packs.insert(component.place.key.clone()) {
                self.objects += 1;
            }
        }
    }
}
