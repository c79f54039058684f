//! `digest`: every row of the selected tables in this node's share of the token ranges.
//!
//! It changes nothing, so an attempt that breaks off leaves nothing, and the next begins anew. All nodes of a job read
//! the schema by themselves: that they saw the same is seen when their results are put together.

use ringvault_cassandra::{
    CqlSession,
    cql::RowReader,
    schema::{ObjectKind, SchemaDump, TableShape},
};
use ringvault_core::{
    TaskError,
    rows::{ENCODING, TableDigest, is_digested, rows_range},
    selection::{Selection, TableName},
    task::{DigestResult, DigestTask},
};
use ringvault_vault::throttle::Throttle;

use super::Executor;
use crate::agent::TaskHandle;

impl Executor {
    pub(super) async fn digest(
        &self,
        task: &DigestTask,
        handle: &TaskHandle,
    ) -> Result<DigestResult, TaskError> {
        let cql = self.node.cql().await?;
        let schema = cql.schema().await?;
        let tables = selected(&schema, &task.selection)?;
        let throttle = Throttle::new(task.rows_per_second.map(|rows| u64::from(rows.get())));
        let total = tables.len() * task.ranges.len();
        let mut reading = Reading { cql: &cql, handle, throttle, done: 0, total: total as u64 };
        let mut digests = Vec::with_capacity(tables.len());
        for (table, shape) in tables {
            digests.push(reading.table(table, shape, &task.ranges).await?);
        }
        Ok(DigestResult { encoding: ENCODING, ranges: task.ranges.clone(), tables: digests })
    }
}

/// What is read with what, and how far it is.
struct Reading<'a> {
    cql: &'a CqlSession,
    handle: &'a TaskHandle,
    /// In rows.
    throttle: Throttle,
    /// Ranges of tables.
    done: u64,
    total: u64,
}

impl Reading<'_> {
    async fn table(
        &mut self,
        table: TableName,
        shape: &TableShape,
        ranges: &[u16],
    ) -> Result<TableDigest, TaskError> {
        let mut reader = self.cql.row_reader(&table, shape).await?;
        let mut digests = Vec::new();
        for index in ranges {
            let mut range = RowReader::begin(rows_range(*index));
            let mut rows = 0;
            self.tell(&table, rows);
            while let Some(more) = reader.next_page(&mut range).await? {
                self.handle.go_on()?;
                rows += more;
                self.tell(&table, rows);
                self.throttle.take(more).await;
            }
            digests.extend(range.finish(*index));
            self.done += 1;
        }
        Ok(TableDigest { columns: reader.columns_hash(), ranges: digests, table })
    }

    fn tell(&self, table: &TableName, rows: u64) {
        self.handle.step(self.done, self.total, format!("reading {table}, {rows} rows of a range"));
    }
}

/// The tables to read, in the order of their names.
///
/// # Errors
/// Something is named that is not there, so that nobody takes its absence for sameness; or there are none, or too many.
fn selected<'a>(
    schema: &'a SchemaDump,
    selection: &Selection,
) -> Result<Vec<(TableName, &'a TableShape)>, TaskError> {
    let mut tables: Vec<(TableName, &TableShape)> = schema
        .objects
        .iter()
        .filter(|object| object.kind == ObjectKind::Table)
        .filter_map(|object| Some((TableName::new(&object.keyspace, &object.name), object.table.as_ref()?)))
        .filter(|(name, _)| is_digested(selection, &name.keyspace, &name.table))
        .collect();
    tables.sort_by(|(one, _), (other, _)| one.cmp(other));
    let is_absent = |name: &&TableName| !tables.iter().any(|(table, _)| table == *name);
    if let Some(name) =
        selection.tables.iter().filter(|name| !selection.exclude.contains(name)).find(is_absent)
    {
        let what = match schema.find(ObjectKind::View, &name.keyspace, &name.table) {
            Some(_) => format!("{name} is a view: read the table that it is made from"),
            None => format!("there is no table {name}"),
        };
        return Err(TaskError::permanent("RV-ROWS-SELECTION", what));
    }
    let is_empty = |keyspace: &&String| !tables.iter().any(|(table, _)| table.keyspace == **keyspace);
    if let Some(keyspace) = selection.keyspaces.iter().find(is_empty) {
        let what = format!("there is no table to read in keyspace {keyspace}");
        return Err(TaskError::permanent("RV-ROWS-SELECTION", what));
    }
    match tables.len() {
        0 => Err(TaskError::permanent("RV-ROWS-SELECTION", "there is no table to read")),
        1..=DigestResult::MAX_TABLES => Ok(tables),
        many => Err(TaskError::permanent(
            "RV-ROWS-SELECTION",
            format!(
                "{many} tables are too many for one digest, which is of {} at most",
                DigestResult::MAX_TABLES
            ),
        )
        .with_next("ringvault rows digest with --keyspace or --table, once for each part")),
    }
}

