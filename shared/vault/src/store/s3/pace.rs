//! Has each attempt of the SDK wait for its turn.
//!
//! The SDK asks how to authenticate an attempt for each of them anew, those that it repeats by itself too, and does so
//! once, before it fetches credentials, signs and sends. So what waits there is an attempt as the store sees it, its
//! signature is fresh, no limit of time and no watch over a body that stands still has begun (one around the connection
//! would take a wait of twenty seconds for a dead line), and what [`super::count`] measures is without the wait. A wait
//! that is dropped has sent nothing.

use aws_sdk_s3::config::{
    ConfigBag, RuntimeComponents,
    auth::{DefaultAuthSchemeResolver, Params, ResolveAuthScheme},
};
use aws_smithy_runtime_api::client::auth::AuthSchemeOptionsFuture;

use crate::throttle::Throttle;

/// Answers as the SDK does by itself, when it is the attempt's turn.
#[derive(Debug)]
pub(super) struct Paced {
    sdk: DefaultAuthSchemeResolver,
    limit: Throttle,
}

impl Paced {
    pub(super) fn new(limit: &Throttle) -> Self {
        Self { sdk: DefaultAuthSchemeResolver::default(), limit: limit.clone() }
    }
}

impl ResolveAuthScheme for Paced {
    fn resolve_auth_scheme<'a>(
        &'a self,
        params: &'a Params,
        config: &'a ConfigBag,
        components: &'a RuntimeComponents,
    ) -> AuthSchemeOptionsFuture<'a> {
        AuthSchemeOptionsFuture::new(async move {
            self.limit.take(1).await;
            self.sdk.resolve_auth_scheme(params, config, components).await
        })
    }
}
