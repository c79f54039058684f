//! Making again what is missing of a schema.
//!
//! Each object is looked for by name and created only if it is not there, so a run that was broken
//! off is simply run again. A table with dropped columns takes several statements: one that was left
//! half made (the same id, some changes still to come, and empty) is finished. Statements go to one
//! coordinator, one after the other, which needs no agreement between them; agreement is waited for
//! at the end, whether or not anything was made: an earlier run may have made it just now.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ringvault_core::{
    cluster::Replication,
    selection::{Selection, TableName, is_system_keyspace},
};

use super::{
    ObjectKind, SchemaDump, SchemaObject, quote_name,
    statements::{Change, read_change, with_replication},
};
use crate::{
    NodeErrorKind,
    cql::{Consistency, CqlSession},
};

type Result<T> = crate::cql::Result<T>;

/// How missing objects are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateOptions {
    /// Replication of keyspaces that are created, where it shall not be the one they had (a target
    /// with other data centers).
    pub replication: BTreeMap<String, Replication>,
    /// Keyspaces of which all types, functions and aggregates are wanted, though the selection names
    /// tables only. Of others, what the selected tables need.
    pub whole_keyspaces: BTreeSet<String>,
    /// How long all nodes may take to agree at the end.
    pub agreement_timeout: Duration,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            replication: BTreeMap::new(),
            whole_keyspaces: BTreeSet::new(),
            agreement_timeout: Duration::from_mins(1),
        }
    }
}

/// What was done, by full names ("table ks.t").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateReport {
    /// Made just now.
    pub created: Vec<String>,
    /// There already; not looked into.
    pub existing: Vec<String>,
}

impl CqlSession {
    /// Creates what `selection` needs of `wanted` and is not there: keyspaces, their types,
    /// functions and aggregates, tables with their ids, indexes. Views are left to
    /// [`CqlSession::create_views`]: they are best built after the data is in.
    pub async fn create_missing(
        &self,
        wanted: &SchemaDump,
        selection: &Selection,
        options: &CreateOptions,
    ) -> Result<CreateReport> {
        let needed: Vec<_> = needed(wanted, selection, &options.whole_keyspaces)
            .into_iter()
            .filter(|object| object.kind != ObjectKind::View)
            .collect();
        self.create(&needed, options).await
    }

    /// Creates the views of the selected tables that are not there. Cassandra then builds them from
    /// their base tables.
    pub async fn create_views(
        &self,
        wanted: &SchemaDump,
        selection: &Selection,
        options: &CreateOptions,
    ) -> Result<CreateReport> {
        let needed: Vec<_> = needed(wanted, selection, &options.whole_keyspaces)
            .into_iter()
            .filter(|object| object.kind == ObjectKind::View)
            .collect();
        self.create(&needed, options).await
    }

