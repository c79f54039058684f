//! A small disk, that can be filled: a file system in memory. Needs root, or sudo that does not ask.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

const FILLER: &str = "filler";

/// A file system in the place of a folder, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// In the place of `folder`, which is made, with options as `mount` takes them, such as `size=1m`.
    pub fn at(folder: &Path, options: &str) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        as_root(&["mount", "-t", "tmpfs", "-o", options, "tmpfs"], folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// Leaves no byte free.
    pub fn fill(&self) -> Result<()> {
        let mut filler = fs::File::create(self.0.join(FILLER))?;
        // Piece by piece down to single bytes, until the disk says that it is full.
        for piece in [64 << 10, 1 << 10, 1] {
            while filler.write_all(&vec![b'x'; piece]).is_ok() {}
        }
        Ok(())
    }

    /// As it was.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.0.join(FILLER)).context("freeing the disk")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What stays mounted is an empty folder of a few MiB.
        let _ = as_root(&["umount", "-l"], &self.0);
    }
}

fn as_root(words: &[&str], folder: &Path) -> Result<()> {
    let mut command = Command::new("sh");
    command.args(["-c", "[ $(id -u) = 0 ] && exec \"$@\" || exec sudo -n \"$@\"", "sh"]);
    let done = command.args(words).arg(folder).output()?;
    ensure!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
