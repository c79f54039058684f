//! A schema under other names: what a restore makes where tables are to come beside the live ones.
//!
//! Statements are Cassandra's own, so only the names in them are written anew: what stands before a
//! dot is a keyspace wherever it is the renamed one, and the table's own name is where its kind of
//! statement has it. A table under another name is another table, so it gets an id of its own; one
//! that is made from the restore's id, so that an attempt finds what an earlier one made.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ringvault_core::{restore::Renames, selection::TableName};
use uuid::Uuid;

use super::{ObjectKind, SchemaDump, SchemaObject, quote_name, statements::with_names};

/// Two objects of the backup that would both bear this name on the target, and differ.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{first} and {second} cannot both become {name}")]
pub struct RenameConflict {
    /// `keyspace.name`.
    pub first: String,
    /// `keyspace.name`.
    pub second: String,
    /// `keyspace.name` on the target.
    pub name: String,
}

/// Kind, keyspace and name.
type Key = (ObjectKind, String, String);

impl SchemaDump {
    /// The schema that `tables` find on the target: what there was, and beside it each of them that
    /// is renamed, with its indexes; its keyspace, types, functions and views where it comes to
    /// another keyspace. Within its own keyspace a view would need a name of its own, so there is none.
    ///
    /// `seed` makes the ids of the renamed tables: the same for all attempts of a restore, and for no
    /// other.
    pub fn renamed(
        &self,
        renames: &Renames,
        tables: &[TableName],
        seed: &[u8],
    ) -> Result<Self, RenameConflict> {
        let mut made = Made { seed, objects: Vec::new(), origins: HashMap::new() };
        let mut keyspaces: BTreeSet<(&str, String)> = BTreeSet::new();
        let mut targets: BTreeMap<TableName, &TableName> = BTreeMap::new();
        for source in tables {
            let target = renames.target(source);
            if let Some(first) = targets.insert(target.clone(), source) {
                let (first, second, name) = (first.to_string(), source.to_string(), target.to_string());
                return Err(RenameConflict { first, second, name });
            }
            if target == *source {
                continue;
            }
            if target.keyspace != source.keyspace {
                keyspaces.insert((&source.keyspace, target.keyspace.clone()));
            }
            for object in self.objects.iter().filter(|object| object.keyspace == source.keyspace) {
                made.add_of_table(object, source, &target)?;
            }
        }
        for (source, target) in &keyspaces {
            for object in self.objects.iter().filter(|object| object.keyspace == *source) {
                made.add_of_keyspace(object, target, self)?;
            }
        }
        let mut objects: Vec<SchemaObject> =
            self.objects.iter().filter(|object| !made.origins.contains_key(&key(object))).cloned().collect();
        objects.extend(made.objects);
        // Stable: types stay before their users.
        objects.sort_by(|a, b| (&a.keyspace, a.kind).cmp(&(&b.keyspace, b.kind)));
        Ok(Self { objects, version: self.version, release_version: self.release_version.clone() })
    }
}

struct Made<'a> {
    seed: &'a [u8],
    objects: Vec<SchemaObject>,
    /// Which object each was made from.
    origins: HashMap<Key, SchemaObject>,
}

