//! Encryption at rest.
//!
//! What is asked for goes with every request that makes an object; a key that the store does not keep
//! goes with every request that reads one too. A store that knows nothing of it ignores the headers and
//! stores in the clear, so only the answer's headers are believed.

use std::path::Path;

use aws_sdk_s3::types::ServerSideEncryption;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use md5::{Digest, Md5};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

use crate::{
    config::{ConfigError, Sse as Settings},
    store::{StoreError, StoreErrorKind, StoreResult},
};

/// Bytes of a key: AES-256 is all there is.
const KEY_LEN: usize = 32;

/// What is asked of the store; nothing, by default.
#[derive(Debug, Default)]
pub(super) struct Sse {
    algorithm: Option<ServerSideEncryption>,
    key_id: Option<String>,
    customer: Option<CustomerKey>,
}

#[derive(Debug)]
struct CustomerKey {
    base64: SecretString,
    md5: String,
}

/// What an answer says of an object's encryption.
#[derive(Debug, Default)]
pub(super) struct Answer<'a> {
    pub(super) algorithm: Option<&'a ServerSideEncryption>,
    pub(super) key_id: Option<&'a str>,
    pub(super) customer_md5: Option<&'a str>,
}

impl Answer<'_> {
    /// Whether it says nothing of encryption, be it so or not.
    pub(super) fn is_silent(&self) -> bool {
        self.algorithm.is_none() && self.customer_md5.is_none()
    }
}

/// Asks for encryption: of a put, a copy, a multipart upload.
macro_rules! encrypted {
    ($request:expr, $sse:expr) => {{
        let request = $request.set_server_side_encryption($sse.algorithm()).set_ssekms_key_id($sse.key_id());
        crate::store::s3::sse::with_key!(request, $sse)
    }};
}

/// Sends the customer's key, if there is one: with a part, a get, a head.
macro_rules! with_key {
    ($request:expr, $sse:expr) => {
        $request
            .set_sse_customer_algorithm($sse.customer_algorithm())
            .set_sse_customer_key($sse.customer_key())
            .set_sse_customer_key_md5($sse.customer_md5())
    };
}

/// Sends the customer's key for the object that is copied.
macro_rules! with_source_key {
    ($request:expr, $sse:expr) => {
        $request
            .set_copy_source_sse_customer_algorithm($sse.customer_algorithm())
            .set_copy_source_sse_customer_key($sse.customer_key())
            .set_copy_source_sse_customer_key_md5($sse.customer_md5())
    };
}

/// What an answer of the SDK says.
macro_rules! said {
    ($answer:expr) => {
        crate::store::s3::sse::Answer {
            algorithm: $answer.server_side_encryption.as_ref(),
            key_id: $answer.ssekms_key_id.as_deref(),
            customer_md5: $answer.sse_customer_key_md5.as_deref(),
        }
    };
}

pub(super) use {encrypted, said, with_key, with_source_key};

impl Sse {
    /// Reads the key file, if there is one.
    pub(super) fn new(settings: Option<&Settings>) -> Result<Self, ConfigError> {
        Ok(match settings {
            None => Self::default(),
            Some(Settings::S3) => Self { algorithm: Some(ServerSideEncryption::Aes256), ..Self::default() },
            Some(Settings::Kms { key_id }) => {
                Self { algorithm: Some(ServerSideEncryption::AwsKms), key_id: key_id.clone(), customer: None }
            }
            Some(Settings::Customer { key_file }) => {
                Self { customer: Some(CustomerKey::read(key_file)?), ..Self::default() }
            }
        })
    }

    /// Whether a store is asked for more than it does by itself.
    pub(super) fn is_asked_for(&self) -> bool {
        self.algorithm.is_some() || self.customer.is_some()
    }

    pub(super) fn algorithm(&self) -> Option<ServerSideEncryption> {
        self.algorithm.clone()
    }

    pub(super) fn key_id(&self) -> Option<String> {
        self.key_id.clone()
    }

    pub(super) fn customer_algorithm(&self) -> Option<String> {
        self.customer.as_ref().map(|_| "AES256".to_owned())
    }

    pub(super) fn customer_key(&self) -> Option<String> {
        self.customer.as_ref().map(|key| key.base64.expose_secret().to_owned())
    }

    pub(super) fn customer_md5(&self) -> Option<String> {
        self.customer.as_ref().map(|key| key.md5.clone())
    }

