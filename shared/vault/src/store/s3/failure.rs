//! What an S3 answer means.
//!
//! By the error's code first, as stores agree on codes more than on statuses (a lock refusal is 403
//! on some and 400 on others), then by status, then by how the request failed.

use aws_sdk_s3::{
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::RequestId,
};

use crate::store::{StoreError, StoreErrorKind};

/// Makes a store's error of an SDK's.
pub(super) fn classify<E>(
    operation: &'static str,
    key: &str,
    error: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = error.code();
    let status = error.raw_response().map(|response| response.status().as_u16());
    let kind = kind_of_answer(operation, code, error.message())
        .or_else(|| status.and_then(kind_of_status))
        .unwrap_or_else(|| kind_of_failure(error));
    let mut detail = match (code, error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => match status {
            // A HEAD's answer has no body, so no words either.
            Some(status) if kind_of_status(status).is_some() => format!("status {status}"),
            _ => DisplayErrorContext(error).to_string(),
        },
    };
    if let Some(id) = error.meta().request_id() {
        detail = format!("{detail} (request {id})");
    }
    StoreError::new(kind, operation, key, detail)
}

/// What an error's code and words mean for this request; `None` for codes not known here.
pub(super) fn kind_of_answer(
    operation: &str,
    code: Option<&str>,
    message: Option<&str>,
) -> Option<StoreErrorKind> {
    let kind = lock_refusal(code, message).or_else(|| code.and_then(kind_of_code))?;
    let reads = matches!(operation, "GetObject" | "HeadObject");
    // Of a body that was sent it says that it has suffered on the way: nothing is stored.
    Some(if kind == StoreErrorKind::Integrity && !reads { StoreErrorKind::Garbled } else { kind })
}

/// What an error's code means; `None` for codes not known here.
fn kind_of_code(code: &str) -> Option<StoreErrorKind> {
    use StoreErrorKind as Kind;
    Some(match code {
        "NoSuchKey" | "NotFound" | "NoSuchVersion" | "ObjectLockConfigurationNotFoundError" => Kind::NotFound,
        "NoSuchUpload" => Kind::NoSuchUpload,
        "NoSuchBucket" => Kind::NoSuchBucket,
        "PreconditionFailed" => Kind::AlreadyExists,
        "ConditionalRequestConflict" => Kind::Conflict,
        "NotImplemented" => Kind::Unsupported,
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => Kind::AccessDenied,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidToken"
        | "ExpiredToken"
        | "TokenRefreshRequired"
        | "InvalidClientTokenId"
        | "RequestTimeTooSkewed"
        | "AuthorizationHeaderMalformed" => Kind::InvalidCredentials,
        "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequests"
        | "TooManyRequestsException" => Kind::Throttled,
        "InternalError" | "ServiceUnavailable" | "OperationAborted" => Kind::Server,
        "RequestTimeout" => Kind::Unreachable,
        "ObjectLocked" => Kind::Locked,
        "XMinioStorageFull" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" => Kind::Full,
        "BadDigest"
        | "InvalidDigest"
        | "XAmzContentChecksumMismatch"
        | "XAmzContentSHA256Mismatch"
        | "InvalidRange" => Kind::Integrity,
        _ => return None,
    })
}

fn kind_of_status(status: u16) -> Option<StoreErrorKind> {
    use StoreErrorKind as Kind;
    Some(match status {
        401 => Kind::InvalidCredentials,
        403 => Kind::AccessDenied,
        404 => Kind::NotFound,
        409 => Kind::Conflict,
        412 => Kind::AlreadyExists,
        501 => Kind::Unsupported,
        408 => Kind::Unreachable,
        416 => Kind::Integrity,
        429 | 503 => Kind::Throttled,
        507 => Kind::Full,
        500..=599 => Kind::Server,
        _ => return None,
    })
}

/// Locks have no code of their own on most stores, only words.
fn lock_refusal(code: Option<&str>, message: Option<&str>) -> Option<StoreErrorKind> {
    let words = message?.to_ascii_lowercase();
    let may_be = matches!(code?, "AccessDenied" | "InvalidRequest" | "ObjectLocked");
    let says_so = ["object lock", "worm protected", "object is locked", "retention", "legal hold"]
        .iter()
        .any(|phrase| words.contains(phrase));
    (may_be && says_so).then_some(StoreErrorKind::Locked)
}

fn kind_of_failure<E, R>(error: &SdkError<E, R>) -> StoreErrorKind {
    match error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => StoreErrorKind::Unreachable,
        SdkError::DispatchFailure(failure) => {
            // No credentials at all fails here too, before anything is sent.
            let words = format!("{failure:?}");
            if words.contains("CredentialsNotLoaded") || words.contains("ProviderError") {
                StoreErrorKind::InvalidCredentials
            } else {
                StoreErrorKind::Unreachable
            }
        }
        _ => StoreErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_before_statuses() {
        assert_eq!(kind_of_code("InvalidAccessKeyId"), Some(StoreErrorKind::InvalidCredentials));
        assert_eq!(kind_of_code("AccessDenied"), Some(StoreErrorKind::AccessDenied));
        assert_eq!(kind_of_code("Odd"), None);
        assert_eq!(kind_of_status(403), Some(StoreErrorKind::AccessDenied));
        assert_eq!(kind_of_status(502), Some(StoreErrorKind::Server));
        assert_eq!(kind_of_status(400), None);
        assert_eq!(kind_of_status(501), Some(StoreErrorKind::Unsupported));
    }

    #[test]
    fn a_body_that_suffered_on_the_way_is_sent_again_and_one_that_was_read_is_damaged() {
        let bad = |operation| kind_of_answer(operation, Some("BadDigest"), None);
        assert_eq!(bad("PutObject"), Some(StoreErrorKind::Garbled));
        assert_eq!(bad("UploadPart"), Some(StoreErrorKind::Garbled));
        assert_eq!(bad("GetObject"), Some(StoreErrorKind::Integrity));
    }

    #[test]
    fn a_lock_is_told_from_a_missing_right() {
        let locked = Some(StoreErrorKind::Locked);
        let minio = "Object is WORM protected and cannot be overwritten";
        assert_eq!(lock_refusal(Some("InvalidRequest"), Some(minio)), locked);
        let amazon = "Access Denied because object protected by object lock.";
        assert_eq!(lock_refusal(Some("AccessDenied"), Some(amazon)), locked);
        assert_eq!(lock_refusal(Some("AccessDenied"), Some("Access Denied.")), None);
    }
}
