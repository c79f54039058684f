//! The catalogue: the database filled from the vault.

use axum::{Json, extract::State};
use ringvault_core::api::{CatalogCluster, CatalogRebuild, CatalogRebuilt, Document, Page, Role};
use serde_json::json;

use crate::{
    api::{
        ApiState,
        auth::Caller,
        error_map::vault_error,
        extract::Body,
        problem::{ApiError, ApiResult},
        route::Route,
    },
    audit,
    catalog::{self, CatalogError},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/catalog/clusters", Role::Viewer, clusters)
            .is("listCatalogClusters", "Clusters with backups in the vault, as the vault itself says")
            .answers::<Page<CatalogCluster>>(200),
        Route::post("/v1/catalog/rebuild", Role::Admin, rebuild)
            .is(
                "rebuildCatalog",
                "Adds and mends what the vault says of a cluster's backups, a page at a time; takes nothing away",
            )
            .takes::<CatalogRebuild>()
            .answers::<Document<CatalogRebuilt>>(200),
    ]
}

impl From<CatalogError> for ApiError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Vault(error) => vault_error(&error),
            CatalogError::State(error) => error.into(),
        }
    }
}

async fn clusters(State(api): State<ApiState>) -> ApiResult<Json<Page<CatalogCluster>>> {
    let found = catalog::clusters_of_vault(&api.ctx).await?;
    let mut conn = api.conn().await?;
    Ok(Json(Page::new(ringvault_state::now(&mut conn).await?, found, None)))
}

async fn rebuild(
    State(api): State<ApiState>,
    caller: Caller,
    Body(ask): Body<CatalogRebuild>,
) -> ApiResult<Json<Document<CatalogRebuilt>>> {
    let done = catalog::rebuild(&api.ctx, &ask).await?;
    if !ask.dry_run && !done.changes.is_empty() {
        let (cluster, changes) = (&ask.cluster, done.changes.len());
        let (by, target) = (caller.actor(), format!("cluster {cluster}"));
        let details = json!({ "changes": changes });
        let mut conn = api.conn().await?;
        audit::record(&mut conn, &by, "catalog.rebuild", Some(cluster), &target, &details).await?;
        tracing::info!(%cluster, changes, by = caller.name(), "the catalogue follows the vault");
    }
    Ok(Json(Document::new(done)))
}
