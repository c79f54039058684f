//! Points that do something.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
    time::Duration,
};

use crate::{DIR, Injected};

/// Between two looks for the file that ends a pause.
const LOOK: Duration = Duration::from_millis(50);

/// What a file tells its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Crash,
    Fail,
    Sleep(Duration),
    Pause,
}

impl Action {
    /// What cannot be read is a crash: a test that misspells it must see it.
    fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace();
        match (words.next(), words.next().and_then(|word| word.parse().ok())) {
            (Some("error"), None) => Self::Fail,
            (Some("sleep"), Some(millis)) => Self::Sleep(Duration::from_millis(millis)),
            (Some("pause"), None) => Self::Pause,
            _ => Self::Crash,
        }
    }
}

static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();

/// Names the folder for a test whose points are in its own process, before the first of them is
/// passed. Once: later calls, and the environment, are not heard.
pub fn look_into(dir: &Path) {
    DIRECTORY.get_or_init(|| Some(dir.to_owned()));
}

fn dir() -> Option<&'static Path> {
    DIRECTORY.get_or_init(|| env::var_os(DIR).map(PathBuf::from)).as_deref()
}

/// Takes the point's file, if there is one: of several that try, one succeeds.
fn take(dir: &Path, name: &str) -> Option<Action> {
    let taken = dir.join(format!("{name}.hit"));
    fs::rename(dir.join(name), &taken).ok()?;
    Some(Action::parse(&fs::read_to_string(&taken).unwrap_or_default()))
}

/// Dies as a machine without power does: nothing is flushed, dropped or told.
fn crash(name: &str) -> ! {
    eprintln!("failpoint {name}: crash");
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    // SIGKILL comes before this thread sees another instruction, or at worst a little later.
    loop {
        thread::park();
    }
}

pub(crate) async fn hit(name: &'static str, side: &'static str) -> Result<(), Injected> {
    let Some(dir) = dir() else { return Ok(()) };
    let point = format!("{name}{side}");
    match take(dir, &point) {
        None => {}
        Some(Action::Crash) => crash(&point),
        Some(Action::Fail) => return Err(Injected { point }),
        Some(Action::Sleep(time)) => tokio::time::sleep(time).await,
        Some(Action::Pause) => {
            while !dir.join(format!("{point}.go")).exists() {
                tokio::time::sleep(LOOK).await;
            }
        }
    }
    Ok(())
}

pub(crate) fn hit_blocking(name: &'static str, side: &'static str) -> Result<(), Injected> {
    let Some(dir) = dir() else { return Ok(()) };
    let point = format!("{name}{side}");
    match take(dir, &point) {
        None => {}
        Some(Action::Crash) => crash(&point),
        Some(Action::Fail) => return Err(Injected { point }),
        Some(Action::Sleep(time)) => thread::sleep(time),
        Some(Action::Pause) => {
            while !dir.join(format!("{point}.go")).exists() {
                thread::sleep(LOOK);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_acts_once_and_leaves_evidence() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(take(dir.path(), "a.before"), None);
        fs::write(dir.path().join("a.before"), "error\n").unwrap();
        assert_eq!(take(dir.path(), "a.before"), Some(Action::Fail));
        assert_eq!(take(dir.path(), "a.before"), None);
        assert!(dir.path().join("a.before.hit").exists());
    }

    #[test]
    fn words_are_actions() {
        assert_eq!(Action::parse("crash"), Action::Crash);
        assert_eq!(Action::parse("sleep 250"), Action::Sleep(Duration::from_millis(250)));
        assert_eq!(Action::parse("pause"), Action::Pause);
        assert_eq!(Action::parse("eror"), Action::Crash);
    }
}
