//! What the provider publishes of itself (OpenID Connect Discovery 1.0) and its keys, kept for a while.
//!
//! Asked for when somebody signs in, by one at a time. What is known is used for an hour, and then, as
//! long as the provider is away, further on: a sign-in that needs it fails by itself. A key that is not
//! known is asked for at once, but not more often than each few seconds, so nobody can make us flood the
//! provider with made-up key ids.

use std::{
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::trouble::Trouble;
use crate::{config::is_guarded, outgoing::Outgoing};

/// How long one of its answers may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long what it said is believed.
const BELIEVED: Duration = Duration::from_secs(3600);
/// Between two questions for a key that is not known.
const RENEWED: Duration = Duration::from_secs(5);
/// How long it is left alone after it did not answer.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// What it says of itself, as far as we use it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    jwks_uri: Url,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// Metadata and keys.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) metadata: Metadata,
    pub(super) keys: Vec<Jwk>,
}

/// What is known of the provider.
#[derive(Debug, Clone)]
pub(super) struct Known(Arc<Published>);

impl Deref for Known {
    type Target = Published;
    fn deref(&self) -> &Published {
        &self.0
    }
}

#[derive(Debug, Default)]
struct Cache {
    known: Option<(Known, Instant)>,
    failed: Option<(Trouble, Instant)>,
}

/// The provider, and what is known of it.
#[derive(Debug)]
pub(super) struct Provider {
    issuer: String,
    cache: Mutex<Cache>,
}

impl Provider {
    pub(super) fn new(issuer: &str) -> Self {
        Self { issuer: issuer.to_owned(), cache: Mutex::default() }
    }

    /// What is known, or what it says now.
    pub(super) async fn known(&self, http: &Outgoing) -> Result<Known, Trouble> {
        let mut cache = self.cache.lock().await;
        if let Some((known, at)) = &cache.known
            && at.elapsed() < BELIEVED
        {
            return Ok(known.clone());
        }
        match self.ask(http, &mut cache).await {
            Ok(known) => Ok(known),
            Err(trouble) => cache.known.as_ref().map(|(known, _)| known.clone()).ok_or(trouble),
        }
    }

    /// What it says now, where what was `seen` lacks a key.
    pub(super) async fn renewed(&self, http: &Outgoing, seen: &Known) -> Result<Known, Trouble> {
        let mut cache = self.cache.lock().await;
        match &cache.known {
            Some((known, at)) if !Arc::ptr_eq(&known.0, &seen.0) || at.elapsed() < RENEWED => {
                Ok(known.clone())
            }
            _ => self.ask(http, &mut cache).await,
        }
    }

    /// What it says now.
    pub(super) async fn ask_anew(&self, http: &Outgoing) -> Result<Known, Trouble> {
        let mut cache = self.cache.lock().await;
        self.ask(http, &mut cache).await
    }

    async fn ask(&self, http: &Outgoing, cache: &mut Cache) -> Result<Known, Trouble> {
        if let Some((trouble, at)) = &cache.failed
            && at.elapsed() < AFTER_FAILURE
        {
            return Err(trouble.clone());
        }
        let asked = self.fetch(http).await;
        let answer = asked.map_err(|why| Trouble::Unreachable { issuer: self.issuer.clone(), why });
        match &answer {
            Ok(known) => *cache = Cache { known: Some((known.clone(), Instant::now())), failed: None },
            Err(trouble) => {
                tracing::warn!(%trouble, "the identity provider does not say what it must");
                cache.failed = Some((trouble.clone(), Instant::now()));
            }
        }
        answer
    }

    async fn fetch(&self, http: &Outgoing) -> Result<Known, String> {
        let place = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let place = Url::parse(&place).map_err(|error| error.to_string())?;
        let metadata: Metadata = http.json(&place, None).await?;
        metadata.check(&self.issuer)?;
        let keys: KeySet = http.json(&metadata.jwks_uri, None).await?;
        Ok(Known(Arc::new(Published { keys: keys.read()?, metadata })))
    }
}

