//! What the worker counts of its own work, for Prometheus.
//!
//! The scheduler tells what became of jobs; what only this process sees is told here: requests to the
//! store, seconds that a rate limit took, bytes as they go. All of it begins at nought with the process,
//! as Prometheus expects of a counter. While a task runs its figures are read where it keeps them, and
//! when it ends they are added up under the same lock, so that no counter ever falls.

mod bounded;
mod page;
mod serve;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::agent::TaskHandle;
pub use page::{Surroundings, write};
pub use serve::{Answering, ListenError, Listener};

/// How a run of a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunResult {
    /// Done.
    Succeeded,
    /// It says why not.
    Failed,
    /// It was told to stop.
    Stopped,
}

impl RunResult {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Stopped];

    /// The word used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// The tasks of one kind since the worker began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindFigures {
    /// Running now.
    pub running: u64,
    /// Runs that are over, in the order of [`RunResult::ALL`].
    pub ended: [u64; RunResult::ALL.len()],
    /// How long rate limits held them back, summed over tasks.
    pub held_back: Duration,
    /// How long limits of requests did, likewise.
    pub requests_held_back: Duration,
    /// Bytes sent to the store and fetched from it.
    pub bytes_moved: u64,
}

/// Counts tasks. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Measures(Arc<Mutex<Tasks>>);

#[derive(Debug, Default)]
struct Tasks {
    ended: BTreeMap<&'static str, KindFigures>,
    running: BTreeMap<u64, (&'static str, TaskHandle)>,
    runs: u64,
}

impl Measures {
    /// A task of this kind begins. It has ended when what this gives back is dropped; unless it was
    /// [told](Run::ended) how, it failed.
    pub(crate) fn begin(&self, kind: &'static str, handle: &TaskHandle) -> Run {
        let mut tasks = self.lock();
        tasks.runs += 1;
        let id = tasks.runs;
        tasks.running.insert(id, (kind, handle.clone()));
        Run { measures: self.clone(), id, result: RunResult::Failed }
    }

    /// Every kind of task that there was, by the word for its stage.
    pub fn by_kind(&self) -> BTreeMap<&'static str, KindFigures> {
        let tasks = self.lock();
        let mut figures = tasks.ended.clone();
        for (kind, handle) in tasks.running.values() {
            let figures = figures.entry(*kind).or_default();
            figures.running += 1;
            figures.add(handle);
        }
        figures
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KindFigures {
    fn add(&mut self, handle: &TaskHandle) {
        self.held_back += handle.throttle().held_back();
        self.requests_held_back += handle.requests().held_back();
        self.bytes_moved += handle.transfer().figures().bytes_moved;
    }
}

/// A task that runs.
#[derive(Debug)]
pub(crate) struct Run {
    measures: Measures,
    id: u64,
    result: RunResult,
}

impl Run {
    /// It ended so.
    pub(crate) fn ended(mut self, result: RunResult) {
        self.result = result;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut tasks = self.measures.lock();
        let Some((kind, handle)) = tasks.running.remove(&self.id) else { return };
        let figures = tasks.ended.entry(kind).or_default();
        figures.ended[self.result as usize] += 1;
        figures.add(&handle);
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
