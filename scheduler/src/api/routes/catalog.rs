//! The catalogue: the database filled from the vault.

use axum::{Json, extract::State};
use ringvault_core::api::{
    CatalogCluster, CatalogRebuild, CatalogRebuilt, Document, MedusaImport, MedusaImported, MedusaOutcome,
    Page, Role,
};
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
    catalog::{self, CatalogError, UnknownMedusa},
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
        Route::post("/v1/catalog/import-medusa", Role::Admin, import_medusa)
            .is(
                "importMedusa",
                "Takes over backups that cassandra-medusa wrote, as they lie, a page at a time; copies nothing",
            )
            .takes::<MedusaImport>()
            .answers::<Document<MedusaImported>>(200),
    ]
}

impl From<CatalogError> for ApiError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Vault(error) => vault_error(&error),
            CatalogError::State(error) => error.into(),
            CatalogError::Medusa(error @ UnknownMedusa::Store { .. }) => Self::not_found(
                "RV-MEDUSA",
                error.to_string(),
            )
            .next(
                "add [vault.medusa.NAME] to the configuration of schedulers and workers, and start them anew",
            ),
            CatalogError::Medusa(error @ UnknownMedusa::Backup { .. }) => {
                Self::not_found("RV-MEDUSA", error.to_string()).next("medusa list-backups")
            }
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

async fn import_medusa(
    State(api): State<ApiState>,
    caller: Caller,
    Body(ask): Body<MedusaImport>,
) -> ApiResult<Json<Document<MedusaImported>>> {
    let done = catalog::import_medusa(&api.ctx, &ask).await?;
    let is_new = |outcome: MedusaOutcome| outcome == MedusaOutcome::Imported;
    let backups: Vec<&str> = done
        .backups
        .iter()
        .filter(|backup| is_new(backup.outcome))
        .map(|backup| backup.name.as_str())
        .collect();
    if !ask.dry_run && !backups.is_empty() {
        let (cluster, store) = (&ask.cluster, &ask.store);
        let (by, target) = (caller.actor(), format!("cluster {cluster}"));
        let details = json!({ "store": store, "backups": backups });
        let mut conn = api.conn().await?;
        audit::record(&mut conn, &by, "catalog.import-medusa", Some(cluster), &target, &details).await?;
        tracing::info!(%cluster, store, imported = backups.len(), by = caller.name(), "backups of Medusa's were taken over");
    }
    Ok(Json(Document::new(done)))
}
