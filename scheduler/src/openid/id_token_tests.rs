use std::slice::from_ref;

use chrono::DateTime;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://l.example";
const NOW: i64 = 1_800_000_000;

/// A key pair of the provider's, as it publishes it.
fn pair(id: Option<&str>) -> (EncodingKey, Jwk) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = EncodingKey::from_ec_der(&pair.serialize_der());
    let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    public.common.key_id = id.map(str::to_owned);
    (key, public)
}

fn sign(key: &EncodingKey, id: Option<&str>, change: Value) -> String {
    let mut claims = json!({
        "iss": ISSUER, "aud": "r", "sub": "1", "nonce": "n", "iat": NOW, "exp": NOW + 600,
    });
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let header = Header { kid: id.map(str::to_owned), ..Header::new(Algorithm::ES256) };
    encode(&header, &claims, key).unwrap()
}

fn expected(of: Use<'static>) -> Expected<'static> {
    let now = DateTime::from_timestamp(NOW, 0).unwrap();
    Expected { issuer: ISSUER, audience: "r", of, now }
}

const SIGN_IN: Use<'static> = Use::SignIn { nonce: "n" };

#[test]
fn a_token_is_believed_as_long_as_all_of_it_fits() {
    let (key, public) = pair(Some("1"));
    let keys = [public];
    let judge = |change: Value, of| verify(&sign(&key, Some("1"), change), &keys, &expected(of)).map(|_| ());
    for (change, of, outcome) in [
        (json!({}), SIGN_IN, Ok(())),
        (json!({"aud": ["r"]}), SIGN_IN, Ok(())),
        (json!({"aud": ["r", "x"], "azp": "r"}), SIGN_IN, Ok(())),
        (json!({"aud": ["r", "x"]}), SIGN_IN, Err(Fault::Audience)),
        (json!({"azp": "x"}), SIGN_IN, Err(Fault::Audience)),
        (json!({"azp": 1}), SIGN_IN, Err(Fault::Audience)),
        (json!({"aud": []}), SIGN_IN, Err(Fault::Audience)),
        (json!({"aud": null}), SIGN_IN, Err(Fault::Audience)),
        (json!({"iss": [ISSUER, "https://evil.example"]}), SIGN_IN, Err(Fault::Issuer)),
        (json!({"iss": "https://l.example/"}), SIGN_IN, Err(Fault::Issuer)),
        (json!({"nonce": "m"}), SIGN_IN, Err(Fault::Nonce)),
        (json!({"nonce": null}), SIGN_IN, Err(Fault::Nonce)),
        (json!({"exp": NOW - 59}), SIGN_IN, Ok(())),
        (json!({"exp": NOW - 60}), SIGN_IN, Err(Fault::Expired)),
        (json!({"exp": 1_800_000_000.5_f64}), SIGN_IN, Ok(())),
        (json!({"exp": "later"}), SIGN_IN, Err(Fault::Expired)),
        (json!({"iat": NOW + 60}), SIGN_IN, Ok(())),
        (json!({"iat": NOW + 61}), SIGN_IN, Err(Fault::Early)),
        (json!({"nbf": NOW + 61}), SIGN_IN, Err(Fault::Early)),
        (json!({"iat": "now"}), SIGN_IN, Err(Fault::Early)),
        (json!({"sub": ""}), SIGN_IN, Err(Fault::Nobody)),
        (json!({"sub": 1}), SIGN_IN, Err(Fault::Nobody)),
        (json!({"nonce": null, "azp": "cli", "aud": ["x", "r"]}), Use::Api, Ok(())),
        (json!({"aud": "x"}), Use::Api, Err(Fault::Audience)),
    ] {
        assert_eq!(judge(change.clone(), of), outcome, "{change}");
    }
}

#[test]
fn only_a_key_that_the_provider_publishes_for_this_counts() {
    let (key, public) = pair(Some("1"));
    let (other, other_public) = pair(Some("2"));
    let token = sign(&key, Some("1"), json!({}));
    let judge = |token: &str, keys: &[Jwk]| verify(token, keys, &expected(SIGN_IN)).map(|_| ());
    assert_eq!(judge(&token, &[]), Err(Fault::UnknownKey));
    assert_eq!(judge(&token, from_ref(&other_public)), Err(Fault::UnknownKey));
    assert_eq!(judge(&sign(&other, Some("1"), json!({})), from_ref(&public)), Err(Fault::Signature));
    // Without an id each that fits is tried.
    let nameless = sign(&key, None, json!({}));
    assert_eq!(judge(&nameless, &[other_public.clone(), public.clone()]), Ok(()));
    assert_eq!(judge(&nameless, from_ref(&other_public)), Err(Fault::Signature));
    let mut for_encryption = public.clone();
    for_encryption.common.public_key_use = Some(PublicKeyUse::Encryption);
    assert_eq!(judge(&token, from_ref(&for_encryption)), Err(Fault::UnknownKey));
    let mut for_another = public.clone();
    for_another.common.key_algorithm = Some(jsonwebtoken::jwk::KeyAlgorithm::ES384);
    assert_eq!(judge(&token, from_ref(&for_another)), Err(Fault::UnknownKey));
    let mut for_any = public;
    for_any.common.key_algorithm = None;
    assert_eq!(judge(&token, from_ref(&for_any)), Ok(()));
    // A changed text is no longer what was signed.
    let (head, rest) = token.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let text = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, "{\"sub\":\"2\"}");
    assert_eq!(judge(&format!("{head}.{text}.{signature}"), from_ref(&for_any)), Err(Fault::Signature));
}

#[test]
fn no_shared_secret_and_no_unsigned_token_is_taken() {
    let (_, public) = pair(None);
    let claims = json!({"iss": ISSUER, "aud": "r", "sub": "1", "nonce": "n", "exp": NOW + 600});
    let by_secret = encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(b"x")).unwrap();
    let judge = |token: &str| verify(token, from_ref(&public), &expected(SIGN_IN)).map(|_| ());
    assert_eq!(judge(&by_secret), Err(Fault::Algorithm));
    assert_eq!(judge("eyJhbGciOiJub25lIn0.e30."), Err(Fault::Algorithm));
    for nonsense in ["", "a.b", "a.b.c", "....", "eyJhbGciOiJFUzI1NiJ9.e30"] {
        assert_eq!(judge(nonsense), Err(Fault::Malformed), "{nonsense}");
    }
}

#[test]
fn a_token_is_for_one_thing() {
    for (kind, sign_in, api) in [
        (None, true, true),
        (Some("JWT"), true, true),
        (Some("application/jwt"), true, true),
        (Some("at+jwt"), false, true),
        (Some("application/at+JWT"), false, true),
        (Some("logout+jwt"), false, false),
        (Some("dpop+jwt"), false, false),
    ] {
        assert_eq!(check_kind(kind, SIGN_IN).is_ok(), sign_in, "{kind:?}");
        assert_eq!(check_kind(kind, Use::Api).is_ok(), api, "{kind:?}");
    }
}
