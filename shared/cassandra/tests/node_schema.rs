//! A schema with everything in it, written down, dropped and made again.

mod lab;

use std::time::Duration;

use lab::{Keyspace, LabNode, count, cql, ddl, nodes};
use ringvault_cassandra::{
    CqlSession,
    schema::{
        ColumnKind, CreateOptions, ObjectKind, SchemaDump, SchemaObject, TableComparison, compare_table,
    },
};
use ringvault_core::{
    cluster::Replication,
    selection::{Selection, TableName},
};

/// The statements, with `KS` for the keyspace. Those that only 5.0 understands begin with `5`.
const STATEMENTS: &[&str] = &[
    "CREATE TYPE KS.zinner (a int, \"B\" text)",
    "CREATE TYPE KS.\"Outer\" (x frozen<zinner>, y frozen<list<int>>)",
    "CREATE TYPE KS.a_first (o frozen<\"Outer\">)",
    "CREATE FUNCTION KS.plus (s int, v int) RETURNS NULL ON NULL INPUT RETURNS int \
     LANGUAGE java AS 'return s + v; // it''s'",
    "CREATE FUNCTION KS.\"Odd\" (\"S\" int, v zinner) CALLED ON NULL INPUT RETURNS int \
     LANGUAGE java AS $$ if (v == null) return 0; return S; $$",
    "CREATE AGGREGATE KS.total (int) SFUNC plus STYPE int INITCOND 0",
    "CREATE TABLE KS.\"Tab\" (k int, \"K2\" text, c1 int, \"C2\" timeuuid, st text static, \
     m map<text, int>, l list<text>, fs frozen<set<int>>, u frozen<\"Outer\">, ui zinner, \
     t tuple<int, text>, gone int, goneu frozen<\"Outer\">, gonem map<int, text>, re int, \
     dropst text static, w int, x int, PRIMARY KEY ((k, \"K2\"), c1, \"C2\")) \
     WITH CLUSTERING ORDER BY (c1 DESC, \"C2\" ASC) AND comment = 'it''s; \"odd\"' \
     AND gc_grace_seconds = 1234",
    "ALTER TABLE KS.\"Tab\" DROP gone",
    "ALTER TABLE KS.\"Tab\" DROP goneu",
    "ALTER TABLE KS.\"Tab\" DROP gonem",
    "ALTER TABLE KS.\"Tab\" DROP dropst",
    "ALTER TABLE KS.\"Tab\" DROP re",
    "ALTER TABLE KS.\"Tab\" ADD re int",
    "CREATE INDEX legacy ON KS.\"Tab\" (w)",
    "CREATE INDEX \"LegacyMap\" ON KS.\"Tab\" (keys(m))",
    "5CREATE CUSTOM INDEX sai ON KS.\"Tab\" (x) USING 'StorageAttachedIndex'",
    "5CREATE TABLE KS.vectors (k int PRIMARY KEY, v vector<float, 3>)",
    "CREATE TABLE KS.counters (k int PRIMARY KEY, n counter) \
     WITH compression = {'enabled': 'false'}",
    "CREATE TABLE KS.base (k int, c int, v text, PRIMARY KEY (k, c)) \
     WITH compaction = {'class': 'LeveledCompactionStrategy'} AND default_time_to_live = 86400",
    "CREATE MATERIALIZED VIEW KS.\"View\" AS SELECT * FROM KS.base \
     WHERE v IS NOT NULL AND c IS NOT NULL AND k IS NOT NULL PRIMARY KEY (v, k, c) \
     WITH CLUSTERING ORDER BY (k DESC, c ASC)",
];

async fn build(session: &CqlSession) -> Keyspace {
    let keyspace = Keyspace::create(session, nodes().len()).await;
    let is_5 = session.local().release_version.starts_with("5.");
    for statement in STATEMENTS {
        match statement.strip_prefix('5') {
            Some(_) if !is_5 => {}
            Some(newer) => cql(session, &newer.replace("KS", &keyspace.name)).await,
            None => cql(session, &statement.replace("KS", &keyspace.name)).await,
        }
    }
    session.wait_schema_agreement(Duration::from_mins(1)).await.unwrap();
    keyspace
}

fn objects_of<'a>(dump: &'a SchemaDump, keyspace: &str) -> Vec<&'a SchemaObject> {
    dump.objects.iter().filter(|object| object.keyspace == keyspace).collect()
}

fn only(keyspace: &str) -> Selection {
    Selection { keyspaces: vec![keyspace.to_owned()], ..Selection::default() }
}

/// One keyspace's part of a dump: other tests may change the rest at any time.
fn part_of(dump: &SchemaDump, keyspace: &str) -> SchemaDump {
    let objects = objects_of(dump, keyspace).into_iter().cloned().collect();
    SchemaDump { objects, ..dump.clone() }
}

