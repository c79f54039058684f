//! The session: connecting, running statements, and saying what went wrong in [`NodeError`]'s words.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ringvault_core::HostId;
use ringvault_tls::{ClientConfig, ClientTls, PeerName, Trouble, explain};
use scylla::{
    client::{
        PoolSize, execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder,
    },
    deserialize::row::DeserializeRow,
    errors::{
        BrokenConnectionErrorKind, ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind,
        DbError, ExecutionError, FrameHeaderParseError, MetadataError, NewSessionError, RequestAttemptError,
    },
    policies::retry::FallthroughRetryPolicy,
    response::query_result::QueryResult,
    serialize::row::SerializeRow,
    statement::{Consistency, Statement},
};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::{
    Result,
    pinned::{OneAddress, OnePeer},
};
use crate::{Credentials, NodeError, NodeErrorKind, error::quote};

/// TLS with a node (Cassandra's `client_encryption_options`).
#[derive(Debug, Clone)]
pub struct CqlTls {
    /// Certificates and keys. Read anew for every session.
    pub files: ClientTls,
    /// What the node's certificate is made out to.
    pub name: PeerName,
}

/// Where a node listens for CQL.
#[derive(Debug, Clone)]
pub struct CqlConfig {
    /// `host:port`.
    pub contact_point: String,
    /// User and password, if the cluster wants them.
    pub credentials: Option<Credentials>,
    /// Whom to trust and who we are, where the node wants TLS.
    pub tls: Option<CqlTls>,
    /// For statements that do not say otherwise.
    pub consistency: Consistency,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long to wait for an answer.
    pub request_timeout: Duration,
}

impl CqlConfig {
    /// A node without authentication, at consistency ONE.
    pub fn new(contact_point: impl Into<String>) -> Self {
        Self {
            contact_point: contact_point.into(),
            credentials: None,
            tls: None,
            consistency: Consistency::One,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_mins(1),
        }
    }
}

/// What the node at the other end is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalNode {
    /// Host id.
    pub host_id: HostId,
    /// Cluster name.
    pub cluster_name: String,
    /// Release, such as `5.0.4`.
    pub release_version: String,
    /// Partitioner's class name.
    pub partitioner: String,
}

/// A session with one node.
pub struct CqlSession {
    session: Session,
    node: String,
    local: LocalNode,
}

impl std::fmt::Debug for CqlSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CqlSession")
            .field("node", &self.node)
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

impl CqlSession {
    /// Connects to the node, and only to it.
    pub async fn connect(config: &CqlConfig) -> Result<Self> {
        let operation = "connect over CQL";
        let node = &config.contact_point;
        let unreachable = |what: String| error(node, operation, NodeErrorKind::Unreachable(what));
        let address = tokio::net::lookup_host(node)
            .await
            .map_err(|cause| unreachable(format!("{node}: {cause}")))?
            .next()
            .ok_or_else(|| unreachable(format!("{node} has no address")))?;

        let first = OnePeer::default();
        let tls = config.tls.as_ref().map(|tls| tls.files.config_for(tls.name.clone())).transpose();
        let tls = tls.map_err(|cause| error(node, operation, NodeErrorKind::Failed(cause.to_string())))?;
        let mut session = build(config, tls.clone(), address, first.clone()).await?;
        let mut local = Self::ask_local(&session, node).await?;
        if first.chosen() != Some(local.host_id.0) {
            let right = OnePeer::named(local.host_id.0);
            session = build(config, tls, address, right).await?;
            local = Self::ask_local(&session, node).await?;
        }
        Ok(Self { session, node: node.clone(), local })
    }

