//! Failpoints: named places before and after each durable write, where a test lets the program die,
//! fail or stand still.
//!
//! Without the feature `failpoints` a point is nothing. With it a point does nothing either, unless
//! the environment names a folder ([`DIR`]) that holds a file of the point's name. The file says
//! what to do, and is taken by renaming it to `<name>.hit`: so each file acts once, in one process of
//! all that look into the folder, also over restarts, and what is left tells whether it was reached.
//!
//! | file's content | what happens |
//! |---|---|
//! | `crash` | the process kills itself with SIGKILL |
//! | `error` | what was going on fails with an error that passes ([`Injected`]) |
//! | `sleep MS` | it takes so many milliseconds longer |
//! | `pause` | it stands still until there is a file `<name>.go` |
//!
//! (The crate `fail` has neither the crash nor the once-only over processes, and its points block
//! their thread, which in an async program stops the heartbeats too.)
//!
//! The list of points is taken from the sources ([`names_in`]): a new one is tested by being there.

mod names;
#[cfg(feature = "failpoints")]
mod on;

pub use names::{names_in, names_of};
#[cfg(feature = "failpoints")]
pub use on::look_into;

use std::future::Future;

use ringvault_core::TaskError;

/// The environment variable that names the folder.
pub const DIR: &str = "RINGVAULT_FAILPOINTS_DIR";

/// The error of a point that was told to fail. Every error of the code around is made of it by
/// `From`, as one that passes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failpoint {point} was told to fail")]
pub struct Injected {
    /// The point.
    pub point: String,
}

impl From<Injected> for TaskError {
    fn from(error: Injected) -> Self {
        Self::transient("RV-INJECTED", error.to_string())
    }
}

impl From<Injected> for std::io::Error {
    fn from(error: Injected) -> Self {
        Self::other(error)
    }
}

/// A point at a durable write: it has a `<name>.before` and a `<name>.after`. Made by [`around!`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a point is a place in the code: run something within it"]
pub struct Around(&'static str);

/// A single point. Made by [`point!`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a point is a place in the code: `.hit().await?`"]
pub struct Point(&'static str);

/// The point around a durable write: `around!("place.of.it").run(write).await?`. Names are of small
/// letters, digits, `.` and `-`, and are given once in all the sources.
#[macro_export]
macro_rules! around {
    ($name:literal) => {
        $crate::Around::named($name)
    };
}

/// A single point: `point!("place.of.it").hit().await?`.
#[macro_export]
macro_rules! point {
    ($name:literal) => {
        $crate::Point::named($name)
    };
}

impl Around {
    #[doc(hidden)]
    pub const fn named(name: &'static str) -> Self {
        Self(name)
    }

    /// Does the write between its two points. An error of the point behind it leaves the write done
    /// and its outcome unknown to the caller, as a lost answer does.
    pub async fn run<T, E, F>(self, write: F) -> Result<T, E>
    where
        E: From<Injected>,
        F: Future<Output = Result<T, E>>,
    {
        hit(self.0, ".before").await?;
        let done = write.await?;
        hit(self.0, ".after").await?;
        Ok(done)
    }

    /// [`Around::run`] for code that may block its thread.
    pub fn run_blocking<T, E: From<Injected>>(self, write: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        hit_blocking(self.0, ".before")?;
        let done = write()?;
        hit_blocking(self.0, ".after")?;
        Ok(done)
    }
}

impl Point {
    #[doc(hidden)]
    pub const fn named(name: &'static str) -> Self {
        Self(name)
    }

    /// Does what the point was told.
    pub async fn hit(self) -> Result<(), Injected> {
        hit(self.0, "").await
    }

    /// [`Point::hit`] for code that may block its thread.
    pub fn hit_blocking(self) -> Result<(), Injected> {
        hit_blocking(self.0, "")
    }
}

#[cfg(feature = "failpoints")]
use on::{hit, hit_blocking};

#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unused_async, reason = "its other form waits")]
async fn hit(_name: &'static str, _side: &'static str) -> Result<(), Injected> {
    Ok(())
}

#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unnecessary_wraps, reason = "its other form fails")]
const fn hit_blocking(_name: &'static str, _side: &'static str) -> Result<(), Injected> {
    Ok(())
}
