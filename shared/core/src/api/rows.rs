//! What a digest job kept of the rows that it read.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ClusterName, JobId,
    rows::TableDigest,
    selection::{Selection, TableName},
};

/// A cluster's rows, as digests by table and token range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowDigests {
    /// The job that read them.
    pub job: JobId,
    /// The cluster.
    pub cluster: ClusterName,
    /// Which tables were asked for.
    #[serde(default)]
    pub selection: Selection,
    /// When the reading began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<DateTime<Utc>>,
    /// When it was over. What was written in between may be in it or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// How rows were encoded: digests of two encodings cannot be compared.
    pub encoding: u32,
    /// By table, in the order of their names.
    pub tables: Vec<TableDigest>,
}

/// A digest that nobody wrote like this: to compare it would tell nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DamagedDigests {
    /// A table that comes twice, or where its name does not belong.
    #[error("table {0} comes twice or out of order")]
    Table(TableName),
    /// A range of a table.
    #[error("range {1} of table {0} comes twice or out of order, or is none")]
    Range(TableName, u16),
}

impl RowDigests {
    /// Sees that tables and ranges come in order and once, as they are written.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), DamagedDigests> {
        let not_after = self.tables.windows(2).find(|pair| pair[0].table >= pair[1].table);
        if let Some(pair) = not_after {
            return Err(DamagedDigests::Table(pair[1].table.clone()));
        }
        let misplaced = |table: &TableDigest| Some((table.table.clone(), table.misplaced_range()?));
        match self.tables.iter().find_map(misplaced) {
            Some((table, range)) => Err(DamagedDigests::Range(table, range)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tables: &str) -> Result<(), String> {
        let text = format!(
            r#"{{"job":"01936e4b-7c00-7000-8000-000000000001","cluster":"orders","encoding":1,"tables":[{tables}]}}"#
        );
        serde_json::from_str::<RowDigests>(&text).expect("a digest").check().map_err(|why| why.to_string())
    }

    #[test]
    fn what_is_listed_twice_is_told() {
        let range = |at: u16| format!(r#"{{"range":{at},"rows":1,"digest":"{0}"}}"#, "0".repeat(32));
        let table = |name: &str, ranges: &str| {
            format!(r#"{{"table":"{name}","columns":"{0}","ranges":[{ranges}]}}"#, "0".repeat(32))
        };
        let (first, second) = (table("k.a", &range(3)), table("k.b", ""));
        assert_eq!(check(&format!("{first},{second}")), Ok(()));
        assert_eq!(check(&format!("{second},{first}")).unwrap_err(), "table k.a comes twice or out of order");
        assert_eq!(check(&format!("{first},{first}")).unwrap_err(), "table k.a comes twice or out of order");
        let twice = check(&table("k.a", &format!("{},{}", range(3), range(3)))).unwrap_err();
        assert_eq!(twice, "range 3 of table k.a comes twice or out of order, or is none");
    }
}
