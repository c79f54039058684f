//! Browsers that are signed in, as administrators see them: listed, and signed out.

use axum::{
    Json,
    extract::{Path, State},
};
use ringvault_core::api::{Document, Page, Role, SessionsEnded, SignedIn};
use ringvault_fault::around;
use ringvault_state::{StateError, sessions};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::{
    api::{
        ApiState,
        auth::Caller,
        cursor,
        extract::Params,
        problem::{ApiError, ApiResult},
        route::Route,
    },
    audit,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/sessions", Role::Admin, list)
            .is("listSessions", "Browsers that are signed in, the newest first")
            .query::<SessionListQuery>()
            .answers::<Page<SignedIn>>(200),
        Route::delete("/v1/sessions/{session}", Role::Admin, end)
            .is(
                "endSessions",
                "Signs a browser out, by its session's id, or all of a person or token, by name",
            )
            .answers::<Document<SessionsEnded>>(200),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SessionListQuery {
    /// Sessions on a page, from 1 to 1000.
    limit: Option<u32>,
    /// Of the page before.
    cursor: Option<String>,
}

async fn list(
    State(api): State<ApiState>,
    Params(query): Params<SessionListQuery>,
) -> ApiResult<Json<Page<SignedIn>>> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<Uuid> = cursor::read(query.cursor.as_deref())?;
    let mut conn = api.conn().await?;
    let found = sessions::list(&mut conn, after, cursor::ask(limit)).await?;
    let (items, next) = cursor::cut(found, limit, |session| session.id)?;
    Ok(Json(Page::new(ringvault_state::now(&mut conn).await?, items, next)))
}

async fn end(
    State(api): State<ApiState>,
    caller: Caller,
    Path(session): Path<String>,
) -> ApiResult<Json<Document<SessionsEnded>>> {
    let mut tx = api.ctx.db.begin().await.map_err(StateError::from)?;
    let ended = sessions::revoke(&mut tx, &session).await?;
    if ended == 0 {
        let detail = format!("nobody is signed in as {}", ringvault_core::text::excerpt(&session));
        return Err(ApiError::not_found("RV-SESSION-UNKNOWN", detail).next("ringvault session list"));
    }
    let details = json!({ "ended": ended });
    audit::record(&mut tx, &caller.actor(), "session.revoke", None, &format!("session {session}"), &details)
        .await?;
    ringvault_state::commit(tx, around!("session.revoke")).await?;
    tracing::info!(by = caller.name(), session, ended, "browsers were signed out");
    Ok(Json(Document::new(SessionsEnded { ended })))
}