/// Compares object by object, so that a difference can be read.
fn assert_same(got: &SchemaDump, wanted: &SchemaDump, keyspace: &str) {
    let (got, wanted) = (objects_of(got, keyspace), objects_of(wanted, keyspace));
    for (got, wanted) in got.iter().zip(&wanted) {
        assert_eq!(got, wanted);
    }
    assert_eq!(got.len(), wanted.len());
}

async fn first() -> (LabNode, CqlSession) {
    let node = nodes().remove(0);
    let session = node.session().await;
    (node, session)
}

#[tokio::test]
async fn a_dropped_keyspace_comes_back_as_it_was() {
    let (_, session) = first().await;
    let keyspace = build(&session).await;
    let name = keyspace.name.clone();
    let wanted = session.schema().await.unwrap();
    let again: SchemaDump = serde_json::from_slice(&serde_json::to_vec(&wanted).unwrap()).unwrap();
    assert!(again == wanted, "it does not survive being written down");

    let others_view = nodes().pop().unwrap().session().await.schema().await.unwrap();
    assert_same(&others_view, &wanted, &name);
    assert_eq!(part_of(&others_view, &name).schema_hash(), part_of(&wanted, &name).schema_hash());

    keyspace.drop_it(&session).await;
    assert_eq!(objects_of(&session.schema().await.unwrap(), &name), Vec::<&SchemaObject>::new());

    let options = CreateOptions::default();
    let made = session.create_missing(&wanted, &only(&name), &options).await.unwrap();
    assert_eq!(made.existing, Vec::<String>::new());
    assert!(made.created.contains(&format!("table {name}.Tab")), "{made:?}");
    let half = session.schema().await.unwrap();
    assert!(half.find(ObjectKind::View, &name, "View").is_none(), "views are made apart");
    let views = session.create_views(&wanted, &only(&name), &options).await.unwrap();
    assert_eq!(views.created, vec![format!("view {name}.View")]);

    let got = session.schema().await.unwrap();
    assert_same(&got, &wanted, &name);
    for (keyspace, table, id) in wanted.tables().filter(|(keyspace, _, _)| *keyspace == name) {
        assert_eq!(got.shape(keyspace, table).unwrap().table_id, id);
    }

    let nothing = session.create_missing(&wanted, &only(&name), &options).await.unwrap();
    assert_eq!(nothing.created, Vec::<String>::new());
    assert_eq!(nothing.existing.len(), made.created.len());
    ddl(&session, &[&format!("DROP KEYSPACE {name}")]).await;
}

