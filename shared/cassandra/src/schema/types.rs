//! Which user-defined types and functions a table needs, transitively.
//!
//! Names are looked for where Cassandra prints them: in columns' types, in the fields of types, and
//! in a table's statement behind `MASKED WITH`. What merely bears the name of a type, as a field
//! may, is not taken for one.

use std::collections::BTreeSet;

use ringvault_core::selection::TableName;

use super::{ObjectKind, SchemaDump, SchemaObject};

/// A type that a restored table needs and that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeMisfit {
    /// It is not there.
    Missing {
        /// `keyspace.name`.
        name: String,
    },
    /// Its fields are others.
    Differs {
        /// `keyspace.name`.
        name: String,
    },
}

impl SchemaDump {
    /// The user-defined types that columns of these tables are made of, in the order of the dump.
    pub fn types_of(&self, tables: &[TableName]) -> Vec<&SchemaObject> {
        self.reached_from(tables, &[])
    }

    /// The functions that these tables' columns are masked with, and the types that tables and
    /// functions need; in the order of the dump.
    pub(super) fn needs_of(&self, tables: &[TableName]) -> Vec<&SchemaObject> {
        let functions: Vec<&SchemaObject> = self
            .objects
            .iter()
            .filter(|object| object.kind == ObjectKind::Function)
            .filter(|function| {
                let name = function.name.split('(').next().unwrap_or_default();
                let name = super::unquote_name(name.trim());
                self.tables_among(tables).any(|table| {
                    table.keyspace == function.keyspace
                        && table.statements.iter().any(|text| masks_of(text).any(|mask| mask == name))
                })
            })
            .collect();
        let types = self.reached_from(tables, &functions);
        let is_needed = |object: &&SchemaObject| {
            functions.iter().chain(&types).any(|needed| std::ptr::eq(*needed, *object))
        };
        self.objects.iter().filter(is_needed).collect()
    }

    fn tables_among<'a>(&'a self, tables: &'a [TableName]) -> impl Iterator<Item = &'a SchemaObject> {
        tables.iter().filter_map(|name| self.find(ObjectKind::Table, &name.keyspace, &name.table))
    }

    fn reached_from(&self, tables: &[TableName], functions: &[&SchemaObject]) -> Vec<&SchemaObject> {
        let mut open: Vec<(&str, String)> = Vec::new();
        for table in self.tables_among(tables) {
            let columns = table.table.iter().flat_map(|shape| &shape.columns);
            let names = columns.flat_map(|column| identifiers(&column.cql_type));
            open.extend(names.map(|name| (table.keyspace.as_str(), name)));
        }
        for function in functions {
            let names = function.statements.iter().flat_map(|text| identifiers(text));
            open.extend(names.map(|name| (function.keyspace.as_str(), name)));
        }
        let mut reached: BTreeSet<(&str, &str)> = BTreeSet::new();
        while let Some((keyspace, name)) = open.pop() {
            let Some(found) = self.find(ObjectKind::Type, keyspace, &name) else { continue };
            if reached.insert((&found.keyspace, &found.name)) {
                open.extend(found.statements.iter().flat_map(|text| fields_of(text)).map(|n| (keyspace, n)));
            }
        }
        let is_reached = |object: &&SchemaObject| {
            object.kind == ObjectKind::Type && reached.contains(&(&object.keyspace, &object.name))
        };
        self.objects.iter().filter(is_reached).collect()
    }
}

/// Types that `tables` of `wanted` need and that `existing` lacks or has otherwise.
pub fn compare_types(wanted: &SchemaDump, existing: &SchemaDump, tables: &[TableName]) -> Vec<TypeMisfit> {
    wanted
        .types_of(tables)
        .into_iter()
        .filter_map(|was| {
            let name = format!("{}.{}", was.keyspace, was.name);
            match existing.find(ObjectKind::Type, &was.keyspace, &was.name) {
                None => Some(TypeMisfit::Missing { name }),
                Some(is) if !is.says_the_same(was) => Some(TypeMisfit::Differs { name }),
                Some(_) => None,
            }
        })
        .collect()
}

/// The names in the types of a type's fields. Cassandra prints a field a line, its name first.
fn fields_of(statement: &str) -> impl Iterator<Item = String> {
    let names = |line: &str, skip: usize| identifiers(line).into_iter().skip(skip);
    let lines: Vec<&str> = statement.lines().collect();
    let all: Vec<String> = match lines[..] {
        [only] => names(only, 0).collect(),
        _ => lines.iter().skip(1).flat_map(|line| names(line, 1)).collect(),
    };
    all.into_iter()
}

