//! The HTTP API: `/v1`, the probes, `/metrics`, `/openapi.json` and the dashboard (`/ui`).
//!
//! It reads the database and passes on what is asked of the workflow ([`crate::jobs`]), which
//! decides under its own locks; nothing is decided here. What a route takes, who may use it and how
//! it is described stand in one table (`routes`), and one guard keeps it. Any scheduler answers
//! any request: no state of a conversation is kept between two of them.

mod auth;
mod cursor;
mod error_map;
mod extract;
mod health;
mod metrics;
mod openapi;
mod prefix;
mod problem;
mod route;
mod routes;
mod serve;
mod status;
mod tls;
mod ui;

use std::{ops::DerefMut, sync::Arc};

use chrono::TimeDelta;
use ringvault_state::{PgConnection, StateError};
use tokio_util::sync::CancellationToken;

use crate::{Context, openid::OpenId};
use auth::{AdminToken, Throttle};
use health::StoreHealth;
pub(crate) use metrics::DURATION_BOUNDS;
use metrics::{Local, Metrics};
use problem::ApiResult;
use tls::Certificate;

pub(crate) use status::fleet;

pub use extract::{parse_body, parse_job_spec};
pub use serve::{Server, ServerError};

/// What handlers share.
#[derive(Debug)]
struct Api {
    ctx: Arc<Context>,
    admin: AdminToken,
    /// Where people sign in, beside tokens.
    openid: Option<OpenId>,
    metrics: Metrics,
    store: StoreHealth,
    throttle: Throttle,
    /// What the API is served with, over TLS.
    certificate: Option<Arc<Certificate>>,
    /// Cancelled when the server stops: streams end then.
    stopping: CancellationToken,
}

type ApiState = Arc<Api>;

impl Api {
    fn new(
        ctx: Arc<Context>,
        admin: AdminToken,
        openid: Option<OpenId>,
        certificate: Option<Arc<Certificate>>,
        stopping: CancellationToken,
    ) -> Self {
        let (metrics, store, throttle) = (Metrics::default(), StoreHealth::default(), Throttle::default());
        Self { ctx, admin, openid, metrics, store, throttle, certificate, stopping }
    }

    /// A connection to the database.
    async fn conn(&self) -> ApiResult<impl DerefMut<Target = PgConnection> + use<>> {
        Ok(self.ctx.db.acquire().await.map_err(StateError::from)?)
    }

    /// What this process alone can tell Prometheus.
    fn local_measures(&self) -> Local {
        Local { certificate_ends: self.certificate.as_ref().map(|certificate| certificate.not_after()) }
    }

    /// A worker that was not heard for so long is silent.
    fn silent_after(&self) -> TimeDelta {
        TimeDelta::from_std(self.ctx.config.timing.worker_silence).unwrap_or(TimeDelta::MAX)
    }
}
