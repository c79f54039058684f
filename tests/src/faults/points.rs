//! Arming failpoints in the folder that the lab's programs look into.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use ringvault_fault::names_in;

use crate::Lab;

/// Where the product's code is.
const SOURCES: [&str; 5] =
    ["scheduler/src", "worker/src", "shared/queue/src", "shared/state/src", "shared/vault/src"];

/// Every failpoint there is, from the sources.
pub fn every_point() -> Result<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = Vec::new();
    for sources in SOURCES {
        names.extend(names_in(&root.join(sources)).context(sources)?);
    }
    Ok(names)
}

/// A lab's failpoints.
#[derive(Debug, Clone)]
pub struct Points {
    dir: PathBuf,
}

impl Points {
    /// Of a lab; none is armed.
    pub fn of(lab: &Lab) -> Result<Self> {
        let points = Self { dir: lab.dir().join("failpoints") };
        points.disarm()?;
        Ok(points)
    }

    /// Tells a point what to do, once.
    pub fn arm(&self, name: &str, action: &str) -> Result<()> {
        // Renamed into place: a program never sees half of the word.
        let fresh = self.dir.join(format!(".{name}"));
        fs::write(&fresh, action)?;
        fs::rename(&fresh, self.dir.join(name)).with_context(|| name.to_owned())
    }

    /// Lets a point that was told to pause go on.
    pub fn go_on(&self, name: &str) -> Result<()> {
        Ok(fs::write(self.dir.join(format!("{name}.go")), "")?)
    }

    /// Forgets everything: what is armed and what was hit.
    pub fn disarm(&self) -> Result<()> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        Ok(fs::create_dir_all(&self.dir)?)
    }

    /// The points that were hit since.
    pub fn hit(&self) -> Result<BTreeSet<String>> {
        let mut hit = BTreeSet::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            hit.extend(name.strip_suffix(".hit").map(str::to_owned));
        }
        Ok(hit)
    }
}
