//! The `ringvault` program, as a script uses it: JSON documents and exit codes.

use anyhow::{Context as _, Result, ensure};
use ringvault_core::{
    api::{BackupDetail, Document, JobAccepted, JobDetail},
    backup::BackupState,
};
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::{
    Lab,
    lab::Status,
    process::{self, Ended},
};

/// What `ringvault` ended with.
pub type Answer = Ended;

/// Exit codes that tests expect.
pub mod exit {
    /// Done.
    pub const OK: i32 = 0;
    /// Failed.
    pub const FAILED: i32 = 1;
    /// Makes no sense.
    pub const USAGE: i32 = 2;
    /// Done in part.
    pub const PARTIAL: i32 = 3;
    /// Ran and found problems.
    pub const PROBLEMS: i32 = 4;
    /// Not found.
    pub const NOT_FOUND: i32 = 5;
    /// Conflict.
    pub const CONFLICT: i32 = 6;
    /// Refused by a guard.
    pub const REFUSED: i32 = 7;
    /// Not authorised.
    pub const NOT_AUTHORISED: i32 = 8;
    /// A dependency cannot be reached.
    pub const UNREACHABLE: i32 = 9;
    /// The wait is over, the job goes on.
    pub const TIMED_OUT: i32 = 10;
    /// Ctrl-C, the job goes on.
    pub const DETACHED: i32 = 130;
}

/// The program with the lab's server and token.
#[derive(Debug, Clone)]
pub struct Ringvault {
    status: Status,
}

impl Ringvault {
    /// Of the lab as it stands.
    pub async fn of(lab: &Lab) -> Result<Self> {
        Ok(Self { status: lab.status().await? })
    }

    /// The program, to be run.
    pub fn command(&self) -> Result<Command> {
        let server = self.status.server.as_ref().context("the lab has no scheduler: run dev/test")?;
        let mut command = Command::new(self.status.bin_dir.join("ringvault"));
        command
            .env("RINGVAULT_SERVER", server)
            .env("RINGVAULT_TOKEN_FILE", &self.status.token_file)
            // A configuration of whoever runs the tests is none of theirs.
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .env_remove("RINGVAULT_TOKEN");
        Ok(command)
    }

    /// Runs it, whatever it ends with.
    pub async fn run(&self, arguments: &[&str]) -> Result<Answer> {
        process::run(self.command()?.args(arguments)).await
    }

    /// Runs it with `--json`; its document, if it ends with `code`.
    pub async fn json<T: DeserializeOwned>(&self, code: i32, arguments: &[&str]) -> Result<T> {
        let arguments = [arguments, &["--json"]].concat();
        self.run(&arguments).await?.expect(code)?.json()
    }

    /// A job, run to its end, that ends with `code`.
    pub async fn job(&self, code: i32, arguments: &[&str]) -> Result<JobDetail> {
        let arguments = [arguments, &["--wait"]].concat();
        Ok(self.json::<Document<JobDetail>>(code, &arguments).await?.body)
    }

    /// A job, started and left alone.
    pub async fn start(&self, arguments: &[&str]) -> Result<JobAccepted> {
        Ok(self.json::<Document<JobAccepted>>(exit::OK, arguments).await?.body)
    }

    /// A job as it stands.
    pub async fn show_job(&self, id: impl ToString) -> Result<JobDetail> {
        let id = id.to_string();
        Ok(self.json::<Document<JobDetail>>(exit::OK, &["job", "show", &id]).await?.body)
    }

    /// Takes a backup, which must be complete.
    pub async fn backup(&self, cluster: &str, name: &str, options: &[&str]) -> Result<BackupDetail> {
        let create = ["backup", "create", "-c", cluster, "--name", name];
        self.job(exit::OK, &[&create, options].concat()).await?;
        let backup = self.show_backup(cluster, name).await?;
        let state = backup.summary.state;
        ensure!(state == BackupState::Complete, "{name} is {}: {:?}", state.as_str(), backup.remarks);
        Ok(backup)
    }

    /// A backup as it stands.
    pub async fn show_backup(&self, cluster: &str, name: &str) -> Result<BackupDetail> {
        let arguments = ["backup", "show", name, "-c", cluster];
        Ok(self.json::<Document<BackupDetail>>(exit::OK, &arguments).await?.body)
    }

    /// Every byte of a backup is read; it must be whole.
    pub async fn verify(&self, cluster: &str, name: &str) -> Result<JobDetail> {
        self.job(exit::OK, &["verify", "run", name, "-c", cluster, "--level", "digest"]).await
    }

    /// Reads every row of a keyspace and keeps digests. The job's id.
    pub async fn digest(&self, cluster: &str, keyspace: &str) -> Result<String> {
        let job = self.job(exit::OK, &["rows", "digest", "-c", cluster, "--keyspace", keyspace]).await?;
        let read = job.outcome.rows.context("a digest has an outcome")?;
        ensure!(read.tables > 0 && read.rows > 0, "{read:?}");
        Ok(job.summary.id.to_string())
    }

    /// Restores into the cluster, to success.
    pub async fn restore(&self, from: &str, to: &str, options: &[&str]) -> Result<JobDetail> {
        let run = ["restore", "run", "--from", from, "--to", to];
        self.job(exit::OK, &[&run, options].concat()).await
    }
}

/// A name that no earlier run has used: names are never freed.
pub fn fresh(stem: &str) -> String {
    format!("{stem}-{}", chrono::Utc::now().format("%Y%m%d%H%M%S%3f"))
}
