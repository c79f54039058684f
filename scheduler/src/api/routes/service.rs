//! Probes, metrics, the API's own description, the fleet's status.

use std::sync::OnceLock;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use ringvault_core::api::{Document, FleetStatus, Readiness, Role};
use ringvault_metrics::{MEDIA_TYPE, Page};

use crate::api::{ApiState, auth::Access, health, openapi, problem::ApiResult, route::Route, status};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/status", Role::Viewer, fleet)
            .is("getStatus", "The fleet: which cluster is unprotected, late or not verified")
            .answers::<Document<FleetStatus>>(200),
        Route::get("/healthz", Role::Viewer, alive)
            .access(Access::Open)
            .is("getHealth", "Whether the process answers")
            .answers_text("text/plain"),
        Route::get("/readyz", Role::Viewer, ready)
            .access(Access::Open)
            .is("getReadiness", "Whether the servers that it needs can be used; 503 if not")
            .answers::<Document<Readiness>>(200),
        Route::get("/metrics", Role::Viewer, metrics)
            .is("getMetrics", "Metrics in Prometheus's text format")
            .answers_text("text/plain"),
        Route::get("/openapi.json", Role::Viewer, description)
            .access(Access::Open)
            .is("getOpenapi", "This description")
            .answers_text("application/json"),
        Route::get("/asyncapi.json", Role::Viewer, messages)
            .access(Access::Open)
            .is("getAsyncapi", "What other systems may say and hear over RabbitMQ, as AsyncAPI 3")
            .answers_text("application/json"),
    ]
}

async fn fleet(State(api): State<ApiState>) -> ApiResult<Json<Document<FleetStatus>>> {
    Ok(Json(Document::new(status::read(&api).await?)))
}

async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(api): State<ApiState>) -> (StatusCode, Json<Document<Readiness>>) {
    let mut readiness = health::readiness(&api).await;
    // Anybody may ask this: servers' own words (addresses, buckets) are for `/v1/status`.
    for server in [&mut readiness.postgres, &mut readiness.rabbitmq, &mut readiness.store] {
        server.detail = None;
    }
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Document::new(readiness)))
}

async fn metrics(State(api): State<ApiState>) -> ApiResult<Response> {
    let mut conn = api.conn().await?;
    let page = api.metrics.page(&mut conn, api.silent_after(), api.local_measures()).await?;
    let mut own = Page::default();
    ringvault_metrics::store(&mut own, api.ctx.vault.store().requests(), &[]);
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], format!("{page}{}", own.finish())).into_response())
}

async fn messages() -> Response {
    static DESCRIPTION: OnceLock<String> = OnceLock::new();
    let text = DESCRIPTION.get_or_init(|| ringvault_queue::schema::asyncapi().to_string());
    ([(CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}

async fn description() -> Response {
    static DESCRIPTION: OnceLock<String> = OnceLock::new();
    let text = DESCRIPTION.get_or_init(|| openapi::describe(&super::all()).to_string());
    ([(CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}