    /// Whether the store did as it was asked.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotEncrypted`] with what it did instead.
    pub(super) fn check(&self, operation: &'static str, key: &str, said: &Answer) -> StoreResult<()> {
        let refuse = |asked: &str, found: &str| {
            let detail = format!("asked for {asked}, the store answers {found}");
            Err(StoreError::new(StoreErrorKind::NotEncrypted, operation, key, detail))
        };
        if let Some(asked) = &self.algorithm
            && said.algorithm != Some(asked)
        {
            let found = said.algorithm.map_or("no encryption", ServerSideEncryption::as_str);
            return refuse(asked.as_str(), found);
        }
        if let Some(asked) = &self.key_id
            && let Some(found) = said.key_id
            && !same_key(asked, found)
        {
            return refuse(&format!("key {asked}"), &format!("key {found}"));
        }
        match &self.customer {
            Some(asked) if said.customer_md5 != Some(&asked.md5) => {
                let found = if said.customer_md5.is_some() { "another key" } else { "no encryption" };
                refuse("encryption with the key of sse.key_file", found)
            }
            _ => Ok(()),
        }
    }
}

/// Whether the key that was used is the one asked for: stores answer the ARN where an id was asked for,
/// and an alias names a key that only the store knows.
fn same_key(asked: &str, found: &str) -> bool {
    let id = |name: &str| name.rsplit(['/', ':']).next().unwrap_or_default().to_owned();
    asked.contains("alias/") || id(asked) == id(found)
}

impl CustomerKey {
    fn read(file: &Path) -> Result<Self, ConfigError> {
        let unreadable =
            |cause| ConfigError::Unreadable { setting: "sse.key_file", path: file.to_owned(), cause };
        let content = Zeroizing::new(std::fs::read(file).map_err(unreadable)?);
        let key = decode(&content).ok_or_else(|| {
            let why = format!("it holds no key of {KEY_LEN} bytes, as they are or in hex or base64");
            unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, why))
        })?;
        Ok(Self { base64: BASE64.encode(&*key).into(), md5: BASE64.encode(Md5::digest(&*key)) })
    }
}

fn decode(content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if content.len() == KEY_LEN {
        return Some(Zeroizing::new(content.to_vec()));
    }
    let text = std::str::from_utf8(content).ok()?.trim();
    let key = hex::decode(text).ok().or_else(|| BASE64.decode(text).ok()).map(Zeroizing::new);
    key.filter(|key| key.len() == KEY_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(settings: &Settings) -> Sse {
        Sse::new(Some(settings)).unwrap()
    }

    #[test]
    fn only_the_answer_is_believed() {
        let kms = asking(&Settings::Kms { key_id: Some("1234".into()) });
        let said = |algorithm, key_id| Answer { algorithm, key_id, customer_md5: None };
        let (kms_said, s3_said) = (ServerSideEncryption::AwsKms, ServerSideEncryption::Aes256);
        let arn = "arn:aws:kms:eu-west-1:1:key/1234";
        assert!(kms.check("PutObject", "k", &said(Some(&kms_said), Some(arn))).is_ok());
        for wrong in [
            said(None, None),
            said(Some(&s3_said), None),
            said(Some(&kms_said), Some("arn:aws:kms:eu-west-1:1:key/91234")),
        ] {
            let error = kms.check("PutObject", "k", &wrong).unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::NotEncrypted, "{error}");
        }
        let alias = asking(&Settings::Kms { key_id: Some("alias/backups".into()) });
        assert!(alias.check("PutObject", "k", &said(Some(&kms_said), Some(arn))).is_ok());
        assert!(Sse::default().check("PutObject", "k", &Answer::default()).is_ok());
    }

    #[test]
    fn a_key_is_read_in_three_forms_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let read = |content: &[u8]| {
            std::fs::write(&file, content).unwrap();
            Sse::new(Some(&Settings::Customer { key_file: file.clone() }))
        };
        let key = [7u8; 32];
        let text = [hex::encode(key), format!("{}\n", BASE64.encode(key))];
        for content in [&key[..], text[0].as_bytes(), text[1].as_bytes()] {
            let sse = read(content).unwrap();
            assert_eq!(sse.customer_key().unwrap(), BASE64.encode(key));
            // Of 32 bytes 0x07, by md5sum.
            assert_eq!(sse.customer_md5().unwrap(), "y4HAEFCYWuvAXWFTtA1Qpg==");
            assert!(!format!("{sse:?}").contains(&BASE64.encode(key)), "a key is never printed");
            assert!(sse.check("PutObject", "k", &Answer::default()).is_err());
        }
        for content in [&b""[..], b"short", &[7u8; 31], &[7u8; 33]] {
            let error = read(content).unwrap_err().to_string();
            assert!(error.contains("sse.key_file") && error.contains("32 bytes"), "{error}");
        }
    }
}
