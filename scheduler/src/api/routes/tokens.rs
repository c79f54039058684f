//! Access tokens: made, listed, revoked.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use ringvault_core::api::{Document, Page, Role, TokenCreate, TokenCreated, TokenView};
use ringvault_fault::around;
use ringvault_state::{StateError, tokens as repository};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::{
    api::{
        ApiState,
        auth::{Caller, Identity, TokenSecret},
        cursor,
        extract::{Body, Params},
        problem::{ApiError, ApiResult},
        route::Route,
    },
    audit,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/tokens", Role::Admin, list)
            .is("listTokens", "Tokens without their secrets, the newest first")
            .query::<TokenListQuery>()
            .answers::<Page<TokenView>>(200),
        Route::post("/v1/tokens", Role::Admin, create)
            .is("createToken", "Makes a token; its secret is shown this once")
            .takes::<TokenCreate>()
            .answers::<Document<TokenCreated>>(201),
        Route::get("/v1/tokens/self", Role::Viewer, own)
            .is("getOwnToken", "The token that asks")
            .answers::<Document<TokenView>>(200),
        Route::delete("/v1/tokens/{token}", Role::Admin, revoke)
            .is("revokeToken", "Revokes a token, by its id or name, at once")
            .answers::<Document<TokenView>>(200),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TokenListQuery {
    /// Tokens on a page, from 1 to 1000.
    limit: Option<u32>,
    /// Of the page before.
    cursor: Option<String>,
}

async fn list(
    State(api): State<ApiState>,
    Params(query): Params<TokenListQuery>,
) -> ApiResult<Json<Page<TokenView>>> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<Uuid> = cursor::read(query.cursor.as_deref())?;
    let mut conn = api.conn().await?;
    let found = repository::list(&mut conn, after, cursor::ask(limit)).await?;
    let (items, next) = cursor::cut(found, limit, |token| token.id)?;
    Ok(Json(Page::new(ringvault_state::now(&mut conn).await?, items, next)))
}

/// The name of the configuration's token: no other may be taken for it.
const RESERVED: &str = "admin";

async fn create(
    State(api): State<ApiState>,
    caller: Caller,
    Body(token): Body<TokenCreate>,
) -> ApiResult<(StatusCode, Json<Document<TokenCreated>>)> {
    let TokenCreate { name, role, expires_at } = token;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '/');
    if name.is_empty() || name.len() > 128 || !name.chars().all(is_plain) || name == RESERVED {
        let detail = "name: from 1 to 128 letters, digits, '-', '_', '.', '@' or '/', and not \"admin\"";
        return Err(ApiError::usage("RV-BODY", detail).field("name"));
    }
    let mut tx = api.ctx.db.begin().await.map_err(StateError::from)?;
    let now = ringvault_state::now(&mut tx).await?;
    if expires_at.is_some_and(|at| at <= now) {
        return Err(ApiError::usage("RV-BODY", "expires_at: is in the past").field("expires_at"));
    }
    let secret = TokenSecret::draw().map_err(|error| ApiError::defect(&error))?;
    let hash = secret.hash();
    let by = caller.actor();
    let made = repository::insert(&mut tx, &name, role, hash.as_bytes(), &by, expires_at).await?;
    let token = made.ok_or_else(|| {
        let detail = format!("a token named {name} is in use");
        ApiError::conflict("RV-TOKEN-EXISTS", detail).next(format!("ringvault token revoke {name}"))
    })?;
    let details = json!({ "id": token.id, "role": role, "expires_at": expires_at });
    audit::record(&mut tx, &by, "token.create", None, &format!("token {name}"), &details).await?;
    ringvault_state::commit(tx, around!("token.create")).await?;
    tracing::info!(by = caller.name(), token = %token.id, name, role = role.as_str(), "token made");
    let created = TokenCreated { token, secret: secret.reveal() };
    Ok((StatusCode::CREATED, Json(Document::new(created))))
}

async fn own(caller: Caller) -> ApiResult<Json<Document<TokenView>>> {
    match caller.identity {
        Identity::Token(token) => Ok(Json(Document::new(token))),
        Identity::Person(person) => {
            let detail = format!("{} is a person: no token asks", person.name);
            Err(ApiError::not_found("RV-TOKEN-UNKNOWN", detail).next("GET /v1/session"))
        }
    }
}

async fn revoke(
    State(api): State<ApiState>,
    caller: Caller,
    Path(token): Path<String>,
) -> ApiResult<Json<Document<TokenView>>> {
    let mut tx = api.ctx.db.begin().await.map_err(StateError::from)?;
    let revoked = repository::revoke(&mut tx, &token).await?.ok_or_else(|| {
        let detail = format!("there is no token {token} in use");
        ApiError::not_found("RV-TOKEN-UNKNOWN", detail).next("ringvault token list")
    })?;
    let (by, target) = (caller.actor(), format!("token {}", revoked.name));
    let details = json!({ "id": revoked.id, "role": revoked.role });
    audit::record(&mut tx, &by, "token.revoke", None, &target, &details).await?;
    ringvault_state::commit(tx, around!("token.revoke")).await?;
    tracing::info!(by = caller.name(), token = %revoked.id, name = revoked.name, "token revoked");
    Ok(Json(Document::new(revoked)))
}
