//! Walks the snapshot on a thread that may block, and measures its files.

use std::sync::Arc;

use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

use super::{
    SnapshotSource, SourceItem, UploadError,
    local::{FileSystems, LocalFile},
};
use crate::{
    manifest::{ManifestError, OrderKey, check_names},
    transfer::{Stopped, TransferContext},
};

/// Items measured ahead of the upload.
const AHEAD: usize = 64;

/// An item of the snapshot with its files as they are on disk, ascending by component.
#[derive(Debug)]
pub(super) struct LocalItem {
    pub(super) item: SourceItem,
    pub(super) files: Vec<Arc<LocalFile>>,
}

/// A walk under way.
pub(super) struct Walk {
    /// Every item in order. That no more come does not yet mean that all have come.
    pub(super) items: mpsc::Receiver<LocalItem>,
    /// How the walk ended: only if it is well have all items been handed out.
    pub(super) end: JoinHandle<Result<(), UploadError>>,
}

/// Begins to walk: first to add up files and bytes for the progress, then to hand out every item in
/// order. Ends after the first error, when it is told to stop, or when nobody listens.
pub(super) fn walk(context: &TransferContext, source: Arc<dyn SnapshotSource>) -> Walk {
    let (sender, items) = mpsc::channel(AHEAD);
    let context = context.clone();
    let end = spawn_blocking(move || {
        walk_twice(&context, source.as_ref(), |item| sender.blocking_send(item).is_ok())
    });
    Walk { items, end }
}

fn walk_twice(
    context: &TransferContext,
    source: &dyn SnapshotSource,
    mut hand_out: impl FnMut(LocalItem) -> bool,
) -> Result<(), UploadError> {
    let (mut files, mut bytes) = (0, 0);
    walk_once(context, source, |item| {
        files += item.files.len() as u64;
        bytes += item.files.iter().map(|file| file.size).sum::<u64>();
        true
    })?;
    context.progress.expect(files, bytes);
    walk_once(context, source, &mut hand_out)
}

fn walk_once(
    context: &TransferContext,
    source: &dyn SnapshotSource,
    mut hand_out: impl FnMut(LocalItem) -> bool,
) -> Result<(), UploadError> {
    let mut systems = FileSystems::default();
    let mut last: Option<OrderKey> = None;
    for item in source.items() {
        if context.stop.is_cancelled() {
            return Err(Stopped.into());
        }
        let item = item.map_err(UploadError::Source)?;
        let order = item.order();
        if last.is_some_and(|last| last >= order) {
            return Err(UploadError::SourceOrder { what: order.to_string() });
        }
        last = Some(order);
        if !hand_out(measure(item, &mut systems)?) {
            return Ok(());
        }
    }
    Ok(())
}

fn measure(item: SourceItem, systems: &mut FileSystems) -> Result<LocalItem, UploadError> {
    let name = match &item {
        SourceItem::Table(_) => None,
        SourceItem::Sstable(sstable) => Some(&sstable.name),
    };
    // Before a key is built of them.
    check_names(item.table(), name, item.files().iter().map(|file| file.name.as_str())).map_err(|fault| {
        ManifestError { manifest: format!("of the snapshot, {}", item.order()), line: 0, fault }
    })?;
    let mut files = Vec::with_capacity(item.files().len());
    let is_compressed = item.files().iter().any(|file| file.name == "CompressionInfo.db");
    for file in item.files() {
        let mut measured = LocalFile::measure(&file.name, &file.path, systems)?;
        measured.may_shrink = !(is_compressed && file.name == "Data.db");
        if file.name == "Data.db" {
            let digest = item.files().iter().find(|other| other.name == "Digest.crc32");
            measured.crc_file = digest.map(|digest| digest.path.clone());
        }
        files.push(Arc::new(measured));
    }
    files.sort_by(|a, b| a.component.cmp(&b.component));
    Ok(LocalItem { item, files })
}
