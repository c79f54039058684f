//! PEM files: certificates and keys, as they are on disk.

use std::path::Path;

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};

use crate::TlsError;

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|cause| TlsError::Unreadable { setting, path: path.to_owned(), cause })
}

fn unfit(setting: &'static str, path: &Path, why: impl ToString) -> TlsError {
    TlsError::Unfit { setting, path: path.to_owned(), why: why.to_string() }
}

/// The certificates of a PEM file, one at least. Other things in it are passed over. `setting` names
/// it in errors.
pub fn read_certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(setting, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| unfit(setting, path, format!("it is not PEM: {error}")))?;
    if found.is_empty() {
        return Err(unfit(setting, path, "it holds no certificate in PEM form"));
    }
    for certificate in &found {
        x509_parser::parse_x509_certificate(certificate)
            .map_err(|error| unfit(setting, path, format!("a certificate in it is damaged: {error}")))?;
    }
    Ok(found)
}

/// The first private key of a PEM file (PKCS #8, PKCS #1 or SEC 1), which is not encrypted.
pub(crate) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    const SETTING: &str = "key_file";
    let pem = read(SETTING, path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        pem::Error::NoItemsFound if pem.windows(9).any(|part| part == b"ENCRYPTED") => unfit(
            SETTING,
            path,
            "its key is encrypted; store it without a passphrase, readable by Ringvault alone",
        ),
        pem::Error::NoItemsFound => unfit(SETTING, path, "it holds no private key in PEM form"),
        error => unfit(SETTING, path, format!("it is not PEM: {error}")),
    })
}
