//! What an answer of Google's or Azure's means.
//!
//! The crate keeps the status in words and the store's own code in the body it quotes, so both are looked for
//! there: by the code first, then by the status, then by the crate's own kind.

use std::error::Error as _;

use object_store::{
    Error,
    client::{HttpError, HttpErrorKind},
};

use crate::store::{StoreError, StoreErrorKind};

/// Longest text of a store that is passed on, in characters.
const LONGEST: usize = 400;

pub(super) fn classify(operation: &'static str, key: &str, error: &Error) -> StoreError {
    let words = words_of(error);
    let code = between(&words, "<Code>", "</Code>");
    let status = status_of(&words);
    let kind = code
        .and_then(kind_of_code)
        .or_else(|| kind_of_words(&words))
        .or_else(|| status.and_then(|status| kind_of_status(operation, status)))
        .or_else(|| kind_of_connection(error))
        .unwrap_or_else(|| kind_of(error));
    let detail = match (code, between(&words, "<Message>", "</Message>"), status) {
        (Some(code), Some(message), _) => format!("{code}: {message}"),
        (Some(code), None, _) => code.to_owned(),
        (None, _, Some(status)) if kind == StoreErrorKind::NotFound => format!("status {status}"),
        _ => words.clone(),
    };
    let detail = detail.split_whitespace().collect::<Vec<_>>().join(" ");
    StoreError::new(kind, operation, key, detail.chars().take(LONGEST).collect::<String>())
}

/// The error with what caused it; the crate repeats some of it.
fn words_of(error: &Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(inside, _)| inside.trim())
}

/// The status, where the crate's words have one: `… status code: 412 Precondition Failed: …`, or an answer's
/// within a batch (`… (code: 409, …`).
fn status_of(words: &str) -> Option<u16> {
    ["status code: ", "code: "].iter().find_map(|before| {
        let (_, rest) = words.split_once(before)?;
        rest.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
            .filter(|status| (400..600).contains(status))
    })
}

fn kind_of_code(code: &str) -> Option<StoreErrorKind> {
    use StoreErrorKind as Kind;
    Some(match code {
        "BlobNotFound" | "NoSuchKey" | "ResourceNotFound" => Kind::NotFound,
        "ContainerNotFound" | "NoSuchBucket" | "ContainerBeingDeleted" | "ContainerDisabled" => {
            Kind::NoSuchBucket
        }
        "BlobAlreadyExists" | "ConditionNotMet" | "PreconditionFailed" => Kind::AlreadyExists,
        "NoSuchUpload" | "InvalidBlockList" | "InvalidBlobOrBlock" => Kind::NoSuchUpload,
        "AuthenticationFailed"
        | "InvalidAuthenticationInfo"
        | "AuthorizationFailure"
        | "InvalidSecurity"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "AccountNotFound" => Kind::InvalidCredentials,
        "AuthorizationPermissionMismatch"
        | "AuthorizationServiceMismatch"
        | "AuthorizationResourceTypeMismatch"
        | "AuthorizationProtocolMismatch"
        | "AuthorizationSourceIPMismatch"
        | "InsufficientAccountPermissions"
        | "AccessDenied" => Kind::AccessDenied,
        "BlobImmutableDueToPolicy" | "BlobImmutableDueToLegalHold" | "ObjectUnderActiveHold" => Kind::Locked,
        "ServerBusy" | "SlowDown" | "TooManyRequests" => Kind::Throttled,
        "InternalError" | "ServiceUnavailable" | "OperationTimedOut" => Kind::Server,
        "InvalidRange" => Kind::Integrity,
        "Md5Mismatch" | "Crc64Mismatch" | "BadDigest" => Kind::Garbled,
        "NotImplemented" => Kind::Unsupported,
        _ => return None,
    })
}

