//! Signing in at an OpenID Connect provider: the authorization code flow with PKCE, and the provider's
//! own tokens at the API.
//!
//! What is believed of an answer is what its ID token says, and that only if the provider's published
//! keys have signed it, it is made out to us, it has not expired, and it carries the nonce of the very
//! browser that began ([`Pending`]). Nothing of a sign-in under way is kept here, so whichever scheduler
//! the browser comes back to ends it. The provider is asked when somebody signs in, never before: a
//! scheduler starts, and takes tokens of its own, while it is away.

mod exchange;
mod id_token;
mod pending;
mod person;
mod provider;
mod trouble;

use chrono::{DateTime, Utc};
use ringvault_core::api::ServerStatus;
use url::Url;

use crate::{
    config::{OidcConfig, OidcProblem},
    outgoing::Outgoing,
};
use id_token::{Expected, Use};
use provider::{Known, Provider};

pub(crate) use exchange::word;
pub(crate) use pending::Pending;
pub(crate) use person::Person;
pub(crate) use trouble::Trouble;

/// Where the provider sends browsers back to, below `base_url`.
pub(crate) const CALLBACK: &str = "/v1/sign-in/openid/callback";

/// What the provider lets a browser bring back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    /// What is exchanged for the ID token.
    pub(crate) code: &'a str,
    /// Who answers, where the provider says so (RFC 9207).
    pub(crate) issuer: Option<&'a str>,
}

/// The provider of `[oidc]`.
#[derive(Debug)]
pub(crate) struct OpenId {
    config: OidcConfig,
    http: Outgoing,
    provider: Provider,
}

impl OpenId {
    /// Reads the files, so that what is wrong is said at the start. Asks nobody.
    pub(crate) fn open(config: &OidcConfig) -> Result<Self, OidcProblem> {
        config.client_secret().map_err(OidcProblem)?;
        let http = Outgoing::open(config.ca_file.as_deref(), provider::PATIENCE)
            .map_err(|why| OidcProblem(format!("ca_file: {why}")))?;
        let provider = Provider::new(&config.issuer);
        Ok(Self { config: config.clone(), http, provider })
    }

    /// Its section of the configuration.
    pub(crate) const fn config(&self) -> &OidcConfig {
        &self.config
    }

    /// Whether browsers reach the schedulers over TLS.
    pub(crate) fn is_over_tls(&self) -> bool {
        self.config.base_url.scheme() == "https"
    }

    /// Where to send a browser that begins to sign in.
    pub(crate) async fn begin(&self, pending: &Pending) -> Result<Url, Trouble> {
        let known = self.provider.known(&self.http).await?;
        exchange::authorization(&self.config, &known.metadata, pending)
    }

    /// Who has signed in, by what the browser brought back.
    pub(crate) async fn finish(
        &self,
        pending: &Pending,
        answer: Answer<'_>,
        now: DateTime<Utc>,
    ) -> Result<Person, Trouble> {
        let known = self.provider.known(&self.http).await?;
        known.metadata.check_answers(answer.issuer)?;
        let tokens =
            exchange::redeem(&self.config, &known.metadata, &self.http, pending, answer.code).await?;
        let nonce = pending.nonce();
        let expected = Expected {
            issuer: &self.config.issuer,
            audience: &self.config.client_id,
            of: Use::SignIn { nonce: &nonce },
            now,
        };
        let mut claims = self.verified(known.clone(), &tokens.id_token, &expected).await?;
        if person::lacks(&claims, &self.config)
            && let Some(endpoint) = &known.metadata.userinfo_endpoint
        {
            let more = self.http.json(endpoint, Some(&tokens.access_token)).await;
            person::complete(&mut claims, more.map_err(|why| self.unreachable(why))?)?;
        }
        Person::of(&claims, &self.config)
    }

    /// Who a token of the provider's stands for, given at the API.
    pub(crate) async fn bearer(&self, token: &str, now: DateTime<Utc>) -> Result<Person, Trouble> {
        let audience = self.config.api_audience.as_deref().ok_or(Trouble::NotTaken)?;
        let known = self.provider.known(&self.http).await?;
        let expected = Expected { issuer: &self.config.issuer, audience, of: Use::Api, now };
        let claims = self.verified(known, token, &expected).await?;
        Person::of(&claims, &self.config)
    }

    /// Whether the provider can be used, asked anew.
    pub(crate) async fn check(&self) -> ServerStatus {
        match self.provider.ask_anew(&self.http).await {
            Ok(_) => ServerStatus::ok(),
            Err(trouble) => ServerStatus::down(trouble.to_string()),
        }
    }

    /// The claims of a token, which may be signed with a key that is newer than those known.
    async fn verified(
        &self,
        known: Known,
        token: &str,
        expected: &Expected<'_>,
    ) -> Result<id_token::Claims, Trouble> {
        match id_token::verify(token, &known.keys, expected) {
            Err(id_token::Fault::UnknownKey) => {
                let renewed = self.provider.renewed(&self.http, &known).await?;
                Ok(id_token::verify(token, &renewed.keys, expected)?)
            }
            other => Ok(other?),
        }
    }

    fn unreachable(&self, why: String) -> Trouble {
        Trouble::Unreachable { issuer: self.config.issuer.clone(), why }
    }
}