    async fn create(&self, needed: &[&SchemaObject], options: &CreateOptions) -> Result<CreateReport> {
        let mut report = CreateReport::default();
        if needed.is_empty() {
            return Ok(report);
        }
        let existing = self.schema().await?;
        for object in needed {
            let label = label(object);
            let operation = format!("create {label}");
            if let Some(found) = existing.find(object.kind, &object.keyspace, &object.name) {
                let rest = remaining(object, found);
                let name = TableName::new(&object.keyspace, &object.name);
                // What holds data was not left by a broken run: it is not altered here.
                if rest.is_empty() || !self.is_empty(&name, Consistency::All).await? {
                    report.existing.push(label);
                    continue;
                }
                for statement in rest {
                    self.run(&operation, statement, ()).await?;
                }
                report.created.push(label);
                continue;
            }
            for (place, statement) in object.statements.iter().enumerate() {
                let statement = self.adapt(&operation, object, statement, options)?;
                match self.run(&operation, statement.as_str(), ()).await {
                    Ok(_) => {}
                    // Somebody else was quicker. Where more than this statement makes it, only a
                    // later look can tell whether it was made whole.
                    Err(error) if place == 0 && matches!(error.kind, NodeErrorKind::Exists(_)) => {
                        if object.statements.len() > 1 {
                            let what = format!("{label} is being made by somebody else");
                            return Err(self.error(&operation, NodeErrorKind::Unavailable(what)));
                        }
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            report.created.push(label);
        }
        self.wait_schema_agreement(options.agreement_timeout).await?;
        Ok(report)
    }

    fn adapt(
        &self,
        operation: &str,
        object: &SchemaObject,
        statement: &str,
        options: &CreateOptions,
    ) -> Result<String> {
        match (object.kind, options.replication.get(&object.keyspace)) {
            (ObjectKind::Keyspace, Some(replication)) => {
                with_replication(statement, &replication_map(replication)).ok_or_else(|| {
                    self.failed(operation, format!("no replication to replace in: {statement}"))
                })
            }
            _ => Ok(statement.to_owned()),
        }
    }
}

/// The statements that are still to be run to make the table that was found the wanted one: of a
/// table of the same id, the changes after its creation that were not made. Empty for what is whole,
/// or another's.
fn remaining<'a>(wanted: &'a SchemaObject, found: &SchemaObject) -> Vec<&'a str> {
    let (Some(wanted_shape), Some(shape)) = (&wanted.table, &found.table) else { return Vec::new() };
    let Some(dropped) = &shape.dropped else { return Vec::new() };
    if wanted_shape.table_id != shape.table_id {
        return Vec::new();
    }
    let is_done = |change: &str| {
        let Some((change, column)) = read_change(change) else { return true };
        let was_dropped = dropped.iter().any(|dropped| dropped.name == column);
        match change {
            Change::Drop => was_dropped,
            Change::Add => was_dropped && shape.columns.iter().any(|live| live.name == column),
        }
    };
    wanted.statements.iter().skip(1).map(String::as_str).filter(|change| !is_done(change)).collect()
}

/// The objects that the selected tables need, in the order of the dump. System keyspaces are made
/// by Cassandra itself and never created here.
fn needed<'a>(
    wanted: &'a SchemaDump,
    selection: &Selection,
    whole: &BTreeSet<String>,
) -> Vec<&'a SchemaObject> {
    let tables: Vec<TableName> = wanted
        .objects
        .iter()
        .filter(|object| object.kind == ObjectKind::Table)
        .filter(|object| selection.holds(&object.keyspace, &object.name))
        .map(|object| TableName::new(&object.keyspace, &object.name))
        .collect();
    let needs = wanted.needs_of(&tables);
    let is_selected = |object: &SchemaObject| match object.kind {
        ObjectKind::Table => selection.holds(&object.keyspace, &object.name),
        // A view comes with its base table, unless it was left out by name.
        ObjectKind::View => {
            let name = TableName::new(&object.keyspace, &object.name);
            let base = object.base.as_deref().unwrap_or_default();
            !selection.exclude.contains(&name)
                && (selection.holds(&object.keyspace, base)
                    || selection.holds(&object.keyspace, &object.name))
        }
        ObjectKind::Index => selection.holds(&object.keyspace, object.base.as_deref().unwrap_or_default()),
        ObjectKind::Type | ObjectKind::Function | ObjectKind::Aggregate => {
            selection.names_nothing()
                || selection.keyspaces.contains(&object.keyspace)
                || whole.contains(&object.keyspace)
                || needs.iter().any(|needed| std::ptr::eq(*needed, object))
        }
        // An empty keyspace is wanted only when it was asked for, or everything was.
        ObjectKind::Keyspace => selection.touches(&object.keyspace),
    };
    wanted
        .objects
        .iter()
        .filter(|object| !is_system_keyspace(&object.keyspace) && is_selected(object))
        .collect()
}

fn label(object: &SchemaObject) -> String {
    let SchemaObject { keyspace, name, .. } = object;
    match object.kind {
        ObjectKind::Keyspace => format!("keyspace {keyspace}"),
        ObjectKind::Type => format!("type {keyspace}.{name}"),
        ObjectKind::Function => format!("function {keyspace}.{name}"),
        ObjectKind::Aggregate => format!("aggregate {keyspace}.{name}"),
        ObjectKind::Table => format!("table {keyspace}.{name}"),
        ObjectKind::Index => format!("index {keyspace}.{name}"),
        ObjectKind::View => format!("view {keyspace}.{name}"),
    }
}

/// The replication as a CQL map.
pub(crate) fn replication_map(replication: &Replication) -> String {
    let entry =
        |key: &str, value: &str| format!("'{}': '{}'", key.replace('\'', "''"), value.replace('\'', "''"));
    let entries = match replication {
        Replication::Local => vec![entry("class", "LocalStrategy")],
        Replication::Everywhere => vec![entry("class", "EverywhereStrategy")],
        Replication::Simple { factor } => {
            vec![entry("class", "SimpleStrategy"), entry("replication_factor", &factor.to_string())]
        }
        Replication::NetworkTopology { factors } => {
            std::iter::once(entry("class", "NetworkTopologyStrategy"))
                .chain(factors.iter().map(|(dc, factor)| entry(dc, &factor.to_string())))
                .collect()
        }
    };
    format!("{{{}}}", entries.join(", "))
}