    async fn ask_local(session: &Session, node: &str) -> Result<LocalNode> {
        type Row = (Uuid, String, String, String);
        let text = "SELECT host_id, cluster_name, release_version, partitioner \
                    FROM system.local WHERE key = 'local'";
        let operation = "read system.local";
        let answer = session
            .query_unpaged(text, ())
            .await
            .map_err(|cause| error(node, operation, kind_of_execution(&cause)))?;
        let failed = |what: String| error(node, operation, NodeErrorKind::Failed(what));
        let rows = answer.into_rows_result().map_err(|cause| failed(cause.to_string()))?;
        let (host_id, cluster_name, release_version, partitioner) =
            rows.single_row::<Row>().map_err(|cause| failed(cause.to_string()))?;
        Ok(LocalNode { host_id: HostId(host_id), cluster_name, release_version, partitioner })
    }

    /// The node's address as configured, for messages.
    pub fn address(&self) -> &str {
        &self.node
    }

    /// What the node at the other end is.
    pub fn local(&self) -> &LocalNode {
        &self.local
    }

    /// The major number of its release, such as 5; `None`: the release is no number.
    pub fn major_release(&self) -> Option<u32> {
        self.local.release_version.split('.').next()?.parse().ok()
    }

    /// The driver's session, for statements of the caller's own.
    pub fn driver(&self) -> &Session {
        &self.session
    }

    /// Runs a statement whose answer fits one page.
    pub(crate) async fn run(
        &self,
        operation: &str,
        statement: impl Into<Statement>,
        values: impl SerializeRow,
    ) -> Result<QueryResult> {
        self.session
            .query_unpaged(statement, values)
            .await
            .map_err(|cause| self.error(operation, kind_of_execution(&cause)))
    }

    /// Runs a statement and reads all rows, page by page on the wire.
    pub(crate) async fn rows<R>(
        &self,
        operation: &str,
        statement: impl Into<Statement>,
        values: impl SerializeRow,
    ) -> Result<Vec<R>>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let mut statement = statement.into();
        statement.set_page_size(1000);
        let mut paging = scylla::response::PagingState::start();
        let mut all = Vec::new();
        loop {
            let (answer, next) = self
                .session
                .query_single_page(statement.clone(), &values, paging)
                .await
                .map_err(|cause| self.error(operation, kind_of_execution(&cause)))?;
            let page =
                answer.into_rows_result().map_err(|cause| self.failed(operation, cause.to_string()))?;
            let rows = page.rows::<R>().map_err(|cause| self.failed(operation, cause.to_string()))?;
            for row in rows {
                all.push(row.map_err(|cause| self.failed(operation, cause.to_string()))?);
            }
            match next.into_paging_control_flow() {
                std::ops::ControlFlow::Break(()) => return Ok(all),
                std::ops::ControlFlow::Continue(state) => paging = state,
            }
        }
    }

    pub(crate) fn failed(&self, operation: &str, what: impl Into<String>) -> NodeError {
        self.error(operation, NodeErrorKind::Failed(what.into()))
    }

    pub(crate) fn error(&self, operation: &str, kind: NodeErrorKind) -> NodeError {
        error(&self.node, operation, kind)
    }
}

fn error(node: &str, operation: &str, kind: NodeErrorKind) -> NodeError {
    NodeError { node: node.to_owned(), operation: operation.to_owned(), kind }
}

async fn build(
    config: &CqlConfig,
    tls: Option<Arc<ClientConfig>>,
    address: SocketAddr,
    peer: OnePeer,
) -> Result<Session> {
    let profile = ExecutionProfile::builder()
        .consistency(config.consistency)
        .request_timeout(Some(config.request_timeout))
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .build();
    let mut builder = SessionBuilder::new()
        .known_node_addr(address)
        .address_translator(Arc::new(OneAddress(address)))
        .host_filter(Arc::new(peer))
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(config.connect_timeout)
        .pool_size(PoolSize::PerHost(std::num::NonZeroUsize::MIN))
        .disallow_shard_aware_port(true)
        .fetch_schema_metadata(false)
        .auto_await_schema_agreement(false);
    if let Some(tls) = tls {
        builder = builder.tls_context(Some(tls));
    }
    if let Some(credentials) = &config.credentials {
        builder = builder.user(&credentials.user, credentials.password.expose_secret());
    }
    let connecting = tokio::time::timeout(config.connect_timeout * 3, builder.build());
    let operation = "connect over CQL";
    match connecting.await {
        Ok(Ok(session)) => Ok(session),
        Ok(Err(cause)) => Err(error(&config.contact_point, operation, kind_of_new_session(&cause))),
        Err(_) => {
            let kind = NodeErrorKind::Timeout(config.connect_timeout * 3);
            Err(error(&config.contact_point, operation, kind))
        }
    }
}

