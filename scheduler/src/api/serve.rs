//! From a listening socket to answered requests.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{
        HeaderName, HeaderValue, Uri,
        header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::map_response,
    response::Response,
    serve::ListenerExt as _,
};
use ringvault_telemetry::Entry;
use ringvault_tls::TlsError;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::{
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    trace::{DefaultOnResponse, OnResponse as _, TraceLayer},
};
use tracing::field::Empty;

use super::{
    Api,
    auth::AdminToken,
    extract::trace_parent,
    problem::ApiError,
    route, routes,
    tls::{Certificate, Socket},
    ui,
};
use crate::{Context, config::OidcProblem, openid::OpenId};

/// The largest body that is read; policies and specifications are a few kilobytes.
const MAX_BODY: usize = 1 << 20;

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The administrator's token cannot be read.
    #[error("api.admin_token_file {} cannot be used: {cause}", path.display())]
    AdminToken {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: io::Error,
    },
    /// The identity provider's section names a file that cannot be used.
    #[error(transparent)]
    OpenId(#[from] OidcProblem),
    /// A certificate or key cannot be used.
    #[error("http.tls: {0}")]
    Tls(#[from] TlsError),
    /// The address is taken, or not this machine's.
    #[error("the HTTP API cannot listen on {listen}: {cause}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// The system's words.
        cause: io::Error,
    },
    /// The socket failed.
    #[error("the HTTP API on {listen} failed: {cause}")]
    Serve {
        /// The address.
        listen: SocketAddr,
        /// The system's words.
        cause: io::Error,
    },
}

/// The API on a socket that listens but is not answered yet.
#[derive(Debug)]
pub struct Server {
    socket: Socket,
    certificate: Option<Arc<Certificate>>,
    listen: SocketAddr,
    router: Router,
    stopping: CancellationToken,
}

impl Server {
    /// Listens where the configuration says, so that a second process on the same address fails
    /// before it does anything.
    pub async fn bind(ctx: Arc<Context>) -> Result<Self, ServerError> {
        let path = ctx.config.api.admin_token_file.clone();
        let admin = AdminToken::read(&path).map_err(|cause| ServerError::AdminToken { path, cause })?;
        let openid = ctx.config.oidc.as_ref().map(OpenId::open).transpose()?;
        let certificate = ctx.config.http.tls.as_ref().map(Certificate::read).transpose()?;
        let listen = ctx.config.listen;
        let failed = |cause| ServerError::Listen { listen, cause };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let listen = listener.local_addr().map_err(failed)?;
        let socket = Socket::over(listener, certificate.clone()).map_err(failed)?;
        let stopping = CancellationToken::new();
        let router = assemble(Api::new(ctx, admin, openid, certificate.clone(), stopping.clone()));
        Ok(Self { socket, certificate, listen, router, stopping })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Answers until `stop`, then ends streams and waits for the requests under way.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServerError> {
        let Self { socket, certificate, listen, router, stopping } = self;
        tracing::info!(%listen, tls = certificate.is_some(), "the HTTP API listens");
        let follows = certificate.map(|certificate| {
            let stop = stop.clone();
            tokio::spawn(async move { certificate.follow(&stop).await })
        });
        let stopped = async move {
            stop.cancelled().await;
            stopping.cancel();
        };
        // Through `tap_io`, since only then the peer's address is handed to requests.
        let socket = socket.tap_io(|_| ());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let ended = axum::serve(socket, service).with_graceful_shutdown(stopped).await;
        if let Some(follows) = follows {
            follows.abort();
        }
        ended.map_err(|cause| ServerError::Serve { listen, cause })
    }
}

/// The whole API, ready to be served.
fn assemble(api: Api) -> Router {
    let api = Arc::new(api);
    route::assemble(routes::all(), &api)
        .merge(ui::router())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(map_response(harden))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(TraceLayer::new_for_http().make_span_with(span).on_response(answered))
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .with_state(api)
}

/// Neither headers nor the query are logged: the one may hold a token. What only reads begins no trace: a dashboard
/// asks every second.
fn span(request: &Request) -> tracing::Span {
    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let method = request.method();
    let trace = trace_parent(request.headers());
    let span = tracing::info_span!(
        "http",
        %method,
        path = request.uri().path(),
        request = id,
        trace_id = Empty,
        status = Empty,
    );
    let entry = (trace.is_some() || !method.is_safe()).then_some(Entry::Request);
    ringvault_telemetry::enters(&span, entry, method.as_str(), trace);
    span
}

/// As its caller sees it: an error of ours, not of the request's, marks the span.
fn answered(response: &Response, took: Duration, span: &tracing::Span) {
    span.record("status", response.status().as_u16());
    if response.status().is_server_error() {
        ringvault_telemetry::fails(span, &response.status());
    }
    DefaultOnResponse::default().on_response(response, took, span);
}

async fn harden(mut response: Response) -> Response {
    let plain = HeaderValue::from_static;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, plain("nosniff"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), plain("same-origin"));
    // What a cluster has is for who asked, not for what lies between or comes after.
    headers.entry(CACHE_CONTROL).or_insert(plain("no-store"));
    response
}

async fn unknown_path(uri: Uri) -> ApiError {
    ApiError::not_found("RV-PATH", format!("there is nothing at {}", uri.path()))
        .next("GET /openapi.json lists what there is")
}

async fn wrong_method(request: Request) -> ApiError {
    let detail = format!("{} cannot be done at {}", request.method(), request.uri().path());
    ApiError::wrong_method(detail).next("GET /openapi.json lists what there is")
}
