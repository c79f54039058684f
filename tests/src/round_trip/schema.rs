//! A keyspace with everything that Cassandra stores in a way of its own.

/// The main keyspace.
pub const KEYSPACE: &str = "e2e_variety";
/// A keyspace whose name, table and columns need quotes.
pub const CAMEL: &str = "E2eCamel";

/// What creates both with `rf` replicas. `is_five`: with what Cassandra 4.1 does not have.
pub(super) fn statements(is_five: bool, rf: usize) -> Vec<String> {
    let replication = format!("{{'class': 'NetworkTopologyStrategy', 'dc1': {rf}}}");
    let mut all = vec![
        format!("DROP KEYSPACE IF EXISTS {KEYSPACE}"),
        format!("DROP KEYSPACE IF EXISTS \"{CAMEL}\""),
        format!("CREATE KEYSPACE {KEYSPACE} WITH replication = {replication}"),
        format!("CREATE KEYSPACE \"{CAMEL}\" WITH replication = {replication} AND durable_writes = false"),
        "CREATE TYPE $.address (street text, city text)".to_owned(),
        "CREATE TYPE $.person (name text, home frozen<address>)".to_owned(),
        // Several SSTables, a legacy index, a view, an SAI index.
        "CREATE TABLE $.kv (id int PRIMARY KEY, a text, b text, n int)".to_owned(),
        "CREATE INDEX kv_by_a ON $.kv (a)".to_owned(),
        "CREATE MATERIALIZED VIEW $.kv_by_n AS SELECT * FROM $.kv \
         WHERE n IS NOT NULL AND id IS NOT NULL PRIMARY KEY (n, id)"
            .to_owned(),
        "CREATE TABLE $.types (p int, c timeuuid, t1 ascii, t2 bigint, t3 blob, t4 boolean, t5 date, \
         t6 decimal, t7 double, t8 duration, t9 inet, t10 smallint, t11 time, t12 timestamp, \
         t13 tinyint, t14 varint, t15 frozen<tuple<int, text>>, PRIMARY KEY (p, c)) \
         WITH CLUSTERING ORDER BY (c DESC)"
            .to_owned(),
        "CREATE TABLE $.collections (p int PRIMARY KEY, l list<int>, s set<text>, m map<text, int>, \
         fl frozen<list<int>>, fm frozen<map<int, text>>, u address, fu frozen<person>, \
         ml map<text, frozen<list<frozen<address>>>>)"
            .to_owned(),
        "CREATE TABLE $.statics (p int, c int, s text static, m map<int, text> static, v text, \
         PRIMARY KEY (p, c))"
            .to_owned(),
        "CREATE TABLE $.counters (p int, c int, a counter, b counter, PRIMARY KEY (p, c))".to_owned(),
        "CREATE TABLE $.expiring (p int PRIMARY KEY, v text, m map<int, text>) \
         WITH default_time_to_live = 8640000"
            .to_owned(),
        "CREATE TABLE $.deleted (p int, c int, d int, v text, w text, PRIMARY KEY (p, c, d))".to_owned(),
        "CREATE TABLE $.large (p int, c int, v blob, PRIMARY KEY (p, c)) \
         WITH compression = {'enabled': false}"
            .to_owned(),
        "CREATE TABLE $.keys_only (p int, c text, PRIMARY KEY (p, c))".to_owned(),
        "CREATE TABLE $.empty (p int PRIMARY KEY, v text)".to_owned(),
        "CREATE TABLE $.altered (p int PRIMARY KEY, v text, gone text)".to_owned(),
        "INSERT INTO $.altered (p, v, gone) VALUES (1, 'kept', 'dropped')".to_owned(),
        "ALTER TABLE $.altered DROP gone".to_owned(),
        "ALTER TABLE $.altered ADD later int".to_owned(),
        format!(
            "CREATE TABLE \"{CAMEL}\".\"CamelTable\" (\"Key\" text PRIMARY KEY, \"Value\" text, \"value\" int)"
        ),
        format!("CREATE INDEX \"CamelIndex\" ON \"{CAMEL}\".\"CamelTable\" (\"value\")"),
    ];
    if is_five {
        all.push("CREATE INDEX kv_by_b ON $.kv (b) USING 'sai'".to_owned());
        all.push("CREATE TABLE $.vectors (p int PRIMARY KEY, v vector<float, 3>)".to_owned());
    }
    all.into_iter().map(|statement| statement.replace('$', KEYSPACE)).collect()
}
