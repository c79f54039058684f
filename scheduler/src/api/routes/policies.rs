//! Policies: applied as a whole file, listed, paused, asked when they fire.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Request, State},
};
use ringvault_core::{
    PolicyName,
    api::{Document, NextFires, Page, PolicyDiff, PolicyView, Role},
    policy::{PolicyDocument, PolicyProblem, parse_policies},
};
use ringvault_fault::around;
use ringvault_state::{StateError, policies as repository, read::policies, registry::topologies};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::policy_diff;
use crate::{
    api::{
        ApiState,
        auth::Caller,
        cursor,
        extract::{self, Named, Params},
        problem::{ApiError, ApiResult},
        route::Route,
    },
    audit,
    jobs::{NO_LOCKS, have_nodes},
};

pub(super) fn routes() -> Vec<Route> {
    const ONE: &str = "/v1/policies/{policy}";
    vec![
        Route::get("/v1/policies", Role::Viewer, list)
            .is("listPolicies", "Policies, by name")
            .query::<PolicyListQuery>()
            .answers::<Page<PolicyView>>(200),
        Route::put("/v1/policies", Role::Admin, apply)
            .is("applyPolicies", "Applies a policy file: all of it or nothing")
            .query::<ApplyQuery>()
            .takes_text("application/toml")
            .takes::<PolicyDocument>()
            .answers::<Document<PolicyDiff>>(200),
        Route::get(ONE, Role::Viewer, show)
            .is("getPolicy", "A policy with its last and next fire")
            .answers::<Document<PolicyView>>(200),
        Route::delete(ONE, Role::Admin, delete)
            .is("deletePolicy", "Takes a policy away; its backups stay")
            .answers_nothing(),
        Route::post("/v1/policies/{policy}/pause", Role::Operator, pause)
            .is("pausePolicy", "Lets a policy fire nothing for a while")
            .answers::<Document<PolicyView>>(200),
        Route::post("/v1/policies/{policy}/resume", Role::Operator, resume)
            .is("resumePolicy", "Lets a paused policy fire again; what it missed is gone")
            .answers::<Document<PolicyView>>(200),
        Route::get("/v1/policies/{policy}/next", Role::Viewer, next)
            .is("getNextFires", "The next instants at which a policy fires")
            .query::<NextQuery>()
            .answers::<Document<NextFires>>(200),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PolicyListQuery {
    /// Policies on a page, from 1 to 1000.
    limit: Option<u32>,
    /// Of the page before.
    cursor: Option<String>,
}

async fn list(
    State(api): State<ApiState>,
    Params(query): Params<PolicyListQuery>,
) -> ApiResult<Json<Page<PolicyView>>> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<String> = cursor::read(query.cursor.as_deref())?;
    let mut conn = api.conn().await?;
    let found = policies::list(&mut conn, None, after.as_deref(), cursor::ask(limit)).await?;
    let (items, next) = cursor::cut(found, limit, |item| item.name.clone())?;
    Ok(Json(Page::new(ringvault_state::now(&mut conn).await?, items, next)))
}

async fn find(api: &ApiState, name: &PolicyName) -> ApiResult<PolicyView> {
    let mut conn = api.conn().await?;
    let found = policies::list(&mut conn, Some(name), None, 1).await?;
    found.into_iter().next().ok_or_else(|| unknown(name))
}

fn unknown(name: &PolicyName) -> ApiError {
    ApiError::not_found("RV-POLICY-UNKNOWN", format!("there is no policy {name}"))
        .next("ringvault policy list")
}

async fn show(
    State(api): State<ApiState>,
    Named(name): Named<PolicyName>,
) -> ApiResult<Json<Document<PolicyView>>> {
    Ok(Json(Document::new(find(&api, &name).await?)))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApplyQuery {
    /// `1`: say what would change, and change nothing.
    #[serde(default, deserialize_with = "extract::flag")]
    dry_run: bool,
    /// `1`: policies that are not in the file go.
    #[serde(default, deserialize_with = "extract::flag")]
    prune: bool,
}

async fn apply(
    State(api): State<ApiState>,
    caller: Caller,
    Params(query): Params<ApplyQuery>,
    request: Request,
) -> ApiResult<Json<Document<PolicyDiff>>> {
    let media = extract::media_type(request.headers());
    let bytes = extract::bytes(request, &()).await?;
    let file = read(&media, &bytes)?;
    let mut tx = api.ctx.db.begin().await.map_err(StateError::from)?;
    let now = ringvault_state::now(&mut tx).await?;
    for (name, policy) in &file.policy {
        if policy.compiled_schedule().is_ok_and(|schedule| schedule.next_after(now).is_none()) {
            let detail =
                format!("policy {name}: schedule {:?} never fires; nothing was applied", policy.schedule);
            return Err(ApiError::usage("RV-POLICY", detail).field(format!("policy.{name}.schedule")));
        }
        if policy.lock.is_some() && api.ctx.vault.store().lock().is_none() {
            let detail = format!("policy {name}: lock {NO_LOCKS}; nothing was applied");
            return Err(ApiError::usage("RV-POLICY", detail).field(format!("policy.{name}.lock")));
        }
        let ring = topologies::present(&mut tx, &policy.cluster).await?;
        let limited = policy.data_centers.keys().map(String::as_str);
        if let Err(why) = have_nodes(&ring, &policy.cluster, limited) {
            let detail = format!("policy {name}: data_centers: {why}; nothing was applied");
            return Err(ApiError::usage("RV-POLICY", detail).field(format!("policy.{name}.data_centers")));
        }
    }
    let standing: BTreeMap<_, _> =
        repository::list(&mut tx).await?.into_iter().map(|row| (row.name, row.policy)).collect();
    let diff = policy_diff::diff(&standing, &file, query.prune, query.dry_run);
    if query.dry_run {
        return Ok(Json(Document::new(diff)));
    }
    for (name, policy) in &file.policy {
        repository::apply(&mut tx, name, policy).await?;
    }
    for name in &diff.removed {
        repository::delete(&mut tx, name).await?;
    }
    let by = caller.actor();
    let changed = diff.added.iter().chain(diff.changed.iter().map(|change| &change.policy));
    for name in changed {
        let (target, details) = (format!("policy {name}"), json!({ "policy": file.policy.get(name) }));
        let cluster = file.policy.get(name).map(|policy| &policy.cluster);
        audit::record(&mut tx, &by, "policy.apply", cluster, &target, &details).await?;
    }
    for name in &diff.removed {
        let cluster = standing.get(name).map(|policy| &policy.cluster);
        audit::record(&mut tx, &by, "policy.delete", cluster, &format!("policy {name}"), &json!({})).await?;
    }
    ringvault_state::commit(tx, around!("policy.apply")).await?;
    let (added, changed, removed) = (diff.added.len(), diff.changed.len(), diff.removed.len());
    tracing::info!(by = caller.name(), added, changed, removed, "policies applied");
    Ok(Json(Document::new(diff)))
}

/// A file as TOML, or the same document as JSON.
fn read(media: &str, bytes: &[u8]) -> ApiResult<PolicyDocument> {
    match media {
        "application/toml" | "text/plain" => {
            let text = std::str::from_utf8(bytes)
                .map_err(|error| ApiError::usage("RV-POLICY", format!("policy file: {error}")))?;
            parse_policies(text).map_err(|problem| refused(&problem))
        }
        "application/json" => {
            let document: PolicyDocument = extract::read_json(bytes)?;
            for (name, policy) in &document.policy {
                policy.check(name).map_err(|problem| refused(&problem))?;
            }
            Ok(document)
        }
        other => {
            let detail =
                format!("the body is {other:?}: this route takes application/toml or application/json");
            Err(ApiError::usage("RV-BODY", detail))
        }
    }
}

fn refused(problem: &PolicyProblem) -> ApiError {
    ApiError::usage("RV-POLICY", format!("{}; nothing was applied", problem.to_string().trim_end()))
}

async fn delete(
    State(api): State<ApiState>,
    caller: Caller,
    Named(name): Named<PolicyName>,
) -> ApiResult<axum::http::StatusCode> {
    let mut tx = api.ctx.db.begin().await.map_err(StateError::from)?;
    let standing = repository::find(&mut tx, &name).await?.ok_or_else(|| unknown(&name))?;
    if !repository::delete(&mut tx, &name).await? {
        return Err(unknown(&name));
    }
    let (by, cluster) = (caller.actor(), Some(&standing.policy.cluster));
    audit::record(&mut tx, &by, "policy.delete", cluster, &format!("policy {name}"), &json!({})).await?;
    ringvault_state::commit(tx, around!("policy.delete")).await?;
    tracing::info!(by = caller.name(), policy = %name, "policy deleted");
    Ok(axum::http::StatusCode::NO_CONTENT)
}

async fn pause(
    api: State<ApiState>,
    caller: Caller,
    name: Named<PolicyName>,
) -> ApiResult<Json<Document<PolicyView>>> {
    set_paused(api, caller, name, true).await
}

async fn resume(
    api: State<ApiState>,
    caller: Caller,
    name: Named<PolicyName>,
) -> ApiResult<Json<Document<PolicyView>>> {
    set_paused(api, caller, name, false).await
}

async fn set_paused(
    State(api): State<ApiState>,
    caller: Caller,
    Named(name): Named<PolicyName>,
    paused: bool,
) -> ApiResult<Json<Document<PolicyView>>> {
    let mut tx = api.ctx.db.begin().await.map_err(StateError::from)?;
    let standing = repository::find(&mut tx, &name).await?.ok_or_else(|| unknown(&name))?;
    if !repository::set_paused(&mut tx, &name, paused).await? {
        return Err(unknown(&name));
    }
    let action = if paused { "policy.pause" } else { "policy.resume" };
    let (by, cluster) = (caller.actor(), Some(&standing.policy.cluster));
    audit::record(&mut tx, &by, action, cluster, &format!("policy {name}"), &json!({})).await?;
    ringvault_state::commit(tx, around!("policy.pause")).await?;
    tracing::info!(by = caller.name(), policy = %name, paused, "policy paused or resumed");
    Ok(Json(Document::new(find(&api, &name).await?)))
}

/// Most instants that are told.
const MAX_FIRES: usize = 1000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NextQuery {
    /// How many, from 1 to 1000; 10 when absent.
    count: Option<usize>,
}

async fn next(
    State(api): State<ApiState>,
    Named(name): Named<PolicyName>,
    Params(query): Params<NextQuery>,
) -> ApiResult<Json<Document<NextFires>>> {
    let count = query.count.unwrap_or(10);
    if !(1..=MAX_FIRES).contains(&count) {
        let detail = format!("count is {count}: it may be from 1 to {MAX_FIRES}");
        return Err(ApiError::usage("RV-QUERY", detail).field("count"));
    }
    let view = find(&api, &name).await?;
    let now = ringvault_state::now(&mut *api.conn().await?).await?;
    let schedule = view.policy.compiled_schedule().map_err(|why| ApiError::defect(&why))?;
    Ok(Json(Document::new(NextFires {
        policy: view.name,
        fires: schedule.upcoming(now).take(count).collect(),
        schedule: view.policy.schedule,
        timezone: view.policy.timezone,
        paused: view.paused,
    })))
}
