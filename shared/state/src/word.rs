//! From the database's text, numbers and JSON to the domain's types and back.

use std::str::FromStr;

use ringvault_core::job::{JobKind, JobSpec, Limits, NodeLimits};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::{StateError, StateResult};

/// A row that is being read: names itself in errors.
pub(crate) struct Row<'a> {
    what: &'static str,
    id: &'a (dyn std::fmt::Display + Sync),
}

impl<'a> Row<'a> {
    pub(crate) fn new(what: &'static str, id: &'a (dyn std::fmt::Display + Sync)) -> Self {
        Self { what, id }
    }

    pub(crate) fn unreadable(&self, field: &str, why: impl std::fmt::Display) -> StateError {
        StateError::Unreadable { what: self.what, id: self.id.to_string(), why: format!("{field}: {why}") }
    }

    /// Text that is one of the domain's words or names.
    pub(crate) fn word<T>(&self, field: &str, text: &str) -> StateResult<T>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        text.parse().map_err(|why| self.unreadable(field, why))
    }

    /// As [`Self::word`], where there is one.
    pub(crate) fn maybe_word<T>(&self, field: &str, text: Option<&str>) -> StateResult<Option<T>>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        text.map(|text| self.word(field, text)).transpose()
    }

    /// JSON of a domain type.
    pub(crate) fn json<T: DeserializeOwned>(&self, field: &str, value: Value) -> StateResult<T> {
        serde_json::from_value(value).map_err(|why| self.unreadable(field, why))
    }

    /// As [`Self::json`], where there is one.
    pub(crate) fn maybe_json<T: DeserializeOwned>(
        &self,
        field: &str,
        value: Option<Value>,
    ) -> StateResult<Option<T>> {
        value.map(|value| self.json(field, value)).transpose()
    }

    /// A document that an owner wrote: strictly read when it was taken in, and leniently here. A field
    /// that this version does not know was written by a newer one (an upgrade goes scheduler by
    /// scheduler) or removed since, and must not keep the rest from being used.
    pub(crate) fn document<T: DeserializeOwned>(&self, field: &str, mut value: Value) -> StateResult<T> {
        loop {
            let error = match serde_path_to_error::deserialize::<_, T>(&value) {
                Ok(read) => return Ok(read),
                Err(error) => error,
            };
            // Each round takes one field away, so there is an end.
            if !remove_unknown(&mut value, error.path(), &error.inner().to_string()) {
                return Err(self.unreadable(field, error));
            }
        }
    }

    /// A job's specification, as [`Self::document`]. Read kind by kind, since a path leads into a
    /// plain document only.
    pub(crate) fn spec(&self, mut value: Value) -> StateResult<JobSpec> {
        let kind = value.as_object_mut().and_then(|fields| fields.remove("kind"));
        Ok(match self.json("spec.kind", kind.unwrap_or_default())? {
            JobKind::Backup => JobSpec::Backup(self.document("spec", value)?),
            JobKind::Verify => JobSpec::Verify(self.document("spec", value)?),
            JobKind::Restore => JobSpec::Restore(self.document("spec", value)?),
            JobKind::Purge => JobSpec::Purge(self.document("spec", value)?),
            JobKind::Drill => JobSpec::Drill(self.document("spec", value)?),
            JobKind::Digest => JobSpec::Digest(self.document("spec", value)?),
        })
    }

    /// What a job's nodes were told to keep to.
    pub(crate) fn limits(
        &self,
        rate_limit: Option<i64>,
        request_limit: Option<i64>,
        data_centers: Option<Value>,
    ) -> StateResult<Limits> {
        let everywhere =
            NodeLimits { rate_limit: rate_limit.map(big_count), request_limit: request_limit.map(big_count) };
        let data_centers =
            data_centers.map(|value| self.document("data_center_limits", value)).transpose()?;
        Ok(Limits { everywhere, data_centers: data_centers.unwrap_or_default() })
    }

    /// A number that is never negative.
    pub(crate) fn count(&self, field: &str, value: i32) -> StateResult<u32> {
        u32::try_from(value).map_err(|why| self.unreadable(field, why))
    }
}

/// Takes the field away that serde has refused as unknown, in its words at this path.
fn remove_unknown(value: &mut Value, path: &serde_path_to_error::Path, refusal: &str) -> bool {
    let Some(name) = refusal.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) else {
        return false;
    };
    let mut at = value;
    for segment in path {
        let next = match segment {
            Segment::Map { key } if key == name => break,
            Segment::Map { key } => at.get_mut(key),
            Segment::Seq { index } => at.get_mut(index),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    at.as_object_mut().is_some_and(|fields| fields.remove(name).is_some())
}

/// What can be read of these rows. One that cannot is told of and left out: it must not keep
/// everything else from being done.
pub(crate) fn readable<T>(rows: impl IntoIterator<Item = StateResult<T>>) -> Vec<T> {
    let mut read = Vec::new();
    for row in rows {
        match row {
            Ok(row) => read.push(row),
            Err(error) => tracing::error!(%error, "a row is left out"),
        }
    }
    read
}

/// A domain type as JSON.
pub(crate) fn json<T: Serialize>(what: &'static str, value: &T) -> StateResult<Value> {
    serde_json::to_value(value).map_err(|why| StateError::Unwritable { what, why: why.to_string() })
}

/// As [`json`], where there is one.
pub(crate) fn maybe_json<T: Serialize>(what: &'static str, value: Option<&T>) -> StateResult<Option<Value>> {
    value.map(|value| json(what, value)).transpose()
}

/// A count as Postgres's `integer`.
pub(crate) fn int<T: TryInto<i32>>(what: &'static str, value: T) -> StateResult<i32> {
    value.try_into().map_err(|_| StateError::Unwritable {
        what,
        why: "it is larger than an integer column holds".to_owned(),
    })
}

/// Bytes or a count as Postgres's `bigint`; what is beyond it (9 EiB) is cut to it.
pub(crate) fn big(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A `bigint` that is never negative.
pub(crate) fn big_count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use ringvault_core::policy::Policy;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_newer_version_wrote_is_read_without_the_fields_it_added() {
        let row = Row::new("policy", &"nightly");
        let old = json!({"cluster": "c", "schedule": "0 2 * * *", "action": "backup",
            "retention": {"keep_last": 3}});
        let mut new = old.clone();
        new["quiet_hours"] = json!({"from": "01:00"});
        new["retention"]["keep_hourly"] = json!(4);
        let plain: Policy = row.document("document", old).unwrap();
        assert_eq!(row.document::<Policy>("document", new).unwrap(), plain);

        let old = json!({"kind": "backup", "cluster": "c", "tags": {"window": "kept"}});
        let mut new = old.clone();
        new["window"] = json!("01:00");
        assert_eq!(row.spec(new).unwrap(), row.spec(old).unwrap());
        let error = row.spec(json!({"kind": "backup", "name": "b"})).unwrap_err().to_string();
        assert!(error.contains("cluster"), "{error}");
        assert!(row.spec(json!({"kind": "rewind"})).is_err());
    }
}