#[cfg(test)]
mod tests {
    use ringvault_cassandra::schema::{SCHEMA_DUMP_VERSION, SchemaObject};
    use uuid::Uuid;

    use super::*;

    fn schema(objects: &[(ObjectKind, &str)]) -> SchemaDump {
        let object = |(kind, name): &(ObjectKind, &str)| {
            let name: TableName = name.parse().expect("a name");
            SchemaObject {
                kind: *kind,
                keyspace: name.keyspace,
                name: name.table,
                statements: Vec::new(),
                base: None,
                table: Some(TableShape {
                    table_id: Uuid::nil(),
                    columns: Vec::new(),
                    is_counter: false,
                    dropped: None,
                }),
            }
        };
        SchemaDump {
            version: SCHEMA_DUMP_VERSION,
            release_version: "5.0.4".into(),
            objects: objects.iter().map(object).collect(),
        }
    }

    fn names(schema: &SchemaDump, json: &str) -> Result<String, String> {
        let selection: Selection = serde_json::from_str(json).expect("a selection");
        match selected(schema, &selection) {
            Ok(tables) => Ok(tables.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(" ")),
            Err(error) => Err(error.message),
        }
    }

    #[test]
    fn what_is_not_there_is_told_and_never_taken_for_empty() {
        let schema = schema(&[
            (ObjectKind::Table, "system_auth.roles"),
            (ObjectKind::Table, "shop.photos"),
            (ObjectKind::Table, "shop.orders"),
            (ObjectKind::View, "shop.by_state"),
        ]);
        assert_eq!(names(&schema, "{}").unwrap(), "shop.orders shop.photos");
        assert_eq!(names(&schema, r#"{"keyspaces":["system_auth"]}"#).unwrap(), "system_auth.roles");
        assert_eq!(names(&schema, r#"{"exclude":["shop.photos"]}"#).unwrap(), "shop.orders");
        for (selection, words) in [
            (r#"{"tables":["shop.items"]}"#, "no table shop.items"),
            (r#"{"tables":["shop.by_state"]}"#, "shop.by_state is a view"),
            (r#"{"keyspaces":["shop","store"]}"#, "in keyspace store"),
            (r#"{"exclude":["shop.photos","shop.orders"]}"#, "no table to read"),
        ] {
            let refused = names(&schema, selection).unwrap_err();
            assert!(refused.contains(words), "{selection}: {refused}");
        }
    }

    #[test]
    fn too_many_tables_are_refused() {
        let many: Vec<String> = (0..=DigestResult::MAX_TABLES).map(|number| format!("k.t{number}")).collect();
        let all: Vec<_> = many.iter().map(|name| (ObjectKind::Table, name.as_str())).collect();
        assert!(names(&schema(&all), "{}").unwrap_err().contains("too many"));
        assert!(names(&schema(&all[1..]), "{}").is_ok());
    }
}
