//! What a cluster can be brought back to: by day, and by node.

use axum::{Json, extract::State};
use chrono::{DateTime, TimeDelta, Utc};
use ringvault_core::{
    ClusterName,
    api::{Document, NodeCoverage, RecoveryCalendar, Role},
};
use ringvault_state::{PgConnection, read::calendar, registry::clusters};
use schemars::JsonSchema;
use serde::Deserialize;

use super::clusters::unknown;
use crate::api::{
    ApiState,
    extract::{Named, Params},
    problem::{ApiError, ApiResult},
    route::Route,
};

/// Days that a calendar shows when it is not said.
const DAYS: TimeDelta = TimeDelta::days(91);

/// The longest calendar.
const MOST: TimeDelta = TimeDelta::days(400);

/// Backups looked at for coverage when it is not said, and the most.
const NEWEST: u32 = 14;
const MOST_NEWEST: u32 = 60;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/clusters/{cluster}/calendar", Role::Viewer, show)
            .is("getCalendar", "Recovery points by day")
            .query::<CalendarQuery>()
            .answers::<Document<RecoveryCalendar>>(200),
        Route::get("/v1/clusters/{cluster}/coverage", Role::Viewer, coverage)
            .is("getCoverage", "Which node is in which of the newest backups")
            .query::<CoverageQuery>()
            .answers::<Document<NodeCoverage>>(200),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CalendarQuery {
    /// From this instant; 91 days before the end when absent, 400 at most.
    from: Option<DateTime<Utc>>,
    /// Until before this instant; now when absent.
    to: Option<DateTime<Utc>>,
}

/// Refuses a cluster that nobody knows. One that is gone from the ring but has backups is known.
async fn require(conn: &mut PgConnection, cluster: &ClusterName) -> ApiResult<()> {
    if clusters::exists(conn, cluster).await? { Ok(()) } else { Err(unknown(cluster)) }
}

async fn show(
    State(api): State<ApiState>,
    Named(cluster): Named<ClusterName>,
    Params(query): Params<CalendarQuery>,
) -> ApiResult<Json<Document<RecoveryCalendar>>> {
    let mut conn = api.conn().await?;
    require(&mut conn, &cluster).await?;
    let to = match query.to {
        Some(to) => to,
        None => ringvault_state::now(&mut conn).await?,
    };
    let from = query.from.or_else(|| to.checked_sub_signed(DAYS)).unwrap_or(to);
    if from > to || to - from > MOST {
        let detail = format!("from {from} to {to}: it may be from 0 to {} days", MOST.num_days());
        return Err(ApiError::usage("RV-QUERY", detail).field("from"));
    }
    Ok(Json(Document::new(calendar::of_cluster(&mut conn, &cluster, from, to).await?)))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CoverageQuery {
    /// So many of the newest sealed backups, from 1 to 60.
    backups: Option<u32>,
}

async fn coverage(
    State(api): State<ApiState>,
    Named(cluster): Named<ClusterName>,
    Params(query): Params<CoverageQuery>,
) -> ApiResult<Json<Document<NodeCoverage>>> {
    let newest = query.backups.unwrap_or(NEWEST);
    if !(1..=MOST_NEWEST).contains(&newest) {
        let detail = format!("backups is {newest}: it may be from 1 to {MOST_NEWEST}");
        return Err(ApiError::usage("RV-QUERY", detail).field("backups"));
    }
    let mut conn = api.conn().await?;
    require(&mut conn, &cluster).await?;
    Ok(Json(Document::new(calendar::coverage(&mut conn, &cluster, newest, api.silent_after()).await?)))
}
