//! What a handshake failed of, in words a person can act on.

use std::{error::Error, io};

use chrono::{DateTime, SecondsFormat, Utc};
use rustls::{AlertDescription, CertificateError, InvalidMessage, pki_types::UnixTime};

/// Why a handshake failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The peer's certificate is not to be trusted, or it has none.
    Untrusted(String),
    /// The peer does not accept our certificate, or misses one.
    Refused(String),
}

impl Trouble {
    /// The words.
    pub fn words(&self) -> &str {
        match self {
            Self::Untrusted(words) | Self::Refused(words) => words,
        }
    }
}

/// Looks for TLS's own error in the chain of causes, wherever a library has wrapped it.
pub fn explain(error: &(dyn Error + 'static)) -> Option<Trouble> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<rustls::Error>() {
            return of(found);
        }
        // An I/O error's own `source` skips what it wraps.
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    None
}

fn of(error: &rustls::Error) -> Option<Trouble> {
    match error {
        rustls::Error::InvalidCertificate(why) => Some(Trouble::Untrusted(of_peer(why))),
        rustls::Error::AlertReceived(alert) => of_alert(*alert).map(Trouble::Refused),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Some(Trouble::Untrusted("what listens there does not speak TLS".to_owned()))
        }
        _ => None,
    }
}

fn of_peer(why: &CertificateError) -> String {
    match why {
        // A bad signature: another authority of the same name, such as one that was made anew.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is signed by nobody that is trusted here: name its authority in ca_file"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let of = if presented.is_empty() { "no name at all".to_owned() } else { presented.join(", ") };
            format!("its certificate is for {of}, not for {:?}", expected.to_str())
        }
        CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate expired on {}", time(*not_after))
        }
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("its certificate is not valid before {}", time(*not_before))
        }
        CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
        other => format!("its certificate cannot be trusted: {other}"),
    }
}

fn time(at: UnixTime) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    DateTime::<Utc>::from_timestamp(seconds, 0)
        .map_or_else(|| format!("second {seconds}"), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// The alerts of <https://www.rfc-editor.org/rfc/rfc8446#section-6.2> that are about certificates.
fn of_alert(alert: AlertDescription) -> Option<String> {
    Some(match alert {
        AlertDescription::CertificateRequired => {
            "it lets nobody in without a client certificate: set certificate_file and key_file".to_owned()
        }
        AlertDescription::HandshakeFailure => {
            "it broke off the handshake; it may want a client certificate (certificate_file, key_file)"
                .to_owned()
        }
        // So Java ends a handshake with a client certificate that no authority it knows has signed.
        AlertDescription::InternalError => {
            "it failed at the handshake, and may not know the authority that signed the client certificate"
                .to_owned()
        }
        AlertDescription::UnknownCA => {
            "it does not know the authority that signed the client certificate".to_owned()
        }
        AlertDescription::CertificateExpired => "it says that the client certificate has expired".to_owned(),
        AlertDescription::CertificateRevoked => "it says that the client certificate is revoked".to_owned(),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => format!("it refused the client certificate: {alert:?}"),
        _ => return None,
    })
}
