//! Counts what the SDK sends, attempt by attempt.

use std::time::Instant;

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
    },
    error::BoxError,
};
use aws_smithy_types::config_bag::{Storable, StoreReplace};

use crate::store::{RequestResult, StoreOperation, StoreRequests};

/// Stands in the client; clones of the store count together.
#[derive(Debug)]
pub(super) struct Counting(pub(super) StoreRequests);

/// An attempt is on its way.
#[derive(Debug, Clone)]
struct Sent {
    operation: StoreOperation,
    at: Instant,
}

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
        bag.interceptor_state().store_put(Sent { operation, at: Instant::now() });
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Nothing was sent where there are no credentials, for one.
        let Some(Sent { operation, at }) = bag.load::<Sent>().cloned() else { return Ok(()) };
        bag.interceptor_state().unset::<Sent>();
        let result = match context.response().map(|response| response.status().as_u16()) {
            None => RequestResult::Unreachable,
            Some(status) => RequestResult::of_status(status),
        };
        // A copy and a completed upload may fail in the body of an answer that began well.
        let failed = context.output_or_error().is_some_and(|outcome| outcome.is_err());
        let result = if failed && result == RequestResult::Ok { RequestResult::Failed } else { result };
        self.0.count(operation, result, at.elapsed());
        Ok(())
    }
}
