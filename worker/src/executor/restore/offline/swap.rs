//! The swap of a node's data, as a record on its disk and steps that can be cut off anywhere.
//!
//! ```text
//! Stop ─► Out ─► In ─► Start ─► Up
//!  │       │      │      │
//!  │       │      └──────┴► BackStop ─► BackOut ─┐
//!  │       └────────────────────────────────────►BackIn ─► BackStart ─► Back
//!  └──────────────────────────────────────────────────────────┘
//! ```
//!
//! The phase is written down before its first step. In every phase that moves something Cassandra is stopped,
//! and what is in the directories is of one kind: in `Out` and `BackIn` what the node held, in `In` and `BackOut`
//! what was restored. So "move what is there" can begin again at any point and ends the same, whatever was moved
//! before. Nothing is removed before the end, and every move is a rename, which is whole or has not been.

use std::{
    fs::File,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use ringvault_core::{HostId, JobId, TaskError};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};

use crate::{executor::failure, identity::write_durably};

/// Version of the record that is written here, and the only one that is read.
const VERSION: u32 = 1;
/// The one entry of a directory that is the file system's own.
const LOST_AND_FOUND: &str = "lost+found";

/// How far a swap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// Cassandra is being stopped; nothing was moved.
    Stop,
    /// What the node held goes aside.
    Out,
    /// What was restored takes its place.
    In,
    /// Cassandra is started with it.
    Start,
    /// It is up. The end.
    Up,
    /// It did not come up, and is stopped.
    BackStop,
    /// What was restored goes aside.
    BackOut,
    /// What the node held takes its place again.
    BackIn,
    /// Cassandra is started with it, if it ran before.
    BackStart,
    /// Everything is as it was. The end.
    Back,
}

impl Phase {
    /// Where the way back begins.
    const fn back(self) -> Self {
        match self {
            Self::Stop => Self::BackStart,
            Self::Out => Self::BackIn,
            Self::In | Self::Start => Self::BackStop,
            other => other,
        }
    }
}

/// A directory whose content is swapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    /// Where what it held goes.
    pub(super) old: PathBuf,
    /// Where what it is to hold lies; none: it begins empty.
    pub(super) fresh: Option<PathBuf>,
    /// Where that goes if it comes to nothing.
    pub(super) rejected: PathBuf,
}

/// What is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    pub(super) job: JobId,
    pub(super) host_id: HostId,
    pub(super) phase: Phase,
    /// Whether Cassandra ran before.
    pub(super) was_up: bool,
    /// Whether what the node held stays on its disk.
    pub(super) keep_old: bool,
    pub(super) places: Vec<Place>,
    /// Why it goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
}

/// A swap that was begun.
#[derive(Debug)]
pub(super) struct Swap {
    file: PathBuf,
    pub(super) record: Record,
    /// Steps until it is cut off; tests only.
    fuse: Option<AtomicU32>,
}

/// Which data Cassandra is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum With {
    Restored,
    Old,
}

/// Cassandra on this machine.
pub(super) trait Server {
    /// Whether the swap is still this worker's. Asked before each phase.
    fn still_mine(&self) -> Result<(), TaskError>;

    /// Stops it and sees that it is silent. `Ok(Err(why))`: it was not stopped.
    fn stop(&self) -> impl Future<Output = Result<Result<(), String>, TaskError>>;

    /// Starts it and waits for it. `Ok(Err(why))`: it did not come up as it should. An error is nothing of the
    /// kind, and a later attempt starts it again.
    fn start(&self, with: With) -> impl Future<Output = Result<Result<(), String>, TaskError>>;
}

/// How a swap ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// The node runs with what was restored.
    Up,
    /// The node has what it had.
    Back {
        /// Why.
        why: String,
    },
}

