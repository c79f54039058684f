//! `GET /metrics`, and the probes beside it, where `[metrics]` asks for them.
//!
//! Plain HTTP without a token, as Prometheus expects it of what stands beside a node: figures, and no name
//! of a backup or a table. It changes nothing and reads nothing but memory, so a scrape costs the node
//! nothing. Who may reach it is a matter of the address, by default nobody.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use ringvault_queue::SessionState;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tracing::{info, warn};

use super::{
    bounded::Bounded,
    page::{self, Surroundings},
};
use crate::executor::Executor;

/// What to do where an address cannot be had.
const NEXT: &str =
    "give it an address of this machine and a port that nobody else has, or leave [metrics] out";

/// The worker cannot listen where it is told to.
#[derive(Debug, thiserror::Error)]
#[error("metrics.listen: cannot listen on {listen}: {cause}. Next: {NEXT}")]
pub struct ListenError {
    /// The address.
    pub listen: SocketAddr,
    /// The system's words.
    pub cause: io::Error,
}

impl ListenError {
    /// 8 without the right, 6 where the port is another's. An address that this machine does not have may be one that
    /// it does not have yet: 9, which service managers try again.
    pub fn exit_code(&self) -> u8 {
        match self.cause.kind() {
            io::ErrorKind::PermissionDenied => 8,
            io::ErrorKind::AddrInUse => 6,
            _ => 9,
        }
    }
}

/// A socket that listens and is not answered yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// What requests are answered from.
#[derive(Clone)]
struct Shared {
    executor: Arc<Executor>,
    session: watch::Receiver<SessionState>,
}

impl Listener {
    /// Listens, so that an address that cannot be had is known before any work is taken.
    pub async fn bind(listen: SocketAddr) -> Result<Self, ListenError> {
        let failed = |cause| ListenError { listen, cause };
        let socket = TcpListener::bind(listen).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is dropped.
    pub fn answer(self, executor: Arc<Executor>, session: watch::Receiver<SessionState>) -> Answering {
        let Self { socket, address } = self;
        info!(listen = %address, "metrics are served");
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(alive))
            .route("/readyz", get(ready))
            .fallback(nothing)
            .with_state(Shared { executor, session });
        Answering(tokio::spawn(async move {
            if let Err(error) = axum::serve(Bounded::new(socket), router).await {
                warn!(%error, "metrics are not served any more");
            }
        }))
    }
}

/// The answering; it ends when this is dropped.
#[derive(Debug)]
pub struct Answering(JoinHandle<()>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let executor = &shared.executor;
    let config = executor.config();
    let node = executor.node_address();
    let surroundings = Surroundings {
        cluster: config.cluster.as_str(),
        node: &node,
        slots: config.worker.slots,
        is_connected: shared.session.borrow().is_connected(),
    };
    let page = page::write(surroundings, executor.measures(), executor.requests());
    ([(CONTENT_TYPE, ringvault_metrics::MEDIA_TYPE)], page)
}

async fn alive() -> &'static str {
    "ok\n"
}

async fn nothing() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n")
}

/// Anybody may ask this: why not (a broker's address, its words) is for the log and for `--probe`.
async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    if shared.session.borrow().is_connected() {
        return (StatusCode::OK, "connected\n");
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not connected to the broker\n")
}
