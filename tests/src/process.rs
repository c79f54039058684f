//! Running programs to their end, with a limit, and what they said.

use std::{ffi::OsStr, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde::de::DeserializeOwned;
use tokio::{process::Command, time::timeout};

/// Longest run of a program: more than any job of these tests takes.
const LIMIT: Duration = Duration::from_secs(900);

/// What a program ended with.
#[derive(Debug)]
pub struct Ended {
    /// As it was called, for messages.
    pub command: String,
    /// Exit code; -1 after a signal.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Progress and errors.
    pub stderr: String,
}

impl Ended {
    /// The same, if the exit code is the expected one.
    pub fn expect(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == code,
            "`{}` ended with {}, not {code}\nstdout: {}\nstderr: {}",
            self.command,
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// Its stdout as one JSON document.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("`{}` printed {:?}\nstderr: {}", self.command, self.stdout, self.stderr))
    }

    /// Fails unless stdout or stderr has every one of `words`.
    pub fn says(&self, words: &[&str]) -> Result<()> {
        for word in words {
            ensure!(
                self.stdout.contains(word) || self.stderr.contains(word),
                "`{}` does not say {word:?}\nstdout: {}\nstderr: {}",
                self.command,
                self.stdout,
                self.stderr
            );
        }
        Ok(())
    }
}

/// Runs a program to its end. It is killed when the limit is over or the test is dropped.
pub async fn run(command: &mut Command) -> Result<Ended> {
    run_for(command, LIMIT).await
}

/// The same with a limit of the caller's own.
pub async fn run_for(command: &mut Command, limit: Duration) -> Result<Ended> {
    let shown = shown(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let Ok(output) = timeout(limit, command.output()).await else {
        bail!("`{shown}` is not done after {} s", limit.as_secs());
    };
    let output = output.with_context(|| format!("starting `{shown}`"))?;
    Ok(Ended {
        command: shown,
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn shown(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
