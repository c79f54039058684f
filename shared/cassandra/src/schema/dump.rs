//! Reading the schema off a node.
//!
//! `DESCRIBE FULL SCHEMA WITH INTERNALS` (4.0 and newer) gives the statements, `system_schema` the
//! shapes. The two are read one after the other, so the schema's version is read before and after:
//! a change in between means reading again. A node writes a change to `system_schema` before it
//! describes it and before it tells the new version, so two that disagree are read again as well.

use std::{collections::HashMap, time::Duration};

use ringvault_core::selection::TableName;
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::{
    ClusteringOrder, Column, ColumnKind, DroppedColumn, ObjectKind, SCHEMA_DUMP_VERSION, SchemaDump,
    SchemaObject, TableShape,
    names::unquote_name,
    statements::{in_one_order, split},
};
use crate::{NodeErrorKind, cql::CqlSession};

type Result<T> = crate::cql::Result<T>;

/// Keyspace, kind, name, statement.
type Described = (String, String, String, String);

/// Keyspace, table, column, type, kind, position, clustering order.
type ColumnRow = (String, String, String, String, String, i32, String);

/// How often a schema that keeps changing is read before giving up.
const TRIES: usize = 5;

/// How long a node is given to make of what it has written what it describes.
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// What one reading came to.
enum Reading {
    Whole(Vec<SchemaObject>),
    /// The node describes something that its tables do not hold: what.
    Torn(String),
}

