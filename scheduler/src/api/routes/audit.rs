//! The audit log: looked at, and read whole so that its chain can be checked.

use axum::{Json, extract::State};
use ringvault_core::{
    ClusterName,
    api::{AuditAnchor, AuditEntry, Page, Role},
};
use ringvault_state::audit::{self, AuditFilter};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::{
    ApiState, cursor, error_map::vault_error, extract::Params, problem::ApiResult, route::Route,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/audit", Role::Viewer, list)
            .is("listAudit", "Who did what, the newest first")
            .query::<ListQuery>()
            .answers::<Page<AuditEntry>>(200),
        Route::get("/v1/audit/chain", Role::Viewer, chain)
            .is("readAuditChain", "The log in its order, whole, so that its chain of hashes can be checked")
            .query::<ChainQuery>()
            .answers::<Page<AuditEntry>>(200),
        Route::get("/v1/audit/anchors", Role::Viewer, anchors)
            .is("listAuditAnchors", "What the vault was told of the log, in order")
            .query::<ChainQuery>()
            .answers::<Page<AuditAnchor>>(200),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// In this cluster.
    cluster: Option<ClusterName>,
    /// By this actor, such as `token deploy`.
    actor: Option<String>,
    /// Of this action, or of all that begin so: `job.`.
    action: Option<String>,
    /// Entries on a page, from 1 to 1000.
    limit: Option<u32>,
    /// Of the page before.
    cursor: Option<String>,
}

async fn list(
    State(api): State<ApiState>,
    Params(query): Params<ListQuery>,
) -> ApiResult<Json<Page<AuditEntry>>> {
    let limit = cursor::limit(query.limit)?;
    let before: Option<u64> = cursor::read(query.cursor.as_deref())?;
    let filter = AuditFilter { cluster: query.cluster, actor: query.actor, action: query.action };
    let mut conn = api.conn().await?;
    let found = audit::list(&mut conn, &filter, before, cursor::ask(limit)).await?;
    let (items, next) = cursor::cut(found, limit, |entry| entry.seq)?;
    Ok(Json(Page::new(ringvault_state::now(&mut conn).await?, items, next)))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChainQuery {
    /// Entries on a page, from 1 to 1000.
    limit: Option<u32>,
    /// Of the page before.
    cursor: Option<String>,
}

async fn chain(
    State(api): State<ApiState>,
    Params(query): Params<ChainQuery>,
) -> ApiResult<Json<Page<AuditEntry>>> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<u64> = cursor::read(query.cursor.as_deref())?;
    let mut conn = api.conn().await?;
    let found = audit::read_on(&mut conn, after.unwrap_or_default(), cursor::ask(limit)).await?;
    let (items, next) = cursor::cut(found, limit, |entry| entry.seq)?;
    Ok(Json(Page::new(ringvault_state::now(&mut conn).await?, items, next)))
}

async fn anchors(
    State(api): State<ApiState>,
    Params(query): Params<ChainQuery>,
) -> ApiResult<Json<Page<AuditAnchor>>> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<u64> = cursor::read(query.cursor.as_deref())?;
    let mut conn = api.conn().await?;
    let head = audit::head(&mut conn).await?;
    let now = ringvault_state::now(&mut conn).await?;
    // The vault may take its time: the connection goes back first.
    drop(conn);
    let found = api.ctx.vault.audit_anchors(head.chain, after.unwrap_or_default(), limit + 1).await;
    let (items, next) = cursor::cut(found.map_err(|error| vault_error(&error))?, limit, |anchor| anchor.seq)?;
    Ok(Json(Page::new(now, items, next)))
}
