//! `validate`: every restored table can be read.
//!
//! What was loaded was counted when it was handed over; here rows of every table are read through
//! CQL at quorum, so that what loads and cannot be read (a changed type) is found before people do,
//! and so is a table that holds nothing though the backup does.

use ringvault_cassandra::cql::Consistency;
use ringvault_core::{
    TaskError,
    cluster::TokenRange,
    restore::AUTH_KEYSPACE,
    selection::TableName,
    task::{RestoreTask, ValidateResult},
};

use super::record::PlannedTable;
use crate::{agent::TaskHandle, executor::Executor};

/// Rows read of each range of each table.
const ROWS: u32 = 200;
/// Ranges looked at in each table, spread over the ring.
const RANGES: usize = 8;

impl Executor {
    pub(in crate::executor) async fn validate(
        &self,
        task: &RestoreTask,
        handle: &TaskHandle,
    ) -> Result<ValidateResult, TaskError> {
        let plan = self.read_plan(task).await?;
        let cql = self.node.cql().await?;
        let existing = cql.schema().await?;
        let ranges = spread(&plan.target.ranges());
        let mut result = ValidateResult { tables: 0, rows_read: 0, problems: Vec::new() };
        // Roles were compared row by row when they were put in place.
        let tables: Vec<_> = plan.tables.iter().filter(|table| table.keyspace != AUTH_KEYSPACE).collect();
        for (done, source) in tables.iter().enumerate() {
            let table = &plan.spec.rename.target(source);
            handle.step(done as u64, tables.len() as u64, format!("reading {table}"));
            let Some(shape) = existing.shape(&table.keyspace, &table.table) else {
                result.problems.push(format!("{table} does not exist any more"));
                continue;
            };
            result.tables += 1;
            let read = async |ranges: &[TokenRange]| {
                cql.read_sample(table, shape, ranges, ROWS, Consistency::Quorum).await
            };
            // A small table is read whole, and no row of it twice.
            let rows = match read(&[TokenRange::full()]).await {
                Ok(first) if first >= u64::from(ROWS) => read(&ranges).await.map(|rows| rows.max(first)),
                read => read,
            };
            match rows {
                Ok(0) => result.problems.extend(none_read(table, plan.facts.get(*source))),
                Ok(rows) => result.rows_read += rows,
                Err(error) if error.class() == ringvault_core::ErrorClass::Environment => {
                    return Err(error.into());
                }
                Err(error) => result.problems.push(format!("{table} cannot be read: {}", error.kind)),
            }
        }
        Ok(result)
    }
}

/// A table that the backup holds partitions of ought to have rows. Whether they are deleted or
/// expired, nobody can tell without reading all of them.
fn none_read(table: &TableName, planned: Option<&PlannedTable>) -> Option<String> {
    let partitions = planned?.partitions;
    (partitions > 0).then(|| {
        format!(
            "{table} shows no row, though the backup holds up to {partitions} partitions of it: unless all are deleted or expired, it was not restored"
        )
    })
}

/// Some of the ranges, spread evenly over the ring.
fn spread(ranges: &[TokenRange]) -> Vec<TokenRange> {
    let step = ranges.len().div_ceil(RANGES).max(1);
    ranges.iter().step_by(step).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_table_that_ought_to_hold_something_is_missed() {
        let table = TableName::new("k", "t");
        let planned = |partitions| PlannedTable { partitions, ..PlannedTable::default() };
        assert!(none_read(&table, Some(&planned(7))).is_some_and(|text| text.contains("7 partitions")));
        assert_eq!(none_read(&table, Some(&planned(0))), None);
        assert_eq!(none_read(&table, None), None);
    }
}