/// Stores that answer in words alone, and refusals of locks.
fn kind_of_words(words: &str) -> Option<StoreErrorKind> {
    // Before the answer come the request's address and its key, which may hold any word.
    let answer = words.split_once("status code: ").map_or(words, |(_, answer)| answer).to_ascii_lowercase();
    let any = |phrases: &[&str]| phrases.iter().any(|phrase| answer.contains(phrase));
    if any(&["retention policy", "retentionpolicynotmet", "immutability policy", "under active hold"]) {
        return Some(StoreErrorKind::Locked);
    }
    if any(&["specified bucket does not exist", "bucket not found", "no such bucket"]) {
        return Some(StoreErrorKind::NoSuchBucket);
    }
    // The end of what was asked for lies behind the object's.
    any(&["wanted range starting at", "range started at"]).then_some(StoreErrorKind::Integrity)
}

fn kind_of_status(operation: &str, status: u16) -> Option<StoreErrorKind> {
    use StoreErrorKind as Kind;
    Some(match status {
        401 => Kind::InvalidCredentials,
        403 => Kind::AccessDenied,
        404 if operation.contains("Upload") => Kind::NoSuchUpload,
        404 => Kind::NotFound,
        408 => Kind::Unreachable,
        409 => Kind::Conflict,
        412 => Kind::AlreadyExists,
        416 => Kind::Integrity,
        429 | 503 => Kind::Throttled,
        501 => Kind::Unsupported,
        507 => Kind::Full,
        500..=599 => Kind::Server,
        _ => return None,
    })
}

/// No answer at all.
fn kind_of_connection(error: &Error) -> Option<StoreErrorKind> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return Some(match http.kind() {
                HttpErrorKind::Decode => StoreErrorKind::Other,
                _ => StoreErrorKind::Unreachable,
            });
        }
        cause = error.source();
    }
    None
}

fn kind_of(error: &Error) -> StoreErrorKind {
    match error {
        Error::NotFound { .. } => StoreErrorKind::NotFound,
        Error::AlreadyExists { .. } | Error::Precondition { .. } => StoreErrorKind::AlreadyExists,
        Error::PermissionDenied { .. } => StoreErrorKind::AccessDenied,
        Error::Unauthenticated { .. } => StoreErrorKind::InvalidCredentials,
        Error::NotSupported { .. } | Error::NotImplemented { .. } => StoreErrorKind::Unsupported,
        Error::InvalidPath { .. } => StoreErrorKind::Invalid,
        _ => StoreErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(operation: &'static str, words: &str) -> StoreErrorKind {
        classify(operation, "k", &Error::Generic { store: "test", source: words.to_owned().into() }).kind
    }

    #[test]
    fn codes_come_before_statuses() {
        let answer = |status: &str, code: &str| {
            format!(
                "Error performing PUT http://h/c/k in 1ms - Server returned non-2xx status code: {status}: \
                 <?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Some words.</Message></Error>"
            )
        };
        for (status, code, expected) in [
            ("404 Not Found", "ContainerNotFound", StoreErrorKind::NoSuchBucket),
            ("404 Not Found", "BlobNotFound", StoreErrorKind::NotFound),
            ("409 Conflict", "BlobAlreadyExists", StoreErrorKind::AlreadyExists),
            ("409 Conflict", "BlobImmutableDueToPolicy", StoreErrorKind::Locked),
            ("409 Conflict", "Odd", StoreErrorKind::Conflict),
            ("403 Forbidden", "AuthenticationFailed", StoreErrorKind::InvalidCredentials),
            ("403 Forbidden", "AuthorizationPermissionMismatch", StoreErrorKind::AccessDenied),
            ("503 Service Unavailable", "Odd", StoreErrorKind::Throttled),
            ("416 Range Not Satisfiable", "Odd", StoreErrorKind::Integrity),
        ] {
            assert_eq!(kind("PutObject", &answer(status, code)), expected, "{status} {code}");
        }
        let error =
            Error::Generic { store: "test", source: answer("403 Forbidden", "AuthenticationFailed").into() };
        let error = classify("PutObject", "k", &error);
        assert_eq!(error.detail.as_deref(), Some("AuthenticationFailed: Some words."));
        assert_eq!(
            kind("CompleteMultipartUpload", &answer("404 Not Found", "Odd")),
            StoreErrorKind::NoSuchUpload
        );
    }

    #[test]
    fn a_key_with_digits_is_no_status() {
        assert_eq!(kind("GetObject", "no code: here, of object 404"), StoreErrorKind::Other);
    }
}
