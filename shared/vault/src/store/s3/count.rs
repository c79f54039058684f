//! Counts what the SDK sends, attempt by attempt.

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
    },
    error::BoxError,
};
use aws_smithy_types::config_bag::{Storable, StoreReplace};

use super::failure;
use crate::store::{RequestResult, StoreOperation, StoreRequests, requests::Sent};

/// Stands in the client; clones of the store count together.
#[derive(Debug)]
pub(super) struct Counting(pub(super) StoreRequests);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Counting {
    fn name(&self) -> &'static str {
        "ringvault-request-count"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let copies = request.headers().get("x-amz-copy-source").is_some();
        let operation = StoreOperation::of_http(request.method(), request.uri(), copies);
        let path = request.uri().split('?').next().unwrap_or_default();
        let bytes = request.headers().get("content-length").and_then(|length| length.parse().ok());
        bag.interceptor_state().store_put(self.0.sent(operation, path, bytes.unwrap_or_default()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Nothing was sent where there are no credentials, for one.
        let Some(sent) = bag.load::<Sent>().cloned() else { return Ok(()) };
        bag.interceptor_state().unset::<Sent>();
        let failed = context.output_or_error().is_some_and(|outcome| outcome.is_err());
        let result = match context.response() {
            None => RequestResult::Unreachable,
            Some(answer) => {
                let body = answer.body().bytes().filter(|_| failed).unwrap_or_default();
                result_of(answer.status().as_u16(), body, failed)
            }
        };
        sent.ended(result);
        Ok(())
    }
}

/// What an answer means: by the code in its body before its status, as for a caller. Credentials that have
/// ended come as 400, and a copy or a completed upload may fail in an answer that began as 200.
fn result_of(status: u16, body: &[u8], failed: bool) -> RequestResult {
    let body = str::from_utf8(body).unwrap_or_default();
    let said = |from: &str, to: &str| Some(body.split_once(from)?.1.split_once(to)?.0);
    let (code, message) = (said("<Code>", "</Code>"), said("<Message>", "</Message>"));
    match (failure::kind_of_answer("", code, message), RequestResult::of_status(status)) {
        (Some(kind), _) => RequestResult::of_kind(kind),
        (None, RequestResult::Ok) if failed => RequestResult::Failed,
        (None, result) => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_more_than_a_status() {
        let error = |code: &str, words: &str| {
            format!("<?xml?><Error><Code>{code}</Code><Message>{words}</Message></Error>").into_bytes()
        };
        for (status, body, result) in [
            (400, error("ExpiredToken", "Over."), RequestResult::Refused),
            (400, error("InvalidRequest", "Object is WORM protected"), RequestResult::Refused),
            (200, error("SlowDown", "Later."), RequestResult::Throttled),
            (200, error("InvalidPart", "No."), RequestResult::Failed),
            (400, error("InvalidPart", "No."), RequestResult::Failed),
            (412, error("PreconditionFailed", "There."), RequestResult::Exists),
            (404, Vec::new(), RequestResult::NotFound),
            (503, b"<html>busy</html>".to_vec(), RequestResult::Throttled),
        ] {
            assert_eq!(result_of(status, &body, true), result, "{status} {}", body.escape_ascii());
        }
        assert_eq!(result_of(206, b"", false), RequestResult::Ok);
    }
}
