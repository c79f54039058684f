//! A signed token of the provider's, checked: OpenID Connect Core 1.0, 3.1.3.7, and RFC 9068 for those
//! that are given at the API.
//!
//! Only signatures by the provider's own published key pairs count. Neither `none` nor HMAC is ever
//! taken, whatever a token's header says, so no public key can pass for a shared secret. Time is the
//! caller's: it is the database's, as everywhere.

use chrono::{DateTime, Utc};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, Validation,
    errors::{Error, ErrorKind},
    jwk::{Jwk, PublicKeyUse},
};
use serde_json::{Map, Value};

/// How far the provider's clock may be off.
const LEEWAY_SECONDS: f64 = 60.0;

/// What a token says.
pub(super) type Claims = Map<String, Value>;

/// What the token is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Use<'a> {
    /// The end of a sign-in that began with this nonce.
    SignIn {
        /// What it must repeat.
        nonce: &'a str,
    },
    /// A request to the API.
    Api,
}

/// What a token must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// By whom.
    pub(super) issuer: &'a str,
    /// For whom.
    pub(super) audience: &'a str,
    /// For what.
    pub(super) of: Use<'a>,
    /// What time it is.
    pub(super) now: DateTime<Utc>,
}

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Not three parts, or not JSON.
    #[error("it is no signed token")]
    Malformed,
    /// Unsigned, signed with a shared secret, or in a way that nobody knows.
    #[error("it is not signed with a key pair")]
    Algorithm,
    /// None of the provider's keys is the one it names.
    #[error("it is signed with a key that the provider does not publish")]
    UnknownKey,
    /// The signature is another's, or of another text.
    #[error("its signature is wrong")]
    Signature,
    /// A kind of token that is for something else.
    #[error("it is of a kind that nobody signs in with")]
    Kind,
    /// Another provider's.
    #[error("it is of another issuer")]
    Issuer,
    /// For another client.
    #[error("it is made out to another audience")]
    Audience,
    /// It is over.
    #[error("it has expired")]
    Expired,
    /// It is not good yet: somebody's clock is wrong.
    #[error("it is not valid yet: the provider's clock, or the database's, is wrong")]
    Early,
    /// Of a sign-in that another browser began, or of an earlier one.
    #[error("it belongs to another sign-in")]
    Nonce,
    /// It says nothing about whom it is about.
    #[error("it names nobody (sub)")]
    Nobody,
}

/// The claims of a token that is what it must be. `UnknownKey` may mean that `keys` are old.
pub(super) fn verify(token: &str, keys: &[Jwk], expected: &Expected<'_>) -> Result<Claims, Fault> {
    let header = jsonwebtoken::decode_header(token).map_err(of_header)?;
    if header.alg.family() == AlgorithmFamily::Hmac {
        return Err(Fault::Algorithm);
    }
    check_kind(header.typ.as_deref(), expected.of)?;
    let mut last = Fault::UnknownKey;
    for key in keys.iter().filter(|key| fits(key, header.kid.as_deref(), header.alg)) {
        match read(token, key, header.alg, expected) {
            Ok(claims) => return judge(claims, expected),
            // Without a key's id all that could have signed it are tried.
            Err(Fault::Signature) => last = Fault::Signature,
            Err(fault) => return Err(fault),
        }
    }
    Err(last)
}

fn of_header(error: Error) -> Fault {
    // An algorithm that the crate does not know, such as `none`, is an error of its JSON.
    match error.kind() {
        ErrorKind::Json(cause) if cause.to_string().contains("unknown variant") => Fault::Algorithm,
        _ => Fault::Malformed,
    }
}

/// An access token cannot end a sign-in, and what ends a session begins nothing.
fn check_kind(kind: Option<&str>, of: Use<'_>) -> Result<(), Fault> {
    let kind = kind.unwrap_or("JWT").to_ascii_lowercase();
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    match (kind, of) {
        ("jwt", _) | ("at+jwt", Use::Api) => Ok(()),
        _ => Err(Fault::Kind),
    }
}

/// Whether the key may have signed a token with this header.
fn fits(key: &Jwk, id: Option<&str>, algorithm: Algorithm) -> bool {
    let Jwk { common, .. } = key;
    let is_named = id.is_none_or(|id| common.key_id.as_deref() == Some(id));
    let signs = common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
    let is_meant = common
        .key_algorithm
        .is_none_or(|stated| stated.to_string().parse::<Algorithm>().is_ok_and(|stated| stated == algorithm));
    let family = DecodingKey::from_jwk(key).map(|key| key.family());
    is_named && signs && is_meant && family.is_ok_and(|family| family == algorithm.family())
}

fn read(token: &str, key: &Jwk, algorithm: Algorithm, expected: &Expected<'_>) -> Result<Claims, Fault> {
    let key = DecodingKey::from_jwk(key).map_err(|_| Fault::UnknownKey)?;
    let mut rules = Validation::new(algorithm);
    rules.set_issuer(&[expected.issuer]);
    rules.set_audience(&[expected.audience]);
    rules.set_required_spec_claims(&["exp", "iss", "aud"]);
    // By the database's clock, below.
    rules.validate_exp = false;
    let read = jsonwebtoken::decode::<Claims>(token, &key, &rules);
    Ok(read.map_err(|error| of_claims(&error))?.claims)
}

fn of_claims(error: &Error) -> Fault {
    match error.kind() {
        ErrorKind::InvalidIssuer => Fault::Issuer,
        ErrorKind::InvalidAudience => Fault::Audience,
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "iss" => Fault::Issuer,
            "aud" => Fault::Audience,
            _ => Fault::Expired,
        },
        ErrorKind::Json(_) | ErrorKind::Utf8(_) => Fault::Malformed,
        _ => Fault::Signature,
    }
}

/// What the crate does not look at.
fn judge(claims: Claims, expected: &Expected<'_>) -> Result<Claims, Fault> {
    // Seconds since 1970 fit a double to the microsecond for long.
    #[allow(clippy::cast_precision_loss)]
    let now = expected.now.timestamp() as f64;
    let time = |claim: &str| claims.get(claim).map(|value| value.as_f64().unwrap_or(f64::NAN));
    let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
    let is_alive = time("exp").is_some_and(|exp| now < exp + LEEWAY_SECONDS);
    if !is_alive {
        return Err(Fault::Expired);
    }
    let has_come = |claim| time(claim).is_none_or(|at| at <= now + LEEWAY_SECONDS);
    if !has_come("nbf") || !has_come("iat") {
        return Err(Fault::Early);
    }
    // One issuer alone: a list of them is no ID token's.
    if text("iss") != Some(expected.issuer) {
        return Err(Fault::Issuer);
    }
    if let Use::SignIn { nonce } = expected.of {
        let audiences = claims.get("aud").and_then(Value::as_array).map_or(1, Vec::len);
        let authorized = claims.get("azp").map(Value::as_str);
        if authorized.map_or(audiences > 1, |party| party != Some(expected.audience)) {
            return Err(Fault::Audience);
        }
        if text("nonce") != Some(nonce) {
            return Err(Fault::Nonce);
        }
    }
    if text("sub").is_none_or(str::is_empty) {
        return Err(Fault::Nobody);
    }
    Ok(claims)
}

#[cfg(test)]
#[path = "id_token_tests.rs"]
mod tests;