impl Made<'_> {
    /// The table itself, its indexes and its views.
    fn add_of_table(
        &mut self,
        object: &SchemaObject,
        source: &TableName,
        target: &TableName,
    ) -> Result<(), RenameConflict> {
        let is_on_it = object.base.as_deref() == Some(&source.table);
        let moves = source.keyspace != target.keyspace;
        // References to a keyspace's objects in the order of the statement, by which the table is meant.
        let (name, place) = match object.kind {
            ObjectKind::Table if object.name == source.table => (target.table.clone(), 0),
            ObjectKind::Index if is_on_it && source.table == target.table => (object.name.clone(), 0),
            // Its name is the keyspace's, where another index may bear it already.
            ObjectKind::Index if is_on_it => (format!("{}_{}", target.table, object.name), 0),
            ObjectKind::View if is_on_it && moves => (object.name.clone(), 1),
            _ => return Ok(()),
        };
        let mut copy = SchemaObject {
            keyspace: target.keyspace.clone(),
            name,
            base: object.base.as_ref().map(|_| target.table.clone()),
            statements: object
                .statements
                .iter()
                .map(|text| {
                    with_names(text, &source.keyspace, &target.keyspace, Some((place, &target.table)))
                })
                .collect(),
            ..object.clone()
        };
        if copy.kind == ObjectKind::Index && copy.name != object.name {
            for text in &mut copy.statements {
                *text = with_index_name(text, &copy.name);
            }
        }
        if let Some(shape) = &mut copy.table {
            let (old, new) = (shape.table_id, self.id(&copy.keyspace, &copy.name, shape.table_id));
            shape.table_id = new;
            for text in &mut copy.statements {
                *text = text.replacen(&format!("ID = {old}"), &format!("ID = {new}"), 1);
            }
        }
        self.push(copy, object)
    }

    /// The keyspace, and what belongs to no table of it.
    fn add_of_keyspace(
        &mut self,
        object: &SchemaObject,
        target: &str,
        all: &SchemaDump,
    ) -> Result<(), RenameConflict> {
        let name = match object.kind {
            // One that the backup has under this name keeps its own replication.
            ObjectKind::Keyspace if all.find(ObjectKind::Keyspace, target, target).is_some() => return Ok(()),
            ObjectKind::Keyspace => target.to_owned(),
            ObjectKind::Type | ObjectKind::Function | ObjectKind::Aggregate => object.name.clone(),
            ObjectKind::Table | ObjectKind::Index | ObjectKind::View => return Ok(()),
        };
        let statements = object.statements.iter().map(|text| match object.kind {
            ObjectKind::Keyspace => with_keyspace_name(text, target),
            _ => with_names(text, &object.keyspace, target, None),
        });
        let statements = statements.collect();
        self.push(SchemaObject { keyspace: target.to_owned(), name, statements, ..object.clone() }, object)
    }

    fn push(&mut self, copy: SchemaObject, origin: &SchemaObject) -> Result<(), RenameConflict> {
        match self.origins.insert(key(&copy), origin.clone()) {
            None => self.objects.push(copy),
            // Two keyspaces that become one may have the same types and functions, and one replication
            // or another; but not two tables.
            Some(first) => {
                let same = self.objects.contains(&copy);
                if !same && copy.kind != ObjectKind::Keyspace {
                    let full = |object: &SchemaObject| format!("{}.{}", object.keyspace, object.name);
                    let (first, second) = (full(&first), full(origin));
                    return Err(RenameConflict { first, second, name: full(&copy) });
                }
            }
        }
        Ok(())
    }

    fn id(&self, keyspace: &str, name: &str, was: Uuid) -> Uuid {
        let mut hasher = blake3::Hasher::new();
        for part in [self.seed, keyspace.as_bytes(), name.as_bytes(), was.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

fn key(object: &SchemaObject) -> Key {
    (object.kind, object.keyspace.clone(), object.name.clone())
}

/// `CREATE [CUSTOM] INDEX name ON …` with another name.
fn with_index_name(statement: &str, name: &str) -> String {
    match statement.split_once("INDEX ").and_then(|(head, rest)| Some((head, rest.split_once(" ON ")?))) {
        Some((head, (_, rest))) => format!("{head}INDEX {} ON {rest}", quote_name(name)),
        None => statement.to_owned(),
    }
}

/// `CREATE KEYSPACE name WITH …` with another name.
fn with_keyspace_name(statement: &str, name: &str) -> String {
    match statement.split_once(" WITH ") {
        Some((_, rest)) => format!("CREATE KEYSPACE {} WITH {rest}", quote_name(name)),
        None => statement.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{SCHEMA_DUMP_VERSION, TableShape};

    const ID: &str = "2fdb2ca0-e9c8-11f1-b34e-49822e9936d4";

    fn dump() -> SchemaDump {
        let object = |kind, keyspace: &str, name: &str, base: Option<&str>, statement: &str| SchemaObject {
            kind,
            keyspace: keyspace.into(),
            name: name.into(),
            statements: vec![statement.into()],
            base: base.map(str::to_owned),
            table: matches!(kind, ObjectKind::Table | ObjectKind::View).then(|| TableShape {
                table_id: ID.parse().unwrap(),
                columns: Vec::new(),
                is_counter: false,
                dropped: None,
            }),
        };
        let objects = vec![
            object(
                ObjectKind::Keyspace,
                "k",
                "k",
                None,
                "CREATE KEYSPACE k WITH replication = {'class': 'X'}",
            ),
            object(ObjectKind::Type, "k", "ty", None, "CREATE TYPE k.ty (\n    a int\n)"),
            object(
                ObjectKind::Table,
                "k",
                "T",
                None,
                &format!(
                    "CREATE TABLE k.\"T\" (\n    k int PRIMARY KEY\n) WITH ID = {ID}\n    AND comment = 'k.\"T\"'"
                ),
            ),
            object(ObjectKind::Table, "k", "u", None, "CREATE TABLE k.u (k int PRIMARY KEY)"),
            object(ObjectKind::Index, "k", "i", Some("T"), "CREATE INDEX i ON k.\"T\" (v)"),
            object(
                ObjectKind::View,
                "k",
                "v",
                Some("T"),
                "CREATE MATERIALIZED VIEW k.v AS\n    SELECT *\n    FROM k.\"T\"\n    WHERE a = 'k.x'",
            ),
            object(ObjectKind::Keyspace, "there", "there", None, "CREATE KEYSPACE there WITH x = 1"),
        ];
        SchemaDump { version: SCHEMA_DUMP_VERSION, release_version: "5".into(), objects }
    }

    fn renamed(pairs: &[&str], tables: &[&str]) -> Result<SchemaDump, RenameConflict> {
        let mut renames = Renames::default();
        for pair in pairs {
            renames.add(pair).unwrap();
        }
        let tables: Vec<TableName> = tables.iter().map(|table| table.parse().unwrap()).collect();
        dump().renamed(&renames, &tables, b"job")
    }

    fn statements(dump: &SchemaDump, kind: ObjectKind, keyspace: &str, name: &str) -> Vec<String> {
        dump.find(kind, keyspace, name)
            .unwrap_or_else(|| panic!("{kind:?} {keyspace}.{name}"))
            .statements
            .clone()
    }

    #[test]
    fn a_table_beside_the_live_one_has_its_own_id_and_indexes_and_no_views() {
        let got = renamed(&["k.T=k.old"], &["k.T"]).unwrap();
        let table = got.find(ObjectKind::Table, "k", "old").unwrap();
        let id = table.table.as_ref().unwrap().table_id;
        assert_ne!(id.to_string(), ID);
        assert_eq!(
            table.statements,
            [format!(
                "CREATE TABLE \"k\".\"old\" (\n    k int PRIMARY KEY\n) WITH ID = {id}\n    AND comment = 'k.\"T\"'"
            )]
        );
        assert_eq!(
            statements(&got, ObjectKind::Index, "k", "old_i"),
            ["CREATE INDEX \"old_i\" ON \"k\".\"old\" (v)"]
        );
        assert_eq!(got.objects.iter().filter(|object| object.kind == ObjectKind::View).count(), 1);
        assert_eq!(renamed(&["k.T=k.old"], &["k.T"]).unwrap(), got, "each attempt makes the same");
        assert_eq!(got.find(ObjectKind::Table, "k", "T"), dump().find(ObjectKind::Table, "k", "T"));
    }

    #[test]
    fn another_keyspace_gets_all_that_a_table_needs() {
        let got = renamed(&["k=k2"], &["k.T", "k.u"]).unwrap();
        assert_eq!(
            statements(&got, ObjectKind::Keyspace, "k2", "k2"),
            ["CREATE KEYSPACE \"k2\" WITH replication = {'class': 'X'}"]
        );
        assert_eq!(
            statements(&got, ObjectKind::Type, "k2", "ty"),
            ["CREATE TYPE \"k2\".\"ty\" (\n    a int\n)"]
        );
        assert_eq!(statements(&got, ObjectKind::Index, "k2", "i"), ["CREATE INDEX i ON \"k2\".\"T\" (v)"]);
        assert_eq!(
            statements(&got, ObjectKind::View, "k2", "v"),
            [
                "CREATE MATERIALIZED VIEW \"k2\".\"v\" AS\n    SELECT *\n    FROM \"k2\".\"T\"\n    WHERE a = 'k.x'"
            ]
        );
        assert_eq!(
            statements(&got, ObjectKind::Table, "k2", "u"),
            ["CREATE TABLE \"k2\".\"u\" (k int PRIMARY KEY)"]
        );
        let kinds: Vec<_> =
            got.objects.iter().map(|object| (object.keyspace.as_str(), object.kind)).collect();
        assert!(kinds.is_sorted());
        let there = renamed(&["k.u=there.u"], &["k.u"]).unwrap();
        assert_eq!(
            statements(&there, ObjectKind::Keyspace, "there", "there"),
            ["CREATE KEYSPACE there WITH x = 1"]
        );
    }

    #[test]
    fn two_tables_do_not_become_one() {
        assert!(renamed(&["k.T=x.y", "k=x"], &["k.T", "k.u"]).is_ok());
        assert!(renamed(&["k.T=k.u"], &["k.T"]).is_ok(), "the other is not brought");
        let conflict = renamed(&["k.T=k.u"], &["k.T", "k.u"]).unwrap_err();
        assert_eq!(conflict.to_string(), "k.T and k.u cannot both become k.u");
        let conflict = renamed(&["k.T=k.y", "k.u=k.y"], &["k.T", "k.u"]).unwrap_err();
        assert_eq!(conflict.to_string(), "k.T and k.u cannot both become k.y");
    }
}
