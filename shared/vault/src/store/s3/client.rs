//! The client: credentials, address, trust, attempts and limits of time.

use std::{path::Path, time::Duration};

use aws_config::{
    BehaviorVersion, Region, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_s3::{
    Client,
    config::{Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient},
};
use aws_smithy_http_client::{
    Builder as HttpBuilder, ConnectorBuilder,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use secrecy::ExposeSecret;

use super::{count::Counting, pace::Paced, role};
use crate::{
    config::{Checksums, ConfigError, VaultConfig, read_secret},
    error::VaultError,
    store::StoreRequests,
    throttle::Throttle,
};

const CONNECT: Duration = Duration::from_secs(5);
/// From the first byte sent to the first byte of the answer, so it must leave room for a large part
/// on a thin line; a line that stands still is cut off earlier by the stalled-stream protection.
const ANSWER: Duration = Duration::from_mins(5);
const STALLED: Duration = Duration::from_secs(20);
const ATTEMPTS: u32 = 5;
/// How a certificate begins in a PEM file.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

pub(super) async fn build(config: &VaultConfig, requests: StoreRequests) -> Result<Client, VaultError> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS)
                .with_initial_backoff(Duration::from_millis(200)),
        )
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(ANSWER).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALLED).build());
    if let Some((access, secret)) = config.key_files()? {
        let access = read_secret("access_key_file", access)?;
        let secret = read_secret("secret_key_file", secret)?;
        let token = match &config.session_token_file {
            Some(file) => Some(read_secret("session_token_file", file)?),
            None => None,
        };
        loader = loader.credentials_provider(Credentials::new(
            access.expose_secret(),
            secret.expose_secret(),
            token.map(|t| t.expose_secret().to_owned()),
            None,
            "ringvault key files",
        ));
    }
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    } else if config.endpoint.is_some() {
        loader = loader.region(Region::from_static("us-east-1"));
    }
    let authorities = config.ca_file.as_deref().map(trusting).transpose()?;
    // One for all clients that are made of this one: they share its connections.
    loader = loader.http_client(http(authorities.unwrap_or_default()));
    let (send, check) = match config.checksums {
        Checksums::WhenSupported => {
            (RequestChecksumCalculation::WhenSupported, ResponseChecksumValidation::WhenSupported)
        }
        Checksums::WhenRequired => {
            (RequestChecksumCalculation::WhenRequired, ResponseChecksumValidation::WhenRequired)
        }
    };
    let mut shared = loader.load().await;
    if shared.region().is_none() {
        let why = "write the bucket's region, or set AWS_REGION or the region of the profile";
        return Err(ConfigError::Missing { setting: "region", why }.into());
    }
    if let Some(role) = &config.role {
        shared = role::take(role, &shared).await?;
    }
    let mut settings = aws_sdk_s3::config::Builder::from(&shared);
    // Only of the store: a role is taken elsewhere.
    if let Some(endpoint) = &config.endpoint {
        settings = settings.endpoint_url(endpoint.as_str());
    }
    let settings = settings
        .force_path_style(config.path_style.unwrap_or(config.endpoint.is_some()))
        .request_checksum_calculation(send)
        .response_checksum_validation(check)
        .interceptor(Counting(requests));
    Ok(Client::from_conf(settings.build()))
}

/// The same client, with its connections and credentials; each of its attempts takes its turn of `limit` first.
pub(super) fn paced(client: &Client, limit: &Throttle) -> Client {
    Client::from_conf(client.config().to_builder().auth_scheme_resolver(Paced::new(limit)).build())
}

/// The SDK's own client of HTTP, by the proxy of the environment if there is one, which trusts these.
fn http(authorities: TlsContext) -> SharedHttpClient {
    HttpBuilder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = ConnectorBuilder::default()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(authorities.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.build()
    })
}

/// The system's authorities and those of one file.
fn trusting(file: &Path) -> Result<TlsContext, VaultError> {
    let unreadable = |cause| ConfigError::Unreadable { setting: "ca_file", path: file.to_owned(), cause };
    let pem = std::fs::read(file).map_err(unreadable)?;
    // Whatever else is in the file is passed over in silence, so an empty trust is found here.
    if !pem.windows(BEGIN.len()).any(|part| part == BEGIN) {
        let why = "it holds no certificate in PEM form";
        return Err(unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, why)).into());
    }
    let store = TrustStore::default().with_native_roots(true).with_pem_certificate(pem);
    let context = TlsContext::builder().with_trust_store(store).build();
    Ok(context.map_err(|e| unreadable(std::io::Error::other(e.to_string())))?)
}
