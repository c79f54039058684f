//! How the worker is, for whoever watches over its process: Docker, Kubernetes, a script.
//!
//! There is no port for it. A file in the state folder says what the worker is at, and its time of
//! change, renewed every few seconds, that the process turns. Renewing takes no room, so a data disk
//! that is full makes nobody end a worker that is well. The same program with `--probe` reads it.
//!
//! A worker is *alive* while it turns, whatever else is down: ending it would mend no broker and no
//! node. It is *ready* while it hears the broker too.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use ringvault_queue::SessionState;
use tokio::{sync::watch, task::JoinHandle};
use tracing::warn;

const FILE: &str = "health";

/// How often the file is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// A file that is older is no sign of life.
const STALE_AFTER: Duration = Duration::from_secs(30);

/// What is asked of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Probe {
    /// Whether it turns.
    Live,
    /// Whether it turns and is connected to the broker.
    Ready,
}

/// The worker is not as it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// There is no file.
    #[error("no worker runs with the state folder {}: {cause}", dir.display())]
    Absent {
        /// The state folder.
        dir: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It has not been renewed.
    #[error("the worker has given no sign of life for {} s", silent.as_secs())]
    Silent {
        /// Since when.
        silent: Duration,
    },
    /// The broker.
    #[error("the worker is not connected to the broker: {state}")]
    NotConnected {
        /// The session's state in words.
        state: String,
    },
}

/// Keeps the file true until it is dropped; then it is gone.
#[derive(Debug)]
pub struct Sign {
    file: PathBuf,
    keeper: JoinHandle<()>,
}

impl Sign {
    /// Begins to tell what `session` is at.
    pub fn keep(state_dir: &Path, mut session: watch::Receiver<SessionState>) -> Self {
        let file = state_dir.join(FILE);
        let kept = file.clone();
        let keeper = tokio::spawn(async move {
            let mut told = String::new();
            loop {
                let now = words(&session.borrow_and_update());
                match write(&kept, (now != told).then_some(now.as_str())) {
                    Ok(()) => told = now,
                    Err(error) => warn!(%error, file = %kept.display(), "the sign of life cannot be written"),
                }
                tokio::select! {
                    () = tokio::time::sleep(RENEW_EVERY) => {}
                    Ok(()) = session.changed() => {}
                }
            }
        });
        Self { file, keeper }
    }
}

impl Drop for Sign {
    fn drop(&mut self) {
        self.keeper.abort();
        let _ = std::fs::remove_file(&self.file);
    }
}

/// `connected`, or what the matter is.
fn words(state: &SessionState) -> String {
    if state.is_connected() { CONNECTED.to_owned() } else { state.to_string() }
}

const CONNECTED: &str = "connected";

/// Renews the file's time; writes it anew if there is news.
fn write(file: &Path, news: Option<&str>) -> io::Result<()> {
    match news {
        Some(text) => {
            let fresh = file.with_extension("new");
            std::fs::write(&fresh, text)?;
            std::fs::rename(fresh, file)
        }
        None => std::fs::File::options().write(true).open(file)?.set_modified(SystemTime::now()),
    }
}

/// Asks the worker that runs with this state folder.
pub fn ask(state_dir: &Path, what: Probe) -> Result<(), Unwell> {
    let file = state_dir.join(FILE);
    let absent = |cause| Unwell::Absent { dir: state_dir.to_owned(), cause };
    let renewed = std::fs::metadata(&file).and_then(|meta| meta.modified()).map_err(absent)?;
    // A clock that was set back makes it young, which is right.
    let silent = renewed.elapsed().unwrap_or_default();
    if silent > STALE_AFTER {
        return Err(Unwell::Silent { silent });
    }
    let state = std::fs::read_to_string(&file).map_err(absent)?;
    if what == Probe::Ready && state != CONNECTED {
        return Err(Unwell::NotConnected { state });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_is_alive_before_it_is_ready_and_neither_once_it_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(ask(dir.path(), Probe::Live), Err(Unwell::Absent { .. })));
        let (tell, state) = watch::channel(SessionState::Connecting { since: chrono::Utc::now() });
        let sign = Sign::keep(dir.path(), state);
        until(|| ask(dir.path(), Probe::Live).is_ok()).await;
        assert!(matches!(ask(dir.path(), Probe::Ready), Err(Unwell::NotConnected { .. })));
        tell.send_replace(SessionState::Connected { since: chrono::Utc::now() });
        until(|| ask(dir.path(), Probe::Ready).is_ok()).await;
        drop(sign);
        assert!(matches!(ask(dir.path(), Probe::Live), Err(Unwell::Absent { .. })));
    }

    #[test]
    fn a_sign_that_is_not_renewed_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        write(&file, Some(CONNECTED)).unwrap();
        assert!(ask(dir.path(), Probe::Ready).is_ok());
        let old = SystemTime::now() - STALE_AFTER - Duration::from_secs(5);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
        assert!(matches!(ask(dir.path(), Probe::Live), Err(Unwell::Silent { .. })));
        write(&file, None).unwrap();
        assert!(ask(dir.path(), Probe::Live).is_ok());
    }

    async fn until(holds: impl Fn() -> bool) {
        let patience = tokio::time::timeout(Duration::from_secs(20), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        patience.await.unwrap();
    }
}
