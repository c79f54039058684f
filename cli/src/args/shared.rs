//! Options that several commands share.

use std::time::Duration;

use clap::Args;
use ringvault_core::{
    ClusterName,
    selection::{Selection, TableName, is_valid_cql_name},
};

/// `-c`, where leaving it out means all clusters, or the one that a name is unique in.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterOption {
    /// The cluster; may be left out where what is meant is unique
    #[arg(long, short, value_name = "CLUSTER")]
    pub(crate) cluster: Option<ClusterName>,
}

/// A cluster that must be named, as an argument or by `-c`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterNamed {
    /// The cluster
    #[arg(value_name = "CLUSTER", required_unless_present = "by_flag")]
    name: Option<ClusterName>,
    /// The cluster, instead of the argument
    #[arg(long = "cluster", short = 'c', id = "by_flag", value_name = "CLUSTER", conflicts_with = "name")]
    by_flag: Option<ClusterName>,
}

impl ClusterNamed {
    /// The cluster's name, from whichever of the two was given.
    pub(crate) fn get(&self) -> Option<&ClusterName> {
        self.name.as_ref().or(self.by_flag.as_ref())
    }
}

/// What to do once the job exists.
#[derive(Debug, Clone, Args)]
pub(crate) struct StartArgs {
    /// Follow the job to its end instead of returning its id at once
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait: stop following after this long, such as 30m; the job goes on
    #[arg(long, requires = "wait", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Say what would be done and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Give the request a key: the same key again is answered with the same job
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

/// Which tables.
#[derive(Debug, Clone, Args)]
pub(crate) struct SelectionArgs {
    /// Only this keyspace; may be given more than once
    #[arg(long = "keyspace", value_name = "K", value_parser = keyspace)]
    keyspaces: Vec<String>,
    /// Only this table; may be given more than once
    #[arg(long = "table", value_name = "K.T")]
    tables: Vec<TableName>,
    /// Leave this table out; may be given more than once
    #[arg(long, value_name = "K.T")]
    exclude: Vec<TableName>,
}

impl SelectionArgs {
    /// As a job's specification has it.
    pub(crate) fn selection(&self) -> Selection {
        Selection {
            keyspaces: self.keyspaces.clone(),
            tables: self.tables.clone(),
            exclude: self.exclude.clone(),
        }
    }
}

fn keyspace(text: &str) -> Result<String, String> {
    if is_valid_cql_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a keyspace: letters, digits and '_', without quotes"))
    }
}

/// A clap value parser for a type whose JSON form is a lower-case word.
pub(crate) fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}
