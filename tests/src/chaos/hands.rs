//! The operator's hands in a storm: `ringvault` against whichever scheduler answers, the database
//! whenever it is there, signals to the lab's processes.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use sqlx::{FromRow, PgConnection, postgres::PgRow};

use crate::{
    Lab, Ringvault, invariants,
    process::{Ended, run_for},
};

/// A command that takes longer is tried with the other scheduler.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hands on one lab.
#[derive(Debug)]
pub(super) struct Hands {
    /// The lab.
    pub(super) lab: Lab,
    rv: Ringvault,
    servers: Vec<String>,
    turn: AtomicUsize,
}

impl Hands {
    /// Of a lab that is up.
    pub(super) async fn on(lab: &Lab) -> Result<Self> {
        let schedulers = lab.status().await?.services.schedulers;
        let servers: Vec<String> = schedulers.into_iter().filter_map(|scheduler| scheduler.url).collect();
        ensure!(!servers.is_empty(), "the lab has no scheduler");
        Ok(Self { lab: lab.clone(), rv: Ringvault::of(lab).await?, servers, turn: AtomicUsize::new(0) })
    }

    /// Runs `ringvault` once.
    pub(super) async fn rv(&self, arguments: &[&str]) -> Result<Ended> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut command = self.rv.command()?;
        command.args(arguments).env("RINGVAULT_SERVER", &self.servers[turn % self.servers.len()]);
        run_for(&mut command, PATIENCE).await
    }

    /// Runs it until a scheduler has answered, with success or with a refusal.
    pub(super) async fn insist(&self, arguments: &[&str], tries: u32) -> Result<Ended> {
        let mut last = None;
        for _ in 0..tries {
            match self.rv(arguments).await {
                // 9: nobody answers; 1: it failed on its side.
                Ok(ended) if !matches!(ended.code, 1 | 9 | -1) => return Ok(ended),
                Ok(ended) => last = Some(format!("{} {}", ended.code, ended.stderr)),
                Err(error) => last = Some(error.to_string()),
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        anyhow::bail!("`ringvault {}`: {}", arguments.join(" "), last.unwrap_or_default())
    }

    /// The document of a command that must succeed in the end.
    pub(super) async fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let arguments = [arguments, &["--json"]].concat();
        self.insist(&arguments, 40).await?.expect(0)?.json()
    }

    /// Rows of a query, on a connection of its own: the last one may have gone with its server.
    pub(super) async fn rows<R>(&self, sql: &'static str) -> Result<Vec<R>>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let mut conn = self.connect().await?;
        Ok(sqlx::query_as(sql).fetch_all(&mut conn).await?)
    }

    async fn connect(&self) -> Result<PgConnection> {
        let mut last = None;
        for _ in 0..60 {
            match invariants::connect(&self.lab).await {
                Ok(conn) => return Ok(conn),
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Err(last.context("no try at all")?)
    }
}

/// Signals a process of the lab; one that is gone already is not there to be signalled.
pub(super) fn signal(pid: Option<u32>, signal: Signal) -> Result<()> {
    let Some(pid) = pid.and_then(|pid| Pid::from_raw(pid.cast_signed())) else { return Ok(()) };
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("a signal"),
    }
}
