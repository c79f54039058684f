//! One table of routes: what serves a request, who may ask, and what the API's description says
//! stand in one place, so that none of the three can be forgotten.

use axum::{Router, handler::Handler, http::Method, middleware, routing::MethodRouter};
use ringvault_core::api::Role;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{
    ApiState,
    auth::{Access, guard},
};

type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// What a route takes or answers.
pub(super) struct Content {
    /// Media type.
    pub(super) media: &'static str,
    /// Its form; absent where it is not JSON.
    pub(super) schema: Option<MakeSchema>,
}

/// A route and its description.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) access: Access,
    /// Name of the operation for generated clients.
    pub(super) name: &'static str,
    /// What it does, in a sentence.
    pub(super) summary: &'static str,
    /// Whether it takes an `Idempotency-Key`.
    pub(super) idempotent_by_key: bool,
    /// Its query, as the schema of an object.
    pub(super) query: Option<MakeSchema>,
    /// Bodies that it takes, any of them.
    pub(super) takes: Vec<Content>,
    /// Status and body of its answer when all is well.
    pub(super) answer: (u16, Option<Content>),
    handler: MethodRouter<ApiState>,
}

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Route {
    fn new<H, T>(method: Method, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        let filter = method.clone().try_into().expect("one of the methods below");
        Self {
            method,
            path,
            access,
            name: "",
            summary: "",
            idempotent_by_key: false,
            query: None,
            takes: Vec::new(),
            answer: (200, None),
            handler: axum::routing::on(filter, handler),
        }
    }

    /// A route that looks.
    pub(super) fn get<H, T>(path: &'static str, role: Role, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        Self::new(Method::GET, path, Access::Needs(role), handler)
    }

    /// A route that asks for something.
    pub(super) fn post<H, T>(path: &'static str, role: Role, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        Self::new(Method::POST, path, Access::Needs(role), handler)
    }

    /// A route that sets something to what is given.
    pub(super) fn put<H, T>(path: &'static str, role: Role, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        Self::new(Method::PUT, path, Access::Needs(role), handler)
    }

    /// A route that takes something away.
    pub(super) fn delete<H, T>(path: &'static str, role: Role, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        Self::new(Method::DELETE, path, Access::Needs(role), handler)
    }

    /// For other than the usual access.
    pub(super) fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Its name for generated clients, and what it does.
    pub(super) fn is(mut self, name: &'static str, summary: &'static str) -> Self {
        self.name = name;
        self.summary = summary;
        self
    }

    /// Its query parameters.
    pub(super) fn query<Q: JsonSchema>(mut self) -> Self {
        self.query = Some(schema_of::<Q>);
        self
    }

    /// A JSON body.
    pub(super) fn takes<B: JsonSchema>(mut self) -> Self {
        self.takes.push(Content { media: "application/json", schema: Some(schema_of::<B>) });
        self
    }

    /// A body that is not JSON.
    pub(super) fn takes_text(mut self, media: &'static str) -> Self {
        self.takes.push(Content { media, schema: None });
        self
    }

    /// It creates: an `Idempotency-Key` makes it happen once.
    pub(super) fn by_key(mut self) -> Self {
        self.idempotent_by_key = true;
        self
    }

    /// A JSON answer.
    pub(super) fn answers<A: JsonSchema>(mut self, status: u16) -> Self {
        let content = Content { media: "application/json", schema: Some(schema_of::<A>) };
        self.answer = (status, Some(content));
        self
    }

    /// A stream of events with JSON in them.
    pub(super) fn streams<A: JsonSchema>(mut self) -> Self {
        let content = Content { media: "text/event-stream", schema: Some(schema_of::<A>) };
        self.answer = (200, Some(content));
        self
    }

    /// An answer that is not JSON.
    pub(super) fn answers_text(mut self, media: &'static str) -> Self {
        self.answer = (200, Some(Content { media, schema: None }));
        self
    }

    /// The browser is sent elsewhere.
    pub(super) fn leads_on(mut self) -> Self {
        self.answer = (303, None);
        self
    }

    /// No body in the answer.
    pub(super) fn answers_nothing(mut self) -> Self {
        self.answer = (204, None);
        self
    }
}

/// Puts the table to work: every route behind its guard.
pub(super) fn assemble(routes: Vec<Route>, api: &ApiState) -> Router<ApiState> {
    routes.into_iter().fold(Router::new(), |router, route| {
        let guard = middleware::from_fn_with_state((api.clone(), route.access), guard);
        router.route(route.path, route.handler.route_layer(guard))
    })
}
