//! Who a server says it is, and whose certificates it asks for.

use std::{path::PathBuf, sync::Arc};

use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use serde::Deserialize;

use crate::{Identity, TlsError, files, provider};

/// The `[http.tls]` section of a scheduler.
#[allow(clippy::struct_field_names)] // the settings' names, as published
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// PEM of the certificate and its chain.
    pub certificate_file: PathBuf,
    /// PEM of its key.
    pub key_file: PathBuf,
    /// PEM of the authorities that sign clients' certificates. With it nobody connects without one.
    pub client_ca_file: Option<PathBuf>,
}

impl ServerTls {
    /// Reads the files and puts together what rustls needs, and who we are by it.
    pub fn config(&self) -> Result<(Arc<ServerConfig>, Identity), TlsError> {
        let identity = Identity::read(&self.certificate_file, &self.key_file)?;
        let builder =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match &self.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let unfit =
                    |why: String| TlsError::Unfit { setting: "client_ca_file", path: file.clone(), why };
                let mut trusted = RootCertStore::empty();
                for certificate in files::read_certificates("client_ca_file", file)? {
                    trusted.add(certificate).map_err(|error| unfit(error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), provider());
                builder.with_client_cert_verifier(verifier.build().map_err(|error| unfit(error.to_string()))?)
            }
        };
        let mut config = builder.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((Arc::new(config), identity))
    }

    /// The files, as bytes: what they are read from has changed when these have.
    pub fn contents(&self) -> Vec<Option<Vec<u8>>> {
        [Some(&self.certificate_file), Some(&self.key_file), self.client_ca_file.as_ref()]
            .into_iter()
            .flatten()
            .map(|file| std::fs::read(file).ok())
            .collect()
    }
}
