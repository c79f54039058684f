//! Signing in and out of the dashboard.

use axum::{
    Json,
    extract::State,
    http::{Extensions, HeaderMap, StatusCode, header::SET_COOKIE},
    response::{IntoResponse as _, Response},
};
use ringvault_core::api::{Document, Role, SessionCreate, SessionView};
use ringvault_fault::around;
use ringvault_state::StateError;
use serde_json::{Value, json};

use crate::{
    api::{
        ApiState,
        auth::{self, Access, Caller, Identity, session},
        extract::Body,
        problem::ApiResult,
        route::Route,
    },
    audit,
};

/// The one path that whoever has no token may post to, and that a viewer may delete.
pub(in crate::api) const SESSION: &str = "/v1/session";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(SESSION, Role::Viewer, sign_in)
            .access(Access::Open)
            .is("signIn", "Exchanges a token for a cookie that browsers keep from scripts")
            .takes::<SessionCreate>()
            .answers::<Document<SessionView>>(200),
        Route::get(SESSION, Role::Viewer, show)
            .is("getSession", "Who is signed in, what they may do, and until when")
            .answers::<Document<SessionView>>(200),
        Route::delete(SESSION, Role::Viewer, sign_out).is("signOut", "Ends the session").answers_nothing(),
    ]
}

fn view(api: &ApiState, caller: Caller) -> Json<Document<SessionView>> {
    Json(Document::new(SessionView {
        name: caller.name().to_owned(),
        role: caller.role(),
        expires_at: caller.session_until,
        scheduler: api.ctx.config.id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}

async fn sign_in(
    State(api): State<ApiState>,
    extensions: Extensions,
    headers: HeaderMap,
    Body(asked): Body<SessionCreate>,
) -> ApiResult<Response> {
    // Else another site could sign a browser in as somebody else.
    session::require_own_page(&headers)?;
    let from = auth::address(&extensions, &headers, &api.ctx.config.http.trusted_proxies);
    let token = match auth::bounded(&api, from, auth::identify(&api, asked.token.trim())).await {
        Ok(token) => token,
        Err(error) => {
            tracing::warn!(status = error.0.status, %from, "somebody could not sign in");
            // What is refused unseen (429) is not written either: the log is for ever, and must not be flooded.
            if error.0.status == StatusCode::UNAUTHORIZED.as_u16() {
                refused(&api, "somebody", json!({ "address": from })).await?;
            }
            return Err(error);
        }
    };
    let (caller, cookie) = session::begin(&api, &headers, Identity::Token(token), from).await?;
    tracing::info!(name = caller.name(), role = caller.role().as_str(), "signed in");
    Ok(([(SET_COOKIE, cookie)], view(&api, caller)).into_response())
}

/// Writes down that somebody could not sign in.
pub(super) async fn refused(api: &ApiState, who: &str, details: Value) -> ApiResult<()> {
    let mut tx = api.ctx.db.begin().await.map_err(StateError::from)?;
    audit::record(&mut tx, who, "session.refuse", None, "dashboard", &details).await?;
    Ok(ringvault_state::commit(tx, around!("session.refuse")).await?)
}

async fn show(State(api): State<ApiState>, caller: Caller) -> Json<Document<SessionView>> {
    view(&api, caller)
}

async fn sign_out(State(api): State<ApiState>, caller: Caller, headers: HeaderMap) -> ApiResult<Response> {
    let cookie = session::end(&api, &headers, &caller).await?;
    tracing::info!(name = caller.name(), "signed out");
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}
