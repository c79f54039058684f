//! A cluster's schema as data: what there is, and the statements that make it again, with the ids
//! and the dropped columns that the `SSTables` of a backup rely on.
//!
//! The statements are Cassandra's own (`DESCRIBE … WITH INTERNALS`); they are never written here.
//! What a *table* is (columns, key, id) is read beside them from `system_schema`, so that two
//! schemas can be compared without parsing CQL.

mod compare;
mod create;
mod dump;
mod names;
mod rename;
pub mod statements;
mod types;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use compare::{TableComparison, compare_table};
pub(crate) use create::replication_map;
pub use create::{CreateOptions, CreateReport};
pub use names::{quote_name, unquote_name};
pub use rename::RenameConflict;
pub use types::{TypeMisfit, compare_types};

/// Version of the serialised form of [`SchemaDump`].
pub const SCHEMA_DUMP_VERSION: u32 = 1;

/// Every object of every keyspace but virtual ones and the node-local `system` and `system_schema`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaDump {
    /// [`SCHEMA_DUMP_VERSION`].
    pub version: u32,
    /// Cassandra's release that wrote the statements.
    pub release_version: String,
    /// Objects in an order in which they can be created: by keyspace, then as
    /// [`ObjectKind`] is ordered, types before those that use them.
    pub objects: Vec<SchemaObject>,
}

/// What a schema object is. Ordered as objects can be created within a keyspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// Keyspace.
    Keyspace,
    /// User-defined type.
    Type,
    /// User-defined function.
    Function,
    /// User-defined aggregate.
    Aggregate,
    /// Table.
    Table,
    /// Secondary index, of any kind.
    Index,
    /// Materialized view.
    View,
}

/// One object of the schema. Names are as stored, without CQL's quotes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaObject {
    /// What it is.
    pub kind: ObjectKind,
    /// Its keyspace.
    pub keyspace: String,
    /// Its name; for functions and aggregates with the argument types: `plus(int, int)`.
    pub name: String,
    /// The statements that make it. Several for a table with dropped columns.
    pub statements: Vec<String>,
    /// The table an index is on, or a view is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// For tables and views: what the data looks like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableShape>,
}

/// What decides how a table's data is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableShape {
    /// Table id: names the table's directory.
    pub table_id: Uuid,
    /// Columns, by kind, position and name.
    pub columns: Vec<Column>,
    /// Whether it holds counters.
    pub is_counter: bool,
    /// Columns that were dropped, by name, also those that were added again. `None` in what was
    /// written down before this was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Vec<DroppedColumn>>,
}

/// A column that was dropped. `SSTables` go on holding its cells: without this record a node refuses
/// them, or shows them again in a column of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedColumn {
    /// Name.
    pub name: String,
    /// Cells written up to this time are not there any more; milliseconds since 1970, which is as
    /// finely as `system_schema.dropped_columns` keeps it.
    pub dropped_at: i64,
}

impl TableShape {
    /// Names of the partition key's columns, in order.
    pub fn partition_key(&self) -> impl Iterator<Item = &str> {
        self.columns
            .iter()
            .filter(|column| column.kind == ColumnKind::PartitionKey)
            .map(|column| column.name.as_str())
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Type as Cassandra writes it: `frozen<map<text, int>>`.
    #[serde(rename = "type")]
    pub cql_type: String,
    /// Part of the table.
    pub kind: ColumnKind,
    /// Place in the key; -1 for others.
    pub position: i32,
    /// Order of a clustering column.
    pub order: ClusteringOrder,
}

/// Which part of a table a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Of the partition key.
    PartitionKey,
    /// Of the clustering key.
    Clustering,
    /// One value a partition.
    Static,
    /// One value a row.
    Regular,
}

/// How rows are ordered by a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusteringOrder {
    /// Not a clustering column.
    None,
    /// Ascending.
    Asc,
    /// Descending.
    Desc,
}

