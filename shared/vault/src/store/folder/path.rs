//! From keys to paths, and names that last: every change of a folder is flushed before it counts.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Tries to make a name in a folder that a deletion removes at the same time.
pub(super) const TRIES: usize = 100;

/// The file of a key, which was checked: it cannot leave the root.
pub(super) fn of(root: &Path, key: &str) -> PathBuf {
    root.join(key)
}

/// Gives a finished file its name with `name_it` and flushes the folder.
pub(super) fn place(root: &Path, file: &Path, name_it: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let folder = file.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut tries = 0;
    loop {
        match create_folders(root, folder).and_then(|()| name_it()) {
            Ok(()) => break,
            // The folder, or one above it, was empty and a deletion has just removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES && root.is_dir() => {
                tries += 1;
            }
            Err(error) => {
                // What was made for nothing.
                remove_empty(root, file);
                return Err(error);
            }
        }
    }
    sync_folder(folder)
}

/// Removes a file, if there, and the folders that are empty after it.
pub(super) fn remove(root: &Path, file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut folder = file.parent();
    while let Some(here) = folder {
        if here == root || fs::remove_dir(here).is_err() {
            return match sync_folder(here) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        folder = here.parent();
    }
    Ok(())
}

/// Removes the folders above `file` that are empty.
pub(super) fn remove_empty(root: &Path, file: &Path) {
    let folders = file.ancestors().skip(1).take_while(|folder| *folder != root);
    for folder in folders {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

/// Creates `folder` with its parents and flushes each parent that got a new entry.
pub(super) fn create_folders(root: &Path, folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if folder == root {
        return fs::create_dir_all(root);
    }
    let parent = folder.parent().ok_or(io::ErrorKind::InvalidInput)?;
    if folder.starts_with(root) && parent == root && !root.is_dir() {
        return Err(io::ErrorKind::NotFound.into());
    }
    create_folders(root, parent)?;
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(parent),
        // Another made it, and may have removed it as empty again: the caller's loop sees to that too.
        Err(error)
            if error.kind() == io::ErrorKind::AlreadyExists && (folder.is_dir() || !folder.exists()) =>
        {
            Ok(())
        }
        // Removed as empty in between: the caller's loop comes again.
        Err(error) if error.kind() == io::ErrorKind::NotFound && root.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
