//! Evidence: what was tested, held, changed, and by whom.

use axum::{Json, extract::State};
use ringvault_core::{
    ClusterName,
    api::{EvidenceItem, EvidenceKind, Page, Role},
};
use ringvault_state::read::evidence::{self, After};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::{ApiState, cursor, extract::Params, problem::ApiResult, route::Route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/evidence", Role::Viewer, list)
            .is(
                "listEvidence",
                "Verifies, restores, purges, holds and what somebody ordered, the newest first",
            )
            .query::<EvidenceQuery>()
            .answers::<Page<EvidenceItem>>(200),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EvidenceQuery {
    /// Of this cluster.
    cluster: Option<ClusterName>,
    /// Of this kind.
    kind: Option<EvidenceKind>,
    /// Items on a page, from 1 to 1000.
    limit: Option<u32>,
    /// Of the page before.
    cursor: Option<String>,
}

async fn list(
    State(api): State<ApiState>,
    Params(query): Params<EvidenceQuery>,
) -> ApiResult<Json<Page<EvidenceItem>>> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<After> = cursor::read(query.cursor.as_deref())?;
    let mut conn = api.conn().await?;
    let cluster = query.cluster.as_ref();
    let found = evidence::list(&mut conn, cluster, query.kind, after.as_ref(), cursor::ask(limit)).await?;
    let (items, next) = cursor::cut(found, limit, |(key, item)| (item.at, key.clone()))?;
    let items = items.into_iter().map(|(_, item)| item).collect();
    Ok(Json(Page::new(ringvault_state::now(&mut conn).await?, items, next)))
}
