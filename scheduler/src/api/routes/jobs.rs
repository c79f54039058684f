//! Jobs: asked for, listed, told in full, and told what to do.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use chrono::{DateTime, Utc};
use ringvault_core::{
    BackupName, ClusterName, PolicyName,
    api::{Document, JobAccepted, JobDetail, JobProgress, JobSummary, OpenJob, Page, RateLimit, Role},
    job::{DrillSpec, JobKind, JobSpec, JobState, RestoreSpec, VerifySpec},
};
use ringvault_state::read::{
    jobs::{self, JobFilter},
    open_jobs, progress, story,
};
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::events;
use crate::{
    api::{
        ApiState,
        auth::Caller,
        cursor,
        extract::{self, Asking, Body, Params, TaggedSpec},
        prefix,
        problem::{ApiError, ApiResult},
        route::Route,
    },
    jobs::{Action, Submission, control, dry_control, dry_submit, set_limits, submit_job},
};

/// The answer to what creates a job.
pub(super) type Accepted = (StatusCode, Json<Document<JobAccepted>>);

pub(super) fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::post("/v1/verifications", Role::Operator, verify)
            .is("createVerification", "Asks for a verify of a backup")
            .takes::<VerifySpec>()
            .by_key()
            .answers::<Document<JobAccepted>>(202),
        Route::post("/v1/restores", Role::Operator, restore)
            .is("createRestore", "Asks for a restore, or with plan_only for its plan")
            .takes::<RestoreSpec>()
            .by_key()
            .answers::<Document<JobAccepted>>(202),
        Route::post("/v1/drills", Role::Operator, drill)
            .is(
                "createDrill",
                "Asks for a drill: a restore into keyspaces of its own, read and dropped again",
            )
            .takes::<DrillSpec>()
            .by_key()
            .answers::<Document<JobAccepted>>(202),
        Route::post("/v1/jobs", Role::Operator, create)
            .is("createJob", "Asks for a job of any kind; a purge needs an admin")
            .takes::<JobSpec>()
            .query::<CreateQuery>()
            .by_key()
            .answers::<Document<JobAccepted>>(202),
        Route::get("/v1/jobs", Role::Viewer, list)
            .is("listJobs", "Jobs, the newest first")
            .query::<JobListQuery>()
            .answers::<Page<JobSummary>>(200),
        Route::get("/v1/jobs/open", Role::Viewer, list_open)
            .is("listOpenJobs", "Jobs that are not over: how far each is, and what it waits for")
            .query::<OpenListQuery>()
            .answers::<Page<OpenJob>>(200),
        Route::get("/v1/jobs/{job}", Role::Viewer, show)
            .is("getJob", "A job's full story; the id may be shortened while it is unique")
            .answers::<Document<JobDetail>>(200),
        Route::get("/v1/jobs/{job}/progress", Role::Viewer, show_progress)
            .is("getJobProgress", "How far a job is")
            .answers::<Document<JobProgress>>(200),
        Route::get("/v1/jobs/{job}/events", Role::Viewer, events::stream)
            .is("streamJobProgress", "A job's progress as server-sent events, to its end")
            .streams::<Document<JobProgress>>(),
        Route::post("/v1/jobs/{job}/rate-limit", Role::Operator, limit)
            .is("limitJob", "Sets how fast each node of a backup, restore or drill, or each of a data center, may go from now on")
            .takes::<RateLimit>()
            .answers::<Document<JobSummary>>(200),
    ];
    routes.extend(orders());
    routes
}

/// A route for each thing that a job can be told.
fn orders() -> Vec<Route> {
    const fn told(action: Action) -> (&'static str, &'static str, &'static str) {
        match action {
            Action::Cancel => (
                "/v1/jobs/{job}/cancel",
                "cancelJob",
                "Stops a job for good and clears what it left; refused once a restore has truncated",
            ),
            Action::Pause => ("/v1/jobs/{job}/pause", "pauseJob", "Makes a job hold still for a while"),
            Action::Resume => ("/v1/jobs/{job}/resume", "resumeJob", "Lets a paused job go on"),
            Action::Retry => (
                "/v1/jobs/{job}/retry",
                "retryJob",
                "Runs the failed tasks of a failed job again; what is done stays done",
            ),
            Action::Abandon => (
                "/v1/jobs/{job}/abandon",
                "abandonJob",
                "Gives a failed job up for good and clears what it left",
            ),
        }
    }
    [Action::Cancel, Action::Pause, Action::Resume, Action::Retry, Action::Abandon]
        .into_iter()
        .map(|action| {
            let (path, name, summary) = told(action);
            let handler = move |api, caller, job, query| order(api, caller, job, query, action);
            Route::post(path, Role::Operator, handler)
                .is(name, summary)
                .query::<OrderQuery>()
                .answers::<Document<JobSummary>>(200)
        })
        .collect()
}

