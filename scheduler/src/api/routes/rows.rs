//! What digest jobs kept of the rows that they read.

use axum::{
    Json,
    extract::{Path, State},
};
use ringvault_core::{
    api::{Document, Role, RowDigests},
    job::{JobSpec, JobState},
    rows,
    task::{DigestResult, TaskResult},
};
use ringvault_state::{jobs, tasks};

use super::jobs::vanished;
use crate::api::{
    ApiState, prefix,
    problem::{ApiError, ApiResult},
    route::Route,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/jobs/{job}/rows", Role::Viewer, show)
            .is("getRowDigests", "The digests of rows that a digest job has made, by table and token range")
            .answers::<Document<RowDigests>>(200),
    ]
}

async fn show(
    State(api): State<ApiState>,
    Path(text): Path<String>,
) -> ApiResult<Json<Document<RowDigests>>> {
    let mut conn = api.conn().await?;
    let id = prefix::resolve(&mut conn, &text).await?;
    let job = jobs::load(&mut conn, id).await?.ok_or_else(|| vanished(&text))?;
    let JobSpec::Digest(spec) = &job.spec else {
        let detail = format!("job {id} is a {}: it has read no rows", job.machine.kind.as_str());
        return Err(ApiError::conflict("RV-ROWS-NONE", detail).next("ringvault job list --kind digest"));
    };
    if job.machine.state != JobState::Succeeded {
        let detail = format!("job {id} is {}: not every row is read", job.machine.state.as_str());
        return Err(
            ApiError::conflict("RV-ROWS-UNFINISHED", detail).next(format!("ringvault job watch {id}"))
        );
    }
    let outcomes = tasks::outcomes(&mut conn, id).await?;
    let results: Vec<DigestResult> = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome.result {
            Some(TaskResult::Digest(result)) => Some(result),
            _ => None,
        })
        .collect();
    let gathered = rows::gather(&results).map_err(|torn| {
        ApiError::conflict("RV-ROWS-TORN", format!("job {id}: {torn}"))
            .next(format!("ringvault rows digest -c {}", spec.cluster))
    })?;
    Ok(Json(Document::new(RowDigests {
        job: id,
        cluster: spec.cluster.clone(),
        selection: spec.selection.clone(),
        began_at: job.started_at,
        ended_at: job.ended_at,
        encoding: gathered.encoding,
        tables: gathered.tables,
    })))
}
