//! The frame of every answer: its version, and for lists how to get on.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the documents. It rises only if something had to be changed rather than added.
pub const SCHEMA_VERSION: u32 = 1;

/// Items of a page when `limit` is not given.
pub const DEFAULT_LIMIT: u32 = 100;

/// The largest `limit`.
pub const MAX_LIMIT: u32 = 1000;

/// One thing, with its fields beside `schema_version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Document<T> {
    /// Version of the document's form.
    pub schema_version: u32,
    /// The thing.
    #[serde(flatten)]
    pub body: T,
}

impl<T> Document<T> {
    /// Frames `body` in the current version.
    pub const fn new(body: T) -> Self {
        Self { schema_version: SCHEMA_VERSION, body }
    }
}

/// Part of a list, in a stable order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// Version of the document's form.
    pub schema_version: u32,
    /// When it was read from the database.
    pub as_of: DateTime<Utc>,
    /// The items.
    pub items: Vec<T>,
    /// Ask again with `?cursor=` this for what follows; absent on the last page. Opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page in the current version.
    pub const fn new(as_of: DateTime<Utc>, items: Vec<T>, next_cursor: Option<String>) -> Self {
        Self { schema_version: SCHEMA_VERSION, as_of, items, next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Problem, TokenCreate};

    #[test]
    fn a_document_has_its_fields_beside_the_version() {
        let problem = Problem::new(404, "RV-JOB-UNKNOWN", "no such job", "no job 01");
        let json = serde_json::to_value(Document::new(problem.clone())).unwrap();
        assert_eq!(json["schema_version"], 1);
        assert_eq!(json["code"], "RV-JOB-UNKNOWN");
        let back: Document<Problem> = serde_json::from_value(json).unwrap();
        assert_eq!(back.body, problem);
    }

    #[test]
    fn a_misspelt_option_is_refused_with_its_name() {
        let error =
            serde_json::from_str::<TokenCreate>(r#"{"name":"ci","rolle":"viewer"}"#).unwrap_err().to_string();
        assert!(error.contains("rolle"), "{error}");
    }
}