/// Asks the workflow for a job.
pub(super) async fn submit(
    api: &ApiState,
    caller: &Caller,
    asking: Asking,
    spec: JobSpec,
) -> ApiResult<Accepted> {
    let submitted = submit_job(&api.ctx, submission(caller, asking, spec)?).await?;
    let accepted = JobAccepted { job: submitted.job, existing: submitted.existing, backup: submitted.backup };
    Ok((StatusCode::ACCEPTED, Json(Document::new(accepted))))
}

/// What a caller asks for, if it may.
fn submission(
    caller: &Caller,
    Asking { key: idempotency_key, trace }: Asking,
    spec: JobSpec,
) -> ApiResult<Submission> {
    if spec.kind() == JobKind::Purge {
        caller.require(Role::Admin)?;
    }
    Ok(Submission {
        spec,
        source: format!("api/{}", caller.name()),
        idempotency_key,
        requested_by: caller.actor(),
        max_attempts: None,
        trace,
    })
}

async fn verify(
    State(api): State<ApiState>,
    caller: Caller,
    asking: Asking,
    Body(spec): Body<VerifySpec>,
) -> ApiResult<Accepted> {
    submit(&api, &caller, asking, JobSpec::Verify(spec)).await
}

async fn restore(
    State(api): State<ApiState>,
    caller: Caller,
    asking: Asking,
    Body(spec): Body<RestoreSpec>,
) -> ApiResult<Accepted> {
    submit(&api, &caller, asking, JobSpec::Restore(spec)).await
}

