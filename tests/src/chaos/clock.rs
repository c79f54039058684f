//! A scheduler whose clock is minutes off, by libfaketime.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use toml::Table;

/// A scheduler beside the lab's, killed when dropped.
#[derive(Debug)]
pub(super) struct Shifted {
    process: Child,
    _folder: TempDir,
}

impl Shifted {
    /// With the configuration of another, and a clock that is so many minutes ahead.
    pub(super) fn scheduler(program: &Path, config: &Path, minutes: i32) -> Result<Self> {
        let mut table: Table = toml::from_str(&fs::read_to_string(config)?)?;
        table.insert("id".to_owned(), "sched-shifted".into());
        table.insert("listen".to_owned(), "127.0.0.1:0".into());
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("scheduler.toml");
        fs::write(&config, toml::to_string(&table)?)?;
        let process = Command::new(program)
            .arg("--config")
            .arg(&config)
            .env("LD_PRELOAD", library()?)
            .env("FAKETIME", format!("{:+}s", minutes * 60))
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| program.display().to_string())?;
        Ok(Self { process, _folder: folder })
    }

    /// Whether it still runs.
    pub(super) fn runs(&mut self) -> Result<bool> {
        Ok(self.process.try_wait()?.is_none())
    }
}

impl Drop for Shifted {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Debian's package `faketime`.
pub(super) fn library() -> Result<PathBuf> {
    let found = fs::read_dir("/usr/lib")?.filter_map(Result::ok).find_map(|entry| {
        let library = entry.path().join("faketime/libfaketime.so.1");
        library.exists().then_some(library)
    });
    found.context("libfaketime is not installed. Next: apt-get install faketime")
}
