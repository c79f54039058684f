//! A browser that is signed in.
//!
//! Whoever signs in, with a token or at the identity provider, gets a cookie: 256 random bits that stand
//! for the token or the person in the database, where only their SHA-256 is kept. So any scheduler knows
//! the cookie, signing out ends it everywhere, and so does the end of the token, or another provider in
//! the configuration. No script can read it (`HttpOnly`), no other site
//! can make a browser send it (`SameSite=Strict`), and what changes something must also come from a
//! page of ours ([`require_own_page`]), which is a second lock on the same door.

use std::net::IpAddr;

use axum::http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, InvalidHeaderValue},
};
use chrono::TimeDelta;
use ringvault_fault::around;
use ringvault_state::{
    StateError,
    sessions::{self, PersonRow, Stands},
};
use serde_json::json;

use super::{Caller, Identity, TokenHash, TokenSecret};
use crate::{
    api::{
        ApiState,
        problem::{ApiError, ApiResult},
    },
    audit,
    config::delta,
    openid::{OpenId, Person},
};

const NAME: &str = "ringvault_session";

/// How long a token's session lasts: a working day.
const LASTS: TimeDelta = TimeDelta::hours(10);

/// What our pages send along. No page of another origin may set a header of its own, unless we would
/// allow it, which we never do (no CORS).
const OWN_PAGE: &str = "x-ringvault-page";

/// The cookie of a request.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    named(headers, NAME)
}