async fn drill(
    State(api): State<ApiState>,
    caller: Caller,
    asking: Asking,
    Body(spec): Body<DrillSpec>,
) -> ApiResult<Accepted> {
    submit(&api, &caller, asking, JobSpec::Drill(spec)).await
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateQuery {
    /// `1`: refuse what would be refused, and change nothing; the job in the answer does not exist.
    #[serde(default, deserialize_with = "extract::flag")]
    dry_run: bool,
}

async fn create(
    State(api): State<ApiState>,
    caller: Caller,
    asking: Asking,
    Params(query): Params<CreateQuery>,
    TaggedSpec(spec): TaggedSpec,
) -> ApiResult<Accepted> {
    if !query.dry_run {
        return submit(&api, &caller, asking, spec).await;
    }
    let submitted = dry_submit(&api.ctx, submission(&caller, asking, spec)?).await?;
    let accepted = JobAccepted { job: submitted.job, existing: submitted.existing, backup: submitted.backup };
    Ok((StatusCode::OK, Json(Document::new(accepted))))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JobListQuery {
    /// Whose workers do them.
    cluster: Option<ClusterName>,
    /// In one of these states, separated by commas; `open` means every state that is not final.
    state: Option<String>,
    /// Of this kind.
    kind: Option<JobKind>,
    /// Fired by this policy.
    policy: Option<PolicyName>,
    /// That make or work on a backup of this name.
    backup: Option<BackupName>,
    /// Jobs on a page, from 1 to 1000.
    limit: Option<u32>,
    /// Of the page before.
    cursor: Option<String>,
}

fn states(text: &str) -> ApiResult<Vec<JobState>> {
    let open = || JobState::ALL.into_iter().filter(|state| !state.is_final());
    let mut states = Vec::new();
    for word in text.split(',').map(str::trim) {
        if word == "open" {
            states.extend(open());
            continue;
        }
        let state = word.parse().map_err(|why: String| {
            let words = JobState::ALL.map(JobState::as_str).join(", ");
            ApiError::usage("RV-QUERY", format!("state: {why}; it is one of {words}, or open")).field("state")
        })?;
        states.push(state);
    }
    Ok(states)
}

async fn list(
    State(api): State<ApiState>,
    Params(query): Params<JobListQuery>,
) -> ApiResult<Json<Page<JobSummary>>> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<(DateTime<Utc>, Uuid)> = cursor::read(query.cursor.as_deref())?;
    let filter = JobFilter {
        cluster: query.cluster,
        states: query.state.as_deref().map(states).transpose()?,
        kind: query.kind,
        policy: query.policy,
        backup: query.backup,
    };
    let mut conn = api.conn().await?;
    let found = jobs::list(&mut conn, &filter, after, cursor::ask(limit)).await?;
    let (items, next) = cursor::cut(found, limit, |job| (job.created_at, job.id))?;
    Ok(Json(Page::new(ringvault_state::now(&mut conn).await?, items, next)))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OpenListQuery {
    /// Whose workers do them.
    cluster: Option<ClusterName>,
    /// Jobs on a page, from 1 to 1000.
    limit: Option<u32>,
    /// Of the page before.
    cursor: Option<String>,
}

async fn list_open(
    State(api): State<ApiState>,
    Params(query): Params<OpenListQuery>,
) -> ApiResult<Json<Page<OpenJob>>> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<(DateTime<Utc>, Uuid)> = cursor::read(query.cursor.as_deref())?;
    let filter = JobFilter { cluster: query.cluster, states: Some(states("open")?), ..JobFilter::default() };
    let mut conn = api.conn().await?;
    let found = jobs::list(&mut conn, &filter, after, cursor::ask(limit)).await?;
    let (items, next) = cursor::cut(found, limit, |job| (job.created_at, job.id))?;
    let items = open_jobs::tell(&mut conn, items).await?;
    Ok(Json(Page::new(ringvault_state::now(&mut conn).await?, items, next)))
}

/// A job that was there a moment ago is gone.
pub(super) fn vanished(text: &str) -> ApiError {
    ApiError::not_found("RV-JOB-UNKNOWN", format!("there is no job {text}")).next("ringvault job list")
}

async fn show(State(api): State<ApiState>, Path(text): Path<String>) -> ApiResult<Json<Document<JobDetail>>> {
    let mut conn = api.conn().await?;
    let job = prefix::resolve(&mut conn, &text).await?;
    let found = story::detail(&mut conn, job).await?;
    Ok(Json(Document::new(found.ok_or_else(|| vanished(&text))?)))
}

async fn show_progress(
    State(api): State<ApiState>,
    Path(text): Path<String>,
) -> ApiResult<Json<Document<JobProgress>>> {
    let mut conn = api.conn().await?;
    let job = prefix::resolve(&mut conn, &text).await?;
    let found = progress::of_job(&mut conn, job).await?;
    Ok(Json(Document::new(found.ok_or_else(|| vanished(&text))?)))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OrderQuery {
    /// `1`: refuse what would be refused, and change nothing.
    #[serde(default, deserialize_with = "extract::flag")]
    dry_run: bool,
}

async fn order(
    State(api): State<ApiState>,
    caller: Caller,
    Path(text): Path<String>,
    Params(query): Params<OrderQuery>,
    action: Action,
) -> ApiResult<Json<Document<JobSummary>>> {
    // The connection goes back to the pool before `control` takes one of its own.
    let job = prefix::resolve(&mut *api.conn().await?, &text).await?;
    let actor = caller.actor();
    if query.dry_run {
        dry_control(&api.ctx, job, action, &actor).await?;
    } else {
        control(&api.ctx, job, action, &actor).await?;
    }
    let found = jobs::summary(&mut *api.conn().await?, job).await?;
    Ok(Json(Document::new(found.ok_or_else(|| vanished(&text))?)))
}

async fn limit(
    State(api): State<ApiState>,
    caller: Caller,
    Path(text): Path<String>,
    Body(limit): Body<RateLimit>,
) -> ApiResult<Json<Document<JobSummary>>> {
    let job = prefix::resolve(&mut *api.conn().await?, &text).await?;
    set_limits(&api.ctx, job, &limit, &caller.actor()).await?;
    let found = jobs::summary(&mut *api.conn().await?, job).await?;
    Ok(Json(Document::new(found.ok_or_else(|| vanished(&text))?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_listed_by_word() {
        assert_eq!(states("running, failed").unwrap(), [JobState::Running, JobState::Failed]);
        let open = states("open").unwrap();
        assert!(open.contains(&JobState::Failed) && !open.contains(&JobState::Succeeded));
        let error = states("done").unwrap_err();
        assert_eq!((error.0.status, error.0.field.as_deref()), (400, Some("state")));
    }
}
