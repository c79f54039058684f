//! What handlers take from a request, each refused with a problem that names the field.

use std::str::FromStr;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, header::CONTENT_TYPE, request::Parts},
};
use ringvault_core::{
    api::Problem,
    job::{JobKind, JobSpec},
    text,
    trace::TraceParent,
};
use serde::{Deserialize as _, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::problem::{ApiError, ApiResult};

/// A JSON body.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        let bytes = json_bytes(request, state).await?;
        read_json(&bytes).map(Self)
    }
}

/// A job's specification with its `kind`.
#[derive(Debug)]
pub(super) struct TaggedSpec(pub(super) JobSpec);

impl<S: Send + Sync> FromRequest<S> for TaggedSpec {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        let bytes = json_bytes(request, state).await?;
        read_spec(&bytes).map(Self)
    }
}

/// Reads a job's specification as `POST /v1/jobs` takes it. What is wrong is said as it would be answered.
pub fn parse_job_spec(body: &[u8]) -> Result<JobSpec, Box<Problem>> {
    read_spec(body).map_err(|ApiError(problem, _)| problem)
}

/// Reads a body of a form of its own as the routes do. What is wrong is said as it would be answered.
pub fn parse_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Box<Problem>> {
    read_json(body).map_err(|ApiError(problem, _)| problem)
}

/// Reads the kind first: serde reads a tagged enum through a buffer that forgets where it is, and
/// the error could not name the field.
fn read_spec(bytes: &[u8]) -> ApiResult<JobSpec> {
    let mut fields: Map<String, Value> = read_json(bytes)?;
    let kind = fields.remove("kind").unwrap_or_default();
    let kind: JobKind = serde_json::from_value(kind).map_err(|_| {
        let detail = "kind: it is one of backup, verify, restore, purge, drill, digest";
        ApiError::usage("RV-BODY", detail).field("kind")
    })?;
    let fields = Value::Object(fields);
    match kind {
        JobKind::Backup => read_value(fields).map(JobSpec::Backup),
        JobKind::Verify => read_value(fields).map(JobSpec::Verify),
        JobKind::Restore => read_value(fields).map(JobSpec::Restore),
        JobKind::Purge => read_value(fields).map(JobSpec::Purge),
        JobKind::Drill => read_value(fields).map(JobSpec::Drill),
        JobKind::Digest => read_value(fields).map(JobSpec::Digest),
    }
}

async fn json_bytes<S: Send + Sync>(request: Request, state: &S) -> ApiResult<Bytes> {
    let media = media_type(request.headers());
    if !media.is_empty() && media != "application/json" {
        let detail = format!("the body is {media}: this route takes application/json");
        return Err(ApiError::usage("RV-BODY", detail));
    }
    bytes(request, state).await
}

/// The body, up to the limit of the route.
pub(super) async fn bytes<S: Send + Sync>(request: Request, state: &S) -> ApiResult<Bytes> {
    Bytes::from_request(request, state)
        .await
        .map_err(|error| ApiError::usage("RV-BODY", format!("the body cannot be read: {error}")))
}

/// `Content-Type` without parameters, in small letters; empty when absent.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

pub(super) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> ApiResult<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(wrong_field)?;
    json.end().map_err(|error| ApiError::usage("RV-BODY", format!("after the document: {error}")))?;
    Ok(value)
}

fn read_value<T: DeserializeOwned>(value: Value) -> ApiResult<T> {
    serde_path_to_error::deserialize(value).map_err(wrong_field)
}

fn wrong_field(error: serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    // `?` stands where serde did not say: a document that breaks off within a key.
    let field = text::excerpt(error.path().to_string().trim_end_matches(".?"));
    let cause = text::cause(error.into_inner());
    if matches!(field.as_str(), "." | "?") {
        return ApiError::usage("RV-BODY", format!("the body cannot be read: {cause}"));
    }
    ApiError::usage("RV-BODY", format!("{field}: {cause}")).field(field)
}

/// The query, in which an unknown parameter is refused.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Query(params) = Query::<T>::from_request_parts(parts, state)
            .await
            .map_err(|error| wrong_query(&error.body_text()))?;
        Ok(Self(params))
    }
}

/// `text` is axum's: what it was doing, then the parameter where it knows one, then the cause.
fn wrong_query(text: &str) -> ApiError {
    let cause = text.trim_start_matches("Failed to deserialize query string: ");
    let error = ApiError::usage("RV-QUERY", cause);
    match cause.split_once(": ") {
        Some((field, _)) if !field.contains(' ') => error.field(field),
        _ => error,
    }
}

