//! Who asks, and whether they may.
//!
//! A bearer token is 256 bits from the system's random source, so there is nothing to guess and no
//! salt is needed: its SHA-256 is what is kept and looked up. The administrator's token of the
//! configuration always works, with the database away too. A browser signs in with a token, or at an
//! identity provider, and is known by a cookie from then on ([`session`]). Every route declares its
//! [`Access`] in the table of routes, and one layer keeps it: no handler can forget to ask.

mod bearer;
mod secret;
pub(super) mod session;
mod throttle;

use std::{io, net::IpAddr, path::Path, time::Instant};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, Method, StatusCode, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use ringvault_core::api::{Role, TokenView};
use uuid::Uuid;

pub(super) use bearer::identify;
pub(super) use secret::{TokenHash, TokenSecret};
pub(super) use throttle::{Throttle, address};

use super::{
    ApiState,
    problem::{ApiError, ApiResult},
};
use crate::openid::Person;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody.
    Open,
    /// A token of at least this role.
    Needs(Role),
}

/// Whom a request is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// A token: of the database, or the administrator's of the configuration, which has no id.
    Token(TokenView),
    /// Somebody whom the identity provider vouches for.
    Person(Person),
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// For whom.
    pub(super) identity: Identity,
    /// It is a browser that is signed in until then.
    pub(super) session_until: Option<DateTime<Utc>>,
}

impl Caller {
    /// Who, in logs.
    pub(super) fn name(&self) -> &str {
        match &self.identity {
            Identity::Token(token) => &token.name,
            Identity::Person(person) => &person.name,
        }
    }

    /// What it may do.
    pub(super) fn role(&self) -> Role {
        match &self.identity {
            Identity::Token(token) => token.role,
            Identity::Person(person) => person.role,
        }
    }

    fn kind(&self) -> &'static str {
        match &self.identity {
            Identity::Token(_) => "token",
            Identity::Person(_) => "person",
        }
    }

    /// Who, where others may stand too: "requested by", holds, the audit log.
    pub(super) fn actor(&self) -> String {
        format!("{} {}", self.kind(), self.name())
    }

    /// Refuses a caller whose role is below `role`.
    pub(super) fn require(&self, role: Role) -> ApiResult<()> {
        if self.role() >= role {
            return Ok(());
        }
        let (kind, name, has) = (self.kind(), self.name(), self.role().as_str());
        let detail = format!("{kind} {name:?} is of role {has}; this needs {}", role.as_str());
        let next = match self.identity {
            Identity::Token(_) => {
                format!("ringvault token create NAME --role {}, as an admin", role.as_str())
            }
            Identity::Person(_) => {
                "ask for a group that [oidc.groups] gives more, and sign in again".to_owned()
            }
        };
        Err(ApiError::forbidden(detail).next(next))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> ApiResult<Self> {
        // Put there by `guard`, which stands before every route that is not open.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::unauthenticated("no token was given"))
    }
}

/// The administrator's token of the configuration.
#[derive(Debug, Clone)]
pub(super) struct AdminToken {
    hash: TokenHash,
    since: DateTime<Utc>,
}

/// Fewest characters of the administrator's token.
const ADMIN_TOKEN_MIN: usize = 16;

impl AdminToken {
    /// Reads the file that `[api] admin_token_file` names.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        Self::from_text(text.trim()).ok_or_else(|| {
            let why = format!("the token in it is shorter than {ADMIN_TOKEN_MIN} characters");
            io::Error::new(io::ErrorKind::InvalidData, why)
        })
    }

    /// A token at hand; `None` if it is too short.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let hash = TokenHash::of(text);
        (text.len() >= ADMIN_TOKEN_MIN).then(|| Self { hash, since: Utc::now() })
    }

    fn view(&self) -> TokenView {
        TokenView {
            id: Uuid::nil(),
            name: "admin".to_owned(),
            role: Role::Admin,
            created_at: self.since,
            created_by: "configuration".to_owned(),
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
        }
    }
}

/// The layer before every route: lets through whom its [`Access`] allows, and says who they are.
pub(super) async fn guard(
    State((api, access)): State<(ApiState, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    let role = match access {
        Access::Open => return next.run(request).await,
        Access::Needs(role) => role,
    };
    let from = address(request.extensions(), request.headers(), &api.ctx.config.http.trusted_proxies);
    match admit(&api, from, request.method(), request.headers(), role).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

async fn admit(
    api: &ApiState,
    from: IpAddr,
    method: &Method,
    headers: &HeaderMap,
    role: Role,
) -> ApiResult<Caller> {
    let caller = if let Some(given) = bearer::of(headers) {
        Caller { identity: bounded(api, from, bearer::admit(api, given)).await?, session_until: None }
    } else if let Some(cookie) = session::cookie(headers) {
        if !method.is_safe() {
            session::require_own_page(headers)?;
        }
        // Not bounded: a page whose session is over asks for many things at once.
        session::identify(api, cookie).await?
    } else {
        let detail = "this needs a token in the header Authorization: Bearer";
        return Err(ApiError::unauthenticated(detail));
    };
    caller.require(role)?;
    Ok(caller)
}

/// Finds out who asks, as often as an address may be wrong about that.
pub(super) async fn bounded<T>(
    api: &ApiState,
    from: IpAddr,
    finding: impl Future<Output = ApiResult<T>>,
) -> ApiResult<T> {
    if let Some(wait) = api.throttle.wait(from, Instant::now()) {
        return Err(ApiError::too_often(wait));
    }
    finding.await.inspect_err(|error| {
        if error.0.status == StatusCode::UNAUTHORIZED.as_u16() {
            api.throttle.failed(from, Instant::now());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_the_one_below_may() {
        let with = |role| Caller {
            identity: Identity::Token(TokenView {
                role,
                ..AdminToken::from_text(&"x".repeat(16)).unwrap().view()
            }),
            session_until: None,
        };
        assert!(with(Role::Admin).require(Role::Viewer).is_ok());
        assert!(with(Role::Operator).require(Role::Operator).is_ok());
        let error = with(Role::Viewer).require(Role::Operator).unwrap_err();
        assert_eq!(error.0.status, 403);
        assert!(with(Role::Operator).require(Role::Admin).is_err());
    }

    #[test]
    fn a_short_administrators_token_is_refused() {
        assert!(AdminToken::from_text("short").is_none());
    }
}
