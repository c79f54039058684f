//! How far a transfer is, readable at any time from another task.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use ringvault_core::task;

/// Counters of one upload or download. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct TransferProgress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    bytes_total: AtomicU64,
    files_total: AtomicU64,
    bytes_done: AtomicU64,
    files_done: AtomicU64,
    bytes_reused: AtomicU64,
    bytes_read: AtomicU64,
    bytes_moved: AtomicU64,
    objects_moved: AtomicU64,
    current: Mutex<Option<String>>,
}

/// The counters at one instant. All in bytes, files or objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransferFigures {
    /// Bytes to go through in all; 0 while it is not known.
    pub bytes_total: u64,
    /// Files to go through in all; 0 while it is not known.
    pub files_total: u64,
    /// Bytes gone through.
    pub bytes_done: u64,
    /// Files gone through.
    pub files_done: u64,
    /// Of the bytes done: those that were there already, in the vault or staged.
    pub bytes_reused: u64,
    /// Bytes read from local files.
    pub bytes_read: u64,
    /// Bytes sent to or fetched from the store.
    pub bytes_moved: u64,
    /// Objects sent, or requests made to fetch.
    pub objects_moved: u64,
}

impl TransferProgress {
    /// All zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counters now.
    pub fn figures(&self) -> TransferFigures {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { bytes_total, files_total, bytes_done, files_done, .. } = &*self.0;
        TransferFigures {
            bytes_total: load(bytes_total),
            files_total: load(files_total),
            bytes_done: load(bytes_done),
            files_done: load(files_done),
            bytes_reused: load(&self.0.bytes_reused),
            bytes_read: load(&self.0.bytes_read),
            bytes_moved: load(&self.0.bytes_moved),
            objects_moved: load(&self.0.objects_moved),
        }
    }

    /// The file that was taken up last.
    pub fn current(&self) -> Option<String> {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As a heartbeat reports it.
    pub fn to_heartbeat(&self, throttled: bool) -> task::Progress {
        let figures = self.figures();
        task::Progress {
            bytes_total: figures.bytes_total,
            bytes_done: figures.bytes_done,
            bytes_reused: figures.bytes_reused,
            items_total: figures.files_total,
            items_done: figures.files_done,
            doing: self.current(),
            throttled,
        }
    }

    /// Says how much there is to do: an upload finds out by itself, a download is told.
    pub fn expect(&self, files: u64, bytes: u64) {
        self.0.files_total.store(files, Ordering::Relaxed);
        self.0.bytes_total.store(bytes, Ordering::Relaxed);
    }

    /// Files that were there already, and their bytes.
    pub fn kept(&self, files: u64, bytes: u64) {
        self.0.bytes_reused.fetch_add(bytes, Ordering::Relaxed);
        self.advance(bytes);
        self.0.files_done.fetch_add(files, Ordering::Relaxed);
    }

    pub(crate) fn set_current(&self, file: String) {
        *self.0.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }

    /// Bytes of a file under way.
    pub(crate) fn advance(&self, bytes: u64) {
        self.0.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A file all of whose bytes were counted by [`advance`](Self::advance).
    pub(crate) fn file_done(&self) {
        self.files_done(1);
    }

    /// So many files, all of whose bytes were counted.
    pub(crate) fn files_done(&self, files: u64) {
        self.0.files_done.fetch_add(files, Ordering::Relaxed);
    }

    /// A file that was there already.
    pub(crate) fn file_reused(&self, bytes: u64) {
        self.0.bytes_reused.fetch_add(bytes, Ordering::Relaxed);
        self.advance(bytes);
        self.file_done();
    }

    pub(crate) fn read(&self, bytes: u64) {
        self.0.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes sent to the store, or fetched from it.
    pub fn moved(&self, bytes: u64) {
        self.0.bytes_moved.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn object_moved(&self) {
        self.0.objects_moved.fetch_add(1, Ordering::Relaxed);
    }
}