/// A cookie of a request, by its name.
pub(in crate::api) fn named<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';'));
    cookies.find_map(|cookie| cookie.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Refuses a request that a page of another origin has made.
pub(in crate::api) fn require_own_page(headers: &HeaderMap) -> ApiResult<()> {
    let is_marked = headers.get(OWN_PAGE).is_some_and(|value| value == "1");
    // Browsers say this themselves; a script cannot.
    let is_same = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin");
    if is_marked && is_same {
        return Ok(());
    }
    Err(ApiError::forbidden("a signed-in browser changes something only from a page of this scheduler"))
}

/// Who the cookie stands for.
pub(super) async fn identify(api: &ApiState, cookie: &str) -> ApiResult<Caller> {
    let mut conn = api.conn().await?;
    let found = sessions::find(&mut conn, TokenHash::of(cookie).as_bytes()).await?;
    let known = found.and_then(|live| {
        let is_admins = live.bound.is_some_and(|bound| bind(cookie, &api.admin.hash) == bound);
        let token = live.token.or_else(|| is_admins.then(|| api.admin.view())).map(Identity::Token);
        let person = live.person.and_then(|row| still_vouched_for(api, row)).map(Identity::Person);
        Some(Caller { identity: token.or(person)?, session_until: Some(live.expires_at) })
    });
    known.ok_or_else(|| ApiError::unauthenticated("the session is over: sign in again"))
}

/// The person of a session, while the configuration still has the provider that vouched for them.
fn still_vouched_for(api: &ApiState, row: PersonRow) -> Option<Person> {
    let PersonRow { name, role, issuer, subject } = row;
    let is_ours = api.openid.as_ref().is_some_and(|openid| openid.config().issuer == issuer);
    is_ours.then_some(Person { name, role, subject })
}

/// Binds a session to the administrator's token. Without the cookie, which is kept nowhere, it cannot
/// be told from it what that token is.
fn bind(cookie: &str, admin: &TokenHash) -> TokenHash {
    TokenHash::of(&format!("{cookie} {}", hex::encode(admin.as_bytes())))
}

/// Signs a browser in: the caller, and the cookie to set.
pub(in crate::api) async fn begin(
    api: &ApiState,
    headers: &HeaderMap,
    identity: Identity,
    from: IpAddr,
) -> ApiResult<(Caller, HeaderValue)> {
    let secret = TokenSecret::draw().map_err(|error| ApiError::defect(&error))?;
    let (hash, cookie) = (secret.hash(), secret.reveal());
    let bound = bind(&cookie, &api.admin.hash);
    let person = person_row(api, &identity);
    let stands = match (&identity, &person) {
        (Identity::Person(_), Some(person)) => Stands::Person(person),
        (Identity::Person(_), None) => return Err(ApiError::no_provider()),
        (Identity::Token(token), _) if token.id.is_nil() => Stands::Admin(bound.as_bytes()),
        (Identity::Token(token), _) => Stands::Token(token.id),
    };
    let lasts = match &api.openid {
        Some(openid) if person.is_some() => delta(openid.config().session),
        _ => LASTS,
    };
    let mut tx = api.ctx.db.begin().await.map_err(StateError::from)?;
    let until = sessions::begin(&mut tx, hash.as_bytes(), stands, lasts).await?;
    let caller = Caller { identity, session_until: Some(until) };
    let mut details = json!({ "address": from, "role": caller.role(), "until": until });
    if let Some(PersonRow { issuer, subject, .. }) = &person {
        details["issuer"] = json!(issuer);
        details["subject"] = json!(subject);
    }
    audit::record(&mut tx, &caller.actor(), "session.begin", None, "dashboard", &details).await?;
    ringvault_state::commit(tx, around!("session.begin")).await?;
    // Who came from the provider came by the address that it knows.
    let by_tls = person.is_some() && api.openid.as_ref().is_some_and(OpenId::is_over_tls);
    let is_secure = by_tls || is_secure(api, headers);
    let set = set_cookie(is_secure, &cookie, lasts).map_err(|error| ApiError::defect(&error))?;
    Ok((caller, set))
}

fn person_row(api: &ApiState, identity: &Identity) -> Option<PersonRow> {
    let (Identity::Person(person), Some(openid)) = (identity, &api.openid) else { return None };
    let Person { name, role, subject } = person.clone();
    Some(PersonRow { name, role, issuer: openid.config().issuer.clone(), subject })
}

/// Signs it out: the cookie to set.
pub(in crate::api) async fn end(
    api: &ApiState,
    headers: &HeaderMap,
    caller: &Caller,
) -> ApiResult<HeaderValue> {
    if let Some(cookie) = cookie(headers) {
        let mut tx = api.ctx.db.begin().await.map_err(StateError::from)?;
        sessions::end(&mut tx, TokenHash::of(cookie).as_bytes()).await?;
        audit::record(&mut tx, &caller.actor(), "session.end", None, "dashboard", &json!({})).await?;
        ringvault_state::commit(tx, around!("session.end")).await?;
    }
    set_cookie(is_secure(api, headers), "", TimeDelta::zero()).map_err(|error| ApiError::defect(&error))
}

/// Where TLS is spoken, here or by a proxy before us, the cookie is for TLS alone.
fn is_secure(api: &ApiState, headers: &HeaderMap) -> bool {
    api.certificate.is_some() || headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https")
}

fn set_cookie(is_secure: bool, cookie: &str, lasts: TimeDelta) -> Result<HeaderValue, InvalidHeaderValue> {
    let secure = if is_secure { "; Secure" } else { "" };
    let seconds = lasts.num_seconds();
    let text = format!("{NAME}={cookie}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut value = HeaderValue::from_str(&text)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse::<HeaderValue>().unwrap())
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn our_cookie_is_found_among_others() {
        let one = headers(&[("cookie", "theme=dark; ringvault_session=rv_abc; x=1")]);
        assert_eq!(cookie(&one), Some("rv_abc"));
        let two = headers(&[("cookie", "a=b"), ("cookie", "ringvault_session=rv_d")]);
        assert_eq!(cookie(&two), Some("rv_d"));
        assert_eq!(cookie(&headers(&[("cookie", "ringvault_sessions=x; my_ringvault_session=y")])), None);
    }

    #[test]
    fn only_a_page_of_ours_changes_something() {
        let own = headers(&[("x-ringvault-page", "1"), ("sec-fetch-site", "same-origin")]);
        assert!(require_own_page(&own).is_ok());
        assert!(require_own_page(&headers(&[("x-ringvault-page", "1")])).is_ok());
        for other in [
            headers(&[]),
            headers(&[("sec-fetch-site", "same-origin")]),
            headers(&[("x-ringvault-page", "1"), ("sec-fetch-site", "cross-site")]),
            headers(&[("x-ringvault-page", "1"), ("sec-fetch-site", "same-site")]),
        ] {
            assert_eq!(require_own_page(&other).unwrap_err().0.status, 403);
        }
    }

    #[test]
    fn a_cookie_is_for_no_script_and_no_other_site() {
        let plain = set_cookie(false, "rv_x", LASTS).unwrap();
        let plain = plain.to_str().unwrap();
        assert!(plain.contains("HttpOnly") && plain.contains("SameSite=Strict") && !plain.contains("Secure"));
        assert!(set_cookie(true, "rv_x", LASTS).unwrap().to_str().unwrap().ends_with("; Secure"));
    }

    #[test]
    fn another_administrators_token_binds_otherwise() {
        let (one, other) = (TokenHash::of("one"), TokenHash::of("other"));
        assert!(bind("c", &one) == bind("c", &one));
        assert!(bind("c", &one) != bind("c", &other) && bind("c", &one) != bind("d", &one));
    }
}
