//! Reads a job's specification so that an error names the field.
//!
//! `JobSpec` is tagged by `kind`, and serde reads such an enum through a buffer that forgets where
//! it is. People write these by hand in other languages: "at `selection.keyspaces[2]`" is worth
//! reading the tag first.

use ringvault_core::job::{JobKind, JobSpec};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{PayloadError, read_payload};

/// Largest specification accepted, in bytes, as over HTTP: it is held as a tree of values, which takes up
/// to a hundred times its text.
const MAX_SPEC: usize = 1 << 20;

/// As `JobSpec`'s own `Deserialize`, with the path of what is wrong.
pub(super) fn read_job_spec(json: &str) -> Result<JobSpec, PayloadError> {
    if json.len() > MAX_SPEC {
        let cause = format!("it has {} bytes; at most {MAX_SPEC} are accepted", json.len());
        return Err(PayloadError { field: ".".to_owned(), cause });
    }
    let mut fields: Map<String, Value> = read_payload(json)?;
    let kind = fields.remove("kind").ok_or_else(|| PayloadError {
        field: "kind".to_owned(),
        cause: "missing; it is one of backup, verify, restore, purge, drill, digest".to_owned(),
    })?;
    let kind: JobKind =
        read_fields(kind).map_err(|error| PayloadError { field: "kind".to_owned(), cause: error.cause })?;
    let fields = Value::Object(fields);
    match kind {
        JobKind::Backup => read_fields(fields).map(JobSpec::Backup),
        JobKind::Verify => read_fields(fields).map(JobSpec::Verify),
        JobKind::Restore => read_fields(fields).map(JobSpec::Restore),
        JobKind::Purge => read_fields(fields).map(JobSpec::Purge),
        JobKind::Drill => read_fields(fields).map(JobSpec::Drill),
        JobKind::Digest => read_fields(fields).map(JobSpec::Digest),
    }
}

fn read_fields<T: DeserializeOwned>(value: Value) -> Result<T, PayloadError> {
    serde_path_to_error::deserialize(value).map_err(PayloadError::from)
}
