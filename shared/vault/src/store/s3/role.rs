//! Roles: credentials for a short time, got from the cloud's token service and renewed before they end.

use std::path::PathBuf;

use aws_config::{SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};

use crate::config::{ConfigError, Role};

const SESSION: &str = "ringvault";

/// The same settings with the role's credentials.
pub(super) async fn take(role: &Role, base: &SdkConfig) -> Result<SdkConfig, ConfigError> {
    let mut sts = base.to_builder();
    if let Some(endpoint) = &role.sts_endpoint {
        sts = sts.endpoint_url(endpoint.as_str());
    }
    let sts = sts.build();
    let session = role.session_name.as_deref().unwrap_or(SESSION);
    let credentials = match &role.web_identity_token_file {
        Some(token_file) => {
            SharedCredentialsProvider::new(WebIdentity::new(role, session, token_file, &sts)?)
        }
        None => {
            let mut provider = AssumeRoleProvider::builder(&role.arn).session_name(session).configure(&sts);
            if let Some(id) = &role.external_id {
                provider = provider.external_id(id);
            }
            SharedCredentialsProvider::new(provider.build().await)
        }
    };
    Ok(base.to_builder().credentials_provider(credentials).build())
}

/// Takes a role with the token of a file. (The SDK's own provider asks no other endpoint than Amazon's.)
#[derive(Debug)]
struct WebIdentity {
    client: aws_sdk_sts::Client,
    arn: String,
    session: String,
    token_file: PathBuf,
}

impl WebIdentity {
    fn new(role: &Role, session: &str, token_file: &PathBuf, sts: &SdkConfig) -> Result<Self, ConfigError> {
        // That it cannot be read is told now; later it may change, and is read anew.
        std::fs::metadata(token_file).map_err(|cause| ConfigError::Unreadable {
            setting: "role.web_identity_token_file",
            path: token_file.clone(),
            cause,
        })?;
        let client = aws_sdk_sts::Client::new(sts);
        let (arn, session) = (role.arn.clone(), session.to_owned());
        Ok(Self { client, arn, session, token_file: token_file.clone() })
    }

    async fn credentials(&self) -> provider::Result {
        let token =
            tokio::fs::read_to_string(&self.token_file).await.map_err(CredentialsError::provider_error)?;
        let answer = self
            .client
            .assume_role_with_web_identity()
            .role_arn(&self.arn)
            .role_session_name(&self.session)
            .web_identity_token(token.trim())
            .send()
            .await
            .map_err(CredentialsError::provider_error)?;
        let given = answer
            .credentials
            .ok_or_else(|| CredentialsError::unhandled("the token service's answer has no credentials"))?;
        let until = given.expiration.try_into().map_err(CredentialsError::unhandled)?;
        Ok(Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            Some(until),
            "ringvault web identity",
        ))
    }
}

impl ProvideCredentials for WebIdentity {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}