#[tokio::test]
async fn shapes_are_what_the_statements_said() {
    let (_, session) = first().await;
    let keyspace = build(&session).await;
    let name = &keyspace.name;
    let dump = session.schema().await.unwrap();
    let shape = dump.shape(name, "Tab").unwrap();
    assert_eq!(shape.partition_key().collect::<Vec<_>>(), ["k", "K2"]);
    let names = |kind| {
        let columns = shape.columns.iter().filter(|column| column.kind == kind);
        columns.map(|column| column.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(names(ColumnKind::Clustering), ["c1", "C2"]);
    assert_eq!(names(ColumnKind::Static), ["st"]);
    assert!(!names(ColumnKind::Regular).contains(&"gone"));
    assert!(!shape.is_counter && dump.shape(name, "counters").unwrap().is_counter);
    let of = |kind, object: &str| dump.find(kind, name, object).unwrap();
    assert_eq!(of(ObjectKind::Index, "LegacyMap").base.as_deref(), Some("Tab"));
    assert_eq!(of(ObjectKind::View, "View").base.as_deref(), Some("base"));
    let statements = &of(ObjectKind::Table, "Tab").statements;
    assert!(statements[0].contains("WITH ID = "), "{statements:?}");
    let drops = statements.iter().filter(|s| s.contains(" DROP ") && s.contains("USING TIMESTAMP"));
    assert_eq!(drops.count(), 5, "{statements:?}");

    let hash = part_of(&dump, name).schema_hash();
    ddl(&session, &[&format!("ALTER TABLE {name}.base ADD extra int")]).await;
    let changed = session.schema().await.unwrap();
    assert_ne!(part_of(&changed, name).schema_hash(), hash);
    let compared = compare_table(dump.shape(name, "base").unwrap(), changed.shape(name, "base").unwrap());
    let want = TableComparison::Compatible { added: vec!["extra".into()], same_id: true };
    assert_eq!(compared, want);
    let reversed = compare_table(changed.shape(name, "base").unwrap(), dump.shape(name, "base").unwrap());
    assert!(matches!(reversed, TableComparison::Incompatible { .. }));
    keyspace.drop_it(&session).await;
}

#[tokio::test]
async fn one_table_is_made_with_another_replication() {
    let (_, session) = first().await;
    let keyspace = build(&session).await;
    let name = keyspace.name.clone();
    let wanted = session.schema().await.unwrap();
    keyspace.drop_it(&session).await;
    let table = TableName::new(&name, "counters");
    let selection = Selection { tables: vec![table], ..Selection::default() };
    let replication = Replication::Simple { factor: 1 };
    let options = CreateOptions {
        replication: [(name.clone(), replication.clone())].into(),
        ..CreateOptions::default()
    };
    session.create_missing(&wanted, &selection, &options).await.unwrap();
    let got = session.schema().await.unwrap();
    let tables: Vec<_> = got.tables().filter(|(k, _, _)| *k == name).map(|(_, t, _)| t).collect();
    assert_eq!(tables, ["counters"]);
    assert_eq!(session.topology().await.unwrap().keyspaces[&name], replication);
    ddl(&session, &[&format!("DROP KEYSPACE {name}")]).await;
}

#[tokio::test]
async fn views_and_indexes_are_waited_for() {
    let (_, session) = first().await;
    let keyspace = build(&session).await;
    let name = &keyspace.name;
    let view = TableName::new(name, "View");
    let wanted = session.schema().await.unwrap();
    session.drop_view(&view).await.unwrap();
    session.drop_view(&view).await.unwrap();
    for k in 0..100 {
        let row = format!("({k}, 1, 'v{k}')");
        cql(&session, &format!("INSERT INTO {name}.base (k, c, v) VALUES {row}")).await;
    }
    let options = CreateOptions::default();
    session.create_views(&wanted, &only(name), &options).await.unwrap();
    let hosts = session.topology().await.unwrap().host_ids();
    session.wait_view_built(&view, &hosts, Duration::from_mins(2)).await.unwrap();
    assert_eq!(count(&session, &format!("{name}.\"View\"")).await, 100);
    let unknown = TableName::new(name, "no_such_view");
    assert_eq!(session.view_unbuilt_on(&unknown, &hosts).await.unwrap(), hosts);

    for index in wanted.objects.iter().filter(|o| o.kind == ObjectKind::Index && o.keyspace == *name) {
        session.wait_index_built(name, &index.name, Duration::from_mins(2)).await.unwrap();
    }
    assert!(!session.index_is_built(name, "no_such_index").await.unwrap());
    keyspace.drop_it(&session).await;
}

#[tokio::test]
async fn a_table_left_half_made_is_seen_and_finished() {
    let (_, session) = first().await;
    let keyspace = build(&session).await;
    let name = keyspace.name.clone();
    let wanted = session.schema().await.unwrap();
    let table = wanted.find(ObjectKind::Table, &name, "Tab").unwrap();
    let shape = table.table.as_ref().unwrap();
    let dropped: Vec<&str> = shape.dropped.iter().flatten().map(|column| column.name.as_str()).collect();
    assert_eq!(dropped, ["dropst", "gone", "gonem", "goneu", "re"]);
    // As a run leaves it that ends after the first of the table's changes.
    let drop = format!("DROP TABLE {name}.\"Tab\"");
    ddl(&session, &[&drop, &table.statements[0], &table.statements[1]]).await;
    let half = session.schema().await.unwrap();
    let compared = compare_table(shape, half.shape(&name, "Tab").unwrap());
    assert!(matches!(compared, TableComparison::Incompatible { .. }), "{compared:?}");

    let options = CreateOptions::default();
    session.create_missing(&wanted, &only(&name), &options).await.unwrap();
    let whole = session.schema().await.unwrap();
    assert_eq!(whole.shape(&name, "Tab"), Some(shape));
    keyspace.drop_it(&session).await;
}

/// A node writes what is changed to its tables before it describes it: whoever reads in between must
/// not be told that a table has no columns.
#[tokio::test]
async fn a_schema_that_changes_meanwhile_is_read_whole() {
    let (node, session) = first().await;
    let keyspace = Keyspace::create(&session, nodes().len()).await;
    let name = &keyspace.name;
    let changes = async {
        let changer = node.session().await;
        for round in 0..6 {
            let create = format!("CREATE TABLE {name}.t{round} (k int PRIMARY KEY, v int)");
            ddl(&changer, &[&create, &format!("CREATE INDEX i{round} ON {name}.t{round} (v)")]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            ddl(&changer, &[&format!("DROP TABLE {name}.t{round}")]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let readings = async {
        loop {
            let schema = session.schema().await.unwrap();
            for object in objects_of(&schema, name) {
                if let Some(table) = &object.table {
                    assert_eq!(table.columns.len(), 2, "{}", object.name);
                }
            }
        }
    };
    tokio::select! {
        () = changes => {}
        () = readings => {}
    }
    keyspace.drop_it(&session).await;
}
