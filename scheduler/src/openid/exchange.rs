//! The two requests of the authorization code flow: the address that a browser is sent to, and the
//! code that it brings back redeemed for tokens (RFC 6749 4.1, RFC 7636), by the crate `oauth2`.

use futures::{FutureExt as _, future::BoxFuture};
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet,
    EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, RequestTokenError, Scope, StandardRevocableToken, StandardTokenResponse, TokenResponse as _,
    TokenUrl,
    basic::{
        BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse,
        BasicTokenIntrospectionResponse, BasicTokenType,
    },
};
use ringvault_core::text;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{CALLBACK, Pending, id_token::Fault, provider::Metadata, trouble::Trouble};
use crate::{
    config::OidcConfig,
    outgoing::{NoAnswer, Outgoing},
};

/// What is answered beside the access token.
#[derive(Clone, Deserialize, Serialize)]
struct WithIdToken {
    id_token: Option<String>,
}

impl std::fmt::Debug for WithIdToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WithIdToken").finish_non_exhaustive()
    }
}

impl ExtraTokenFields for WithIdToken {}

type Client = oauth2::Client<
    BasicErrorResponse,
    StandardTokenResponse<WithIdToken, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl<'c> AsyncHttpClient<'c> for Outgoing {
    type Error = NoAnswer;
    type Future = BoxFuture<'c, Result<HttpResponse, NoAnswer>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        self.send(request).boxed()
    }
}

/// What a code was redeemed for.
pub(super) struct Tokens {
    pub(super) id_token: String,
    pub(super) access_token: String,
}

fn client(config: &OidcConfig, metadata: &Metadata) -> Result<Client, Trouble> {
    let redirect = config.base_url.join(CALLBACK).map_err(|error| Trouble::Client(error.to_string()))?;
    let client = oauth2::Client::new(ClientId::new(config.client_id.clone()))
        .set_auth_uri(AuthUrl::from_url(metadata.authorization_endpoint.clone()))
        .set_token_uri(TokenUrl::from_url(metadata.token_endpoint.clone()))
        .set_redirect_uri(RedirectUrl::from_url(redirect));
    let client = match config.client_secret().map_err(Trouble::Client)? {
        Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned())),
        None => client,
    };
    let in_body = metadata.wants_secret_in_body();
    Ok(client.set_auth_type(if in_body { AuthType::RequestBody } else { AuthType::BasicAuth }))
}

/// Where the browser goes.
pub(super) fn authorization(
    config: &OidcConfig,
    metadata: &Metadata,
    pending: &Pending,
) -> Result<Url, Trouble> {
    let verifier = PkceCodeVerifier::new(pending.verifier());
    let has_openid = config.scopes.iter().any(|scope| scope == "openid");
    let scopes = config.scopes.iter().cloned();
    let scopes = (!has_openid).then(|| "openid".to_owned()).into_iter().chain(scopes);
    let client = client(config, metadata)?;
    let request = client
        .authorize_url(|| CsrfToken::new(pending.state()))
        .add_scopes(scopes.map(Scope::new))
        .add_extra_param("nonce", pending.nonce())
        .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
    Ok(request.url().0)
}

/// Redeems a code.
pub(super) async fn redeem(
    config: &OidcConfig,
    metadata: &Metadata,
    http: &Outgoing,
    pending: &Pending,
    code: &str,
) -> Result<Tokens, Trouble> {
    let client = client(config, metadata)?;
    let request = client
        .exchange_code(AuthorizationCode::new(code.to_owned()))
        .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier()))
        .request_async(http)
        .boxed();
    let answer = request.await.map_err(|error| refused(config, error))?;
    let id_token = answer.extra_fields().id_token.clone().ok_or(Fault::Malformed)?;
    Ok(Tokens { id_token, access_token: answer.access_token().secret().clone() })
}

/// In the protocol's words; what the provider has written beside them is for the log.
fn refused(config: &OidcConfig, error: RequestTokenError<NoAnswer, BasicErrorResponse>) -> Trouble {
    let unreachable = |why| Trouble::Unreachable { issuer: config.issuer.clone(), why };
    match error {
        RequestTokenError::ServerResponse(said) => {
            let error: &str = said.error().as_ref();
            let detail = said.error_description().map(|words| text::excerpt(words)).unwrap_or_default();
            tracing::warn!(error, detail, "the identity provider redeems no code");
            let is_about_us = matches!(
                said.error(),
                BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient
            );
            let word = word(error);
            if is_about_us { Trouble::Client(word) } else { Trouble::Declined(word) }
        }
        RequestTokenError::Request(why) => unreachable(why.to_string()),
        // Without the body, which may hold tokens.
        RequestTokenError::Parse(why, _) => {
            unreachable(format!("its answer cannot be read, at {}", why.path()))
        }
        RequestTokenError::Other(_) => unreachable("its answer is empty".to_owned()),
    }
}

/// An error as the protocol has them; nothing else of what came from outside is repeated.
pub(crate) fn word(error: &str) -> String {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let is_one = (1..=40).contains(&error.len()) && error.bytes().all(is_word);
    if is_one { error.to_owned() } else { "an error that no standard knows".to_owned() }
}
