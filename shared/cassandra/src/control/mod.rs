//! The node's control interface: flush, snapshot, import, cleanup and what the node says of itself.
//!
//! Two ways in, both complete but for one thing: Jolokia cannot pass a `java.util.Set`, so `SSTables`
//! are imported through nodetool, or by [`NodeControl::load_new_sstables`] after the caller's own
//! checks, or streamed by [`NodeControl::bulk_load`]. Idempotence is the caller's: each call here does its thing once and says how it ended.

mod import;
mod jolokia;
mod nodetool;
pub mod output;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use ringvault_core::{HostId, cluster::Token, selection::TableName};
use tracing::{
    Instrument as _, Span, debug_span,
    field::{Empty, display},
};
use uuid::Uuid;

pub use import::{ImportOptions, ImportOutcome, is_importable_dir};
pub use jolokia::{Jolokia, JolokiaConfig, answer as jolokia_answer};
pub use nodetool::{Nodetool, NodetoolConfig};

use crate::NodeError;

/// A result of speaking to a node.
pub type Result<T> = std::result::Result<T, NodeError>;

/// How long to wait for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlTimeouts {
    /// For a connection.
    pub connect: Duration,
    /// For an answer to a question.
    pub question: Duration,
    /// For work that grows with the data: flush, snapshot, import, cleanup.
    pub work: Duration,
}

impl Default for ControlTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            question: Duration::from_secs(30),
            // An import reads its SSTables through, a cleanup rewrites them: a terabyte takes hours.
            work: Duration::from_hours(6),
        }
    }
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Host id.
    pub host_id: HostId,
    /// Cluster name from `cassandra.yaml`.
    pub cluster_name: String,
    /// Partitioner's class name.
    pub partitioner: String,
    /// Data center.
    pub dc: String,
    /// Rack.
    pub rack: String,
    /// Release, such as `5.0.4`.
    pub release_version: String,
    /// `NORMAL`, `JOINING`, `LEAVING`, `DRAINED`, …
    pub operation_mode: String,
    /// Members of the ring that are joining, leaving or moving, as this node knows.
    pub in_motion: u64,
    /// Tokens, ascending.
    pub tokens: Vec<Token>,
    /// Data directories; `None` where the interface cannot tell.
    pub data_dirs: Option<Vec<PathBuf>>,
}

/// What a snapshot is taken of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotScope {
    /// Every keyspace, the node's own included.
    Everything,
    /// All tables of these keyspaces.
    Keyspaces(Vec<String>),
    /// Just these tables.
    Tables(Vec<TableName>),
}

impl SnapshotScope {
    /// For messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Everything => "all keyspaces".to_owned(),
            Self::Keyspaces(keyspaces) => keyspaces.join(", "),
            Self::Tables(tables) => tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        }
    }

    /// The entities as Cassandra takes them. Empty means everything, so a list that was meant to
    /// name something and is empty must not get here.
    pub(crate) fn entities(&self) -> Vec<String> {
        match self {
            Self::Everything => Vec::new(),
            Self::Keyspaces(keyspaces) => keyspaces.clone(),
            Self::Tables(tables) => tables.iter().map(ToString::to_string).collect(),
        }
    }

    pub(crate) fn names_nothing(&self) -> bool {
        !matches!(self, Self::Everything) && self.entities().is_empty()
    }
}

/// One node's control interface.
#[derive(Debug, Clone)]
pub enum NodeControl {
    /// JMX over HTTP.
    Jolokia(Jolokia),
    /// Cassandra's own tool: a JVM a call.
    Nodetool(Nodetool),
}

macro_rules! either {
    ($self:ident, $control:ident => $call:expr) => {
        match $self {
            NodeControl::Jolokia($control) => $call,
            NodeControl::Nodetool($control) => $call,
        }
    };
}

/// A span for what changes the node or takes long; who collects it is nobody's concern here.
macro_rules! step {
    ($name:literal $(, $($field:tt)+)?) => {
        debug_span!(
            "node",
            otel.name = $name,
            otel.kind = "client",
            otel.status_code = Empty,
            otel.status_description = Empty
            $(, $($field)+)?
        )
    };
}

/// Does it within its span, which an error marks.
async fn within<T>(span: Span, work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = work.instrument(span.clone()).await;
    if let Err(error) = &done {
        span.record("otel.status_code", "ERROR");
        span.record("otel.status_description", display(error));
    }
    done
}

impl NodeControl {
    /// Where the node is spoken to, for messages.
    pub fn address(&self) -> &str {
        either!(self, control => control.address())
    }

    /// What the node says of itself.
    pub async fn node_info(&self) -> Result<NodeInfo> {
        either!(self, control => control.node_info().await)
    }

