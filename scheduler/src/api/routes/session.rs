//! Signing in and out of the dashboard.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header::SET_COOKIE},
    response::{IntoResponse as _, Response},
};
use ringvault_core::api::{Document, Role, SessionCreate, SessionView};

use crate::api::{
    ApiState,
    auth::{self, Access, Caller, session},
    extract::Body,
    problem::ApiResult,
    route::Route,
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
        name: caller.token.name,
        role: caller.token.role,
        expires_at: caller.session_until,
        scheduler: api.ctx.config.id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}

async fn sign_in(
    State(api): State<ApiState>,
    headers: HeaderMap,
    Body(asked): Body<SessionCreate>,
) -> ApiResult<Response> {
    // Else another site could sign a browser in as somebody else.
    session::require_own_page(&headers)?;
    let token = auth::identify(&api, asked.token.trim()).await.inspect_err(|error| {
        tracing::warn!(status = error.0.status, "somebody could not sign in");
    })?;
    let (caller, cookie) = session::begin(&api, &headers, token).await?;
    tracing::info!(name = caller.name(), role = caller.token.role.as_str(), "signed in");
    Ok(([(SET_COOKIE, cookie)], view(&api, caller)).into_response())
}

async fn show(State(api): State<ApiState>, caller: Caller) -> Json<Document<SessionView>> {
    view(&api, caller)
}

async fn sign_out(State(api): State<ApiState>, caller: Caller, headers: HeaderMap) -> ApiResult<Response> {
    let cookie = session::end(&api, &headers).await?;
    tracing::info!(name = caller.name(), "signed out");
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}
