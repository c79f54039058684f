//! The two clients: credentials, address, trust, attempts and limits of time.

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, Certificate, ClientOptions, RetryConfig, StaticCredentialProvider,
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    client::{HttpClient, HttpConnector as _, ReqwestConnector},
    gcp::{GcpCredential, GoogleCloudStorageBuilder},
};
use secrecy::ExposeSecret;

use super::{Backend, count::Counted};
use crate::{
    config::{Cloud, ConfigError, VaultConfig, read_secret},
    store::StoreRequests,
    throttle::Throttle,
};

const CONNECT: Duration = Duration::from_secs(5);
/// Without a byte of an answer: it must leave room for a large part on a thin line.
const STILL: Duration = Duration::from_mins(5);
const RETRIES: usize = 4;
const RETRY_AT_MOST: Duration = Duration::from_mins(3);

fn retries() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(200),
        max_backoff: Duration::from_secs(15),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_AT_MOST }
}

fn options(config: &VaultConfig) -> Result<ClientOptions, ConfigError> {
    let plain = config.endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme() == "http");
    let mut options = ClientOptions::new()
        .with_allow_http(plain)
        .with_connect_timeout(CONNECT)
        .with_timeout_disabled()
        .with_read_timeout(STILL);
    if let Some(file) = &config.ca_file {
        let unreadable = |cause| ConfigError::Unreadable { setting: "ca_file", path: file.clone(), cause };
        let pem = std::fs::read(file).map_err(unreadable)?;
        let authorities = Certificate::from_pem_bundle(&pem)
            .map_err(|e| unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, e.to_string())))?;
        if authorities.is_empty() {
            let why = "it holds no certificate in PEM form";
            return Err(unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, why)));
        }
        for authority in authorities {
            options = options.with_root_certificate(authority);
        }
    }
    Ok(options)
}

/// What clients of one store are made with; they share its connections and its credentials.
#[derive(Debug)]
pub(super) struct Source {
    maker: Maker,
    http: HttpClient,
    requests: StoreRequests,
}

/// With credentials that were found already.
#[derive(Debug)]
enum Maker {
    Google(Box<GoogleCloudStorageBuilder>),
    Azure(Box<MicrosoftAzureBuilder>),
}

impl Source {
    /// Finds credentials and reads their files. Makes no request.
    pub(super) fn new(
        config: &VaultConfig,
        cloud: Cloud,
        bucket: &str,
        requests: StoreRequests,
    ) -> Result<Self, ConfigError> {
        let options = options(config)?;
        let http = ReqwestConnector::default().connect(&options).map_err(|e| refused("url", &e))?;
        let maker = match cloud {
            Cloud::Google => Maker::Google(Box::new(google(config, bucket, options)?)),
            Cloud::Azure => Maker::Azure(Box::new(azure(config, bucket, options)?)),
        };
        Ok(Self { maker, http, requests })
    }

    /// A client of which each attempt keeps to `limit`, and is counted.
    pub(super) fn client(&self, limit: &Throttle) -> Result<Arc<dyn Backend>, ConfigError> {
        let counted =
            Counted { http: self.http.clone(), requests: self.requests.clone(), limit: limit.clone() };
        let client: object_store::Result<Arc<dyn Backend>> = match &self.maker {
            Maker::Google(maker) => maker
                .as_ref()
                .clone()
                .with_http_connector(counted)
                .build()
                .map(|client| Arc::new(client) as _),
            Maker::Azure(maker) => maker
                .as_ref()
                .clone()
                .with_http_connector(counted)
                .build()
                .map(|client| Arc::new(client) as _),
        };
        client.map_err(|cause| refused("url", &cause))
    }
}

/// What fetches credentials is a client of its own: its requests are not of the store.
fn google(
    config: &VaultConfig,
    bucket: &str,
    options: ClientOptions,
) -> Result<GoogleCloudStorageBuilder, ConfigError> {
    let settings = config.gcs.clone().unwrap_or_default();
    let mut builder = match &settings.credentials_file {
        // Given a file, nothing of the environment counts.
        Some(file) => {
            read_secret("gcs.credentials_file", file)?;
            GoogleCloudStorageBuilder::new().with_application_credentials(file.to_string_lossy())
        }
        None if settings.anonymous => {
            let nobody = GcpCredential { bearer: String::new() };
            GoogleCloudStorageBuilder::new().with_credentials(Arc::new(StaticCredentialProvider::new(nobody)))
        }
        None => GoogleCloudStorageBuilder::from_env(),
    };
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_base_url(endpoint.as_str().trim_end_matches('/'));
    }
    let builder = builder.with_bucket_name(bucket).with_client_options(options).with_retry(retries());
    let setting = if settings.credentials_file.is_some() {
        "gcs.credentials_file"
    } else {
        "GOOGLE_APPLICATION_CREDENTIALS"
    };
    let first = builder.clone().build().map_err(|cause| refused(setting, &cause))?;
    Ok(builder.with_credentials(Arc::clone(first.credentials())))
}

fn azure(
    config: &VaultConfig,
    container: &str,
    options: ClientOptions,
) -> Result<MicrosoftAzureBuilder, ConfigError> {
    let settings = config.azure.clone().unwrap_or_default();
    let mut setting = "azure";
    let mut builder = if let Some(file) = &settings.account_key_file {
        setting = "azure.account_key_file";
        let key = read_secret(setting, file)?;
        MicrosoftAzureBuilder::new().with_access_key(key.expose_secret())
    } else if let Some(file) = &settings.sas_token_file {
        setting = "azure.sas_token_file";
        let token = read_secret(setting, file)?;
        MicrosoftAzureBuilder::new()
            .with_config(AzureConfigKey::SasKey, token.expose_secret().trim_start_matches('?'))
    } else {
        MicrosoftAzureBuilder::from_env()
    };
    // In the settings, or the environment's.
    if !settings.account.is_empty() {
        builder = builder.with_account(&settings.account);
    }
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/').to_owned());
    }
    let builder = builder
        .with_container_name(container)
        .with_use_emulator(false)
        .with_client_options(options)
        .with_retry(retries());
    let first = builder.clone().build().map_err(|cause| refused(setting, &cause))?;
    Ok(builder.with_credentials(Arc::clone(first.credentials())))
}

fn refused(setting: &'static str, cause: &object_store::Error) -> ConfigError {
    ConfigError::Refused { setting, why: cause.to_string() }
}