    /// Which node it is, for less than [`NodeControl::node_info`] costs where each question is a process.
    pub async fn host_id(&self) -> Result<HostId> {
        either!(self, control => control.host_id().await)
    }

    /// The ring's members that this node takes to be up, itself among them.
    pub async fn live_members(&self) -> Result<BTreeSet<HostId>> {
        either!(self, control => control.live_members().await)
    }

    /// Writes memtables of these keyspaces to disk. None named: nothing is done.
    pub async fn flush(&self, keyspaces: &[String]) -> Result<()> {
        let span = step!("flush");
        either!(self, control => within(span, control.flush(keyspaces)).await)
    }

    /// Takes a snapshot. A tag that exists (in one of the scope's keyspaces) is
    /// [`crate::NodeErrorKind::SnapshotExists`]. A scope that names nothing does nothing.
    pub async fn take_snapshot(&self, tag: &str, scope: &SnapshotScope, skip_flush: bool) -> Result<()> {
        let span = step!("take_snapshot");
        either!(self, control => within(span, control.take_snapshot(tag, scope, skip_flush)).await)
    }

    /// Removes the snapshots with this tag from all tables. Succeeds when there are none.
    pub async fn clear_snapshot(&self, tag: &str) -> Result<()> {
        let span = step!("clear_snapshot");
        either!(self, control => within(span, control.clear_snapshot(tag)).await)
    }

    /// Tags of all snapshots, ascending.
    pub async fn list_snapshots(&self) -> Result<Vec<String>> {
        either!(self, control => control.list_snapshots().await)
    }

    /// Hands directories of `SSTables` over to the node. Over Jolokia: unsupported.
    pub async fn import(
        &self,
        table: &TableName,
        dirs: &[PathBuf],
        options: ImportOptions,
    ) -> Result<ImportOutcome> {
        let span = step!("import", table = %table);
        either!(self, control => within(span, control.import(table, dirs, options)).await)
    }

    /// Makes the node open `SSTables` that lie in the table's directory under unused ids.
    /// **Cassandra checks nothing here**: damaged files are opened too.
    pub async fn load_new_sstables(&self, table: &TableName) -> Result<()> {
        let span = step!("load_new_sstables", table = %table);
        either!(self, control => within(span, control.load_new_sstables(table)).await)
    }

    /// Has the node stream the `SSTables` that lie in `dir` to all nodes that own any of their partitions, itself
    /// among them, and says under which plan; [`crate::CqlSession::stream_state`] tells what comes of it.
    ///
    /// The path, absolute and as the *node* sees it, ends in the names of keyspace and table, and has no
    /// folder with a dash or a dot there. The files stay, and must until the plan has ended. **Cassandra
    /// checks nothing here**: damaged data is sent, and what it cannot open, or has no table for, is left
    /// out without a word, so that a plan of nothing succeeds.
    ///
    /// It is the loader within the node. `sstableloader` is a JVM of its own that needs a login, a configuration
    /// and a way to both ports of every node; it would bring nothing that this does not.
    pub async fn bulk_load(&self, dir: &Path) -> Result<Uuid> {
        let span = step!("bulk_load");
        either!(self, control => within(span, control.bulk_load(dir)).await)
    }

    /// Drops what the node does not own from these tables.
    pub async fn cleanup(&self, keyspace: &str, tables: &[String]) -> Result<()> {
        let span = step!("cleanup");
        either!(self, control => within(span, control.cleanup(keyspace, tables)).await)
    }

    /// Recomputes `system.size_estimates`.
    pub async fn refresh_size_estimates(&self) -> Result<()> {
        either!(self, control => control.refresh_size_estimates().await)
    }

    /// Cassandra's estimate of the partitions the node holds of a table.
    pub async fn estimated_partitions(&self, table: &TableName) -> Result<u64> {
        either!(self, control => control.estimated_partitions(table).await)
    }

    /// Live `SSTables` of a table.
    pub async fn live_sstables(&self, table: &TableName) -> Result<u64> {
        either!(self, control => control.live_sstables(table).await)
    }
}

/// Whether a tag can name a snapshot's folder: one path segment, and never an option to nodetool.
pub fn is_valid_tag(tag: &str) -> bool {
    !tag.is_empty()
        && tag.len() <= 200
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && tag.as_bytes()[0].is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_one_path_segment() {
        for bad in ["", ".", "..", "a/b", "-t", "a b", "\u{e9}"] {
            assert!(!is_valid_tag(bad), "{bad:?}");
        }
        assert!(is_valid_tag("rv-0198c1d2.1_x"));
    }

    #[test]
    fn an_empty_list_never_means_everything() {
        assert!(SnapshotScope::Keyspaces(vec![]).names_nothing());
        assert!(SnapshotScope::Tables(vec![]).names_nothing());
        assert!(!SnapshotScope::Everything.names_nothing());
    }
}
