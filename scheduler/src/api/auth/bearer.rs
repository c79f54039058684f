//! What stands in `Authorization: Bearer`: a token of ours, or one of the identity provider's.
//!
//! Ours begin with `rv_` or are the administrator's; the provider's are taken where the configuration
//! names the audience that they must be made out to, and have two dots, as every signed one has and no
//! token that we make.

use axum::http::{HeaderMap, header::AUTHORIZATION};
use ringvault_core::api::TokenView;
use ringvault_state::tokens;

use super::{Identity, TokenHash};
use crate::api::{
    ApiState,
    problem::{ApiError, ApiResult},
};

/// The token of a request.
pub(super) fn of(headers: &HeaderMap) -> Option<&str> {
    let (scheme, value) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| value.trim())
}

/// Whom a token stands for, ours or the provider's.
pub(super) async fn admit(api: &ApiState, given: &str) -> ApiResult<Identity> {
    if let Some(openid) = &api.openid
        && openid.config().api_audience.is_some()
        && is_signed(given)
    {
        let now = ringvault_state::now(&mut *api.conn().await?).await?;
        return Ok(Identity::Person(openid.bearer(given, now).await?));
    }
    identify(api, given).await.map(Identity::Token)
}

/// The token of ours that was given, if it may be used.
pub(in crate::api) async fn identify(api: &ApiState, given: &str) -> ApiResult<TokenView> {
    let hash = TokenHash::of(given);
    if api.admin.hash == hash {
        return Ok(api.admin.view());
    }
    let mut conn = api.conn().await?;
    match tokens::find(&mut conn, hash.as_bytes()).await? {
        Some(found) if hash == found.hash => Ok(found.token),
        _ => {
            let detail = "the token is unknown, revoked or expired";
            Err(ApiError::unauthenticated(detail)
                .next("ask an admin for a token: ringvault token create NAME"))
        }
    }
}

/// Whether it has the form of a signed token (RFC 7515, compact): three parts, the first of them JSON.
fn is_signed(given: &str) -> bool {
    given.starts_with("ey") && given.matches('.').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn a_token_comes_as_bearer() {
        assert_eq!(of(&headers("Bearer abc")), Some("abc"));
        assert_eq!(of(&headers("bearer  abc")), Some("abc"));
        for bad in ["abc", "Digest abc", "Basic YWJj"] {
            assert_eq!(of(&headers(bad)), None, "{bad}");
        }
        assert_eq!(of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_providers_token_is_told_from_ours_by_its_form() {
        assert!(is_signed("eyJhbGciOiJSUzI1NiJ9.e30.c2ln"));
        for ours in ["rv_abc", "0123456789abcdef-admin", "eyJ", "eyJ.a", "a.b.c", "eyJ.a.b.c.d"] {
            assert!(!is_signed(ours), "{ours}");
        }
    }
}
