//! `schema.cql` as the vault keeps a schema: objects with their statements, tables with their columns and ids.
//!
//! Medusa stores what the Python driver prints. The statements are kept as they are, but for a table's id,
//! which the driver leaves out and the folder's name says: a table that is made again must be the one that
//! its backup's folders name. Of columns that were dropped the driver says nothing.

use std::collections::BTreeMap;

use ringvault_core::cluster::Replication;
use serde::Serialize;
use uuid::Uuid;

use super::cql::{self, Kind, Word};

/// Keyspaces that every node makes by itself, and whose schema is never made again.
const NODE_LOCAL: [&str; 2] = ["system", "system_schema"];

/// A whole schema, as the vault keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Schema {
    version: u32,
    release_version: String,
    pub(super) objects: Vec<Object>,
    /// Replication by keyspace.
    #[serde(skip)]
    pub(super) keyspaces: BTreeMap<String, Replication>,
    /// Statements that are not understood: triggers, for instance.
    #[serde(skip)]
    pub(super) unread: Vec<String>,
}

/// An object of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Object {
    kind: ObjectKind,
    keyspace: String,
    name: String,
    statements: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<Shape>,
}

/// In the order in which they can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum ObjectKind {
    Keyspace,
    Type,
    Function,
    Aggregate,
    Table,
    Index,
    View,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Shape {
    table_id: Uuid,
    columns: Vec<Column>,
    is_counter: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    cql_type: String,
    kind: ColumnKind,
    position: i32,
    order: Order,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum ColumnKind {
    PartitionKey,
    Clustering,
    Static,
    Regular,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    None,
    Asc,
    Desc,
}

impl Schema {
    /// Reads a schema; `ids` are those of the tables and views, by keyspace and name, as folders say.
    ///
    /// # Errors
    /// In words, with the statement that is damaged.
    pub(super) fn read(
        text: &str,
        release_version: &str,
        ids: &BTreeMap<(String, String), Uuid>,
    ) -> Result<Self, String> {
        let mut schema = Self {
            version: 1,
            release_version: release_version.to_owned(),
            objects: Vec::new(),
            keyspaces: BTreeMap::new(),
            unread: Vec::new(),
        };
        for statement in cql::statements(text)? {
            let begin: String = statement.chars().take(60).collect();
            match schema.take(&statement, ids) {
                Ok(true) => {}
                Ok(false) => schema.unread.push(begin),
                Err(why) => return Err(format!("the statement {begin:?} cannot be understood: {why}")),
            }
        }
        // Stable: types stay before those that use them, as they were written.
        schema.objects.sort_by(|a, b| (&a.keyspace, a.kind).cmp(&(&b.keyspace, b.kind)));
        Ok(schema)
    }

    /// Tables and views with their ids; nil where no folder of theirs is in the backup.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&str, &str, Uuid)> {
        self.objects.iter().filter_map(|object| {
            let table = object.table.as_ref()?;
            Some((object.keyspace.as_str(), object.name.as_str(), table.table_id))
        })
    }

    /// What tells it from another, whatever the order of keyspaces and options in the text.
    pub(super) fn facts(&self) -> String {
        let mut facts: Vec<String> = self
            .objects
            .iter()
            .map(|object| {
                format!(
                    "{:?} {} {} {:?} {:?}",
                    object.kind, object.keyspace, object.name, object.base, object.table
                )
            })
            .collect();
        facts.sort();
        facts.join("\n")
    }

    /// Takes a statement in. `false`: it is none that is known.
    fn take(&mut self, statement: &str, ids: &BTreeMap<(String, String), Uuid>) -> Result<bool, String> {
        let words = cql::words(statement)?;
        let is = |n: usize, word: &str| words.get(n).is_some_and(|found| found.is(word));
        if !is(0, "create") {
            return Ok(false);
        }
        let mut at = 1;
        for word in ["or", "replace", "custom"] {
            at += usize::from(is(at, word));
        }
        let object = if is(at, "keyspace") {
            self.keyspace(&words, at + 1, statement)?
        } else if is(at, "type") {
            named(ObjectKind::Type, &words, at + 1, statement)?
        } else if is(at, "function") {
            with_arguments(ObjectKind::Function, &words, at + 1, statement)?
        } else if is(at, "aggregate") {
            with_arguments(ObjectKind::Aggregate, &words, at + 1, statement)?
        } else if is(at, "table") {
            table(&words, at + 1, statement, ids)?
        } else if is(at, "index") {
            index(&words, at + 1, statement)?
        } else if is(at, "materialized") && is(at + 1, "view") {
            self.view(&words, at + 2, statement, ids)?
        } else {
            return Ok(false);
        };
        if !NODE_LOCAL.contains(&object.keyspace.as_str()) {
            self.objects.push(object);
        }
        Ok(true)
    }

    fn keyspace(&mut self, words: &[Word<'_>], at: usize, statement: &str) -> Result<Object, String> {
        let name = words.get(at).and_then(Word::name).ok_or("it names no keyspace")?;
        let map =
            words.iter().position(|word| word.is("replication")).map(|n| &words[n..]).unwrap_or_default();
        let mut options = BTreeMap::new();
        let mut pair = Vec::new();
        for word in map.iter().skip_while(|word| !word.is("{")).skip(1).take_while(|word| !word.is("}")) {
            pair.extend(word.content().or_else(|| (word.kind == Kind::Plain).then(|| word.text.to_owned())));
            if let [key, value] = &pair[..] {
                options.insert(key.clone(), value.clone());
                pair.clear();
            }
        }
        if let Some(replication) = Replication::from_options(&options)
            && !NODE_LOCAL.contains(&name.as_str())
        {
            self.keyspaces.insert(name.clone(), replication);
        }
        Ok(object(ObjectKind::Keyspace, name.clone(), name, statement))
    }

    fn view(
        &self,
        words: &[Word<'_>],
        at: usize,
        statement: &str,
        ids: &BTreeMap<(String, String), Uuid>,
    ) -> Result<Object, String> {
        let (keyspace, name, _) = full_name(words, at)?;
        let find =
            |word: &str| words.iter().position(|found| found.is(word)).ok_or(format!("it has no {word}"));
        let (select, from) = (find("select")?, find("from")?);
        let (_, base, _) = full_name(words, from + 1)?;
        let of_base = self
            .objects
            .iter()
            .find(|object| {
                object.kind == ObjectKind::Table && object.keyspace == keyspace && object.name == base
            })
            .and_then(|object| object.table.as_ref())
            .ok_or_else(|| format!("its base table {base} is not there"))?;
        let selected: Vec<String> =
            words[select + 1..from].iter().filter(|word| !word.is(",")).filter_map(Word::name).collect();
        let is_all = words[select + 1..from].iter().any(|word| word.is("*"));
        let primary = words.iter().rposition(|word| word.is("primary")).ok_or("it has no primary key")?;
        let key = key_of(words, primary + 2)?;
        let mut columns: Vec<Column> = of_base
            .columns
            .iter()
            .filter(|column| is_all || selected.contains(&column.name))
            .map(|column| Column {
                kind: ColumnKind::Regular,
                position: -1,
                order: Order::None,
                ..column.clone()
            })
            .collect();
        apply_key(&mut columns, &key, &descending(words));
        let table_id = ids.get(&(keyspace.clone(), name.clone())).copied().unwrap_or_default();
        let table = Shape { table_id, columns, is_counter: false };
        let object = object(ObjectKind::View, keyspace, name, statement);
        Ok(Object { base: Some(base), table: Some(table), ..object })
    }
}

fn object(kind: ObjectKind, keyspace: String, name: String, statement: &str) -> Object {
    Object { kind, keyspace, name, statements: vec![statement.to_owned()], base: None, table: None }
}

/// `keyspace.name`, and the word after it.
fn full_name(words: &[Word<'_>], at: usize) -> Result<(String, String, usize), String> {
    let name = |n: usize| words.get(n).and_then(Word::name);
    match (name(at), words.get(at + 1), name(at + 2)) {
        (Some(keyspace), Some(dot), Some(name)) if dot.is(".") => Ok((keyspace, name, at + 3)),
        _ => Err("it names no keyspace and object".to_owned()),
    }
}

fn named(kind: ObjectKind, words: &[Word<'_>], at: usize, statement: &str) -> Result<Object, String> {
    let (keyspace, name, _) = full_name(words, at)?;
    Ok(object(kind, keyspace, name, statement))
}

/// A function or an aggregate: `plus(int, int)`.
fn with_arguments(
    kind: ObjectKind,
    words: &[Word<'_>],
    at: usize,
    statement: &str,
) -> Result<Object, String> {
    let (keyspace, name, open) = full_name(words, at)?;
    let close = closing(words, open)?;
    let types: Vec<String> = at_commas(&words[open + 1..close])
        .into_iter()
        // An aggregate's arguments have no names.
        .map(
            |argument| {
                if kind == ObjectKind::Function { &argument[1.min(argument.len())..] } else { argument }
            },
        )
        .map(|argument| type_text(argument, statement))
        .collect();
    Ok(object(kind, keyspace, format!("{name}({})", types.join(", ")), statement))
}

fn index(words: &[Word<'_>], at: usize, statement: &str) -> Result<Object, String> {
    let name = words.get(at).and_then(Word::name).ok_or("it has no name")?;
    let on = words.iter().position(|word| word.is("on")).ok_or("it is on no table")?;
    let (keyspace, base, _) = full_name(words, on + 1)?;
    Ok(Object { base: Some(base), ..object(ObjectKind::Index, keyspace, name, statement) })
}

fn table(
    words: &[Word<'_>],
    at: usize,
    statement: &str,
    ids: &BTreeMap<(String, String), Uuid>,
) -> Result<Object, String> {
    let (keyspace, name, open) = full_name(words, at)?;
    let close = closing(words, open)?;
    let mut columns = Vec::new();
    let mut key = (Vec::new(), Vec::new());
    for definition in at_commas(&words[open + 1..close]) {
        if let [primary, key_word, ..] = definition
            && primary.is("primary")
            && key_word.is("key")
        {
            key = key_of(definition, 2)?;
            continue;
        }
        let [first, rest @ ..] = definition else { return Err("a column is empty".to_owned()) };
        let column = first.name().ok_or("a column has no name")?;
        let is_key = matches!(rest, [.., p, k] if p.is("primary") && k.is("key"));
        let rest = if is_key { &rest[..rest.len() - 2] } else { rest };
        let is_static = matches!(rest, [_, .., last] if last.is("static"));
        let rest = if is_static { &rest[..rest.len() - 1] } else { rest };
        if rest.is_empty() {
            return Err(format!("column {column} has no type"));
        }
        if is_key {
            key.0.push(column.clone());
        }
        let kind = if is_static { ColumnKind::Static } else { ColumnKind::Regular };
        let cql_type = type_text(rest, statement);
        columns.push(Column { name: column, cql_type, kind, position: -1, order: Order::None });
    }
    if key.0.is_empty() {
        return Err("it has no primary key".to_owned());
    }
    apply_key(&mut columns, &key, &descending(&words[close..]));
    let is_counter = columns.iter().any(|column| column.cql_type == "counter");
    let table_id = ids.get(&(keyspace.clone(), name.clone())).copied().unwrap_or_default();
    let text = with_id(statement, words.get(close), words.get(close + 1), table_id);
    let table = Shape { table_id, columns, is_counter };
    Ok(Object { table: Some(table), ..object(ObjectKind::Table, keyspace, name, &text) })
}

/// The statement with the table's id among its options.
fn with_id(statement: &str, close: Option<&Word<'_>>, next: Option<&Word<'_>>, id: Uuid) -> String {
    if id.is_nil() {
        return statement.to_owned();
    }
    match (close, next) {
        (_, Some(with)) if with.is("with") => {
            format!("{} ID = {id} AND{}", &statement[..with.end], &statement[with.end..])
        }
        (Some(close), _) => format!("{} WITH ID = {id}{}", &statement[..close.end], &statement[close.end..]),
        _ => statement.to_owned(),
    }
}

/// Names of the partition key's columns, and of the clustering columns. `at` is the opening bracket.
fn key_of(words: &[Word<'_>], at: usize) -> Result<(Vec<String>, Vec<String>), String> {
    let close = closing(words, at)?;
    let mut parts = at_commas(&words[at + 1..close]).into_iter();
    let names = |words: &[Word<'_>]| words.iter().filter_map(Word::name).collect::<Vec<_>>();
    let partition = names(parts.next().ok_or("its key is empty")?);
    Ok((partition, parts.flat_map(names).collect()))
}

/// The clustering columns in descending order.
fn descending(words: &[Word<'_>]) -> Vec<String> {
    let Some(begin) = words.windows(2).position(|pair| pair[0].is("order") && pair[1].is("by")) else {
        return Vec::new();
    };
    let Ok(close) = closing(words, begin + 2) else { return Vec::new() };
    let parts = at_commas(&words[begin + 3..close]);
    parts
        .into_iter()
        .filter(|part| matches!(part, [_, order] if order.is("desc")))
        .filter_map(|part| part[0].name())
        .collect()
}

/// Gives the key's columns their places, and puts all into order.
fn apply_key(
    columns: &mut [Column],
    (partition, clustering): &(Vec<String>, Vec<String>),
    descending: &[String],
) {
    for column in columns.iter_mut() {
        let place = |names: &[String]| {
            names.iter().position(|name| *name == column.name).and_then(|n| i32::try_from(n).ok())
        };
        if let Some(position) = place(partition) {
            (column.kind, column.position) = (ColumnKind::PartitionKey, position);
        } else if let Some(position) = place(clustering) {
            let order = if descending.contains(&column.name) { Order::Desc } else { Order::Asc };
            (column.kind, column.position, column.order) = (ColumnKind::Clustering, position, order);
        }
    }
    columns.sort_by(|a, b| (a.kind, a.position, &a.name).cmp(&(b.kind, b.position, &b.name)));
}

/// The bracket that closes the one at `open`.
fn closing(words: &[Word<'_>], open: usize) -> Result<usize, String> {
    let mut depth = 0_usize;
    for (n, word) in words.iter().enumerate().skip(open) {
        if word.is("(") {
            depth += 1;
        } else if word.is(")") {
            depth = depth.saturating_sub(1);
        }
        if depth == 0 {
            return if word.is(")") { Ok(n) } else { Err("a bracket is expected".to_owned()) };
        }
    }
    Err("a bracket does not close".to_owned())
}

/// Cut at the commas that are in no bracket.
fn at_commas<'a, 'w>(words: &'w [Word<'a>]) -> Vec<&'w [Word<'a>]> {
    let mut parts = Vec::new();
    let (mut begin, mut depth) = (0, 0_i32);
    for (n, word) in words.iter().enumerate() {
        match word.text {
            "(" | "<" | "[" | "{" => depth += 1,
            ")" | ">" | "]" | "}" => depth -= 1,
            "," if depth == 0 => {
                parts.push(&words[begin..n]);
                begin = n + 1;
            }
            _ => {}
        }
    }
    if begin < words.len() {
        parts.push(&words[begin..]);
    }
    parts
}

/// A type as Cassandra writes it: one space after a comma and nowhere else.
fn type_text(words: &[Word<'_>], statement: &str) -> String {
    let (Some(first), Some(last)) = (words.first(), words.last()) else { return String::new() };
    let text = statement[first.begin..last.end].split_whitespace().collect::<String>();
    text.replace(',', ", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
CREATE KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'}  AND durable_writes = true;

CREATE TYPE shop.address (
    street text,
    zip int
);

CREATE FUNCTION shop.plus(a int, b frozen<map<text,int>>)
    CALLED ON NULL INPUT
    RETURNS int
    LANGUAGE java
    AS $$return a; // CREATE TABLE $$;

CREATE TABLE shop.orders (
    id int,
    line int,
    "Item" text,
    note text static,
    tags frozen<map<text, int>>,
    PRIMARY KEY ((id, "Item"), line, note2)
) WITH CLUSTERING ORDER BY (line DESC, note2 ASC)
    AND comment = 'it''s; (odd)';
CREATE INDEX by_item ON shop.orders ("Item");

CREATE TABLE shop.hits (
    page text PRIMARY KEY,
    n counter
);

CREATE MATERIALIZED VIEW shop.by_line AS
    SELECT line, id, "Item"
    FROM shop.orders
    WHERE id IS NOT NULL AND line IS NOT NULL
    PRIMARY KEY (line, id)
    WITH CLUSTERING ORDER BY (id ASC);

CREATE TRIGGER t ON shop.orders USING 'x';

/*
Warning: Keyspace system_views is a virtual keyspace and cannot be recreated with CQL.
CREATE TABLE no.such (a int PRIMARY KEY); */
// VIRTUAL KEYSPACE system_views;
"#;

    fn read() -> Schema {
        let id = |n| Uuid::from_u128(n);
        let ids = [(("shop", "orders"), id(1)), (("shop", "hits"), id(2))];
        let ids = ids.map(|((keyspace, table), id)| ((keyspace.to_owned(), table.to_owned()), id)).into();
        Schema::read(TEXT, "5.0.4", &ids).unwrap()
    }

    #[test]
    fn a_schema_is_read_as_the_driver_writes_it() {
        let schema = read();
        let names: Vec<_> =
            schema.objects.iter().map(|object| format!("{:?} {}", object.kind, object.name)).collect();
        assert_eq!(
            names,
            [
                "Keyspace shop",
                "Type address",
                "Function plus(int, frozen<map<text, int>>)",
                "Table orders",
                "Table hits",
                "Index by_item",
                "View by_line"
            ]
        );
        assert_eq!(
            schema.keyspaces["shop"],
            Replication::NetworkTopology { factors: [("dc1".to_owned(), 3)].into() }
        );
        assert_eq!(schema.unread, ["CREATE TRIGGER t ON shop.orders USING 'x'"]);
        let without_id: Vec<_> = schema.tables().filter(|(_, _, id)| id.is_nil()).collect();
        assert_eq!(without_id, [("shop", "by_line", Uuid::nil())]);
    }

    #[test]
    fn a_table_has_its_columns_its_key_and_its_id() {
        let schema = read();
        let orders = schema.objects[3].table.as_ref().unwrap();
        let columns: Vec<_> = orders
            .columns
            .iter()
            .map(|c| (c.name.as_str(), c.cql_type.as_str(), c.kind, c.position, c.order))
            .collect();
        assert_eq!(
            columns,
            [
                ("id", "int", ColumnKind::PartitionKey, 0, Order::None),
                ("Item", "text", ColumnKind::PartitionKey, 1, Order::None),
                ("line", "int", ColumnKind::Clustering, 0, Order::Desc),
                ("note", "text", ColumnKind::Static, -1, Order::None),
                ("tags", "frozen<map<text, int>>", ColumnKind::Regular, -1, Order::None),
            ]
        );
        let statement = &schema.objects[3].statements[0];
        let id = "WITH ID = 00000000-0000-0000-0000-000000000001 AND CLUSTERING ORDER";
        assert!(statement.contains(id) && statement.ends_with("'it''s; (odd)'"), "{statement}");
        let hits = &schema.objects[4];
        assert!(hits.statements[0].ends_with(") WITH ID = 00000000-0000-0000-0000-000000000002"));
        assert!(hits.table.as_ref().unwrap().is_counter);
        let view = schema.objects[6].table.as_ref().unwrap();
        let key: Vec<_> = view.columns.iter().map(|c| (c.name.as_str(), c.kind)).collect();
        use ColumnKind::{Clustering, PartitionKey, Regular};
        assert_eq!(key, [("line", PartitionKey), ("id", Clustering), ("Item", Regular)]);
    }

    #[test]
    fn a_damaged_schema_is_told_by_its_statement() {
        for text in
            ["CREATE TABLE a (b int PRIMARY KEY)", "CREATE TABLE k.a (b int", "CREATE TABLE k.a (b int)"]
        {
            let error = Schema::read(text, "5", &BTreeMap::new()).unwrap_err();
            assert!(error.contains("CREATE TABLE"), "{error}");
        }
    }
}
