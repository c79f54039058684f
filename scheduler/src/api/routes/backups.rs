//! Backups: listed, shown, asked for, and taken away by name.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use ringvault_core::{
    BackupName, ClusterName, PolicyName,
    api::{BackupDetail, BackupSummary, Document, JobAccepted, Page, Role},
    backup::BackupState,
    job::{BackupSpec, JobSpec, PurgeSpec},
};
use ringvault_state::read::backups::{self, After, BackupFilter};
use schemars::JsonSchema;
use serde::Deserialize;

use super::jobs::{self, Accepted};
use crate::api::{
    ApiState,
    auth::Caller,
    cursor,
    extract::{Asking, Body, Params, TwoNamed},
    problem::{ApiError, ApiResult},
    route::Route,
};
use crate::catalog;

pub(super) fn routes() -> Vec<Route> {
    const ONE: &str = "/v1/clusters/{cluster}/backups/{backup}";
    vec![
        Route::get("/v1/backups", Role::Viewer, list)
            .is("listBackups", "Backups, the newest first")
            .query::<BackupListQuery>()
            .answers::<Page<BackupSummary>>(200),
        Route::post("/v1/backups", Role::Operator, create)
            .is("createBackup", "Asks for a backup")
            .takes::<BackupSpec>()
            .by_key()
            .answers::<Document<JobAccepted>>(202),
        Route::get(ONE, Role::Viewer, show)
            .is("getBackup", "A backup with its nodes, coverage, holds and verifies")
            .answers::<Document<BackupDetail>>(200),
        Route::delete(ONE, Role::Admin, delete)
            .is("deleteBackup", "Asks for a purge of one backup")
            .by_key()
            .answers::<Document<JobAccepted>>(202),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BackupListQuery {
    /// Of this cluster.
    cluster: Option<ClusterName>,
    /// Of this name, in any cluster.
    name: Option<BackupName>,
    /// In this state.
    state: Option<BackupState>,
    /// Asked for by this policy.
    policy: Option<PolicyName>,
    /// Backups on a page, from 1 to 1000.
    limit: Option<u32>,
    /// Of the page before.
    cursor: Option<String>,
}

async fn list(
    State(api): State<ApiState>,
    Params(query): Params<BackupListQuery>,
) -> ApiResult<Json<Page<BackupSummary>>> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<(DateTime<Utc>, String, String)> = cursor::read(query.cursor.as_deref())?;
    let after = after.map(|(started_at, cluster, name)| After { started_at, cluster, name });
    let filter = BackupFilter {
        cluster: query.cluster,
        name: query.name,
        states: query.state.map(|state| vec![state]),
        policy: query.policy,
    };
    let mut conn = api.conn().await?;
    let found = backups::list(&mut conn, &filter, after.as_ref(), cursor::ask(limit)).await?;
    let (items, next) =
        cursor::cut(found, limit, |item| (item.started_at, item.cluster.clone(), item.name.clone()))?;
    Ok(Json(Page::new(ringvault_state::now(&mut conn).await?, items, next)))
}

async fn show(
    State(api): State<ApiState>,
    TwoNamed(cluster, backup): TwoNamed<ClusterName, BackupName>,
) -> ApiResult<Json<Document<BackupDetail>>> {
    let mut conn = api.conn().await?;
    let found = backups::detail(&mut conn, &cluster, &backup).await?;
    drop(conn);
    let mut found = found.ok_or_else(|| {
        let detail = format!("there is no backup {backup} of {cluster}");
        let next = format!("ringvault backup list -c {cluster}");
        ApiError::not_found("RV-BACKUP-UNKNOWN", detail).next(next)
    })?;
    if found.nodes.is_empty() {
        // Its job is forgotten, or from before the database: the seal knows them.
        found.nodes = catalog::nodes_of_seal(&api.ctx, &cluster, &backup).await;
    }
    Ok(Json(Document::new(found)))
}

async fn create(
    State(api): State<ApiState>,
    caller: Caller,
    asking: Asking,
    Body(spec): Body<BackupSpec>,
) -> ApiResult<Accepted> {
    jobs::submit(&api, &caller, asking, JobSpec::Backup(spec)).await
}

async fn delete(
    State(api): State<ApiState>,
    caller: Caller,
    asking: Asking,
    TwoNamed(cluster, backup): TwoNamed<ClusterName, BackupName>,
) -> ApiResult<Accepted> {
    let spec = PurgeSpec { cluster, backups: vec![backup], retention: None, policy: None };
    jobs::submit(&api, &caller, asking, JobSpec::Purge(spec)).await
}