/// A name in the path.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) T);

impl<S, T> FromRequestParts<S> for Named<T>
where
    S: Send + Sync,
    T: FromStr + Send,
    ApiError: From<T::Err>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Path(text) = path::<S, String>(parts, state).await?;
        Ok(Self(text.parse()?))
    }
}

/// Two names in the path.
#[derive(Debug)]
pub(super) struct TwoNamed<A, B>(pub(super) A, pub(super) B);

impl<S, A, B> FromRequestParts<S> for TwoNamed<A, B>
where
    S: Send + Sync,
    A: FromStr + Send,
    B: FromStr + Send,
    ApiError: From<A::Err> + From<B::Err>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Path((first, second)) = path::<S, (String, String)>(parts, state).await?;
        Ok(Self(first.parse()?, second.parse()?))
    }
}

async fn path<S: Send + Sync, T: DeserializeOwned + Send>(
    parts: &mut Parts,
    state: &S,
) -> ApiResult<Path<T>> {
    Path::<T>::from_request_parts(parts, state)
        .await
        .map_err(|error| ApiError::usage("RV-PATH", error.body_text()))
}

/// What stands around a request for a job.
#[derive(Debug)]
pub(super) struct Asking {
    /// The `Idempotency-Key` header, or a key nobody else uses.
    pub(super) key: String,
    /// Where in a trace it is asked for.
    pub(super) trace: Option<TraceParent>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asking {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> ApiResult<Self> {
        // The request's own span, where there is one; else whoever asks hears of the job directly.
        let trace = ringvault_telemetry::current().or_else(|| trace_parent(&parts.headers));
        let Some(value) = parts.headers.get("idempotency-key") else {
            return Ok(Self { key: Uuid::now_v7().to_string(), trace });
        };
        let text = value.to_str().unwrap_or_default();
        if text.is_empty() || text.len() > 255 {
            let detail = "Idempotency-Key: from 1 to 255 printable characters";
            return Err(ApiError::usage("RV-IDEMPOTENCY-KEY", detail).field("Idempotency-Key"));
        }
        Ok(Self { key: text.to_owned(), trace })
    }
}

/// Where in a trace a request comes from; one that cannot be read is none, as W3C asks.
pub(super) fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    headers.get("traceparent")?.to_str().ok()?.parse().ok()
}

/// `1`, `true` or nothing at all mean yes; `0` and `false` no.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "1" | "true" | "" => Ok(true),
        "0" | "false" => Ok(false),
        other => Err(serde::de::Error::custom(format!("{other:?} is neither 1 nor 0"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringvault_core::job::BackupSpec;

    #[test]
    fn a_wrong_body_names_its_field() {
        for (body, field) in [
            (r#"{"cluster":"a","moed":"full"}"#, Some("moed")),
            (r#"{"cluster":"../a"}"#, Some("cluster")),
            (r#"{"cluster":"a","selection":{"tables":["a.b","c"]}}"#, Some("selection.tables[1]")),
            ("{", None),
            (r#"{"cluster":"a"} x"#, None),
        ] {
            let error = read_json::<BackupSpec>(body.as_bytes()).unwrap_err();
            assert_eq!((error.0.status, error.0.field.as_deref()), (400, field), "{body}");
        }
    }

    #[test]
    fn a_wrong_query_names_its_parameter() {
        let error = wrong_query("Failed to deserialize query string: at: input contains invalid characters");
        assert_eq!(error.0.detail, "at: input contains invalid characters");
        assert_eq!(error.0.field.as_deref(), Some("at"));
        assert_eq!(wrong_query("unknown field `colour`, expected `limit`").0.field, None);
    }

    #[test]
    fn a_tagged_specification_names_its_field_too() {
        for (body, field) in [
            (r#"{"kind":"verify","cluster":"a","backup":"b","levle":"digest"}"#, "levle"),
            (r#"{"kind":"backpu","cluster":"a"}"#, "kind"),
            (r#"{"cluster":"a"}"#, "kind"),
        ] {
            let error = read_spec(body.as_bytes()).unwrap_err();
            assert_eq!(error.0.field.as_deref(), Some(field), "{body}");
        }
        let spec = read_spec(br#"{"kind":"backup","cluster":"a"}"#).unwrap();
        assert_eq!(spec.kind(), JobKind::Backup);
    }
}
