//! A certificate with its key: who we are.

use std::path::Path;

use chrono::{DateTime, Utc};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};

use crate::{TlsError, files, provider};

/// A certificate with its chain and key, which fit, in its time.
#[derive(Debug)]
pub struct Identity {
    /// The certificate, then those that signed it.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// When it ends.
    pub not_after: DateTime<Utc>,
}

const SETTING: &str = "certificate_file";

impl Identity {
    /// Reads both files, and refuses what a handshake would fail of later: a key of another
    /// certificate, one whose time is over or has not come.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::read_at(certificate, key, Utc::now())
    }

    fn read_at(certificate: &Path, key_file: &Path, now: DateTime<Utc>) -> Result<Self, TlsError> {
        let chain = files::read_certificates(SETTING, certificate)?;
        let key = files::read_key(key_file)?;
        let unfit = |why: String| TlsError::Unfit { setting: SETTING, path: certificate.to_owned(), why };
        let (_, own) = x509_parser::parse_x509_certificate(&chain[0])
            .map_err(|error| unfit(format!("its certificate is damaged: {error}")))?;
        let moment = |time: x509_parser::time::ASN1Time| DateTime::from_timestamp(time.timestamp(), 0);
        let validity = own.validity();
        let (Some(from), Some(until)) = (moment(validity.not_before), moment(validity.not_after)) else {
            return Err(unfit("its time of validity cannot be read".to_owned()));
        };
        let path = certificate.to_owned();
        if now > until {
            return Err(TlsError::Expired { setting: SETTING, path, since: until });
        }
        if now < from {
            return Err(TlsError::NotYet { setting: SETTING, path, until: from });
        }
        let signing = provider().key_provider.load_private_key(key.clone_key()).map_err(|error| {
            TlsError::Unfit { setting: "key_file", path: key_file.to_owned(), why: error.to_string() }
        })?;
        match CertifiedKey::new(chain.clone(), signing).keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(TlsError::Mismatch { certificate: path, key: key_file.to_owned() });
            }
            Err(error) => return Err(unfit(error.to_string())),
        }
        Ok(Self { chain, key, not_after: until })
    }
}