/// The functions that columns are masked with: the name before the parenthesis in
/// `MASKED WITH ks.name(…)`.
fn masks_of(statement: &str) -> impl Iterator<Item = String> {
    statement.split("MASKED WITH ").skip(1).filter_map(|rest| {
        let call = rest.split('(').next()?;
        identifiers(call).pop()
    })
}

/// Every name in the text, without quotes: words, and what stands in double quotes.
fn identifiers(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        match first {
            '"' => {
                let mut name = String::new();
                while let Some(next) = rest.next() {
                    if next == '"' && rest.next_if_eq(&'"').is_none() {
                        break;
                    }
                    name.push(next);
                }
                found.push(name);
            }
            '\'' => while rest.next().is_some_and(|next| next != '\'') {},
            _ if is_of_name(first) => {
                let mut name = String::from(first);
                while let Some(next) = rest.next_if(|next| is_of_name(*next)) {
                    name.push(next);
                }
                found.push(name);
            }
            _ => {}
        }
    }
    found
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::{ClusteringOrder, Column, ColumnKind, TableShape};
    use super::*;

    fn object(kind: ObjectKind, name: &str, statement: &str) -> SchemaObject {
        SchemaObject {
            kind,
            keyspace: "k".into(),
            name: name.into(),
            statements: vec![statement.into()],
            base: None,
            table: None,
        }
    }

    fn table(name: &str, cql_type: &str) -> SchemaObject {
        let column = Column {
            name: "unrelated".into(),
            cql_type: cql_type.into(),
            kind: ColumnKind::Regular,
            position: -1,
            order: ClusteringOrder::None,
        };
        let shape =
            TableShape { table_id: Uuid::nil(), columns: vec![column], is_counter: false, dropped: None };
        let statement = format!("CREATE TABLE k.{name} (\n    v int MASKED WITH k.\"Mask\"(1)\n)");
        SchemaObject { table: Some(shape), ..object(ObjectKind::Table, name, &statement) }
    }

    fn dump() -> SchemaDump {
        let objects = vec![
            object(ObjectKind::Type, "inner", "CREATE TYPE k.inner (\n    unrelated text,\n    b int\n)"),
            object(
                ObjectKind::Type,
                "Outer",
                "CREATE TYPE k.\"Outer\" (\n    x frozen<inner>,\n    y int\n)",
            ),
            object(ObjectKind::Type, "unrelated", "CREATE TYPE k.unrelated (\n    a int\n)"),
            object(ObjectKind::Type, "of_mask", "CREATE TYPE k.of_mask (\n    a int\n)"),
            object(
                ObjectKind::Function,
                "\"Mask\"(of_mask)",
                "CREATE FUNCTION k.\"Mask\" (v of_mask) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$ x $$",
            ),
            object(ObjectKind::Function, "other(int)", "CREATE FUNCTION k.other (v int) …"),
            table("t", "map<text, frozen<list<frozen<\"Outer\">>>>"),
            table("plain", "int"),
        ];
        SchemaDump { version: 1, release_version: "5".into(), objects }
    }

    fn names(objects: Vec<&SchemaObject>) -> Vec<&str> {
        objects.into_iter().map(|object| object.name.as_str()).collect()
    }

    #[test]
    fn types_are_followed_and_no_more_than_they() {
        let dump = dump();
        assert_eq!(names(dump.types_of(&[TableName::new("k", "t")])), ["inner", "Outer"]);
        assert!(dump.types_of(&[TableName::new("k", "plain")]).is_empty());
        let needs = dump.needs_of(&[TableName::new("k", "plain")]);
        assert_eq!(names(needs), ["of_mask", "\"Mask\"(of_mask)"]);
    }

    #[test]
    fn only_types_that_matter_are_compared() {
        let (wanted, mut existing) = (dump(), dump());
        let tables = [TableName::new("k", "t")];
        existing.objects[2].statements[0].push_str(" other");
        assert_eq!(compare_types(&wanted, &existing, &tables), []);
        existing.objects[0].statements[0].push_str(" other");
        let differs = TypeMisfit::Differs { name: "k.inner".into() };
        assert_eq!(compare_types(&wanted, &existing, &tables), [differs]);
        existing.objects.remove(1);
        let missing = TypeMisfit::Missing { name: "k.Outer".into() };
        assert!(compare_types(&wanted, &existing, &tables).contains(&missing));
    }

    #[test]
    fn names_are_read_with_their_quotes_undone() {
        assert_eq!(identifiers("frozen<\"A \"\"b\", 'no'>"), ["frozen", "A \"b"]);
        assert_eq!(identifiers("'open \"x"), Vec::<String>::new());
    }
}
