//! Schedulers and workers of the test's own, with a configuration that differs from the lab's.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use toml::{Table, Value};

use crate::{
    Lab, Ringvault,
    fault::Mend,
    process::{Ended, run_for},
    ringvault::exit,
    wait::until,
};

/// How long a program may take to find out that it cannot run.
const START: Duration = Duration::from_secs(180);

/// A program in the place of the lab's. Stops when dropped; then the lab's runs again.
#[derive(Debug)]
pub struct OwnProgram {
    process: Child,
    // Dropped after the process has ended: both would claim the same address or folder.
    _lab_own: Vec<Mend>,
    folder: TempDir,
}

impl OwnProgram {
    /// A scheduler with the lab's configuration and `sections` behind it, such as less patience, in the
    /// place of all that the lab has.
    pub async fn scheduler(lab: &Lab, sections: &str) -> Result<Self> {
        let status = lab.status().await?;
        let entry = status.services.schedulers.first().context("the lab has no scheduler")?;
        let sections: Table = toml::from_str(sections)?;
        let folder = edited(&entry.config, |config| config.extend(sections))?;
        let mut lab_own = Vec::new();
        for scheduler in &status.services.schedulers {
            let index = scheduler.index.to_string();
            lab_own.push(Mend::with(lab, &["start-scheduler", &index]));
            lab.run(&["stop-scheduler", &index]).await?;
        }
        let own = Self::start(&status.bin_dir.join("ringvault-scheduler"), folder, lab_own)?;
        let rv = Ringvault::of(lab).await?;
        until("scheduler of the test's own", START, async || {
            Ok((rv.run(&["cluster", "list"]).await?.code == exit::OK).then_some(()))
        })
        .await?;
        Ok(own)
    }

    /// A worker beside a node, with the lab's configuration after `change`.
    pub async fn worker(
        lab: &Lab,
        cluster: &str,
        node: u32,
        change: impl FnOnce(&mut Table),
    ) -> Result<Self> {
        let status = lab.status().await?;
        let folder = edited(&worker_config(lab, cluster, node).await?, change)?;
        let node = node.to_string();
        let lab_own = vec![Mend::with(lab, &["start-worker", &node, "--cluster", cluster])];
        lab.run(&["stop-worker", &node, "--cluster", cluster]).await?;
        Self::start(&status.bin_dir.join("ringvault-worker"), folder, lab_own)
    }

    fn start(program: &Path, folder: TempDir, lab_own: Vec<Mend>) -> Result<Self> {
        let log = File::create(folder.path().join("log"))?;
        let process = Command::new(program)
            .arg("--config")
            .arg(folder.path().join("config.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { process, _lab_own: lab_own, folder })
    }

    /// What it has printed.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("log"))?)
    }
}

impl Drop for OwnProgram {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log().unwrap_or_default());
        }
        // Both fail only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The configuration of the worker beside a node.
pub async fn worker_config(lab: &Lab, cluster: &str, node: u32) -> Result<PathBuf> {
    let nodes = lab.cluster(cluster).await?.nodes;
    let node = nodes.into_iter().find(|entry| entry.index == node).context("no such node")?;
    Ok(node.worker.context("the node has no worker")?.config)
}

/// Runs `program` with the configuration `config` after `change`, until it gives up.
pub async fn gives_up(
    lab: &Lab,
    program: &str,
    config: &Path,
    change: impl FnOnce(&mut Table),
) -> Result<Ended> {
    let folder = edited(config, change)?;
    let mut command = tokio::process::Command::new(lab.status().await?.bin_dir.join(program));
    command.arg("--config").arg(folder.path().join("config.toml"));
    run_for(&mut command, START).await
}

/// A section of a configuration.
///
/// # Panics
/// If there is none: the lab's configurations have all that the tests change.
pub fn section<'a>(config: &'a mut Table, name: &str) -> &'a mut Table {
    config
        .get_mut(name)
        .and_then(Value::as_table_mut)
        .unwrap_or_else(|| panic!("the configuration has no section [{name}]"))
}

fn edited(config: &Path, change: impl FnOnce(&mut Table)) -> Result<TempDir> {
    let text = fs::read_to_string(config).with_context(|| config.display().to_string())?;
    let mut table: Table = toml::from_str(&text)?;
    change(&mut table);
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("config.toml"), toml::to_string(&table)?)?;
    Ok(folder)
}
