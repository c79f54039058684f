//! By which name a peer must be known, where the address it is reached at is not in its certificate.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{TlsError, provider};

/// The name that the peer's certificate must be made out to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerName {
    /// This one: a host name, or an IP address.
    Named(ServerName<'static>),
    /// Whichever: what counts is who signed it.
    Any,
}

impl PeerName {
    /// A name as people write it. The error says what is wrong with it.
    pub fn named(name: &str) -> Result<Self, String> {
        let parsed = ServerName::try_from(name.to_owned());
        parsed.map(Self::Named).map_err(|error| format!("{name:?} is no host name or address: {error}"))
    }
}

/// rustls's own verification, with another name than that of the connection.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    inner: Arc<WebPkiServerVerifier>,
    name: PeerName,
}

impl PeerVerifier {
    pub(crate) fn new(trusted: RootCertStore, name: PeerName) -> Result<Arc<Self>, TlsError> {
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(trusted), provider())
            .build()
            .map_err(|error| TlsError::NoAuthorities { cause: error.to_string() })?;
        Ok(Arc::new(Self { inner, name }))
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        reached_as: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |name: &ServerName<'_>| {
            self.inner.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        match &self.name {
            PeerName::Named(name) => verify(name),
            PeerName::Any => match verify(reached_as) {
                // The name is looked at last, when all the rest is right.
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) => Ok(ServerCertVerified::assertion()),
                verified => verified,
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