fn kind_of_new_session(cause: &NewSessionError) -> NodeErrorKind {
    if let Some(trouble) = trouble_with_tls(cause) {
        return NodeErrorKind::Refused(format!("TLS: {}", quote(trouble.words())));
    }
    let text = chain(cause);
    if text.contains("Authentication") || text.contains("authenticat") || text.contains("credentials") {
        return NodeErrorKind::Refused(quote(&text));
    }
    NodeErrorKind::Unreachable(quote(&text))
}

/// What a handshake failed of. The driver keeps it where no chain of causes leads.
fn trouble_with_tls(cause: &NewSessionError) -> Option<Trouble> {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
        last_connection_error: last,
    })) = cause
    else {
        return None;
    };
    let broken = match last {
        ConnectionError::IoError(cause) => return explain(&**cause),
        // What a node thinks of our certificate it may say only when the first request is on its way.
        ConnectionError::BrokenConnection(broken) => broken,
        ConnectionError::ConnectionSetupRequestError(request) => match &request.error {
            ConnectionSetupRequestErrorKind::BrokenConnection(broken) => broken,
            _ => return None,
        },
        _ => return None,
    };
    match broken.downcast_ref()? {
        BrokenConnectionErrorKind::FrameHeaderParseError(FrameHeaderParseError::HeaderIoError(cause)) => {
            explain(cause)
        }
        _ => None,
    }
}

/// Classes an error of the driver or of the server behind it.
pub(crate) fn kind_of_execution(cause: &ExecutionError) -> NodeErrorKind {
    let text = quote(&chain(cause));
    match cause {
        ExecutionError::RequestTimeout(after) => NodeErrorKind::Timeout(*after),
        ExecutionError::ConnectionPoolError(
            ConnectionPoolError::Broken { .. } | ConnectionPoolError::Initializing,
        )
        | ExecutionError::LastAttemptError(RequestAttemptError::BrokenConnectionError(_)) => {
            NodeErrorKind::Unreachable(text)
        }
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(db, words)) => {
            kind_of_db_error(db, words)
        }
        ExecutionError::BadQuery(_) => NodeErrorKind::Refused(text),
        ExecutionError::PrepareError(scylla::errors::PrepareError::AllAttemptsFailed {
            first_attempt: RequestAttemptError::DbError(db, words),
        }) => kind_of_db_error(db, words),
        _ => NodeErrorKind::Failed(text),
    }
}

fn kind_of_db_error(db: &DbError, words: &str) -> NodeErrorKind {
    let words = quote(words);
    match db {
        DbError::AlreadyExists { .. } => NodeErrorKind::Exists(words),
        DbError::Unavailable { .. } | DbError::IsBootstrapping => {
            NodeErrorKind::Unavailable(format!("{db}: {words}"))
        }
        DbError::Invalid if says_missing(&words) => NodeErrorKind::NotFound(words),
        DbError::Invalid if words.contains("already exists") => NodeErrorKind::Exists(words),
        DbError::SyntaxError
        | DbError::Invalid
        | DbError::ConfigError
        | DbError::Unauthorized
        | DbError::AuthenticationError
        | DbError::FunctionFailure { .. } => NodeErrorKind::Refused(words),
        _ => NodeErrorKind::Failed(format!("{db}: {words}")),
    }
}

fn says_missing(words: &str) -> bool {
    ["does not exist", "doesn't exist", "unconfigured table", "not found"]
        .iter()
        .any(|needle| words.contains(needle))
}

/// An error with its causes, without repeating what an outer one already says.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text
}