/// Keys are read one by one: one that is of a kind nobody here knows takes no other away.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl KeySet {
    fn read(self) -> Result<Vec<Jwk>, String> {
        let keys: Vec<Jwk> =
            self.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        if keys.is_empty() {
            return Err("it publishes no key that could be used".to_owned());
        }
        Ok(keys)
    }
}

impl Metadata {
    fn check(&self, issuer: &str) -> Result<(), String> {
        if self.issuer != issuer {
            let said = ringvault_core::text::excerpt(&self.issuer);
            return Err(format!("it calls itself {said:?}: oidc.issuer must be that, letter by letter"));
        }
        let endpoints = [
            ("authorization_endpoint", Some(&self.authorization_endpoint)),
            ("token_endpoint", Some(&self.token_endpoint)),
            ("userinfo_endpoint", self.userinfo_endpoint.as_ref()),
            ("jwks_uri", Some(&self.jwks_uri)),
        ];
        match endpoints.iter().find(|(_, url)| url.is_some_and(|url| !is_guarded(url))) {
            Some((name, _)) => Err(format!("its {name} is no https:// URL")),
            None => Ok(()),
        }
    }

    /// Refuses an answer that another provider has sent (RFC 9207).
    pub(super) fn check_answers(&self, issuer: Option<&str>) -> Result<(), Trouble> {
        match issuer {
            Some(issuer) if issuer == self.issuer => Ok(()),
            None if !self.authorization_response_iss_parameter_supported => Ok(()),
            _ => Err(super::id_token::Fault::Issuer.into()),
        }
    }

    /// Whether the client's secret goes into the body: where the header, which is usual, is not taken.
    pub(super) fn wants_secret_in_body(&self) -> bool {
        let takes = |method: &str| self.token_endpoint_auth_methods_supported.iter().any(|one| one == method);
        takes("client_secret_post") && !takes("client_secret_basic")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(change: Value) -> Metadata {
        let mut document = json!({
            "issuer": "https://l.example",
            "authorization_endpoint": "https://l.example/auth",
            "token_endpoint": "https://l.example/token",
            "jwks_uri": "https://keys.example/jwks",
        });
        for (field, value) in change.as_object().unwrap() {
            document[field] = value.clone();
        }
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn a_provider_is_the_one_it_was_asked_for_and_speaks_tls_everywhere() {
        assert_eq!(metadata(json!({})).check("https://l.example"), Ok(()));
        let other = metadata(json!({})).check("https://l.example/").unwrap_err();
        assert!(other.contains("\"https://l.example\"") && other.contains("letter by letter"), "{other}");
        for field in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"] {
            let open = metadata(json!({field: "http://l.example/x"})).check("https://l.example").unwrap_err();
            assert!(open.contains(field), "{open}");
        }
    }

    #[test]
    fn who_says_that_it_names_itself_must() {
        let silent = metadata(json!({}));
        assert!(
            silent.check_answers(None).is_ok() && silent.check_answers(Some("https://l.example")).is_ok()
        );
        assert!(silent.check_answers(Some("https://evil.example")).is_err());
        let names = metadata(json!({"authorization_response_iss_parameter_supported": true}));
        assert!(names.check_answers(None).is_err() && names.check_answers(Some("https://l.example")).is_ok());
    }

    #[test]
    fn the_secret_goes_where_the_provider_takes_it() {
        let with = |methods: Value| metadata(json!({"token_endpoint_auth_methods_supported": methods}));
        assert!(!metadata(json!({})).wants_secret_in_body());
        assert!(!with(json!(["client_secret_basic", "client_secret_post"])).wants_secret_in_body());
        assert!(with(json!(["client_secret_post", "private_key_jwt"])).wants_secret_in_body());
    }

    #[test]
    fn a_key_of_an_unknown_kind_takes_no_other_away() {
        let set = json!({"keys": [
            {"kty": "new", "x": 1}, {"kty": "EC", "crv": "P-256", "kid": "1",
             "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}
        ]});
        let keys = serde_json::from_value::<KeySet>(set).unwrap().read().unwrap();
        assert!(keys.iter().any(|key| key.common.key_id.as_deref() == Some("1")));
        assert!(serde_json::from_value::<KeySet>(json!({"keys": []})).unwrap().read().is_err());
    }
}