impl CqlSession {
    /// The whole schema, with this node's word for it.
    pub async fn schema(&self) -> Result<SchemaDump> {
        let operation = "read the schema";
        let mut what = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
            let before = self.local_schema_version().await?;
            let reading = self.read_objects(operation).await;
            if before != self.local_schema_version().await? {
                what = format!("it changed while being read, {TRIES} times");
                continue;
            }
            match reading? {
                Reading::Whole(objects) => {
                    let release_version = self.local().release_version.clone();
                    return Ok(SchemaDump { version: SCHEMA_DUMP_VERSION, release_version, objects });
                }
                Reading::Torn(torn) => what = torn,
            }
        }
        Err(self.error(operation, NodeErrorKind::Unavailable(what)))
    }

    async fn local_schema_version(&self) -> Result<Uuid> {
        let text = "SELECT schema_version FROM system.local WHERE key = 'local'";
        let rows: Vec<(Uuid,)> = self.rows("read the schema's version", text, ()).await?;
        rows.first()
            .map(|(version,)| *version)
            .ok_or_else(|| self.failed("read the schema's version", "system.local is empty"))
    }

    async fn read_objects(&self, operation: &str) -> Result<Reading> {
        let text = "DESCRIBE FULL SCHEMA WITH INTERNALS";
        let described: Vec<Described> = self.rows(operation, text, ()).await?;
        let mut shapes = self.read_shapes(operation).await?;
        let bases = self.read_bases(operation).await?;
        let mut objects = Vec::new();
        for (keyspace, kind, name, statement) in described {
            let keyspace = unquote_name(&keyspace);
            if is_left_out(&keyspace) {
                continue;
            }
            let kind = match kind.as_str() {
                "keyspace" => ObjectKind::Keyspace,
                "type" => ObjectKind::Type,
                "function" => ObjectKind::Function,
                "aggregate" => ObjectKind::Aggregate,
                "table" => ObjectKind::Table,
                "index" => ObjectKind::Index,
                "materialized_view" => ObjectKind::View,
                other => {
                    let what = format!("schema object {keyspace}.{name} of kind {other:?}");
                    return Err(self.error(operation, NodeErrorKind::Unsupported(what)));
                }
            };
            // A function's name carries its argument types and is kept as printed.
            let name = match kind {
                ObjectKind::Function | ObjectKind::Aggregate => name,
                _ => unquote_name(&name),
            };
            let full_name = TableName::new(&keyspace, &name);
            let table = match kind {
                ObjectKind::Table | ObjectKind::View => match shapes.remove(&full_name) {
                    Some(shape) if !shape.columns.is_empty() => Some(shape),
                    _ => return Ok(Reading::Torn(format!("{full_name} has no columns"))),
                },
                _ => None,
            };
            let base = match kind {
                ObjectKind::Index | ObjectKind::View => match bases.get(&(kind, full_name.clone())) {
                    Some(base) => Some(base.clone()),
                    None => return Ok(Reading::Torn(format!("{full_name} is on no table"))),
                },
                _ => None,
            };
            let statements = match kind {
                ObjectKind::Table => in_one_order(&split(&statement)),
                _ => split(&statement),
            };
            objects.push(SchemaObject { kind, keyspace, name, statements, base, table });
        }
        // Stable: within a kind, Cassandra's own order stands, which puts types before their users.
        objects.sort_by(|a, b| (&a.keyspace, a.kind).cmp(&(&b.keyspace, b.kind)));
        Ok(Reading::Whole(objects))
    }

    async fn read_shapes(&self, operation: &str) -> Result<HashMap<TableName, TableShape>> {
        let tables = "SELECT keyspace_name, table_name, id FROM system_schema.tables";
        let views = "SELECT keyspace_name, view_name, id FROM system_schema.views";
        let mut ids: Vec<(String, String, Uuid)> = self.rows(operation, tables, ()).await?;
        ids.extend(self.rows::<(String, String, Uuid)>(operation, views, ()).await?);
        let mut shapes: HashMap<TableName, TableShape> = ids
            .into_iter()
            .map(|(keyspace, table, table_id)| {
                let shape = TableShape {
                    table_id,
                    columns: Vec::new(),
                    is_counter: false,
                    dropped: Some(Vec::new()),
                };
                (TableName::new(keyspace, table), shape)
            })
            .collect();
        let columns = "SELECT keyspace_name, table_name, column_name, type, kind, position, \
                       clustering_order FROM system_schema.columns";
        let columns: Vec<ColumnRow> = self.rows(operation, columns, ()).await?;
        for (keyspace, table, name, cql_type, kind, position, order) in columns {
            let table = TableName::new(keyspace, table);
            let Some(shape) = shapes.get_mut(&table) else {
                continue;
            };
            let odd = |what: &str| self.failed(operation, format!("{table}.{name} is {what:?}"));
            let kind = match kind.as_str() {
                "partition_key" => ColumnKind::PartitionKey,
                "clustering" => ColumnKind::Clustering,
                "static" => ColumnKind::Static,
                "regular" => ColumnKind::Regular,
                other => return Err(odd(other)),
            };
            let order = match order.to_ascii_lowercase().as_str() {
                "none" => ClusteringOrder::None,
                "asc" => ClusteringOrder::Asc,
                "desc" => ClusteringOrder::Desc,
                other => return Err(odd(other)),
            };
            shape.is_counter |= cql_type == "counter";
            shape.columns.push(Column { name, cql_type, kind, position, order });
        }
        let dropped = "SELECT keyspace_name, table_name, column_name, dropped_time \
                       FROM system_schema.dropped_columns";
        let dropped: Vec<(String, String, String, CqlTimestamp)> = self.rows(operation, dropped, ()).await?;
        for (keyspace, table, name, CqlTimestamp(dropped_at)) in dropped {
            if let Some(shape) = shapes.get_mut(&TableName::new(keyspace, table)) {
                shape.dropped.get_or_insert_default().push(DroppedColumn { name, dropped_at });
            }
        }
        for shape in shapes.values_mut() {
            shape.dropped.iter_mut().for_each(|all| all.sort_by(|a, b| a.name.cmp(&b.name)));
            let key = |c: &Column| (c.kind, c.position, c.name.clone());
            shape.columns.sort_by_cached_key(key);
        }
        Ok(shapes)
    }

    /// The table that each index is on and each view is of.
    async fn read_bases(&self, operation: &str) -> Result<HashMap<(ObjectKind, TableName), String>> {
        let indexes = "SELECT keyspace_name, index_name, table_name FROM system_schema.indexes";
        let views = "SELECT keyspace_name, view_name, base_table_name FROM system_schema.views";
        let mut bases = HashMap::new();
        for (kind, text) in [(ObjectKind::Index, indexes), (ObjectKind::View, views)] {
            let rows: Vec<(String, String, String)> = self.rows(operation, text, ()).await?;
            bases.extend(
                rows.into_iter().map(|(keyspace, name, base)| ((kind, TableName::new(keyspace, name)), base)),
            );
        }
        Ok(bases)
    }
}

/// Virtual keyspaces hold no data; `system` and `system_schema` are a node's own and made by it.
fn is_left_out(keyspace: &str) -> bool {
    matches!(
        keyspace,
        "system"
            | "system_schema"
            | "system_views"
            | "system_virtual_schema"
            | "system_metrics"
            | "system_cluster_metadata"
    )
}
