//! The node beside the worker: how it is spoken to and what it says of itself.

mod claim;
mod describe;
mod known;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ringvault_cassandra::{
    CqlSession, Credentials, NodeControl, NodeErrorKind,
    control::{ControlTimeouts, Jolokia, JolokiaConfig, Nodetool, NodetoolConfig},
    cql::CqlConfig,
};
use ringvault_core::{HostId, TaskError};
use tokio::{net::TcpStream, sync::Mutex};

use self::{claim::NodeClaim, known::KnownNode};
use crate::{
    config::{CassandraConfig, ControlKind},
    run::Fatal,
};

/// The node. Connections are made when they are needed: a worker lives before its node does.
#[derive(Debug)]
pub struct Node {
    control: NodeControl,
    importer: Option<NodeControl>,
    cql: CqlConfig,
    configured_data_dirs: Vec<PathBuf>,
    session: Mutex<Option<Arc<CqlSession>>>,
    known: KnownNode,
    claim: NodeClaim,
    stands_for: Option<HostId>,
}

/// How long a connection may take before nobody is there.
const CONNECT: Duration = Duration::from_secs(3);

impl Node {
    /// Address that the ring knows the node by, as it was last told; empty if it never was.
    pub fn known_address(&self) -> String {
        self.known.address()
    }

    /// Checks the configuration; connects to nothing. What is known of the node lies in `state_dir`.
    pub fn new(config: &CassandraConfig, state_dir: &Path) -> Result<Self, Fatal> {
        let timeouts = ControlTimeouts {
            question: Duration::from_secs(config.question_timeout_seconds),
            work: Duration::from_secs(config.work_timeout_seconds),
            ..ControlTimeouts::default()
        };
        let nodetool = || {
            NodeControl::Nodetool(Nodetool::new(NodetoolConfig {
                argv: config.nodetool.clone(),
                node: config.cql.clone(),
                timeouts,
            }))
        };
        let control = match (config.control, &config.jolokia_url) {
            (ControlKind::Jolokia, Some(url)) => {
                let url = url.parse().map_err(|error| {
                    Fatal::setup("RV-CONFIG", format!("cassandra.jolokia_url {url:?}: {error}"))
                })?;
                let credentials = credentials(
                    "jolokia_password_file",
                    config.jolokia_username.as_deref(),
                    config.jolokia_password_file.as_deref(),
                )?;
                let jolokia = Jolokia::new(JolokiaConfig { url, credentials, timeouts })
                    .map_err(|error| Fatal::setup("RV-CONFIG", error))?;
                NodeControl::Jolokia(jolokia)
            }
            _ => nodetool(),
        };
        let mut cql = CqlConfig::new(&config.cql);
        cql.credentials =
            credentials("password_file", config.username.as_deref(), config.password_file.as_deref())?;
        if let Some(tls) = &config.tls {
            let tls = tls.for_node(&config.cql);
            cql.tls =
                Some(tls.map_err(|error| Fatal::setup("RV-CONFIG", format!("cassandra.tls: {error}")))?);
        }
        Ok(Self {
            control,
            importer: (!config.nodetool.is_empty()).then(nodetool),
            cql,
            configured_data_dirs: config.data_dirs.clone(),
            session: Mutex::new(None),
            known: KnownNode::read(state_dir),
            claim: NodeClaim::default(),
            stands_for: config.stands_for,
        })
    }

    /// The control interface.
    pub const fn control(&self) -> &NodeControl {
        &self.control
    }

    /// The control interface that can import: nodetool.
    pub fn importer(&self) -> Result<&NodeControl, TaskError> {
        self.importer.as_ref().ok_or_else(|| {
            TaskError::permanent(
                "RV-NO-NODETOOL",
                format!(
                    "node {}: SSTables are imported through nodetool, and none is configured",
                    self.cql.contact_point
                ),
            )
            .with_next("set cassandra.nodetool in the worker's configuration")
        })
    }

    /// The role that the worker logs in as.
    pub fn login(&self) -> Option<&str> {
        self.cql.credentials.as_ref().map(|credentials| credentials.user.as_str())
    }

    /// A CQL session with the node and only it.
    pub async fn cql(&self) -> Result<Arc<CqlSession>, TaskError> {
        let mut session = self.session.lock().await;
        if let Some(session) = &*session {
            return Ok(Arc::clone(session));
        }
        let fresh = Arc::new(CqlSession::connect(&self.cql).await?);
        *session = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// Drops the session, so that the next use connects anew: after an error, or when the node may
    /// have become another.
    pub async fn reconnect(&self) {
        *self.session.lock().await = None;
    }

    /// The node's data directories, in the order the node has them.
    pub async fn data_dirs(&self) -> Result<Vec<PathBuf>, TaskError> {
        if !self.configured_data_dirs.is_empty() {
            return Ok(self.configured_data_dirs.clone());
        }
        self.control.node_info().await?.data_dirs.ok_or_else(|| {
            TaskError::permanent(
                "RV-CONFIG",
                format!(
                    "node {}: its control interface does not tell its data directories",
                    self.cql.contact_point
                ),
            )
            .with_next("set cassandra.data_dirs in the worker's configuration")
        })
    }

    /// As [`Self::data_dirs`]; of a node that does not answer, those it last had.
    pub async fn known_data_dirs(&self) -> Result<Vec<PathBuf>, TaskError> {
        match self.data_dirs().await {
            Ok(dirs) => Ok(dirs),
            Err(error) => self.known.data_dirs().filter(|dirs| !dirs.is_empty()).ok_or(error),
        }
    }

    /// Whether nobody answers: neither on its CQL address nor, where that is an address, on its control
    /// interface. What is slow to answer is not silent.
    pub async fn is_silent(&self) -> bool {
        let connected = tokio::time::timeout(CONNECT, TcpStream::connect(&self.cql.contact_point)).await;
        if !matches!(connected, Ok(Err(_))) {
            return false;
        }
        // nodetool would be a JVM to tell the same.
        let asked = match &self.control {
            NodeControl::Nodetool(_) => return true,
            NodeControl::Jolokia(_) => self.control.host_id().await,
        };
        matches!(asked, Err(error) if matches!(error.kind, NodeErrorKind::Unreachable(_)))
    }

    /// Whether its CQL address takes connections.
    pub async fn listens(&self) -> bool {
        let connected = tokio::time::timeout(CONNECT, TcpStream::connect(&self.cql.contact_point)).await;
        matches!(connected, Ok(Ok(_)))
    }

    /// The node's CQL address.
    pub fn address(&self) -> &str {
        &self.cql.contact_point
    }
}

/// A user whose password is in a file that the configuration names as `cassandra.<field>`.
fn credentials(field: &str, user: Option<&str>, file: Option<&Path>) -> Result<Option<Credentials>, Fatal> {
    let (Some(user), Some(file)) = (user, file) else { return Ok(None) };
    Credentials::from_file(user, file)
        .map(Some)
        .map_err(|error| Fatal::setup("RV-CONFIG", format!("cassandra.{field} {}: {error}", file.display())))
}
