//! Signing in at the identity provider: away to it, and back.
//!
//! Browsers come here by links and redirects, so what goes wrong is told by a page. What a browser has
//! begun is in a cookie that it alone has: `SameSite=Lax`, as it must come along when the provider sends
//! the browser back, and gone after that, however it ended. The session that follows has its own.

use std::{net::IpAddr, time::Instant};

use axum::{
    Json,
    extract::State,
    http::{
        Extensions, HeaderMap, HeaderValue, StatusCode,
        header::{LOCATION, REFERRER_POLICY, SET_COOKIE},
    },
    response::{IntoResponse as _, Response},
};
use ringvault_core::api::{Document, Role, SignInCheck, SignInWays};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::session::refused;
use crate::{
    api::{
        ApiState,
        auth::{self, Access, Identity, session},
        extract::Params,
        problem::{ApiError, ApiResult},
        route::Route,
        ui,
    },
    openid::{Answer, CALLBACK, OpenId, Pending, Person, Trouble, word},
};

/// How long somebody may take at the provider, in seconds.
const PATIENCE: u32 = 600;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/sign-in", Role::Viewer, ways)
            .access(Access::Open)
            .is("getSignIn", "How one may sign in, beside a token")
            .answers::<Document<SignInWays>>(200),
        Route::get("/v1/sign-in/check", Role::Viewer, check)
            .is("checkSignIn", "Whether the identity provider can be used, asked now")
            .answers::<Document<SignInCheck>>(200),
        Route::get("/v1/sign-in/openid", Role::Viewer, begin)
            .access(Access::Open)
            .is("beginSignIn", "Sends a browser to the identity provider")
            .query::<BeginQuery>()
            .leads_on(),
        Route::get(CALLBACK, Role::Viewer, finish)
            .access(Access::Open)
            .is("finishSignIn", "Where the identity provider sends a browser back to")
            .query::<FinishQuery>()
            .leads_on(),
    ]
}

async fn ways(State(api): State<ApiState>) -> Json<Document<SignInWays>> {
    let openid = api.openid.as_ref().map(|openid| openid.config().label());
    Json(Document::new(SignInWays { openid }))
}

async fn check(State(api): State<ApiState>) -> Json<Document<SignInCheck>> {
    let openid = match &api.openid {
        Some(openid) => Some(openid.check().await),
        None => None,
    };
    Json(Document::new(SignInCheck { openid }))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BeginQuery {
    /// The screen of the dashboard to go to then, such as `/ui/jobs`.
    #[serde(default)]
    to: String,
}

async fn begin(State(api): State<ApiState>, Params(query): Params<BeginQuery>) -> Response {
    match away(&api, &query.to).await {
        Ok(response) => response,
        Err(error) => ui::not_signed_in(&error),
    }
}

async fn away(api: &ApiState, to: &str) -> ApiResult<Response> {
    let openid = provider(api)?;
    let pending = Pending::begin(to).map_err(|error| ApiError::defect(&error))?;
    let provider = openid.begin(&pending).await?;
    lead(provider.as_str(), set_cookie(openid, pending.cookie(), PATIENCE))
}

/// What a provider sends along. It may add parameters of its own.
#[derive(Deserialize, JsonSchema)]
struct FinishQuery {
    /// What is exchanged for the tokens.
    code: Option<String>,
    /// Of the sign-in that the browser began.
    state: Option<String>,
    /// Who answers.
    iss: Option<String>,
    /// Why it is nobody.
    error: Option<String>,
}

async fn finish(
    State(api): State<ApiState>,
    extensions: Extensions,
    headers: HeaderMap,
    Params(query): Params<FinishQuery>,
) -> Response {
    let from = auth::address(&extensions, &headers, &api.ctx.config.http.trusted_proxies);
    let ended = back(&api, from, &headers, &query).await;
    let mut response = ended.unwrap_or_else(|error| ui::not_signed_in(&error));
    if let Some(openid) = &api.openid {
        response.headers_mut().append(SET_COOKIE, set_cookie(openid, "", 0));
    }
    response
}

async fn back(api: &ApiState, from: IpAddr, headers: &HeaderMap, query: &FinishQuery) -> ApiResult<Response> {
    let openid = provider(api)?;
    let pending = session::named(headers, cookie_name(openid)).and_then(Pending::read);
    let state = query.state.as_deref().unwrap_or_default();
    let pending = pending.filter(|pending| pending.is_answered_by(state)).ok_or(Trouble::NotBegun)?;
    if let Some(wait) = api.throttle.wait(from, Instant::now()) {
        return Err(ApiError::too_often(wait));
    }
    let person = match identify(api, openid, &pending, query).await? {
        Ok(person) => person,
        Err(trouble) => return Err(turned_away(api, from, trouble).await?),
    };
    let (caller, cookie) = session::begin(api, headers, Identity::Person(person), from).await?;
    tracing::info!(name = caller.name(), role = caller.role().as_str(), "signed in by the identity provider");
    lead(pending.to(), cookie)
}

/// Who it is, as the provider tells.
async fn identify(
    api: &ApiState,
    openid: &OpenId,
    pending: &Pending,
    query: &FinishQuery,
) -> ApiResult<Result<Person, Trouble>> {
    let code = match (&query.error, &query.code) {
        (Some(error), _) => return Ok(Err(Trouble::Declined(word(error)))),
        (None, None) => return Ok(Err(Trouble::Declined("neither a code nor an error".to_owned()))),
        (None, Some(code)) => code,
    };
    let now = ringvault_state::now(&mut *api.conn().await?).await?;
    let answer = Answer { code, issuer: query.iss.as_deref() };
    Ok(openid.finish(pending, answer, now).await)
}

/// Counts and writes down that somebody was judged and not let in; what failed by itself is neither.
async fn turned_away(api: &ApiState, from: IpAddr, trouble: Trouble) -> ApiResult<ApiError> {
    let error = ApiError::from(trouble.clone());
    let status = error.0.status;
    tracing::warn!(status, %from, %trouble, "somebody could not sign in at the identity provider");
    if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].iter().any(|judged| judged.as_u16() == status) {
        api.throttle.failed(from, Instant::now());
        let who = match &trouble {
            Trouble::NoRole { name } => format!("person {name}"),
            _ => "somebody".to_owned(),
        };
        let details = json!({ "address": from, "code": error.0.code, "why": trouble.to_string() });
        refused(api, &who, details).await?;
    }
    Ok(error)
}

fn provider(api: &ApiState) -> ApiResult<&OpenId> {
    api.openid.as_ref().ok_or_else(ApiError::no_provider)
}

/// Sends a browser on, with a cookie. It tells nobody where it comes from: the address holds a code.
fn lead(to: &str, cookie: HeaderValue) -> ApiResult<Response> {
    let to = HeaderValue::from_str(to).map_err(|error| ApiError::defect(&error))?;
    let no_referrer = HeaderValue::from_static("no-referrer");
    let headers = [(LOCATION, to), (SET_COOKIE, cookie), (REFERRER_POLICY, no_referrer)];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

/// Over TLS a name that no other site of the same domain can set (RFC 6265bis, 4.1.3.2).
fn cookie_name(openid: &OpenId) -> &'static str {
    if openid.is_over_tls() { "__Host-ringvault_sign_in" } else { "ringvault_sign_in" }
}

fn set_cookie(openid: &OpenId, value: &str, seconds: u32) -> HeaderValue {
    let name = cookie_name(openid);
    let secure = if openid.is_over_tls() { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    // Base64 and a dot: what a header may hold.
    let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