impl SchemaObject {
    /// Whether both statements say the same of their object, however names are quoted in them, and
    /// but for its id.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let words = |object: &Self| {
            let id = object.table.as_ref().map(|shape| shape.table_id.to_string()).unwrap_or_default();
            object.statements.iter().map(|text| text.replace('"', "").replace(&id, "")).collect::<Vec<_>>()
        };
        words(self) == words(other)
    }

    /// Whether it is a storage-attached index, whose files belong to the `SSTables` of its table.
    pub fn is_attached_index(&self) -> bool {
        let class = |statement: &String| {
            let (_, rest) = statement.split_once(" USING '")?;
            rest.split('\'').next()?.rsplit('.').next().map(str::to_lowercase)
        };
        self.kind == ObjectKind::Index
            && self
                .statements
                .iter()
                .filter_map(class)
                .any(|class| class == "sai" || class == "storageattachedindex")
    }
}

impl SchemaDump {
    /// The object of this kind and name.
    pub fn find(&self, kind: ObjectKind, keyspace: &str, name: &str) -> Option<&SchemaObject> {
        self.objects
            .iter()
            .find(|object| object.kind == kind && object.keyspace == keyspace && object.name == name)
    }

    /// The shape of a table or view.
    pub fn shape(&self, keyspace: &str, name: &str) -> Option<&TableShape> {
        let object = self
            .find(ObjectKind::Table, keyspace, name)
            .or_else(|| self.find(ObjectKind::View, keyspace, name))?;
        object.table.as_ref()
    }

    /// Tables and views: keyspace, name, table id.
    pub fn tables(&self) -> impl Iterator<Item = (&str, &str, Uuid)> {
        self.objects.iter().filter_map(|object| {
            let shape = object.table.as_ref()?;
            Some((object.keyspace.as_str(), object.name.as_str(), shape.table_id))
        })
    }

    /// BLAKE3 in hexadecimal of what the objects are, without the statements: equal for equal schemas
    /// whichever release wrote them down. Options of a table are not in it; Cassandra's own version of
    /// the schema covers them.
    pub fn objects_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for object in &self.objects {
            let facts = (object.kind, &object.keyspace, &object.name, &object.base, &object.table);
            let line = serde_json::to_vec(&facts).unwrap_or_default();
            hasher.update(&(line.len() as u64).to_le_bytes());
            hasher.update(&line);
        }
        hasher.finalize().to_hex().to_string()
    }

    /// BLAKE3 of the objects in hexadecimal: equal for equal schemas, whichever node was asked and
    /// whichever release wrote it down in the same words.
    pub fn schema_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for object in &self.objects {
            let line = serde_json::to_vec(object).unwrap_or_default();
            hasher.update(&(line.len() as u64).to_le_bytes());
            hasher.update(&line);
        }
        hasher.finalize().to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attached_indexes_are_told_from_others() {
        let is_attached = |kind, statement: &str| {
            let object = SchemaObject {
                kind,
                keyspace: "k".into(),
                name: "i".into(),
                statements: vec![statement.to_owned()],
                base: Some("t".into()),
                table: None,
            };
            object.is_attached_index()
        };
        for attached in [
            "CREATE CUSTOM INDEX i ON k.t (v) USING 'sai'",
            "CREATE CUSTOM INDEX i ON k.t (v) USING 'StorageAttachedIndex' WITH OPTIONS = {'case_sensitive': 'false'}",
            "CREATE CUSTOM INDEX i ON k.t (v) USING 'org.apache.cassandra.index.sai.StorageAttachedIndex'",
        ] {
            assert!(is_attached(ObjectKind::Index, attached), "{attached}");
            assert!(!is_attached(ObjectKind::Table, attached));
        }
        for other in [
            "CREATE INDEX i ON k.t (v)",
            "CREATE CUSTOM INDEX i ON k.t (v) USING 'org.apache.cassandra.index.sasi.SASIIndex'",
        ] {
            assert!(!is_attached(ObjectKind::Index, other), "{other}");
        }
    }
}
