//! Whom a client trusts, and who it says it is.

use std::{path::PathBuf, sync::Arc};

use rustls::{ClientConfig, ConfigBuilder, RootCertStore, client::WantsClientCert};
use serde::Deserialize;

use crate::{Identity, PeerName, TlsError, files, peer::PeerVerifier, provider};

/// A `[….tls]` section of a client: of RabbitMQ, of PostgreSQL.
#[allow(clippy::struct_field_names)] // the settings' names, as published
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTls {
    /// PEM of the authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM of the client's certificate and chain, with `key_file`.
    pub certificate_file: Option<PathBuf>,
    /// PEM of its key.
    pub key_file: Option<PathBuf>,
}

impl ClientTls {
    /// The client's certificate, where there is one, read and checked.
    pub fn identity(&self) -> Result<Option<Identity>, TlsError> {
        match (&self.certificate_file, &self.key_file) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Identity::read(certificate, key).map(Some),
            (Some(_), None) => Err(TlsError::Half { missing: "key_file" }),
            (None, Some(_)) => Err(TlsError::Half { missing: "certificate_file" }),
        }
    }

    /// Reads every file, so that what is wrong with one is said now, by its name.
    pub fn check(&self) -> Result<(), TlsError> {
        if let Some(file) = &self.ca_file {
            files::read_certificates("ca_file", file)?;
        }
        self.identity().map(drop)
    }

    /// Reads the files and puts together what rustls needs. Who connects anew reads them anew, so a
    /// renewed certificate is used without a restart.
    pub fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let builder =
            ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        self.introduce(builder.with_root_certificates(self.authorities()?))
    }

    /// The same for a library that knows its peer by an address only: the peer's certificate must be made out
    /// to `name`, whatever it was reached at.
    pub fn config_for(&self, name: PeerName) -> Result<Arc<ClientConfig>, TlsError> {
        let verifier = PeerVerifier::new(self.authorities()?, name)?;
        let builder =
            ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        self.introduce(builder.dangerous().with_custom_certificate_verifier(verifier))
    }

    fn introduce(
        &self,
        builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    ) -> Result<Arc<ClientConfig>, TlsError> {
        Ok(Arc::new(match self.identity()? {
            Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key)?,
            None => builder.with_no_client_auth(),
        }))
    }

    fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let mut trusted = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        // Old systems have some that no library reads; the others are trusted all the same.
        trusted.add_parsable_certificates(system.certs);
        if let Some(file) = &self.ca_file {
            for certificate in files::read_certificates("ca_file", file)? {
                trusted.add(certificate).map_err(|error| TlsError::Unfit {
                    setting: "ca_file",
                    path: file.clone(),
                    why: error.to_string(),
                })?;
            }
        }
        if trusted.is_empty() {
            let cause = system.errors.first().map_or("it has none".to_owned(), ToString::to_string);
            return Err(TlsError::NoAuthorities { cause });
        }
        Ok(trusted)
    }
}
