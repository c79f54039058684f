//! Holds: what keeps a backup whatever a retention says.

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use ringvault_core::{
    BackupName, ClusterName,
    api::{Document, HoldKind, HoldRelease, HoldSet, HoldView, Page, Role},
    backup::BackupState,
};
use ringvault_fault::around;
use ringvault_state::{PgConnection, StateError, backups, holds as repository, read::holds};
use ringvault_vault::HoldReleased;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::api::{
    ApiState,
    auth::Caller,
    cursor,
    extract::{Body, Params},
    problem::{ApiError, ApiResult},
    route::Route,
};
use crate::{audit, catalog};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/holds", Role::Viewer, list)
            .is("listHolds", "What holds backups: by hand, or for a job that is not over")
            .query::<HoldListQuery>()
            .answers::<Page<HoldView>>(200),
        Route::post("/v1/holds", Role::Operator, set)
            .is("setHold", "Keeps a backup under a name until that name is released")
            .takes::<HoldSet>()
            .answers::<Document<HoldView>>(200),
        Route::delete("/v1/holds", Role::Admin, release)
            .is("releaseHold", "Lets a hold go")
            .takes::<HoldRelease>()
            .answers_nothing(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HoldListQuery {
    /// Of this cluster's backups.
    cluster: Option<ClusterName>,
    /// Of backups of this name.
    backup: Option<BackupName>,
    /// Holds on a page, from 1 to 1000.
    limit: Option<u32>,
    /// Of the page before.
    cursor: Option<String>,
}

async fn list(
    State(api): State<ApiState>,
    Params(query): Params<HoldListQuery>,
) -> ApiResult<Json<Page<HoldView>>> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<(DateTime<Utc>, Uuid)> = cursor::read(query.cursor.as_deref())?;
    let mut conn = api.conn().await?;
    let (cluster, backup) = (query.cluster.as_ref(), query.backup.as_ref());
    let found = holds::list(&mut conn, cluster, backup, after, cursor::ask(limit)).await?;
    let (items, next) = cursor::cut(found, limit, |(id, hold)| (hold.set_at, *id))?;
    let items = items.into_iter().map(|(_, hold)| hold).collect();
    Ok(Json(Page::new(ringvault_state::now(&mut conn).await?, items, next)))
}

fn check_words(name: &str, reason: &str) -> ApiResult<()> {
    for (field, text, most) in [("name", name, 128), ("reason", reason, 1000)] {
        if text.trim().is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
            let detail = format!("{field}: from 1 to {most} characters, without control characters");
            return Err(ApiError::usage("RV-BODY", detail).field(field));
        }
    }
    Ok(())
}

async fn set(
    State(api): State<ApiState>,
    caller: Caller,
    Body(hold): Body<HoldSet>,
) -> ApiResult<Json<Document<HoldView>>> {
    check_words(&hold.name, &hold.reason)?;
    let HoldSet { cluster, backup, name, reason } = &hold;
    let mut tx = api.ctx.db.begin().await.map_err(StateError::from)?;
    // Under the lock that a purge takes before it chooses what goes: either it sees the hold, or
    // the hold sees that the backup has expired.
    match backups::lock(&mut tx, cluster, backup).await? {
        None => return Err(no_backup(cluster, backup)),
        Some(state @ (BackupState::Expired | BackupState::Dead)) => {
            let state = state.as_str();
            let detail = format!("backup {backup} of {cluster} is {state}: a hold comes too late");
            return Err(ApiError::refused("RV-HOLD-LATE", detail));
        }
        Some(_) => {}
    }
    let by = caller.actor();
    let new = repository::add_by_name(&mut tx, (cluster, backup), name, Some(reason), &by).await?;
    let found = by_name(&mut tx, cluster, backup, name).await?;
    if new {
        // The vault first: what was told to be held is held after a rebuild, too.
        catalog::record_hold(&api.ctx, &mut tx, &found).await?;
        let details = json!({ "name": name, "reason": reason });
        let target = format!("backup {backup}");
        audit::record(&mut tx, &by, "hold.set", Some(cluster), &target, &details).await?;
    }
    ringvault_state::commit(tx, around!("hold.change")).await?;
    if !new && found.reason.as_deref() != Some(reason) {
        let detail = format!("backup {backup} of {cluster} is held as {name} already, for another reason");
        return Err(ApiError::conflict("RV-HOLD-EXISTS", detail).next("choose another name"));
    }
    tracing::info!(by = caller.name(), %cluster, %backup, hold = name, "hold set");
    Ok(Json(Document::new(found)))
}

async fn by_name(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    backup: &BackupName,
    name: &str,
) -> ApiResult<HoldView> {
    let found = holds::of_backup(conn, cluster, backup).await?;
    let missing = || ApiError::defect(&format!("hold {name} of {backup} was set and is not there"));
    found.into_iter().find(|hold| hold.name == name).ok_or_else(missing)
}

fn no_backup(cluster: &ClusterName, backup: &BackupName) -> ApiError {
    let detail = format!("there is no backup {backup} of {cluster}");
    ApiError::not_found("RV-BACKUP-UNKNOWN", detail).next(format!("ringvault backup list -c {cluster}"))
}

async fn release(
    State(api): State<ApiState>,
    caller: Caller,
    Body(hold): Body<HoldRelease>,
) -> ApiResult<StatusCode> {
    check_words(&hold.name, &hold.reason)?;
    let HoldRelease { cluster, backup, name, reason } = &hold;
    let mut tx = api.ctx.db.begin().await.map_err(StateError::from)?;
    // Under the lock that a rebuild takes before it reads the hold's record.
    backups::lock(&mut tx, cluster, backup).await?;
    let held = holds::of_backup(&mut tx, cluster, backup).await?;
    let held = held.into_iter().find(|held| held.name == *name && held.kind == HoldKind::Legal);
    let by = caller.actor();
    let gone = repository::release_by_name(&mut tx, (cluster, backup), name, (&by, reason)).await?;
    let (Some(held), true) = (held, gone) else {
        let detail = format!("backup {backup} of {cluster} is not held as {name}");
        return Err(ApiError::not_found("RV-HOLD-UNKNOWN", detail).next("ringvault hold list"));
    };
    let at = ringvault_state::now(&mut tx).await?;
    let released = HoldReleased { by: by.clone(), reason: reason.clone(), at };
    catalog::record_release(&api.ctx, &held, released).await?;
    let details = json!({ "name": name, "reason": reason });
    let target = format!("backup {backup}");
    audit::record(&mut tx, &by, "hold.release", Some(cluster), &target, &details).await?;
    ringvault_state::commit(tx, around!("hold.release")).await?;
    tracing::info!(by = caller.name(), %cluster, %backup, hold = name, reason, "hold released");
    Ok(StatusCode::NO_CONTENT)
}
