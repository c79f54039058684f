//! This machine's Cassandra, as a swap stops and starts it.

use std::{path::PathBuf, time::Duration};

use ringvault_core::{HostId, JobId, TaskError, cluster::Token};
use ringvault_fault::point;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::{
    command::{LogSince, run},
    swap::{Server, With},
};
use crate::{agent::TaskHandle, config::OfflineConfig, executor::Executor};

/// Between two looks at a node that is to come up.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A node that nobody answers for is started again after this long: one that found none of its seeds up has ended.
const START_AGAIN: Duration = Duration::from_secs(90);

/// Who the node must be once it is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) host_id: HostId,
    /// Ascending.
    pub(super) tokens: Vec<Token>,
}

/// See the module.
pub(super) struct Machine<'a> {
    executor: &'a Executor,
    offline: &'a OfflineConfig,
    /// The task that it is done for; none where a job clears up.
    handle: Option<&'a TaskHandle>,
    identity: Option<Identity>,
    /// What the commands say.
    log: PathBuf,
}

/// What is seen of a node that starts.
enum Seen {
    Up,
    NotYet(String),
    /// It is up, as a node that it must not be.
    Other(String),
}

impl<'a> Machine<'a> {
    pub(super) fn new(
        executor: &'a Executor,
        job: JobId,
        handle: Option<&'a TaskHandle>,
        identity: Option<Identity>,
    ) -> Result<Self, TaskError> {
        let log = executor.job_dir(job)?.join("command.log");
        Ok(Self { executor, offline: executor.offline()?, handle, identity, log })
    }

    fn says(&self, doing: &str) {
        info!("{doing}");
        if let Some(handle) = self.handle {
            handle.step(0, 0, doing);
        }
    }

    async fn look(&self, with: With) -> Seen {
        let node = &self.executor.node;
        if node.is_silent().await {
            return Seen::NotYet("nobody answers".to_owned());
        }
        let identity = self.identity.as_ref().filter(|_| with == With::Restored);
        let info = match node.control().node_info().await {
            Ok(info) => info,
            Err(error) => return Seen::NotYet(error.to_string()),
        };
        if let Some(wanted) = identity {
            let mut tokens = info.tokens;
            tokens.sort_unstable();
            if info.host_id != wanted.host_id {
                return Seen::Other(format!("it is node {}, not {}", info.host_id, wanted.host_id));
            }
            if tokens != wanted.tokens && info.operation_mode == "NORMAL" {
                return Seen::Other("it has other tokens than the backup says".to_owned());
            }
        }
        if info.operation_mode != "NORMAL" {
            return Seen::NotYet(format!("it is in mode {}", info.operation_mode));
        }
        if node.listens().await { Seen::Up } else { Seen::NotYet("it does not listen for CQL".to_owned()) }
    }
}

/// `why` with what Cassandra's log says.
fn with_log(why: String, log: Option<&LogSince<'_>>) -> String {
    match log.and_then(LogSince::says) {
        Some(said) => format!("{why}; Cassandra's log says: {said}"),
        None => why,
    }
}

impl Server for Machine<'_> {
    fn still_mine(&self) -> Result<(), TaskError> {
        self.handle.map_or(Ok(()), TaskHandle::still_mine)
    }

    async fn stop(&self) -> Result<Result<(), String>, TaskError> {
        self.says("stopping Cassandra");
        let limit = Duration::from_secs(self.offline.command_timeout_seconds);
        point!("offline.stop.before").hit().await?;
        if let Err(why) = run(&self.offline.stop_command, limit, &self.log).await {
            return Ok(Err(format!("Cassandra was not stopped: {why}")));
        }
        point!("offline.stop.after").hit().await?;
        let node = &self.executor.node;
        node.reconnect().await;
        let deadline = Instant::now() + limit;
        while !node.is_silent().await {
            if Instant::now() >= deadline {
                return Ok(Err(format!(
                    "`{}` is done and Cassandra still answers at {}",
                    self.offline.stop_command.join(" "),
                    node.address()
                )));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(Ok(()))
    }

    async fn start(&self, with: With) -> Result<Result<(), String>, TaskError> {
        self.says(match with {
            With::Restored => "starting Cassandra with what was restored",
            With::Old => "starting Cassandra with its old data",
        });
        let limit = Duration::from_secs(self.offline.command_timeout_seconds);
        let patience = Duration::from_secs(self.offline.up_timeout_seconds);
        let begun = Instant::now();
        let mut started = begun;
        let log = self.offline.log_file.as_deref().map(LogSince::now);
        let log = log.as_ref();
        point!("offline.start.before").hit().await?;
        if let Err(why) = run(&self.offline.start_command, limit, &self.log).await {
            return Ok(Err(with_log(format!("Cassandra was not started: {why}"), log)));
        }
        point!("offline.start.after").hit().await?;
        loop {
            self.still_mine()?;
            let why = match self.look(with).await {
                Seen::Up => {
                    self.executor.node.reconnect().await;
                    return Ok(Ok(()));
                }
                Seen::Other(why) => return Ok(Err(with_log(why, log))),
                Seen::NotYet(why) => why,
            };
            if begun.elapsed() >= patience {
                let why = format!("Cassandra is not up after {} s: {why}", patience.as_secs());
                return Ok(Err(with_log(why, log)));
            }
            if started.elapsed() >= START_AGAIN && self.executor.node.is_silent().await {
                started = Instant::now();
                if let Err(why) = run(&self.offline.start_command, limit, &self.log).await {
                    return Ok(Err(with_log(format!("Cassandra was not started: {why}"), log)));
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