impl CqlSession {
    /// Drops a view if it is there, for instance to load its base table and build it anew.
    pub async fn drop_view(&self, view: &TableName) -> Result<()> {
        let name = format!("{}.{}", quote_name(&view.keyspace), quote_name(&view.table));
        let statement = format!("DROP MATERIALIZED VIEW IF EXISTS {name}");
        self.run(&format!("drop view {view}"), statement, ()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::{ClusteringOrder, Column, ColumnKind, DroppedColumn, TableShape};
    use super::*;

    fn object(kind: ObjectKind, keyspace: &str, name: &str, base: Option<&str>) -> SchemaObject {
        SchemaObject {
            kind,
            keyspace: keyspace.into(),
            name: name.into(),
            statements: vec![format!("CREATE {name}")],
            base: base.map(str::to_owned),
            table: None,
        }
    }

    fn with_type(table: SchemaObject) -> SchemaObject {
        let column = Column {
            name: "c".into(),
            cql_type: "frozen<ty>".into(),
            kind: ColumnKind::Regular,
            position: -1,
            order: ClusteringOrder::None,
        };
        let shape =
            TableShape { table_id: Uuid::nil(), columns: vec![column], is_counter: false, dropped: None };
        SchemaObject { table: Some(shape), ..table }
    }

    fn dump() -> SchemaDump {
        let objects = vec![
            object(ObjectKind::Keyspace, "a", "a", None),
            object(ObjectKind::Type, "a", "ty", None),
            object(ObjectKind::Function, "a", "f(int)", None),
            with_type(object(ObjectKind::Table, "a", "t", None)),
            object(ObjectKind::Table, "a", "u", None),
            object(ObjectKind::Index, "a", "i", Some("t")),
            object(ObjectKind::View, "a", "v", Some("t")),
            object(ObjectKind::Keyspace, "b", "b", None),
            object(ObjectKind::Keyspace, "system_auth", "system_auth", None),
            object(ObjectKind::Table, "system_auth", "roles", None),
        ];
        SchemaDump { version: 1, release_version: "5".into(), objects }
    }

    fn names(selection: &Selection) -> Vec<String> {
        needed(&dump(), selection, &BTreeSet::new()).into_iter().map(label).collect()
    }

    #[test]
    fn a_table_brings_what_it_needs_and_nothing_else() {
        let one = Selection { tables: vec![TableName::new("a", "t")], ..Selection::default() };
        assert_eq!(names(&one), ["keyspace a", "type a.ty", "table a.t", "index a.i", "view a.v"]);
        let other = Selection { tables: vec![TableName::new("a", "u")], ..Selection::default() };
        assert_eq!(names(&other), ["keyspace a", "table a.u"], "no type or function of others");
        let whole: BTreeSet<String> = ["a".to_owned()].into();
        let all: Vec<String> = needed(&dump(), &other, &whole).into_iter().map(label).collect();
        assert_eq!(all, ["keyspace a", "type a.ty", "function a.f(int)", "table a.u"]);
    }

    #[test]
    fn a_table_that_was_left_half_made_is_finished() {
        let table = |drops: &[(&str, i64)], live: &[&str]| {
            let column = |name: &&str| Column {
                name: (*name).to_owned(),
                cql_type: "int".into(),
                kind: ColumnKind::Regular,
                position: -1,
                order: ClusteringOrder::None,
            };
            let dropped = |(name, dropped_at): &(&str, i64)| DroppedColumn {
                name: (*name).to_owned(),
                dropped_at: *dropped_at,
            };
            let shape = TableShape {
                table_id: Uuid::from_u128(1),
                columns: live.iter().map(column).collect(),
                is_counter: false,
                dropped: Some(drops.iter().map(dropped).collect()),
            };
            SchemaObject { table: Some(shape), ..object(ObjectKind::Table, "a", "t", None) }
        };
        let mut wanted = table(&[("Gone", 1), ("re", 2)], &["k", "re"]);
        let changes = [
            "ALTER TABLE a.t DROP \"Gone\" USING TIMESTAMP 1000",
            "ALTER TABLE a.t DROP re USING TIMESTAMP 2000",
            "ALTER TABLE a.t ADD re int",
        ];
        wanted.statements.extend(changes.map(str::to_owned));
        let rest = |found: &SchemaObject| remaining(&wanted, found);
        assert_eq!(rest(&table(&[], &["k", "Gone", "re"])), changes);
        assert_eq!(rest(&table(&[("Gone", 1)], &["k", "re"])), changes[1..]);
        assert_eq!(rest(&table(&[("Gone", 1), ("re", 2)], &["k"])), changes[2..]);
        assert!(rest(&table(&[("Gone", 1), ("re", 2)], &["k", "re"])).is_empty());
        let mut other = table(&[], &["k", "Gone", "re"]);
        other.table.as_mut().unwrap().table_id = Uuid::from_u128(2);
        assert!(rest(&other).is_empty(), "another table of that name is left alone");
    }

    #[test]
    fn everything_is_all_but_system_keyspaces() {
        let all = names(&Selection::default());
        assert_eq!(all.len(), 8);
        assert!(all.iter().all(|name| !name.contains("system_auth")));
    }

    #[test]
    fn replication_is_written_as_cql() {
        let factors = BTreeMap::from([("dc'1".to_owned(), 3)]);
        let map = replication_map(&Replication::NetworkTopology { factors });
        assert_eq!(map, "{'class': 'NetworkTopologyStrategy', 'dc''1': '3'}");
    }

    #[test]
    fn the_hash_tells_schemas_apart() {
        let (one, mut other) = (dump(), dump());
        other.release_version = "4".into();
        assert_eq!(one.schema_hash(), other.schema_hash());
        other.objects[0].statements[0].push('x');
        assert_ne!(one.schema_hash(), other.schema_hash());
    }
}