impl Swap {
    /// Writes down that a swap begins. What was restored must lie ready; where an earlier node's data lies without
    /// a record, it is not touched.
    pub(super) fn begin(
        file: &Path,
        (job, host_id): (JobId, HostId),
        was_up: bool,
        keep_old: bool,
        places: Vec<Place>,
    ) -> Result<Self, TaskError> {
        for place in &places {
            let is_empty = entries(&place.old)
                .map_err(|error| failure::local(&place.old, "reading", &error))?
                .is_empty();
            if !is_empty {
                return Err(TaskError::permanent(
                    "RV-OLD-DATA",
                    format!(
                        "{} holds data, and no record says how it came there. Nothing was changed",
                        place.old.display()
                    ),
                )
                .with_next("look at it, and move it elsewhere"));
            }
        }
        let record = Record {
            version: VERSION,
            job,
            host_id,
            phase: Phase::Stop,
            was_up,
            keep_old,
            places,
            why: None,
        };
        let swap = Self { file: file.to_owned(), record, fuse: None };
        swap.write()?;
        Ok(swap)
    }

    /// The swap that was begun, if one was.
    pub(super) fn read(file: &Path) -> Result<Option<Self>, TaskError> {
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(failure::local(file, "reading", &error)),
        };
        let record: Record =
            serde_json::from_slice(&text).map_err(|error| unreadable(file, &error.to_string()))?;
        if record.version != VERSION {
            return Err(unreadable(file, &format!("it has version {}, not {VERSION}", record.version)));
        }
        Ok(Some(Self { file: file.to_owned(), record, fuse: None }))
    }

    /// Goes on until it ends, from wherever it is.
    pub(super) async fn drive(&mut self, server: &impl Server) -> Result<Ended, TaskError> {
        loop {
            server.still_mine()?;
            self.burn()?;
            match self.record.phase {
                Phase::Stop => match server.stop().await? {
                    Ok(()) => self.enter(Phase::Out)?,
                    Err(why) => self.turn_back(why)?,
                },
                Phase::Out => {
                    around!("offline.out")
                        .run_blocking(|| self.each_place(|place| self.move_all(&place.dir, &place.old)))?;
                    self.enter(Phase::In)?;
                }
                Phase::In => {
                    around!("offline.in").run_blocking(|| {
                        self.each_place(|place| match &place.fresh {
                            Some(fresh) => self.move_all(fresh, &place.dir),
                            None => Ok(()),
                        })
                    })?;
                    self.enter(Phase::Start)?;
                }
                Phase::Start => match server.start(With::Restored).await? {
                    Ok(()) => self.enter(Phase::Up)?,
                    Err(why) => self.turn_back(why)?,
                },
                Phase::Up => return Ok(Ended::Up),
                Phase::BackStop => match server.stop().await? {
                    Ok(()) => self.enter(Phase::BackOut)?,
                    Err(why) => return Err(self.stuck(&why)),
                },
                Phase::BackOut => {
                    around!("offline.back-out").run_blocking(|| {
                        self.each_place(|place| self.move_all(&place.dir, &place.rejected))
                    })?;
                    self.enter(Phase::BackIn)?;
                }
                Phase::BackIn => {
                    around!("offline.back-in")
                        .run_blocking(|| self.each_place(|place| self.move_all(&place.old, &place.dir)))?;
                    self.enter(Phase::BackStart)?;
                }
                Phase::BackStart => {
                    if self.record.was_up
                        && let Err(why) = server.start(With::Old).await?
                    {
                        let first = self.why();
                        self.record.why = Some(format!(
                            "{first}. Nor did it come up with its old data, which is in place again: {why}"
                        ));
                    }
                    self.enter(Phase::Back)?;
                }
                Phase::Back => return Ok(Ended::Back { why: self.why() }),
            }
        }
    }

    /// Turns to the way back, unless it is on it or at its end.
    pub(super) fn turn_back(&mut self, why: String) -> Result<(), TaskError> {
        let back = self.record.phase.back();
        if back == self.record.phase {
            return Ok(());
        }
        self.record.why = Some(why);
        self.enter(back)
    }

    /// Forgets the record of a swap that has ended, and removes what the node held unless it is to be kept. After a way
    /// back there is nothing of it but empty folders.
    pub(super) fn forget(&self) -> Result<(), TaskError> {
        let keeps = self.record.keep_old && self.record.phase == Phase::Up;
        for place in self.record.places.iter().filter(|_| !keeps) {
            let removed =
                around!("offline.forget-old").run_blocking(|| match std::fs::remove_dir_all(&place.old) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                });
            removed.map_err(|error| failure::local(&place.old, "removing", &error))?;
        }
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failure::local(&self.file, "removing", &error));
            }
            _ => {}
        }
        // The job's folder and the one of all jobs go if nothing is left in them.
        let places = self.record.places.iter().filter_map(|place| place.old.parent());
        for folder in places.chain(self.file.parent()) {
            let _ = std::fs::remove_dir(folder)
                .and_then(|()| folder.parent().map_or(Ok(()), std::fs::remove_dir));
        }
        Ok(())
    }

    fn why(&self) -> String {
        self.record.why.clone().unwrap_or_else(|| "it was told to go back".to_owned())
    }

    fn stuck(&self, why: &str) -> TaskError {
        TaskError::transient(
            "RV-OFFLINE-STUCK",
            format!(
                "Cassandra did not come up with what was restored ({}), and cannot be stopped to put its old data back: {why}. The old data lies in {}",
                self.why(),
                self.record.places.first().map(|place| place.old.display().to_string()).unwrap_or_default()
            ),
        )
        .with_next("stop Cassandra by hand, then: ringvault job retry JOB")
    }

    fn enter(&mut self, phase: Phase) -> Result<(), TaskError> {
        self.record.phase = phase;
        self.write()
    }

    fn write(&self) -> Result<(), TaskError> {
        self.burn()?;
        let text = serde_json::to_string_pretty(&self.record)
            .map_err(|error| TaskError::permanent("RV-INTERNAL", error.to_string()))?;
        let written = around!("offline.record").run_blocking(|| {
            if let Some(parent) = self.file.parent() {
                std::fs::create_dir_all(parent)?;
            }
            write_durably(&self.file, &text)
        });
        written.map_err(|error| failure::local(&self.file, "writing", &error))
    }

    fn each_place(&self, each: impl Fn(&Place) -> Result<(), TaskError>) -> Result<(), TaskError> {
        self.record.places.iter().try_for_each(each)
    }

    /// Moves everything in `from` into `to`, by renames. Nothing to move is well.
    fn move_all(&self, from: &Path, to: &Path) -> Result<(), TaskError> {
        let local = |error: io::Error| failure::local(from, "moving what is in", &error);
        // A machine that is new may lack the directory itself.
        std::fs::create_dir_all(to).map_err(|error| failure::local(to, "making", &error))?;
        let names = entries(from).map_err(local)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            self.burn()?;
            std::fs::rename(from.join(&name), to.join(&name)).map_err(|error| {
                failure::local(&from.join(&name), &format!("moving to {}", to.display()), &error)
            })?;
        }
        for dir in [to, from] {
            File::open(dir)
                .and_then(|dir| dir.sync_all())
                .map_err(|error| failure::local(dir, "writing", &error))?;
        }
        Ok(())
    }

    /// Where a test cuts it off.
    fn burn(&self) -> Result<(), TaskError> {
        let Some(fuse) = &self.fuse else { return Ok(()) };
        match fuse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => Ok(()),
            Err(_) => Err(TaskError::transient("RV-CUT-OFF", "by the test")),
        }
    }

    /// Cuts it off after so many steps.
    #[cfg(test)]
    pub(super) fn cut_off_after(mut self, steps: u32) -> Self {
        self.fuse = Some(AtomicU32::new(steps));
        self
    }
}

fn unreadable(file: &Path, why: &str) -> TaskError {
    TaskError::permanent(
        "RV-SWAP",
        format!(
            "{} says how far the swap of this node's data is, and cannot be read: {why}. What the node held lies beside it",
            file.display()
        ),
    )
}

/// Names in a folder, in order, without what is the file system's own; none if it is not there.
fn entries(dir: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let listed = match std::fs::read_dir(dir) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = listed.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.retain(|name| name != LOST_AND_FOUND);
    names.sort();
    Ok(names)
}
